// Owns the commands about chunkservers: looking at them, and taking them out of service.

import type { Command } from 'commander'
import { asking, declare } from '../cli/program.ts'
import type { Session } from '../cli/session.ts'
import { countArgument } from '../cli/words.ts'
import { clearSlow, drainChunkserver, removeChunkserver } from './chunkserver-actions.ts'
import { list, show } from './chunkserver-show.ts'

/** `parent` is the role's own command: `lemnis chunkserver` runs one, with a word after it looks. */
export function addChunkserverCommands(parent: Command): void {
  declare(parent, 'list', 'all, with their state and space', 'chunkserver list').action(
    asking(list),
  )
  const onOne = (usage: string, does: string, example: string): Command =>
    declare(parent, `${usage} <id>`, does, `chunkserver ${example}`)
  onOne('show', 'one, with its disk and traffic', 'show 2').action(
    asking((session: Session, id: string) => show(session, countArgument(id))),
  )
  onOne('drain', 'move everything off it; it retires when it is empty', 'drain 2 --wait')
    .option('--wait', 'go on until it is empty')
    .action(
      asking((session: Session, id: string, { wait }: { wait?: boolean }) =>
        drainChunkserver(session, countArgument(id), true, wait === true),
      ),
    )
  onOne('undrain', 'keep it in service after all', 'undrain 2').action(
    asking((session: Session, id: string) =>
      drainChunkserver(session, countArgument(id), false, false),
    ),
  )
  onOne('remove', 'forget one that is empty; its id does not come back', 'remove 2').action(
    asking((session: Session, id: string) => removeChunkserver(session, countArgument(id))),
  )
  onOne('clear-slow', 'count it as sound again, as after a repair', 'clear-slow 2').action(
    asking((session: Session, id: string) => clearSlow(session, countArgument(id))),
  )
}
