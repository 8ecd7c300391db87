// Owns the commands about pools.

import type { Command } from 'commander'
import { CREATE_POOL } from '../../format/control/mds.ts'
import { GROW_POOL, REMOVE_POOL } from '../../format/control/topology.ts'
import { confirm } from '../cli/confirm.ts'
import { asking, declare, family } from '../cli/program.ts'
import type { Session } from '../cli/session.ts'
import { countArgument, counted } from '../cli/words.ts'
import { list, show } from './pool-show.ts'

interface CreateOptions {
  readonly replicas: number
  readonly copysets: number
  readonly zones?: readonly string[]
}

async function create(
  session: Session,
  given: string | undefined,
  options: CreateOptions,
): Promise<void> {
  const { replicas, copysets: wanted, zones } = options
  const name = given ?? 'default'
  const { copysets } = await session.ask(CREATE_POOL, {
    name,
    replicas,
    copysets: wanted,
    ...(zones === undefined ? {} : { zones: [...zones] }),
  })
  session.io.result(
    { name, replicas, copysets },
    () => `${name}: ${copysets} copysets of ${replicas} replicas.`,
  )
}

async function grow(session: Session, name: string, options: { copysets: number }): Promise<void> {
  const reply = await session.ask(GROW_POOL, { name, copysets: options.copysets })
  session.io.result(reply, () =>
    reply.added === 0
      ? `${name} has enough with ${counted(reply.copysets, 'copyset')}; nothing was changed.`
      : `${name}: ${reply.added} more, ${counted(reply.copysets, 'copyset')} now.`,
  )
}

async function remove(session: Session, name: string, { yes }: { yes?: boolean }): Promise<void> {
  if (yes !== true && !(await confirm(`Remove the pool ${name} with its copysets?`))) {
    session.io.note('Nothing was changed.')
    return
  }
  const reply = await session.ask(REMOVE_POOL, { name })
  session.io.result(
    { name, ...reply },
    () => `${name} is going, with ${counted(reply.copysets, 'copyset')}; its space comes back.`,
  )
}

const zonesArgument = (text: string): string[] => text.split(',').map((zone) => zone.trim())

export function addPoolCommands(program: Command): void {
  const pool = family(program, 'pool', 'sets of chunkservers that hold volumes together')
  declare(
    pool,
    'create [name]',
    'lay copysets over the chunkservers that are registered, one replica in a zone',
    'pool create --replicas 3',
  )
    .option('--replicas <count>', 'copies of all data', countArgument, 3)
    .option('--copysets <count>', 'how many; 0 chooses by the chunkservers', countArgument, 0)
    .option('--zones <names>', 'only these, by commas', zonesArgument)
    .action(asking(create))
  declare(pool, 'list', 'all, with how full they are', 'pool list').action(asking(list))
  declare(pool, 'show <name>', 'one, with its part of each zone', 'pool show default').action(
    asking(show),
  )
  declare(
    pool,
    'grow <name>',
    'more copysets, as after many chunkservers were added',
    'pool grow default',
  )
    .option('--copysets <count>', 'how many more; 0 chooses by the chunkservers', countArgument, 0)
    .action(asking(grow))
  declare(pool, 'remove <name>', 'remove one without volumes', 'pool remove old')
    .option('--yes', 'do not ask')
    .action(asking(remove))
}
