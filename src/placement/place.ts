// Owns the choice of a new place for one replica of a copyset. Invariants: the place may take data,
// in a zone where no other member is, and is one where it could not be built before only if there is no
// other. It is the one that has least of what is due to it; of those
// that have about as little and are not above it then, the one that shares fewest copysets with the
// members that stay, which keeps scatter widths wide.

import type { Priority } from './operator.ts'
import type { Pass } from './pass.ts'
import { isUsable } from './view.ts'

/** Its position; 'limit' when all that would fit are busy. `leaving` may be NOWHERE. */
export function bestPlace(
  pass: Pass,
  index: number,
  leaving: number,
  priority: Priority,
): number | 'no-place' | 'limit' {
  const stay = pass.others(index, leaving)
  const { avoided = [] } = pass.copyset(index)
  let fits = fitting(pass, index, leaving, priority, avoided)
  if (fits === 'no-place' && avoided.length > 0) fits = fitting(pass, index, leaving, priority, [])
  if (typeof fits === 'string') return fits
  const emptiest = fits.reduce((a, b) => (fillOf(pass, b, 1) < fillOf(pass, a, 1) ? b : a))
  const leastFill = fillOf(pass, emptiest, 1)
  const pairs = pass.pairs()
  let best = emptiest
  let bestShared = Number.POSITIVE_INFINITY
  for (const place of fits) {
    // Within one copyset of the emptiest, and not above its due: balance finds nothing to mend.
    const isNear = fillOf(pass, place, 0) <= leastFill && fillOf(pass, place, 1) <= 1
    if (!isNear && fillOf(pass, place, 1) > leastFill) continue
    let shared = 0
    for (const other of stay) shared += pairs.shared(place, other)
    if (shared >= bestShared) continue
    best = place
    bestShared = shared
  }
  return best
}

/** Positions where it may go. */
function fitting(
  pass: Pass,
  index: number,
  leaving: number,
  priority: Priority,
  avoided: readonly number[],
): number[] | 'no-place' | 'limit' {
  const { pool } = pass.copyset(index)
  const zones = Array.from(pass.others(index, leaving), (place) => pass.at(place).zone)
  const fits: number[] = []
  let isLimited = false
  pass.view.chunkservers.forEach((place, position) => {
    if (place.pool !== pool || position === leaving || !isUsable(place)) return
    if (zones.includes(place.zone) || avoided.includes(place.id)) return
    if (pass.canMoveAt(position, priority)) fits.push(position)
    else isLimited = true
  })
  if (fits.length > 0) return fits
  return isLimited ? 'limit' : 'no-place'
}

/** What part of its due a chunkserver would have with `more` copysets. */
function fillOf(pass: Pass, place: number, more: number): number {
  return ((pass.copysetsOf[place] as number) + more) / Math.max(1, pass.due(place))
}
