// Owns the number of replicas: a copyset with fewer members than its pool says gets one more, one
// with more loses one, one at a time. Invariants: the new member is in a zone of its own; taking one
// away never leaves fewer zones than another choice would, nor a copyset without a quorum of sound
// members.

import type { Obstacle, Plan, PlannedOperator } from './operator.ts'
import { NOWHERE, type Pass } from './pass.ts'
import { bestPlace } from './place.ts'
import { isGone, quorumOf } from './view.ts'

export function planReplicas(pass: Pass): Plan {
  const operators: PlannedOperator[] = []
  const waiting = new Map<Obstacle, number>()
  for (const index of wrongOnes(pass)) {
    const result = mend(pass, index)
    if (typeof result === 'string') waiting.set(result, (waiting.get(result) ?? 0) + 1)
    else operators.push(pass.begin(index, result))
  }
  return { operators, waiting }
}

/** Those with too few first, the fewest of all first; then in order of the view. */
function wrongOnes(pass: Pass): number[] {
  const excess: number[] = []
  const wrong: number[] = []
  pass.view.copysets.forEach((copyset, index) => {
    excess.push(copyset.members.length - pass.replicasOf(copyset))
    if (excess[index] !== 0 && !pass.isTaken(copyset)) wrong.push(index)
  })
  return wrong.sort((a, b) => (excess[a] as number) - (excess[b] as number) || a - b)
}

function mend(pass: Pass, index: number): PlannedOperator | Obstacle {
  const copyset = pass.copyset(index)
  const { id, members, leader } = copyset
  const isTooFew = members.length < pass.replicasOf(copyset)
  const priority = isTooFew ? 'high' : 'normal'
  if (pass.soundOf(index) < quorumOf(members.length)) return 'no-quorum'
  if (!pass.hasMoveLeft(priority)) return 'limit'
  if (!pass.canMoveAt(pass.position(leader), priority)) return 'limit'
  if (!isTooFew) {
    const from = leastMissed(pass, index)
    return { kind: 'remove', copyset: id, from, why: 'too-many', priority }
  }
  const to = bestPlace(pass, index, NOWHERE, priority)
  if (typeof to === 'string') return to
  return { kind: 'add', copyset: id, to: pass.at(to).id, why: 'too-few', priority }
}

/**
 * Whose replica is worth least: not sound, then on a chunkserver that is drained, then in a zone
 * with another member, then where it is slow, then where there is most for what is due, the
 * leader's last.
 */
function leastMissed(pass: Pass, index: number): number {
  const copyset = pass.copyset(index)
  const places = pass.members(index)
  const zoneOf = (place: number): string => (place === NOWHERE ? '' : pass.at(place).zone)
  const zones = Array.from(places, zoneOf)
  const worths = copyset.members.map((id, i) => {
    const place = places[i] as number
    if (place === NOWHERE || isGone(pass.at(place))) return [0]
    const { isDraining, isSlow } = pass.at(place)
    const isAlone = zones.filter((zone) => zone === zones[i]).length === 1
    const fill = (pass.copysetsOf[place] as number) / Math.max(1, pass.due(place))
    return [
      pass.isSound(copyset, place) ? 2 : 1,
      isDraining ? 0 : 1,
      isAlone ? 1 : 0,
      isSlow ? 0 : 1,
      -fill,
      id === copyset.leader ? 1 : 0,
    ]
  })
  let least = 0
  for (let i = 1; i < worths.length; i++) {
    if (compare(worths[i] as number[], worths[least] as number[]) < 0) least = i
  }
  return copyset.members[least] as number
}

function compare(a: readonly number[], b: readonly number[]): number {
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    const difference = (a[i] as number) - (b[i] as number)
    if (difference !== 0) return difference
  }
  return 0
}
