// Owns the commands about copysets: list, show, and the check of their replicas against each other.

import type { Command } from 'commander'
import { asking, declare, family } from '../cli/program.ts'
import { withProgress } from '../cli/progress.ts'
import type { Session } from '../cli/session.ts'
import { countArgument } from '../cli/words.ts'
import { checkCopyset } from './copyset-check.ts'
import { copysetsOf, list, show } from './copyset-show.ts'
import { checkText, isWrong } from './copyset-text.ts'

async function check(
  session: Session,
  ids: readonly number[],
  options: { repair?: boolean },
): Promise<boolean> {
  const copysets = await copysetsOf(session, ids)
  const results = await withProgress(session.io, 'checking', copysets, (copyset) =>
    checkCopyset(session, copyset, options.repair === true),
  )
  session.io.result(results, () => checkText(session.io, results))
  return isWrong(results)
}

export function addCopysetCommands(program: Command): void {
  const copyset = family(program, 'copyset', 'groups of replicas that hold the chunks')
  declare(copyset, 'list', 'all, with their health', 'copyset list').action(asking(list))
  declare(copyset, 'show <id>', 'one, with its members', 'copyset show 3').action(
    asking((session: Session, id: string) => show(session, countArgument(id))),
  )
  declare(
    copyset,
    'check [ids...]',
    'read all replicas from disk, verify and compare them',
    'copyset check --repair',
  )
    .option('--repair', 'repair what differs, from the good replicas')
    .action(
      asking((session: Session, ids: string[], options: { repair?: boolean }) =>
        check(session, ids.map(countArgument), options),
      ),
    )
}
