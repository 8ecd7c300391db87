// Owns what `lemnis copyset list` and `show` say.

import type { Copyset } from '../../format/control/parts.ts'
import { CommandError } from '../cli/failure.ts'
import type { Io } from '../cli/io.ts'
import { allCopysets } from '../cli/pages.ts'
import type { Session } from '../cli/session.ts'
import { size } from '../cli/words.ts'

function health(io: Io, copyset: Copyset): string {
  if (copyset.health === 'ok') return copyset.health
  return io.paint(copyset.health === 'broken' ? 'red' : 'yellow', copyset.health)
}

export async function copysetsOf(session: Session, ids: readonly number[]): Promise<Copyset[]> {
  const copysets = await allCopysets(session, ids)
  const missing = ids.filter((id) => !copysets.some((copyset) => copyset.id === id))
  if (missing.length === 0) return copysets
  throw new CommandError(
    `There is no copyset ${missing.join(', ')}.`,
    'See `lemnis copyset list` for those that there are.',
  )
}

export async function list(session: Session): Promise<void> {
  const copysets = await copysetsOf(session, [])
  const row = (copyset: Copyset): string[] => [
    String(copyset.id),
    copyset.pool,
    health(session.io, copyset),
    copyset.members.map((member) => member.chunkserver).join(' '),
    copyset.leader === 0 ? '-' : String(copyset.leader),
    String(copyset.chunks),
    size(copyset.usedBytes),
  ]
  const head = ['ID', 'POOL', 'HEALTH', 'CHUNKSERVERS', 'LEADER', 'CHUNKS', 'USED']
  session.io.result(copysets, () =>
    copysets.length === 0
      ? 'No copysets yet; `lemnis pool create` makes them.'
      : session.io.table(head, copysets.map(row)),
  )
}

export async function show(session: Session, id: number): Promise<void> {
  const [copyset] = (await copysetsOf(session, [id])) as [Copyset]
  const { io } = session
  const member = (what: string) => (m: Copyset['members'][number]) => [
    String(m.chunkserver),
    m.chunkserver === copyset.leader ? 'leader' : what,
    m.zone,
    m.address,
    String(m.replica),
  ]
  const rows = [
    ...copyset.members.map(member('follower')),
    ...copyset.candidates.map(member('being brought up')),
  ]
  io.result(copyset, () =>
    [
      io.facts([
        ['id', String(copyset.id)],
        ['health', health(io, copyset)],
        ['pool', copyset.pool],
        ['term, epoch', `${copyset.term}, ${copyset.epoch}`],
        ['chunks', `${copyset.chunks}, ${size(copyset.usedBytes)}`],
      ]),
      '',
      io.table(['CHUNKSERVER', 'ROLE', 'ZONE', 'ADDRESS', 'REPLICA'], rows),
    ].join('\n'),
  )
}
