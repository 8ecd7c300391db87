// Owns the commands about deleted volumes.

import type { Command } from 'commander'
import { EMPTY_TRASH } from '../../format/control/mds.ts'
import { confirm } from '../cli/confirm.ts'
import { allVolumes } from '../cli/pages.ts'
import { asking, declare, family } from '../cli/program.ts'
import type { Session } from '../cli/session.ts'
import { countArgument, counted } from '../cli/words.ts'
import { trashTable } from './volume-text.ts'

async function list(session: Session): Promise<void> {
  const volumes = await allVolumes(session, true)
  session.io.result(volumes, () => trashTable(session.io, volumes, session.env.clock.wallMs()))
}

interface EmptyOptions {
  readonly id?: number
  readonly yes?: boolean
}

async function empty(session: Session, { id, yes }: EmptyOptions): Promise<void> {
  const what = id === undefined ? 'everything in the recycle bin' : `the deleted volume ${id}`
  if (yes !== true && !(await confirm(`Delete ${what} for good?`))) {
    session.io.note('Nothing was changed.')
    return
  }
  const { volumes } = await session.ask(EMPTY_TRASH, id === undefined ? {} : { id })
  session.io.result(
    { volumes },
    () => `${counted(volumes, 'volume')} deleted for good; the space comes back in the background.`,
  )
}

export function addTrashCommands(program: Command): void {
  const trash = family(program, 'trash', 'deleted volumes, which can be restored for a while')
  declare(trash, 'list', 'what is in it', 'trash list').action(asking(list))
  declare(trash, 'empty', 'delete for good', 'trash empty --id 7')
    .option('--id <id>', 'only this one', countArgument)
    .option('--yes', 'do not ask')
    .action(asking(empty))
}
