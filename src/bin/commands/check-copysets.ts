// Owns the check of copysets by what their members reported last; `lemnis copyset check` reads the data.

import type { Copyset } from '../../format/control/parts.ts'
import { type Level, type Outcome, worst, worstFirst } from '../cli/outcome.ts'
import { allCopysets } from '../cli/pages.ts'
import type { Session } from '../cli/session.ts'
import { counted } from '../cli/words.ts'

const VERDICTS: Readonly<Record<Copyset['health'], readonly [Level, string]>> = {
  ok: ['ok', 'all members serve'],
  moving: ['ok', 'a replica is being built'],
  degraded: ['warning', 'a member is away or lags; it is served by the others'],
  broken: ['error', 'no quorum: I/O waits until the members that are away come back'],
  unknown: ['unknown', 'not reported yet'],
}

const WORDS: readonly (readonly [Copyset['health'], string])[] = [
  ['broken', 'without quorum'],
  ['unknown', 'not reported yet, look again in some seconds'],
  ['degraded', 'a replica short'],
]

export async function checkCopysets(session: Session): Promise<Outcome> {
  const all = await allCopysets(session, [])
  const head = ['COPYSET', 'POOL', 'MEMBERS', 'LEADER', 'WHAT']
  if (all.length === 0) {
    const says = 'There is no copyset; `lemnis pool create` makes them.'
    return { level: 'warning', says, head, rows: [] }
  }
  const rows = all.map((copyset) => {
    const [level, says] = VERDICTS[copyset.health]
    const members = copyset.members.map(({ chunkserver }) => chunkserver).join(' ')
    const leader = copyset.leader === 0 ? '-' : String(copyset.leader)
    return { level, cells: [String(copyset.id), copyset.pool, members, leader, says] }
  })
  const some = (health: Copyset['health']): number =>
    all.filter((copyset) => copyset.health === health).length
  const found = WORDS.filter(([health]) => some(health) > 0).map(
    ([health, words]) => `${some(health)} ${words}`,
  )
  const what = counted(all.length, 'copyset')
  return {
    level: worst(rows.map(({ level }) => level)),
    says: `${what}: ${found.join(', ') || 'all served by all members'}`,
    head,
    rows: worstFirst(rows),
  }
}
