// Owns the decision which segments stay that this disk does not need any more, because a replica elsewhere
// has yet to get entries of them. Without that a replica that is brought up under load never arrives: while
// its state travels, the log that goes on from there would go. Pure. What stays is only not forgotten
// and not reused: on the disk it counts as free already, so it can go at any moment.

import type { GroupLog } from './group-log.ts'

/** Who knows what replicas elsewhere have yet to get from this log. */
export interface LogHolder {
  /** Whether the disk has room for what only others need. */
  mayHold(): boolean
  /** The first entry of the group that a replica elsewhere has yet to get; Infinity without one. */
  neededFrom(group: number): number
}

/**
 * The oldest segment that stays: `boundary`, before which this disk needs none, or one of `heldMax` before
 * it. What a replica would get without its beginning is useless to it.
 */
export function heldFrom(
  groups: Iterable<GroupLog>,
  boundary: number,
  holder: LogHolder | null,
  heldMax: number,
): number {
  if (holder?.mayHold() !== true) return boundary
  let from = boundary
  for (const log of groups) {
    const needed = log.segmentIfThere(holder.neededFrom(log.id))
    if (needed >= boundary - heldMax) from = Math.min(from, needed)
  }
  return from
}
