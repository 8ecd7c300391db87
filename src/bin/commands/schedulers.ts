// Owns the commands about what plans operators: each scheduler on or off, and the even spread of leaders
// at once.

import type { Command } from 'commander'
import {
  LIST_SCHEDULERS,
  type Scheduler,
  type SchedulerName,
  SET_SCHEDULER,
  START_LEADER_BALANCE,
} from '../../format/control/operators.ts'
import { asking, choice, declare, family } from '../cli/program.ts'
import type { Session } from '../cli/session.ts'
import { ago, counted, duration } from '../cli/words.ts'

/** With what each of them is for. */
const DOES: Readonly<Record<SchedulerName, string>> = {
  recover: 'replaces replicas gone or damaged',
  replicas: 'gives copysets all their replicas',
  drain: 'empties marked chunkservers',
  balance: 'evens out copysets',
  leaders: 'evens out leaders',
  relieve: 'takes leaders off slow chunkservers',
  scrub: 'has disks verified, in their window',
}

/** What holds all of them is said once. */
function waitLines(schedulers: readonly Scheduler[]): string[] {
  const names = new Map<string, string[]>()
  for (const { name, waits } of schedulers) {
    for (const wait of waits) names.set(wait, [...(names.get(wait) ?? []), name])
  }
  const lines = Array.from(names, ([wait, who]) =>
    who.length === schedulers.length ? `For all: ${wait}.` : `${who.join(', ')} waits for ${wait}.`,
  )
  return lines.length === 0 ? [] : ['', ...lines]
}

async function list(session: Session): Promise<void> {
  const { io, env } = session
  const { schedulers } = await session.ask(LIST_SCHEDULERS, {})
  const nowMs = env.clock.wallMs()
  const rows = schedulers.map((one) => [
    one.name,
    one.on ? 'on' : io.paint('yellow', 'off'),
    duration(one.intervalMs),
    ago(one.lastMs ?? 0, nowMs),
    String(one.active),
    DOES[one.name],
  ])
  const head = ['SCHEDULER', '', 'EVERY', 'LAST', 'ACTIVE', 'DOES']
  io.result(schedulers, () => [io.table(head, rows), ...waitLines(schedulers)].join('\n'))
}

async function set(session: Session, name: SchedulerName, on: boolean): Promise<void> {
  const scheduler = await session.ask(SET_SCHEDULER, { name, on })
  session.io.result(scheduler, () =>
    on
      ? `${name} is on: it ${DOES[name]}.`
      : `${name} is off, until it is switched on again; what is under way goes on.`,
  )
}

async function balance(session: Session): Promise<void> {
  const reply = await session.ask(START_LEADER_BALANCE, {})
  session.io.result(reply, () =>
    reply.operators === 0
      ? 'Leaders are spread evenly as far as they may be; nothing was changed.'
      : `${counted(reply.operators, 'leader')} will go; \`lemnis operator list\` shows them.`,
  )
}

export function addSchedulerCommands(program: Command): void {
  const scheduler = family(program, 'scheduler', 'what plans moves: each can be switched off')
  declare(scheduler, 'list', 'all, with what they wait for', 'scheduler list').action(asking(list))
  for (const [word, on] of [
    ['on', true],
    ['off', false],
  ] as const) {
    declare(scheduler, `${word}`, `switch one ${word}`, `scheduler ${word} balance`)
      .addArgument(choice('<name>', Object.keys(DOES)))
      .action(asking((session: Session, name: SchedulerName) => set(session, name, on)))
  }
  const leader = family(program, 'leader', 'which replicas answer')
  declare(leader, 'balance', 'spread them evenly now, not one by one', 'leader balance').action(
    asking(balance),
  )
}
