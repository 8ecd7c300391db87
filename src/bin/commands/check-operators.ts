// Owns the check of what moves: what takes longer than it may, what failed lately, and what keeps the
// schedulers from their work.

import { STATUS, type Status } from '../../format/control/mds.ts'
import { LIST_SCHEDULERS, type Operator } from '../../format/control/operators.ts'
import { type Level, type Outcome, type Row, worst, worstFirst } from '../cli/outcome.ts'
import { allOperators } from '../cli/pages.ts'
import type { Session } from '../cli/session.ts'
import { ago } from '../cli/words.ts'
import { whatText } from './operator-text.ts'

/** Older failures are history: what they left was planned again since. */
const LATELY_MS = 3_600_000

function judge(
  { state, sinceMs, limitMs, endedMs, error, step }: Operator,
  nowMs: number,
): [Level, string] {
  if (state === 'failed' && nowMs - (endedMs ?? 0) < LATELY_MS) return ['warning', error ?? step]
  const isActive = endedMs === undefined
  if (isActive && nowMs - sinceMs > limitMs) return ['warning', `over its time: ${step}`]
  return ['ok', step]
}

/** Why nothing may begin to move; the guard of a later pass has maintenance among its reasons. */
function heldBy({ guard, maintenance }: Status): string | null {
  if (guard !== undefined) return guard.replace(/\.$/, '')
  return maintenance === undefined ? null : 'nothing moves: maintenance is on'
}

export async function checkOperators(session: Session): Promise<Outcome> {
  const nowMs = session.env.clock.wallMs()
  const [status, { schedulers }, operators] = await Promise.all([
    session.ask(STATUS, {}),
    session.ask(LIST_SCHEDULERS, {}),
    allOperators(session, 'all'),
  ])
  const isActive = ({ endedMs }: Operator): boolean => endedMs === undefined
  const rows = operators.flatMap((one): Row[] => {
    const [level, says] = judge(one, nowMs)
    if (level === 'ok' && !isActive(one)) return []
    const { id, copyset, sinceMs } = one
    const cells = [String(id), String(copyset), whatText(one), ago(sinceMs, nowMs), says]
    return [{ level, cells }]
  })
  const late = rows.filter(({ level }) => level !== 'ok').length
  const active = operators.filter(isActive).length
  const off = schedulers.filter(({ on }) => !on).map(({ name }) => name)
  const held = heldBy(status)
  const remarks = [
    ...(late > 0 ? [`${late} failed or late`] : []),
    ...(held === null ? [] : [held]),
    ...(off.length === 0 ? [] : [`switched off: ${off.join(', ')} (\`lemnis scheduler on\`)`]),
  ]
  const moves = active === 0 ? (held === null ? ['nothing moves'] : []) : [`${active} under way`]
  return {
    level: worst([...rows.map(({ level }) => level), ...remarks.map((): Level => 'warning')]),
    says: [...moves, ...remarks].join('; '),
    head: ['OPERATOR', 'COPYSET', 'DOES', 'SINCE', 'WHAT'],
    rows: worstFirst(rows),
  }
}
