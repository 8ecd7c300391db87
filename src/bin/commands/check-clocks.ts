// Owns the check of clocks: how far the wall clock of each role's host is from that of this host, as
// exactly as one question and its answer can tell. Leases do not hang on wall clocks; what people read
// does: times in logs, the end of a maintenance, when deleted volumes are gone for good.

import { askEach, askJson } from '../cli/http.ts'
import { type Level, type Outcome, type Row, worst, worstFirst } from '../cli/outcome.ts'
import { type HttpRole, httpRoles } from '../cli/roles.ts'
import type { Session } from '../cli/session.ts'
import { counted, duration } from '../cli/words.ts'

const WARNING_MS = 500
const ERROR_MS = 30_000

interface Offset {
  /** Ahead of this host's, at least and at most. */
  readonly leastMs: number
  readonly mostMs: number
}

/** Its clock was read at some moment between question and answer (as in Cristian's algorithm). */
async function offsetOf({ http }: HttpRole, nowMs: () => number): Promise<Offset> {
  const sentMs = nowMs()
  const { wallMs } = await askJson<{ readonly wallMs?: number }>(http, '/healthz')
  if (wallMs === undefined) throw new Error('it is of a version that does not tell')
  return { leastMs: wallMs - nowMs(), mostMs: wallMs - sentMs }
}

/** Only what is sure: an offset that the way of the answer may explain is none. */
export function judgeOffset({ leastMs, mostMs }: Offset): Level {
  const sureMs = Math.max(0, leastMs, -mostMs)
  if (sureMs >= ERROR_MS) return 'error'
  return sureMs >= WARNING_MS ? 'warning' : 'ok'
}

export async function checkClocks(session: Session): Promise<Outcome> {
  const nowMs = (): number => session.env.clock.wallMs()
  const asked = await askEach(await httpRoles(session), (role) => offsetOf(role, nowMs))
  const rows = asked.map(({ role, answer, why }): Row => {
    if (answer === null) return { level: 'warning', cells: [role.name, role.http, '-', '-', why] }
    const middle = (answer.leastMs + answer.mostMs) / 2
    const bound = (answer.mostMs - answer.leastMs) / 2
    const level = judgeOffset(answer)
    const offset = `${middle < 0 ? '-' : '+'}${duration(Math.abs(middle))}`
    const says = level === 'ok' ? 'as here' : 'set it by NTP on that host, or on this one'
    return { level, cells: [role.name, role.http, offset, duration(Math.ceil(bound)), says] }
  })
  const silent = asked.filter(({ answer }) => answer === null).length
  const off = rows.filter(({ level }) => level !== 'ok').length - silent
  const found = [
    off === 0 ? 'all clocks that answer are as here' : `${counted(off, 'clock')} not as here`,
    ...(silent === 0 ? [] : [`${silent} of them silent`]),
  ]
  return {
    level: rows.length === 0 ? 'unknown' : worst(rows.map(({ level }) => level)),
    says: [`${counted(rows.length, 'role')} asked`, ...found].join(', '),
    head: ['ROLE', 'HTTP', 'OFFSET', 'UP TO', 'WHAT'],
    rows: worstFirst(rows),
  }
}
