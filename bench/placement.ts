// Measures placement at the scale of a large cluster: 1,200 chunkservers and 60,000 copysets of three
// replicas. Creation, each planner's pass in a quiet cluster and in the cases it is made for, within
// the default limits and once without; and what the rebuild of one chunkserver means for durability.

import { must } from '../src/base/assert.ts'
import { Prng } from '../src/base/prng.ts'
import { MIB } from '../src/base/units.ts'
import { mdsConfig } from '../src/mds/config.ts'
import { planBalance } from '../src/placement/balance.ts'
import { createCopysets } from '../src/placement/create.ts'
import { planDrain } from '../src/placement/drain.ts'
import { guard } from '../src/placement/guard.ts'
import { planLeaders, planLeadersAtOnce } from '../src/placement/leaders.ts'
import type { Plan } from '../src/placement/operator.ts'
import { Pass } from '../src/placement/pass.ts'
import { planRecovery } from '../src/placement/recover.ts'
import { planRelief } from '../src/placement/relieve.ts'
import { planReplicas } from '../src/placement/replicas.ts'
import {
  applied,
  changed,
  chunkserver,
  joined,
  OFFLINE,
  populated,
} from '../src/placement/testing/clusters.ts'
import type { ChunkserverView, ClusterView } from '../src/placement/view.ts'
import { rebuildRows } from './placement-durability.ts'
import type { BenchOptions, BenchRow } from './table.ts'

const ZONES = 6
const DISKS_PER_SERVER = 20
const REPLICAS = 3
const ROUNDS = 3
const LIMITS = mdsConfig()
const NO_FACTS = { isMaintained: false, isYoung: false }

const PLANNERS: readonly (readonly [string, (pass: Pass) => Plan])[] = [
  ['recover', planRecovery],
  ['replicas', planReplicas],
  ['relief', planRelief],
  ['drain', planDrain],
  ['balance', planBalance],
  ['leaders', planLeaders],
]

export async function run({ tiny }: BenchOptions): Promise<BenchRow[]> {
  const count = tiny ? 120 : 1200
  const copysets = tiny ? 1200 : 60_000
  const rows: BenchRow[] = []
  const time = (name: string, work: () => unknown, note = ''): void => {
    const value = medianMs(work)
    rows.push({ bench: 'placement', name, metric: 'processor time', value, unit: 'ms', note })
  }
  const targets = chunkserversFrom(1, count)
  const random = (): Prng => new Prng(1)
  time('creation', () => createCopysets(targets, REPLICAS, copysets, random()))
  const created = populated(targets, copysets)
  const atOnce = planLeadersAtOnce(created)
  time('leaders, at once', () => planLeadersAtOnce(created), says(atOnce.length))
  const quiet = applied(created, atOnce)
  time('guard', () => guard(quiet.chunkservers, NO_FACTS, LIMITS))
  time('pass over a view', () => new Pass(quiet, LIMITS))
  for (const [name, view] of casesOf(quiet, count)) {
    for (const [planner, plan] of PLANNERS) {
      const { operators } = plan(new Pass(view, LIMITS))
      time(`${planner}, ${name}`, () => plan(new Pass(view, LIMITS)), says(operators.length))
    }
  }
  const wide = { ...LIMITS, movesMax: copysets, movesPerChunkserverMax: copysets }
  const grown = joined(quiet, chunkserversFrom(count + 1, count / 12))
  const all = planBalance(new Pass(grown, wide)).operators
  const name = 'balance, a twelfth added, no limits'
  time(name, () => planBalance(new Pass(grown, wide)), says(all.length))
  const value = process.memoryUsage.rss() / MIB
  rows.push({ bench: 'placement', name: 'process', metric: 'memory', value, unit: 'MiB' })
  return [...rows, ...rebuildRows(quiet, LIMITS)]
}

/** Evenly over the zones, each zone's in servers of many disks. */
function chunkserversFrom(first: number, count: number): ChunkserverView[] {
  return Array.from({ length: count }, (_, i) => {
    const one = chunkserver(first + i, ZONES)
    const server = Math.floor((first + i - 1) / (ZONES * DISKS_PER_SERVER))
    return { ...one, server: `${one.zone}-s${server}` }
  })
}

function casesOf(quiet: ClusterView, count: number): (readonly [string, ClusterView])[] {
  const first = must(quiet.chunkservers[0], 'a chunkserver')
  const ofServer = quiet.chunkservers.filter((one) => one.server === first.server)
  const ids = ofServer.map(({ id }) => id)
  return [
    ['quiet', quiet],
    ['one gone', changed(quiet, [1], OFFLINE)],
    ['one slow', changed(quiet, [1], { isSlow: true })],
    ['a server drained', changed(quiet, ids, { isDraining: true })],
    ['a twelfth added', joined(quiet, chunkserversFrom(count + 1, count / 12))],
    ['one replica more asked for', { ...quiet, pools: [{ name: 'default', replicas: 4 }] }],
  ]
}

/** Of the processor's time, not the clock's: nothing here waits, and others use the machine too. */
function medianMs(work: () => unknown): number {
  const times: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    const before = process.cpuUsage()
    work()
    const { user, system } = process.cpuUsage(before)
    times.push((user + system) / 1000)
  }
  return must(times.toSorted((a, b) => a - b)[Math.floor(ROUNDS / 2)], 'a round')
}

function says(operators: number): string {
  return `${operators} operators`
}
