// Owns the check of chunkservers: by what the MDS heard of them last, and by asking them: one that
// hangs is seen before the MDS misses it.

import type { Chunkserver } from '../../format/control/parts.ts'
import { askEach, askJson } from '../cli/http.ts'
import { type Level, type Outcome, type Row, worst, worstFirst } from '../cli/outcome.ts'
import { allChunkservers } from '../cli/pages.ts'
import { roleOf } from '../cli/roles.ts'
import type { Session } from '../cli/session.ts'
import { ago, counted } from '../cli/words.ts'

export async function inService(session: Session): Promise<Chunkserver[]> {
  return (await allChunkservers(session)).filter(({ state }) => state !== 'retired')
}

export const NONE: Outcome = {
  level: 'error',
  says: 'No chunkserver has registered; start some with `lemnis chunkserver`.',
  head: [],
  rows: [],
}

interface Healthz {
  readonly ok: boolean
  readonly reasons: readonly string[]
}

/** What is wrong with those that the MDS believes to be online, by asking them; '' for nothing. */
async function askThem(all: readonly Chunkserver[]): Promise<ReadonlyMap<number, string>> {
  const online = all.filter(({ state, httpAddress }) => state === 'online' && httpAddress !== '')
  const answers = await askEach(online.map(roleOf), ({ http }) =>
    askJson<Healthz>(http, '/healthz'),
  )
  return new Map(
    answers.map(({ answer, why }, i) => {
      const id = online[i]?.id ?? 0
      if (answer === null) return [id, `does not answer: ${why}; see \`lemnis waits\` and its host`]
      return [id, answer.ok ? '' : answer.reasons.join(' ')]
    }),
  )
}

function judgeServer(
  { state, slow, draining, damaged }: Chunkserver,
  trouble: string,
): [Level, string] {
  if (state === 'offline') return ['error', 'offline: its copysets are rebuilt elsewhere']
  if (state === 'unstable') return ['warning', 'not heard lately; its copysets have two replicas']
  if (trouble !== '') return ['warning', trouble]
  if (damaged > 0) return ['warning', `${counted(damaged, 'replica')} damaged, to be rebuilt`]
  if (slow !== undefined) return ['warning', slow.says]
  if (draining !== undefined) return ['warning', 'empties itself']
  return ['ok', 'online']
}

export async function checkChunkservers(session: Session): Promise<Outcome> {
  const all = await inService(session)
  if (all.length === 0) return NONE
  const troubles = await askThem(all)
  const nowMs = session.env.clock.wallMs()
  const rows = all.map((one): Row => {
    const [level, says] = judgeServer(one, troubles.get(one.id) ?? '')
    const { id, zone, server, lastHeartbeatMs } = one
    return { level, cells: [String(id), zone, server, ago(lastHeartbeatMs, nowMs), says] }
  })
  const bad = rows.filter(({ level }) => level !== 'ok').length
  const zones = new Set(all.map(({ zone }) => zone)).size
  const where = `${counted(all.length, 'chunkserver')} in ${counted(zones, 'zone')}`
  return {
    level: worst(rows.map(({ level }) => level)),
    says: bad === 0 ? `${where}, all online` : `${where}, ${bad} of them not well`,
    head: ['CHUNKSERVER', 'ZONE', 'SERVER', 'HEARD', 'WHAT'],
    rows: worstFirst(rows),
  }
}
