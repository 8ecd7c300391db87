// Owns how much faster than its rate a state travels that follows hard upon another one for the same
// replica: twice as fast as that one. The log went on beyond what is kept for others before the first had
// arrived; at the same rate the next would come too late as well, and so for ever. Pure.

import type { ReplicaId } from '../raft/types.ts'
import type { GroupId } from './replica-id.ts'

/** One that begins so long after the last has ended has nothing to do with that; others may go first. */
const CALM_MS = 600_000
/** As many times as the ceiling of a chunkserver's rate is its floor. */
const HASTE_MAX = 16

interface Row {
  haste: number
  endedMs: number
}

export class Hastes {
  readonly #rows = new Map<string, Row>()

  /** A state for the replica begins: how many times as fast as its rate. */
  begin(group: GroupId, to: ReplicaId, nowMs: number): number {
    for (const [key, { endedMs }] of this.#rows) {
      if (nowMs - endedMs > CALM_MS) this.#rows.delete(key)
    }
    const row = this.#rows.get(keyOf(group, to))
    return row === undefined ? 1 : Math.min(HASTE_MAX, 2 * row.haste)
  }

  /** All of it has arrived that began with `haste`. */
  ended(group: GroupId, to: ReplicaId, haste: number, nowMs: number): void {
    this.#rows.set(keyOf(group, to), { haste, endedMs: nowMs })
  }
}

/** What a piece sent in haste counts for, where `perSecond` is the rate and `mostPerSecond` its ceiling. */
export function hastedBytes(
  bytes: number,
  haste: number,
  perSecond: number,
  mostPerSecond: number,
): number {
  return bytes / Math.min(haste, Math.max(1, mostPerSecond / perSecond))
}

function keyOf(group: GroupId, to: ReplicaId): string {
  return `${group}/${to}`
}
