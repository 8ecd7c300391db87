// Owns who no longer leads: chunkservers that stand out by slowness, whose clients all wait for
// them, hand over everything they lead. That is not held up by how many leaders the others have,
// only by what they can take at once.

import { isFitToLead } from './leaders.ts'
import type { LeadOperator, Obstacle, Plan } from './operator.ts'
import { NOWHERE, type Pass } from './pass.ts'

export function planRelief(pass: Pass): Plan {
  const operators: LeadOperator[] = []
  const waiting = new Map<Obstacle, number>()
  if (!pass.view.chunkservers.some(({ isSlow }) => isSlow)) return { operators, waiting }
  pass.view.copysets.forEach((copyset, index) => {
    const leader = pass.position(copyset.leader)
    if (leader === NOWHERE || !pass.at(leader).isSlow || pass.isTaken(copyset)) return
    const result = relieve(pass, index)
    if (typeof result === 'string') waiting.set(result, (waiting.get(result) ?? 0) + 1)
    else {
      pass.begin(index, result)
      operators.push(result)
    }
  })
  return { operators, waiting }
}

/**
 * What takes a copyset's leadership from its leader: to the one of the others that leads least,
 * first of all to one that has been up for long.
 */
export function relieve(pass: Pass, index: number): LeadOperator | Obstacle {
  const copyset = pass.copyset(index)
  const leader = pass.position(copyset.leader)
  let obstacle: Obstacle = 'no-place'
  let best = NOWHERE
  const isOld = (place: number): boolean => pass.at(place).upMs >= pass.limits.leaderUpMinMs
  for (const place of pass.members(index)) {
    if (place === leader || !pass.isSound(copyset, place) || !isFitToLead(pass.at(place))) continue
    obstacle = 'limit'
    if (pass.handoversLeft() < 1 || pass.handoversLeftAt(place) < 1) continue
    if (best !== NOWHERE) {
      if (isOld(place) < isOld(best)) continue
      const leadsMore = (pass.leadsOf[place] as number) >= (pass.leadsOf[best] as number)
      if (isOld(place) === isOld(best) && leadsMore) continue
    }
    best = place
  }
  if (best === NOWHERE) return obstacle
  const { id, isSlow } = pass.at(leader)
  const why = isSlow ? 'slow' : 'drain'
  const priority = isSlow ? 'high' : 'normal'
  return { kind: 'lead', copyset: copyset.id, from: id, to: pass.at(best).id, why, priority }
}
