// Owns the commands about the work that the MDS gives itself: operators, each one change of one copyset.

import type { Command } from 'commander'
import { CANCEL_OPERATOR, type Operator, SHOW_OPERATOR } from '../../format/control/operators.ts'
import { CommandError } from '../cli/failure.ts'
import { allOperators } from '../cli/pages.ts'
import { asking, declare, family } from '../cli/program.ts'
import type { Session } from '../cli/session.ts'
import { countArgument } from '../cli/words.ts'
import { operatorFacts, operatorTable } from './operator-text.ts'

interface ListOptions {
  readonly all?: boolean
  readonly ended?: boolean
}

async function list(session: Session, { all, ended }: ListOptions): Promise<void> {
  const { io, env } = session
  const state = all === true ? 'all' : ended === true ? 'ended' : 'active'
  const operators = await allOperators(session, state)
  const none = {
    all: 'Nothing moves, and nothing has moved lately.',
    ended: 'None has ended lately.',
  }
  io.result(operators, () => {
    if (operators.length > 0) return operatorTable(io, operators, env.clock.wallMs())
    return state === 'active'
      ? 'Nothing moves; `lemnis operator list --ended` shows what has moved.'
      : none[state]
  })
}

async function show(session: Session, id: number): Promise<void> {
  const { io, env } = session
  const operator = await session.ask(SHOW_OPERATOR, { id })
  io.result(operator, () => operatorFacts(io, operator, env.clock.wallMs()))
}

async function cancel(session: Session, ids: readonly number[], all: boolean): Promise<void> {
  const wanted = all ? (await allOperators(session, 'active')).map(({ id }) => id) : ids
  if (wanted.length === 0 && !all) {
    throw new CommandError(
      'No operator was named; nothing was changed.',
      'Give ids of `lemnis operator list`, or --all.',
    )
  }
  const operators: Operator[] = []
  for (const id of wanted) operators.push(await session.ask(CANCEL_OPERATOR, { id }))
  session.io.result(operators, () =>
    operators.length === 0
      ? 'Nothing moves, so there was nothing to cancel.'
      : operators
          .map(({ id, copyset }) => `${id} is cancelled; copyset ${copyset} stays as it is.`)
          .join('\n'),
  )
}

export function addOperatorCommands(program: Command): void {
  const operator = family(program, 'operator', 'what moves, and what has moved')
  declare(operator, 'list', 'what moves, where to and why', 'operator list --all')
    .option('--ended', 'those that have ended, as far as they are kept')
    .option('--all', 'both')
    .action(asking(list))
  declare(operator, 'show <id>', 'one, with how it goes on', 'operator show 12').action(
    asking((session: Session, id: string) => show(session, countArgument(id))),
  )
  declare(
    operator,
    'cancel [ids...]',
    'give some up; they may be planned again',
    'operator cancel 12',
  )
    .option('--all', 'everything that moves')
    .action(
      asking((session: Session, ids: string[], { all }: { all?: boolean }) =>
        cancel(session, ids.map(countArgument), all === true),
      ),
    )
}
