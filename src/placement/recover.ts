// Owns the decision what to rebuild where, when chunkservers are gone or replicas are damaged: a
// pure function from what the MDS sees to the operators to begin now. One operator a copyset at a
// time. Invariants: a copyset without a quorum of sound members is left alone (a change could not
// commit, and what is left may be needed to save it); the new member is in a zone of its own; no
// more moves at once than the limits say; nothing moves while a whole zone is away, which is no
// failure of disks but of something that comes back.

import { must } from '../base/assert.ts'
import { Pairs } from './pairs.ts'
import {
  type ChunkserverView,
  type ClusterView,
  type CopysetView,
  isGone,
  isUsable,
  type Move,
  quorumOf,
} from './view.ts'

export interface RecoverLimits {
  /** Moves at once in the cluster. */
  readonly movesMax: number
  /** Moves at once that one chunkserver sends for, as leader, or receives. */
  readonly movesPerChunkserverMax: number
  /**
   * A server with this many silent chunkservers is left alone: it is the host that fails, not
   * disks.
   */
  readonly serverSilentMax: number
  /** A zone of fewer servers may be given up although it is away as a whole. */
  readonly zoneGuardServersMin: number
}

export interface PlannedMove extends Move {
  readonly why: 'offline' | 'disk-lost' | 'damaged'
}

/** Why something that is wrong is not being mended now. */
export type Obstacle = 'zone-away' | 'host-away' | 'no-quorum' | 'no-place' | 'limit'

export interface RecoverPlan {
  readonly moves: readonly PlannedMove[]
  /** Zones that are away as a whole, as `pool/zone`: nothing moves until they are back. */
  readonly zonesAway: readonly string[]
  /** How many copysets wait, by reason. */
  readonly waiting: ReadonlyMap<Obstacle, number>
}

export function planRecovery(view: ClusterView, limits: RecoverLimits): RecoverPlan {
  return new Planner(view, limits).plan()
}

/** Zones in which every chunkserver is silent; a lost disk is no silence. */
export function zonesAway(view: ClusterView, serversMin: number): string[] {
  const zones = new Map<string, { isAway: boolean; servers: Set<string> }>()
  for (const chunkserver of view.chunkservers) {
    if (chunkserver.isLost) continue
    const name = `${chunkserver.pool}/${chunkserver.zone}`
    let zone = zones.get(name)
    if (zone === undefined) {
      zone = { isAway: true, servers: new Set() }
      zones.set(name, zone)
    }
    zone.servers.add(chunkserver.server)
    if (chunkserver.presence === 'online') zone.isAway = false
  }
  const away: string[] = []
  for (const [name, { isAway, servers }] of zones) {
    if (isAway && servers.size >= serversMin) away.push(name)
  }
  return away.sort()
}

class Planner {
  readonly #view: ClusterView
  readonly #limits: RecoverLimits
  readonly #positions = new Map<number, number>()
  readonly #moving = new Set<number>()
  /** Moves by chunkserver, those of this plan included. */
  readonly #movesOf: number[]
  readonly #copysetsOf: number[]
  readonly #moves: PlannedMove[] = []
  readonly #waiting = new Map<Obstacle, number>()
  #pairs: Pairs | null = null

  constructor(view: ClusterView, limits: RecoverLimits) {
    this.#view = view
    this.#limits = limits
    view.chunkservers.forEach(({ id }, position) => {
      this.#positions.set(id, position)
    })
    this.#movesOf = view.chunkservers.map(() => 0)
    this.#copysetsOf = view.chunkservers.map(() => 0)
    for (const { members } of view.copysets) {
      for (const id of members) this.#count(this.#copysetsOf, id)
    }
    const leaders = new Map(view.copysets.map(({ id, leader }) => [id, leader]))
    for (const move of view.moves) {
      this.#moving.add(move.copyset)
      this.#count(this.#movesOf, move.to)
      this.#count(this.#movesOf, leaders.get(move.copyset) ?? 0)
      if (move.to !== move.from) this.#count(this.#copysetsOf, move.to)
    }
  }

  plan(): RecoverPlan {
    const away = zonesAway(this.#view, this.#limits.zoneGuardServersMin)
    const hosts = this.#silentHosts()
    for (const copyset of this.#mostAtRiskFirst()) {
      if (this.#moving.has(copyset.id) || copyset.isBusy) continue
      const obstacle = away.length > 0 ? 'zone-away' : this.#mend(copyset, hosts)
      if (obstacle !== null) this.#waiting.set(obstacle, (this.#waiting.get(obstacle) ?? 0) + 1)
    }
    return { moves: this.#moves, zonesAway: away, waiting: this.#waiting }
  }

  /** Only those with something to mend; the fewest sound members first, then by id. */
  #mostAtRiskFirst(): CopysetView[] {
    const { copysets } = this.#view
    const wrong = copysets.filter((copyset) => this.#soundOf(copyset) < copyset.members.length)
    return wrong.sort((a, b) => this.#soundOf(a) - this.#soundOf(b) || a.id - b.id)
  }

  #soundOf(copyset: CopysetView): number {
    let sound = 0
    for (const id of copyset.members) if (this.#isSound(copyset, id)) sound++
    return sound
  }

  #isSound(copyset: CopysetView, id: number): boolean {
    const chunkserver = this.#chunkserver(id)
    const isThere = chunkserver !== undefined && !isGone(chunkserver)
    return isThere && !copyset.damaged.includes(id)
  }

  /** Begins one move for the copyset, or says why not. */
  #mend(copyset: CopysetView, silentHosts: ReadonlySet<string>): Obstacle | null {
    const { members } = copyset
    if (this.#soundOf(copyset) < quorumOf(members.length)) return 'no-quorum'
    if (this.#moves.length + this.#view.moves.length >= this.#limits.movesMax) return 'limit'
    if (this.#isBusy(copyset.leader)) return 'limit'
    let obstacle: Obstacle = 'no-place'
    for (const from of members.filter((id) => !this.#isSound(copyset, id))) {
      const chunkserver = this.#chunkserver(from)
      if (chunkserver !== undefined && !isGone(chunkserver)) {
        // The disk serves, only this replica is damaged: it is made anew in its place.
        if (this.#isBusy(from)) obstacle = 'limit'
        else return this.#begin(copyset, { copyset: copyset.id, from, to: from, why: 'damaged' })
        continue
      }
      const isHostAway = chunkserver !== undefined && silentHosts.has(hostName(chunkserver))
      if (isHostAway && !chunkserver.isLost) {
        obstacle = 'host-away'
        continue
      }
      const to = this.#bestPlace(copyset, from)
      if (typeof to === 'string') obstacle = to
      else {
        const why = chunkserver?.isLost === false ? 'offline' : 'disk-lost'
        return this.#begin(copyset, { copyset: copyset.id, from, to, why })
      }
    }
    return obstacle
  }

  #begin(copyset: CopysetView, move: PlannedMove): null {
    this.#moves.push(move)
    this.#count(this.#movesOf, move.to)
    this.#count(this.#movesOf, copyset.leader)
    if (move.to !== move.from) {
      this.#count(this.#copysetsOf, move.to)
      const stay = copyset.members.filter((id) => id !== move.from)
      this.#sharedPairs().add(this.#placesOf([...stay, move.to]))
    }
    return null
  }

  /**
   * The usable chunkserver of a zone without a member that has the fewest copysets for its size; of
   * those that have about as many, the one that shares fewest with the members that stay, which
   * keeps scatter widths wide.
   */
  #bestPlace(copyset: CopysetView, from: number): number | 'no-place' | 'limit' {
    const stay = copyset.members.filter((id) => id !== from)
    const zones = new Set(stay.map((id) => this.#chunkserver(id)?.zone))
    const fits = this.#view.chunkservers.filter(
      (place) =>
        place.pool === copyset.pool &&
        place.id !== from &&
        isUsable(place) &&
        !zones.has(place.zone) &&
        !stay.includes(place.id),
    )
    if (fits.length === 0) return 'no-place'
    const free = fits.filter((place) => !this.#isBusy(place.id))
    if (free.length === 0) return 'limit'
    const capacityMax = Math.max(1, ...free.map((place) => place.capacityBytes))
    const loads = free.map((place) => {
      const share = Math.max(1, place.capacityBytes) / capacityMax
      return Math.ceil((this.#copysetsOf[this.#position(place.id)] as number) / share)
    })
    const loadMin = Math.min(...loads)
    const others = this.#placesOf(stay)
    let best: ChunkserverView | null = null
    let bestShared = Number.POSITIVE_INFINITY
    free.forEach((place, i) => {
      // Within one copyset of the least loaded: the numbers stay even to one.
      if ((loads[i] as number) > loadMin + 1) return
      const at = this.#position(place.id)
      let shared = 0
      for (const other of others) shared += this.#sharedPairs().shared(at, other)
      if (shared >= bestShared) return
      best = place
      bestShared = shared
    })
    return must(best as ChunkserverView | null, 'the least loaded is among the best').id
  }

  /** Servers where so many are silent that it is the host. */
  #silentHosts(): Set<string> {
    const silent = new Map<string, number>()
    for (const chunkserver of this.#view.chunkservers) {
      if (chunkserver.presence === 'online' || chunkserver.isLost) continue
      const name = hostName(chunkserver)
      silent.set(name, (silent.get(name) ?? 0) + 1)
    }
    const hosts = [...silent].filter(([, count]) => count >= this.#limits.serverSilentMax)
    return new Set(hosts.map(([name]) => name))
  }

  #isBusy(id: number): boolean {
    const position = this.#positions.get(id)
    if (position === undefined) return false
    return (this.#movesOf[position] as number) >= this.#limits.movesPerChunkserverMax
  }

  #count(counts: number[], id: number): void {
    const position = this.#positions.get(id)
    if (position !== undefined) counts[position] = (counts[position] as number) + 1
  }

  #chunkserver(id: number): ChunkserverView | undefined {
    const position = this.#positions.get(id)
    return position === undefined ? undefined : this.#view.chunkservers[position]
  }

  #position(id: number): number {
    return must(this.#positions.get(id), 'a chunkserver of the view')
  }

  #placesOf(ids: readonly number[]): number[] {
    return ids.flatMap((id) => this.#positions.get(id) ?? [])
  }

  /** Made when the first place is looked for: most passes look for none. */
  #sharedPairs(): Pairs {
    if (this.#pairs === null) {
      this.#pairs = new Pairs(this.#view.chunkservers.length)
      for (const { members } of this.#view.copysets) this.#pairs.add(this.#placesOf(members))
    }
    return this.#pairs
  }
}

function hostName({ pool, zone, server }: ChunkserverView): string {
  return `${pool}/${zone}/${server}`
}
