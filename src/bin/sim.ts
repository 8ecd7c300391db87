// The simulator's command line: many seeds, one seed with its trace, the planted bugs, or a soak.

import { availableParallelism } from 'node:os'
import { Command, InvalidArgumentError } from 'commander'
import { nodeCrc32c } from '../platform/crc32c.ts'
import { runJob, SYSTEMS, type SystemName } from '../sim/campaign.ts'
import { allCanaries } from '../sim/canaries.ts'
import { huntCanaries, searchSeeds, systemOf } from './sim-search.ts'

function count(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError('a whole number, please')
  return Number(text)
}

function systemName(text: string): SystemName {
  const found = SYSTEMS.find((name) => name === text)
  if (found === undefined) throw new InvalidArgumentError(`one of ${SYSTEMS.join(', ')}, please`)
  return found
}

const options = new Command('sim')
  .description('Runs simulated clusters under faults. A seed always runs the same way.')
  .option('--seeds <count>', 'how many seeds to run', count, 300)
  .option('--from <seed>', 'the first of them', count, 1)
  .option('--seed <seed>', 'run this one, and print its last events when it fails', count)
  .option('--system <name>', 'only kv or only block; both by turns without', systemName)
  .option('--hash', 'with --seed: print the hash of its trace only')
  .option('--canaries', 'plant each known bug in turn and find it within 200 seeds')
  .option(
    '--canary <name>',
    `plant one: ${allCanaries()
      .map((canary) => canary.name)
      .join(', ')}`,
  )
  .option('--soak', 'go on with fresh seeds until --hours have passed or one fails')
  .option('--hours <hours>', 'how long a soak lasts', Number, 1)
  .option('--keep-going', 'do not stop at the first seed that fails')
  .option('--workers <count>', 'threads', count, availableParallelism())
  .parse()
  .opts<{
    seeds: number
    from: number
    seed?: number
    system?: SystemName
    hash?: boolean
    canaries?: boolean
    canary?: string
    soak?: boolean
    keepGoing?: boolean
    hours: number
    workers: number
  }>()

const { seed, system = null, canary = null, workers, keepGoing = false } = options
let failed: boolean
if (seed !== undefined) {
  const planted = allCanaries().find(({ name }) => name === canary)?.system
  const which = system ?? planted ?? systemOf(seed)
  const outcome = await runJob({ seed, system: which, canary }, nodeCrc32c())
  console.log(options.hash === true ? outcome.hash : outcome.text)
  failed = outcome.caughtBy !== null
} else if (options.canaries === true || canary !== null) {
  const meant = allCanaries().filter((planted) => {
    const isMeant = canary === null || canary === planted.name
    return isMeant && (system === null || system === planted.system)
  })
  failed = !(await huntCanaries(meant, workers))
} else if (options.soak === true) {
  // Seeds that no earlier soak had: the time of its start, then one after the other.
  const from = Math.floor(Date.now() / 1000)
  const endMs = Date.now() + options.hours * 3_600_000
  failed = !(await searchSeeds({
    from,
    system,
    workers,
    keepGoing,
    wanted: () => Date.now() < endMs,
  }))
} else {
  const { from, seeds } = options
  failed = !(await searchSeeds({
    from,
    system,
    workers,
    keepGoing,
    wanted: (next) => next < from + seeds,
  }))
}
process.exitCode = failed ? 1 : 0
