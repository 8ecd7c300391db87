// Owns how a chunkserver that is marked for removal empties itself: each of its replicas goes to the
// best place of another. What it leads it hands over first, as removing a leader costs an election.
// Invariants: none goes to one that is drained too, nor where two members would be in one zone; a
// copyset without a quorum of sound members is left alone.

import type { LeadOperator, MoveOperator, Obstacle, Plan } from './operator.ts'
import { NOWHERE, type Pass } from './pass.ts'
import { bestPlace } from './place.ts'
import { relieve } from './relieve.ts'
import { quorumOf } from './view.ts'

export function planDrain(pass: Pass): Plan {
  const operators: (MoveOperator | LeadOperator)[] = []
  const waiting = new Map<Obstacle, number>()
  if (!pass.view.chunkservers.some(({ isDraining }) => isDraining)) return { operators, waiting }
  for (const index of leavingOnes(pass)) {
    const result = leave(pass, index)
    if (typeof result === 'string') waiting.set(result, (waiting.get(result) ?? 0) + 1)
    else {
      pass.begin(index, result)
      operators.push(result)
    }
  }
  return { operators, waiting }
}

/** Copysets of full size with members that must leave: sick disks first, then most members. */
function leavingOnes(pass: Pass): number[] {
  const found: { index: number; rank: number }[] = []
  pass.view.copysets.forEach((copyset, index) => {
    let slow = 0
    let draining = 0
    for (const place of pass.members(index)) {
      if (!mustLeave(pass, place)) continue
      draining++
      if (pass.at(place).isSlow) slow++
    }
    if (draining === 0 || pass.isTaken(copyset)) return
    if (copyset.members.length !== pass.replicasOf(copyset)) return
    found.push({ index, rank: slow * copyset.members.length + draining })
  })
  found.sort((a, b) => b.rank - a.rank || a.index - b.index)
  return found.map(({ index }) => index)
}

function leave(pass: Pass, index: number): MoveOperator | LeadOperator | Obstacle {
  const { id: copyset, members, leader } = pass.copyset(index)
  const places = pass.members(index)
  const from = choose(pass, places)
  const isSlow = pass.at(from).isSlow
  const priority = isSlow ? 'high' : 'normal'
  if (heardOf(pass, index) < quorumOf(members.length)) return 'no-quorum'
  if (pass.position(leader) === from) {
    const handover = relieve(pass, index)
    if (handover !== 'no-place') return handover
  }
  if (!pass.hasMoveLeft(priority)) return 'limit'
  if (!pass.canMoveAt(pass.position(leader), priority)) return 'limit'
  const to = bestPlace(pass, index, from, priority)
  if (typeof to === 'string') return to
  const why = isSlow ? 'slow' : 'drain'
  return { kind: 'move', copyset, from: pass.at(from).id, to: pass.at(to).id, why, priority }
}

/**
 * Sound members that are heard: those that are silent for a short time may be back, but until then no
 * change commits, and one that is begun would only hold a place.
 */
function heardOf(pass: Pass, index: number): number {
  const copyset = pass.copyset(index)
  let heard = 0
  for (const place of pass.members(index)) {
    if (pass.isSound(copyset, place) && pass.at(place).presence === 'online') heard++
  }
  return heard
}

/** The sick one first, then the fullest: so that all that are drained are done together. */
function choose(pass: Pass, places: Int32Array): number {
  const rank = (place: number): number =>
    (pass.at(place).isSlow ? pass.view.copysets.length : 0) + (pass.copysetsOf[place] as number)
  let best = NOWHERE
  for (const place of places) {
    if (!mustLeave(pass, place)) continue
    if (best === NOWHERE || rank(place) > rank(best)) best = place
  }
  return best
}

function mustLeave(pass: Pass, place: number): boolean {
  return place !== NOWHERE && pass.at(place).isDraining
}
