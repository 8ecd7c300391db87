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

/** Plants the bug and looks for a seed that catches it; true when one did within CANARY_SEEDS. */
export async function huntCanary(
  name: string,
  system: SystemName,
  workers: number,
): Promise<boolean> {
  let caught: SeedOutcome | null = null
  function* jobs(): Generator<SeedJob> {
    for (let seed = 1; seed <= CANARY_SEEDS; seed++) yield { seed, system, canary: name }
  }
  const onResult = (_job: SeedJob, outcome: SeedOutcome): boolean => {
    if (outcome.caughtBy !== null && outcome.seed < (caught?.seed ?? CANARY_SEEDS + 1)) {
      caught = outcome
    }
    return caught === null
  }
  await runPool({ program: WORKER, count: workers, jobs: jobs(), onResult })
  const found = caught as SeedOutcome | null
  if (found === null) console.log(`${name}: NOT caught within ${CANARY_SEEDS} seeds`)
  else console.log(`${name}: caught by ${found.caughtBy} at seed ${found.seed}`)
  return found !== null
}
