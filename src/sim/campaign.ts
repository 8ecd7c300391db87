// Owns what a job of a long search is: a seed, perhaps with a planted bug, and its outcome in a form
// that passes between threads.

import { must } from '../base/assert.ts'
import type { Crc32c } from '../base/crc32c.ts'
import { BlockCluster } from './block-cluster.ts'
import { blockCanaryOf, canaryOf } from './canaries.ts'
import { SimCluster } from './cluster.ts'
import { checkerOf, describeResult, type RunOptions, runSeed } from './run.ts'
import type { Checker } from './verdict.ts'

/** What runs: groups of a key-value machine on bare hosts, or block storage with all of its roles. */
export type SystemName = 'kv' | 'block'

export const SYSTEMS: readonly SystemName[] = ['kv', 'block']

export interface SeedJob {
  readonly seed: number
  readonly system: SystemName
  /** The name of a planted bug, or null for the code as it is. */
  readonly canary: string | null
  /** The weather of that canary without its bug: nothing is to be found then. */
  readonly isSound?: boolean
}

export interface SeedOutcome {
  readonly seed: number
  readonly hash: string
  readonly events: number
  readonly virtualMs: number
  readonly operations: number
  readonly struck: readonly (readonly [string, number])[]
  /** Some register's history could not be judged in bounded memory. */
  readonly undecided: boolean
  /** Who found it wrong; null for a clean run. */
  readonly caughtBy: Checker | null
  readonly text: string
}

export async function runJob(job: SeedJob, crc32c: Crc32c): Promise<SeedOutcome> {
  const result = await runSeed(job.seed, { crc32c, ...runOptions(job) })
  const { seed, hash, events, virtualMs, operations, struck, undecided, failure } = result
  return {
    seed,
    hash,
    events,
    virtualMs,
    operations,
    struck: [...struck],
    undecided: undecided !== null,
    caughtBy: failure === null ? null : checkerOf(failure),
    text: describeResult(result),
  }
}

function runOptions({ system, canary: name, isSound = false }: SeedJob): RunOptions {
  return system === 'block' ? blockOptions(name, isSound) : kvOptions(name, isSound)
}

function kvOptions(name: string | null, isSound: boolean): RunOptions {
  if (name === null) {
    return { make: (world, network) => new SimCluster(world, network, { bugs: new Set() }) }
  }
  const canary = must(canaryOf(name), `a canary of the name ${name}`)
  const { name: bug, kinds: faultKinds, config = {} } = canary
  const options = { bugs: new Set(isSound ? [] : [bug]), faultKinds, config }
  return { storm: true, make: (world, network) => new SimCluster(world, network, options) }
}

function blockOptions(name: string | null, isSound: boolean): RunOptions {
  if (name === null) return { make: (world, network) => new BlockCluster(world, network) }
  const canary = must(blockCanaryOf(name), `a canary of the name ${name}`)
  const { name: bug, kinds: faultKinds, ...settings } = canary
  const options = { ...settings, bugs: new Set(isSound ? [] : [bug]), faultKinds }
  return { storm: true, make: (world, network) => new BlockCluster(world, network, options) }
}
