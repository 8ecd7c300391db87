// Searches many seeds in parallel: for any failure, or for the one that catches a planted bug.

import { runPool } from '../platform/worker-pool.ts'
import type { SeedJob, SeedOutcome, SystemName } from '../sim/campaign.ts'

const WORKER = new URL('./sim-worker.js', import.meta.url)
const CANARY_SEEDS = 200
const PROGRESS_EVERY = 1000
const BLOCK_ONE_IN = 3

/** Which system a seed runs when none is named: a block seed takes as long as several of the others. */
export function systemOf(seed: number): SystemName {
  return seed % BLOCK_ONE_IN === 0 ? 'block' : 'kv'
}

export interface SearchOptions {
  readonly from: number
  /** Null for both, by turns. */
  readonly system: SystemName | null
  readonly workers: number
  /** Whether the seed is to be run. */
  readonly wanted: (seed: number) => boolean
  /** Go on after a failure, to know of all. */
  readonly keepGoing: boolean
}

/** Runs seeds from `from` on until none more is wanted or one fails; true when all were clean. */
export async function searchSeeds(options: SearchOptions): Promise<boolean> {
  const { from, system, workers, wanted, keepGoing } = options
  const total = { seeds: 0, events: 0, virtualMs: 0, operations: 0, undecided: 0 }
  const struck = new Map<string, number>()
  let failures = 0
  function* jobs(): Generator<SeedJob> {
    for (let seed = from; wanted(seed); seed++) {
      yield { seed, system: system ?? systemOf(seed), canary: null }
    }
  }
  const onResult = (job: SeedJob, outcome: SeedOutcome): boolean => {
    total.seeds++
    total.events += outcome.events
    total.virtualMs += outcome.virtualMs
    total.operations += outcome.operations
    if (outcome.undecided) total.undecided++
    for (const [kind, times] of outcome.struck) struck.set(kind, (struck.get(kind) ?? 0) + times)
    if (outcome.caughtBy !== null) {
      failures++
      const again = `--seed ${job.seed} --system ${job.system}`
      console.log(`${outcome.text}\nrepeat it with: npm run sim -- ${again}`)
    }
    if (total.seeds % PROGRESS_EVERY === 0) console.log(`${total.seeds} seeds ...`)
    return failures === 0 || keepGoing
  }
  await runPool({ program: WORKER, count: workers, jobs: jobs(), onResult })
  const faults = [...struck].map(([kind, times]) => `${kind} ${times}`).join(', ')
  console.log(`faults: ${faults}`)
  const hours = (total.virtualMs / 3_600_000).toFixed(1)
  console.log(
    `${total.seeds} seeds from ${from}, ${failures === 0 ? 'all clean' : `${failures} FAILED`}: ` +
      `${total.events} events, ${hours} virtual hours, ${total.operations} operations, ` +
      `${total.undecided} histories too tangled to judge`,
  )
  return failures === 0
}

export interface Planted {
  readonly name: string
  readonly system: SystemName
}

/** Plants one bug after the other and looks for a seed that catches it; true when each was caught. */
export async function huntCanaries(planted: readonly Planted[], workers: number): Promise<boolean> {
  const caught = new Map<string, SeedOutcome>()
  const running = new Map<string, number>()
  function* jobs(): Generator<SeedJob> {
    for (const { name, system } of planted) {
      for (let seed = 1; seed <= CANARY_SEEDS && !caught.has(name); seed++) {
        running.set(name, (running.get(name) ?? 0) + 1)
        yield { seed, system, canary: name }
      }
    }
  }
  const onResult = ({ canary, seed }: SeedJob, outcome: SeedOutcome): boolean => {
    const name = canary ?? ''
    const isFirst = seed < (caught.get(name)?.seed ?? Number.POSITIVE_INFINITY)
    if (outcome.caughtBy !== null && isFirst) caught.set(name, outcome)
    const left = (running.get(name) ?? 0) - 1
    running.set(name, left)
    const found = caught.get(name)
    if (left === 0 && found !== undefined) {
      console.log(`${name}: caught by ${found.caughtBy} at seed ${found.seed}`)
    }
    return true
  }
  await runPool({ program: WORKER, count: workers, jobs: jobs(), onResult })
  const missed = planted.filter(({ name }) => !caught.has(name))
  for (const { name } of missed) console.log(`${name}: NOT caught within ${CANARY_SEEDS} seeds`)
  console.log(`${caught.size} of ${planted.length} planted bugs were caught`)
  return missed.length === 0
}
