// Owns the commands about when scrubs begin by themselves: how often, in which hours, and how many at once.

import { type Command, InvalidArgumentError } from 'commander'
import {
  type ScrubWindow,
  SET_SCRUB_WINDOW,
  SHOW_SCRUB_WINDOW,
} from '../../format/control/operators.ts'
import { CommandError } from '../cli/failure.ts'
import { asking, declare } from '../cli/program.ts'
import type { Session } from '../cli/session.ts'
import { countArgument, counted, duration, durationArgument } from '../cli/words.ts'

const HOURS_MAX = 24

/** `22:00` or `22`: scrubs begin at whole hours. */
function hourArgument(text: string): number {
  const [, hour] = /^(\d{1,2})(?::00)?$/.exec(text) ?? []
  if (hour !== undefined && Number(hour) <= HOURS_MAX) return Number(hour)
  throw new InvalidArgumentError('It takes a whole hour of the day in UTC, such as 22:00.')
}

const clock = (hour: number): string => `${String(hour).padStart(2, '0')}:00`

function windowText({ periodMs, fromHour, toHour, chunkserversMax }: ScrubWindow): string {
  if (periodMs === 0) return 'Nothing is scrubbed by itself; `lemnis scrub start` does all now.'
  const isAlways = fromHour === toHour || (fromHour === 0 && toHour === HOURS_MAX)
  const hours = isAlways ? 'at any hour' : `from ${clock(fromHour)} to ${clock(toHour)} UTC`
  const many = `${counted(chunkserversMax, 'chunkserver')} at once`
  return `Each disk is scrubbed once in ${duration(periodMs)}, ${many} at most; they begin ${hours}.`
}

async function show(session: Session): Promise<void> {
  const window = await session.ask(SHOW_SCRUB_WINDOW, {})
  session.io.result(window, () => windowText(window))
}

interface SetOptions {
  readonly from?: number
  readonly to?: number
  readonly every?: number
  readonly atOnce?: number
}

/** What is not named stays as it is. */
async function set(session: Session, options: SetOptions): Promise<void> {
  if (Object.keys(options).length === 0) {
    throw new CommandError(
      'Nothing was named that is to change, so nothing was changed.',
      'Name --from and --to, --every or --at-once; `lemnis scrub window` shows what is set.',
    )
  }
  const before = await session.ask(SHOW_SCRUB_WINDOW, {})
  const fromHour = options.from ?? before.fromHour
  const window = await session.ask(SET_SCRUB_WINDOW, {
    // The hour after the last one of a day is the first of the next.
    fromHour: fromHour % HOURS_MAX,
    toHour: options.to ?? before.toHour,
    periodMs: options.every ?? before.periodMs,
    chunkserversMax: options.atOnce ?? before.chunkserversMax,
  })
  session.io.result(window, () => windowText(window))
}

export function addScrubWindowCommands(scrub: Command): void {
  const about = 'when disks are scrubbed by themselves'
  const window = declare(scrub, 'window', about, 'scrub window').action(asking(show))
  declare(window, 'show', 'how often, in which hours, how many at once', 'scrub window').action(
    asking(show),
  )
  declare(
    window,
    'set',
    'change it; what is not named stays',
    'scrub window set --from 22:00 --to 06:00 --every 14d --at-once 2',
  )
    .option('--from <hour>', 'scrubs begin from this hour on, in UTC', hourArgument)
    .option('--to <hour>', 'to before this one; the same as --from for any hour', hourArgument)
    .option(
      '--every <duration>',
      'each disk once in this time; 0h for only when asked',
      durationArgument,
    )
    .option('--at-once <count>', 'chunkservers that scrub at the same time, at most', countArgument)
    .action(asking(set))
}
