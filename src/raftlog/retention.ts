// Owns the decision which segments of a log must stay: those with entries that no checkpoint covers, and,
// as far as there is room, those with entries that a replica elsewhere has yet to get. Without the latter
// a replica that is brought up under load never arrives: while its state travels, the log that goes on
// from there would go. Pure.

import type { GroupLog } from './group-log.ts'

/** Who knows what replicas elsewhere have yet to get from this log. */
export interface LogHolder {
  /** Whether the disk has room for what only others need. */
  mayHold(): boolean
  /** The first entry of the group that a replica elsewhere has yet to get; Infinity without one. */
  neededFrom(group: number): number
}

export interface Retained {
  /** The oldest segment that must stay. */
  readonly from: number
  /** The oldest that would have to if it were not for others; not before `from`. */
  readonly ownFrom: number
}

/** Of the segments up to `newest`; at most `heldMax` of them are kept for others alone. */
export function retained(
  groups: Iterable<GroupLog>,
  newest: number,
  holder: LogHolder | null,
  heldMax: number,
): Retained {
  const held = holder?.mayHold() === true ? holder : null
  let ownFrom = newest
  let from = newest
  for (const log of groups) {
    ownFrom = Math.min(ownFrom, log.pinnedSegment())
    if (held !== null) from = Math.min(from, log.segmentIfThere(held.neededFrom(log.id)))
  }
  return { from: Math.min(ownFrom, Math.max(from, ownFrom - heldMax)), ownFrom }
}
