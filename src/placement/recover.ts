// Owns the decision what to rebuild where, when chunkservers are gone or replicas are damaged.
// Invariants: a copyset without a quorum of sound members is left alone (a change could not commit,
// and what is left may be needed to save it); the new member is in a zone of its own. Whether anything
// may move at all has been asked before (guard.ts).

import type { MoveOperator, Obstacle, Plan } from './operator.ts'
import { NOWHERE, type Pass } from './pass.ts'
import { bestPlace } from './place.ts'
import { type ChunkserverView, type ClusterView, isGone, quorumOf } from './view.ts'

interface Rebuild extends MoveOperator {
  readonly why: 'offline' | 'disk-lost' | 'damaged'
}

export function planRecovery(pass: Pass): Plan {
  return new Recovery(pass).plan()
}

/** A copyset with something to mend. */
interface Wrong {
  readonly index: number
  readonly sound: number
}

class Recovery {
  readonly #pass: Pass
  readonly #silentHosts: ReadonlySet<string>
  readonly #operators: Rebuild[] = []
  readonly #waiting = new Map<Obstacle, number>()

  constructor(pass: Pass) {
    this.#pass = pass
    this.#silentHosts = silentHosts(pass.view, pass.limits.serverSilentMax)
  }

  plan(): Plan {
    for (const wrong of this.#mostAtRiskFirst()) {
      const obstacle = this.#mend(wrong)
      if (obstacle !== null) this.#waiting.set(obstacle, (this.#waiting.get(obstacle) ?? 0) + 1)
    }
    return { operators: this.#operators, waiting: this.#waiting }
  }

  /**
   * The fewest sound members first, then in order of the view. One with more members than it should
   * have needs no new ones: that is for the plan of replica counts.
   */
  #mostAtRiskFirst(): Wrong[] {
    const pass = this.#pass
    const wrong: Wrong[] = []
    pass.view.copysets.forEach((copyset, index) => {
      const sound = pass.soundOf(index)
      if (sound === copyset.members.length || pass.isTaken(copyset)) return
      if (copyset.members.length > pass.replicasOf(copyset)) return
      wrong.push({ index, sound })
    })
    return wrong.sort((a, b) => a.sound - b.sound || a.index - b.index)
  }

  /** Begins one move for the copyset, or says why not. */
  #mend({ index, sound }: Wrong): Obstacle | null {
    const pass = this.#pass
    const copyset = pass.copyset(index)
    if (pass.sparesLost && sound < quorumOf(copyset.members.length)) return 'no-quorum'
    if (!pass.hasMoveLeft('high')) return 'limit'
    if (!pass.canMoveAt(pass.position(copyset.leader), 'high')) return 'limit'
    let obstacle: Obstacle = 'no-place'
    for (const from of copyset.members) {
      const place = pass.position(from)
      if (pass.isSound(copyset, place)) continue
      const result = this.#replace(index, from, place)
      if (result === null) return null
      obstacle = result
    }
    return obstacle
  }

  #replace(index: number, from: number, place: number): Obstacle | null {
    const pass = this.#pass
    const chunkserver = place === NOWHERE ? null : pass.at(place)
    if (chunkserver !== null && !isGone(chunkserver)) return this.#renew(index, from, place)
    const isKept = chunkserver?.isLost === false
    if (isKept && !chunkserver.isDraining && this.#silentHosts.has(hostName(chunkserver))) {
      return 'host-away'
    }
    const to = bestPlace(pass, index, place, 'high')
    if (typeof to === 'string') return to
    return this.#begin(index, from, to, isKept ? 'offline' : 'disk-lost')
  }

  /**
   * The disk serves, only this replica is damaged: it is made anew in its place, unless it would
   * have to leave there soon and has somewhere to go.
   */
  #renew(index: number, from: number, place: number): Obstacle | null {
    const pass = this.#pass
    if (pass.at(place).isDraining) {
      const to = bestPlace(pass, index, place, 'high')
      if (to !== 'no-place') return to === 'limit' ? to : this.#begin(index, from, to, 'damaged')
    }
    if (!pass.canMoveAt(place, 'high')) return 'limit'
    return this.#begin(index, from, place, 'damaged')
  }

  #begin(index: number, from: number, to: number, why: Rebuild['why']): null {
    const { id: copyset } = this.#pass.copyset(index)
    const operator: Rebuild = {
      kind: 'move',
      copyset,
      from,
      to: this.#pass.at(to).id,
      why,
      priority: 'high',
    }
    this.#pass.begin(index, operator)
    this.#operators.push(operator)
    return null
  }
}

/** Servers where so many are silent that it is the host. */
function silentHosts(view: ClusterView, silentMax: number): Set<string> {
  const silent = new Map<string, number>()
  for (const chunkserver of view.chunkservers) {
    if (chunkserver.presence === 'online' || chunkserver.isLost) continue
    const name = hostName(chunkserver)
    silent.set(name, (silent.get(name) ?? 0) + 1)
  }
  const hosts = [...silent].filter(([, count]) => count >= silentMax)
  return new Set(hosts.map(([name]) => name))
}

function hostName({ pool, zone, server }: ChunkserverView): string {
  return `${pool}/${zone}/${server}`
}
