// Owns the choice of a new place for one replica of a copyset. Invariants: the place may take data,
// in a zone where no other member is. It is the one that has least of what is due to it; of those
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
  const { pool } = pass.copyset(index)
  const stay = pass.others(index, leaving)
  const zones = Array.from(stay, (place) => pass.at(place).zone)
  const fits: number[] = []
  let isLimited = false
  pass.view.chunkservers.forEach((place, position) => {
    if (place.pool !== pool || position === leaving || !isUsable(place)) return
    if (zones.includes(place.zone)) return
    if (pass.canMoveAt(position, priority)) fits.push(position)
    else isLimited = true
  })
  if (fits.length === 0) return isLimited ? 'limit' : 'no-place'
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

/** What part of its due a chunkserver would have with `more` copysets. */
function fillOf(pass: Pass, place: number, more: number): number {
  return ((pass.copysetsOf[place] as number) + more) / Math.max(1, pass.due(place))
}
