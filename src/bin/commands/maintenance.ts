// Owns the commands about maintenance: while it lasts nothing is moved, and nobody's silence counts.

import { hostname, userInfo } from 'node:os'
import type { Command } from 'commander'
import { STATUS } from '../../format/control/mds.ts'
import {
  END_MAINTENANCE,
  type Maintenance,
  SET_MAINTENANCE,
} from '../../format/control/operators.ts'
import { asking, declare, family } from '../cli/program.ts'
import type { Session } from '../cli/session.ts'
import { durationArgument, left } from '../cli/words.ts'

const NONE = 'No maintenance is under way.'

function maintenanceText({ untilMs, reason, by }: Maintenance, nowMs: number): string {
  return `ends ${left(untilMs, nowMs)}, by ${by}: ${reason}`
}

interface OnOptions {
  readonly for: number
  readonly reason: string
}

async function on(session: Session, options: OnOptions): Promise<void> {
  const nowMs = session.env.clock.wallMs()
  const maintenance = await session.ask(SET_MAINTENANCE, {
    untilMs: nowMs + options.for,
    reason: options.reason,
    by: `${userInfo().username}@${hostname()}`.slice(0, 128),
  })
  session.io.result(
    maintenance,
    () =>
      `Maintenance ${maintenanceText(maintenance, nowMs)}.\n` +
      'Nothing is moved meanwhile, and whoever is away is waited for; it ends by itself.',
  )
}

async function off(session: Session): Promise<void> {
  await session.ask(END_MAINTENANCE, {})
  session.io.result({}, () => 'Maintenance has ended; what has to move moves again.')
}

async function show(session: Session): Promise<void> {
  const { maintenance } = await session.ask(STATUS, {})
  const nowMs = session.env.clock.wallMs()
  session.io.result(maintenance ?? null, () =>
    maintenance === undefined ? NONE : `Maintenance ${maintenanceText(maintenance, nowMs)}.`,
  )
}

export function addMaintenanceCommands(program: Command): void {
  const maintenance = family(
    program,
    'maintenance',
    'work on machines without anything being moved',
  )
  declare(
    maintenance,
    'on',
    'begin it, or set a new end and reason',
    "maintenance on --for 2h --reason 'new kernel in rack1'",
  )
    .requiredOption('--for <duration>', 'how long at most', durationArgument)
    .requiredOption('--reason <text>', 'for whoever looks at the status')
    .action(asking(on))
  declare(maintenance, 'off', 'end it now', 'maintenance off').action(asking(off))
  declare(maintenance, 'show', 'until when, by whom and why', 'maintenance show').action(
    asking(show),
  )
}
