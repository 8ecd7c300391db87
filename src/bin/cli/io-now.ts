// Owns how much I/O the cluster does now: the counters of all chunkservers, looked at twice.

import type { Chunkserver } from '../../format/control/parts.ts'
import { askEach, askMetrics } from './http.ts'
import { type HttpRole, roleOf } from './roles.ts'
import type { Session } from './session.ts'

/** Long enough for a figure, short enough for a person. */
const BETWEEN_MS = 500
/** More would take longer to ask than the figure is worth; Prometheus has it. */
const CHUNKSERVERS_MAX = 100

const COUNTERS = [
  'chunkserver_reads_total',
  'chunkserver_writes_total',
  'chunkserver_read_bytes_total',
  'chunkserver_written_bytes_total',
] as const

/** Of clients: replication is not in it. */
export interface IoNow {
  readonly readsPerSecond: number
  readonly writesPerSecond: number
  readonly readBytesPerSecond: number
  readonly writtenBytesPerSecond: number
}

interface Sample {
  readonly atMs: number
  readonly values: Readonly<Record<(typeof COUNTERS)[number], number>>
}

/** Null when it can't be said: none answers, or there are too many to ask. */
export async function askIo(
  session: Session,
  chunkservers: readonly Chunkserver[],
): Promise<IoNow | null> {
  const { clock } = session.env
  const roles = chunkservers
    .filter(({ state, httpAddress }) => state === 'online' && httpAddress !== '')
    .map(roleOf)
  if (roles.length === 0 || roles.length > CHUNKSERVERS_MAX) return null
  const look = async ({ http }: HttpRole): Promise<Sample> => {
    const values = await askMetrics(http, COUNTERS)
    return { atMs: clock.monotonicMs(), values }
  }
  const before = (await askEach(roles, look)).filter(({ answer }) => answer !== null)
  if (before.length === 0) return null
  await new Promise<void>((resume) => clock.after(BETWEEN_MS, resume))
  const heard = before.map(({ role }) => role)
  const after = await askEach(heard, look)
  return rates(
    before.map(({ answer }) => answer),
    after.map(({ answer }) => answer),
  )
}

/** Of those that answered both times; one that was started anew in between counts from 0. */
export function rates(
  before: readonly (Sample | null)[],
  after: readonly (Sample | null)[],
): IoNow | null {
  const sums = COUNTERS.map(() => 0)
  let heard = 0
  before.forEach((first, i) => {
    const second = after[i]
    if (first === null || second === null || second === undefined) return
    heard++
    const seconds = (second.atMs - first.atMs) / 1000
    COUNTERS.forEach((name, n) => {
      sums[n] = (sums[n] ?? 0) + Math.max(0, second.values[name] - first.values[name]) / seconds
    })
  })
  if (heard === 0) return null
  const [reads = 0, writes = 0, readBytes = 0, writtenBytes = 0] = sums.map(Math.round)
  return {
    readsPerSecond: reads,
    writesPerSecond: writes,
    readBytesPerSecond: readBytes,
    writtenBytesPerSecond: writtenBytes,
  }
}
