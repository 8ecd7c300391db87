// Owns the commands about pools.

import type { Command } from 'commander'
import { CREATE_POOL } from '../../format/control/mds.ts'
import { asking, declare, family } from '../cli/program.ts'
import type { Session } from '../cli/session.ts'
import { countArgument } from '../cli/words.ts'

interface CreateOptions {
  readonly replicas: number
  readonly copysets: number
}

async function create(session: Session, name: string, options: CreateOptions): Promise<void> {
  const { replicas, copysets: wanted } = options
  const { copysets } = await session.ask(CREATE_POOL, { name, replicas, copysets: wanted })
  session.io.result(
    { name, replicas, copysets },
    () => `${name}: ${copysets} copysets of ${replicas} replicas.`,
  )
}

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
    .action(
      asking((session: Session, name: string | undefined, options: CreateOptions) =>
        create(session, name ?? 'default', options),
      ),
    )
}
