// Owns one pass of the planners over a cluster: what they see, with everything under way and
// everything planned so far counted as done, and what may still begin. The planners get the same
// pass one after the other, the most urgent first, so that they share the limits. Invariants: one
// operator a copyset; no more at once, in the cluster and at each chunkserver, than the limits say.

import { assert, must } from '../base/assert.ts'
import type { PlannedOperator, Priority } from './operator.ts'
import { Pairs } from './pairs.ts'
import { cappedShares, sharesOf, sumOf } from './shares.ts'
import { type ChunkserverView, type ClusterView, type CopysetView, isGone } from './view.ts'

export interface PlanLimits {
  /** Copysets that change their members at once in the cluster. */
  readonly movesMax: number
  /** Of them, those that one chunkserver sends for, as leader, or receives. */
  readonly movesPerChunkserverMax: number
  /** Leaderships that change hands at once in the cluster. */
  readonly handoversMax: number
  /** Of them, those that one chunkserver gives or takes. */
  readonly handoversPerChunkserverMax: number
  /**
   * A server with this many silent chunkservers is left alone: it is the host that fails, not
   * disks.
   */
  readonly serverSilentMax: number
  /** Balance acts where chunkservers differ by more than this share of what is due to them. */
  readonly balancePercent: number
  /** Leaders are given by balancing to those that have been online this long in a row. */
  readonly leaderUpMinMs: number
}

/** What is not urgent leaves so much of the cluster's limit to what may become urgent. */
const UNHURRIED_SHARE = 0.5

/** No chunkserver of the view. */
export const NOWHERE = -1

export class Pass {
  readonly view: ClusterView
  readonly limits: PlanLimits
  readonly sparesLost: boolean
  /** Copysets by position of their chunkserver; what is under way or planned counts as done. */
  readonly copysetsOf: Int32Array
  /** Copysets that each one leads. */
  readonly leadsOf: Int32Array
  readonly #positions = new Map<number, number>()
  readonly #members: readonly Int32Array[]
  readonly #operators = new Map<number, PlannedOperator>()
  readonly #movesOf: Int32Array
  readonly #handoversOf: Int32Array
  readonly #replicas: ReadonlyMap<string, number>
  #moves = 0
  #handovers = 0
  #pairs: Pairs | null = null
  #due: Float64Array | null = null

  /** `sparesLost`: what has no quorum is left alone. Only the simulator has it otherwise. */
  constructor(view: ClusterView, limits: PlanLimits, sparesLost = true) {
    this.view = view
    this.limits = limits
    this.sparesLost = sparesLost
    const size = view.chunkservers.length
    view.chunkservers.forEach(({ id }, position) => {
      this.#positions.set(id, position)
    })
    this.copysetsOf = new Int32Array(size)
    this.leadsOf = new Int32Array(size)
    this.#movesOf = new Int32Array(size)
    this.#handoversOf = new Int32Array(size)
    this.#replicas = new Map(view.pools.map(({ name, replicas }) => [name, replicas]))
    this.#members = view.copysets.map(({ members, leader }) => {
      const places = Int32Array.from(members, (id) => this.position(id))
      for (const place of places) bump(this.copysetsOf, place, 1)
      bump(this.leadsOf, this.position(leader), 1)
      return places
    })
    this.#countUnderWay()
  }

  #countUnderWay(): void {
    const { copysets, operators } = this.view
    if (operators.length === 0) return
    const underWay = new Map(operators.map((operator) => [operator.copyset, operator]))
    copysets.forEach(({ id }, index) => {
      const operator = underWay.get(id)
      if (operator !== undefined) this.#count(index, operator)
    })
  }

  // --- what there is

  /** Of the chunkserver in the view; NOWHERE when it isn't there. */
  position(id: number): number {
    return this.#positions.get(id) ?? NOWHERE
  }

  at(position: number): ChunkserverView {
    return must(this.view.chunkservers[position], 'the position of a chunkserver')
  }

  copyset(index: number): CopysetView {
    return must(this.view.copysets[index], 'the index of a copyset')
  }

  /** Positions of a copyset's members as recorded, in their order; NOWHERE for unknown ones. */
  members(index: number): Int32Array {
    return must(this.#members[index], 'the index of a copyset')
  }

  /** The members but one. */
  others(index: number, leaving: number): Int32Array {
    return this.members(index).filter((place) => place !== leaving && place !== NOWHERE)
  }

  /** How many replicas a copyset is to have. */
  replicasOf(copyset: CopysetView): number {
    return this.#replicas.get(copyset.pool) ?? copyset.members.length
  }

  /** Nothing can be planned for it now: it has an operator, or is changing. */
  isTaken(copyset: CopysetView): boolean {
    const isBusy = copyset.isBusy && (this.sparesLost || copyset.leader !== 0)
    return isBusy || this.#operators.has(copyset.id)
  }

  /** The chunkserver is there, and so is its replica, as far as is known. */
  isSound(copyset: CopysetView, position: number): boolean {
    if (position === NOWHERE) return false
    const chunkserver = this.at(position)
    return !isGone(chunkserver) && !copyset.damaged.includes(chunkserver.id)
  }

  soundOf(index: number): number {
    const copyset = this.copyset(index)
    let sound = 0
    for (const place of this.members(index)) if (this.isSound(copyset, place)) sound++
    return sound
  }

  /** Copysets that the chunkservers have in common. Made when first asked: most passes don't. */
  pairs(): Pairs {
    if (this.#pairs !== null) return this.#pairs
    const pairs = new Pairs(this.view.chunkservers.length)
    this.view.copysets.forEach(({ id }, index) => {
      const operator = this.#operators.get(id)
      const places = this.members(index)
      pairs.add((operator === undefined ? places : this.#after(places, operator)).filter(isKnown))
    })
    this.#pairs = pairs
    return pairs
  }

  /** The members when the operator is done. */
  #after(places: Int32Array, operator: PlannedOperator): Int32Array {
    if (operator.kind === 'lead') return places
    const from = operator.kind === 'add' ? NOWHERE : this.position(operator.from)
    const to = operator.kind === 'remove' ? NOWHERE : this.position(operator.to)
    const stay = places.filter((place) => place !== from && place !== to)
    return Int32Array.of(...stay, to)
  }

  // --- what is due to each

  /**
   * How many copysets a chunkserver should have, by its capacity and its zone's; 0 for one that is
   * to have none, as it is gone or drained.
   */
  due(position: number): number {
    this.#due ??= this.#computeDue()
    return must(this.#due[position], 'the position of a chunkserver')
  }

  #computeDue(): Float64Array {
    const due = new Float64Array(this.view.chunkservers.length)
    const copysets = new Map<string, { count: number; replicas: number }>()
    for (const copyset of this.view.copysets) {
      const pool = copysets.get(copyset.pool)
      if (pool !== undefined) pool.count++
      else copysets.set(copyset.pool, { count: 1, replicas: this.replicasOf(copyset) })
    }
    for (const [pool, { count, replicas }] of copysets) {
      const zones = [...this.zonesOf(pool).values()]
      const weights = zones.map((zone) =>
        zone.map((place) => Math.max(1, this.at(place).capacityBytes)),
      )
      cappedShares(weights.map(sumOf), replicas * count, count).forEach((share, i) => {
        const zone = zones[i] as number[]
        sharesOf(weights[i] as number[], share).forEach((ofOne, k) => {
          due[zone[k] as number] = ofOne
        })
      })
    }
    return due
  }

  /** Positions of a pool's chunkservers that are to have copysets, by zone. */
  zonesOf(pool: string): Map<string, number[]> {
    const zones = new Map<string, number[]>()
    this.view.chunkservers.forEach((chunkserver, position) => {
      if (chunkserver.pool !== pool || isGone(chunkserver) || chunkserver.isDraining) return
      const zone = zones.get(chunkserver.zone)
      if (zone === undefined) zones.set(chunkserver.zone, [position])
      else zone.push(position)
    })
    return zones
  }

  // --- what may begin

  /** Whether a copyset may change its members at all now. */
  hasMoveLeft(priority: Priority): boolean {
    const { movesMax } = this.limits
    const most = priority === 'high' ? movesMax : Math.ceil(movesMax * UNHURRIED_SHARE)
    return this.#moves < most
  }

  /** Whether one more may send or receive there. */
  canMoveAt(position: number, priority: Priority): boolean {
    if (position === NOWHERE) return true
    const { movesPerChunkserverMax: all } = this.limits
    const most = priority === 'high' ? all : Math.max(1, all - 1)
    return (this.#movesOf[position] as number) < most
  }

  /** How many more leaderships may change hands. */
  handoversLeft(): number {
    return this.limits.handoversMax - this.#handovers
  }

  /** How many more one chunkserver may give or take. */
  handoversLeftAt(position: number): number {
    const most = this.limits.handoversPerChunkserverMax
    return most - must(this.#handoversOf[position], 'the position of a chunkserver')
  }

  begin(index: number, operator: PlannedOperator): PlannedOperator {
    const copyset = this.copyset(index)
    assert(!this.isTaken(copyset) && copyset.id === operator.copyset, 'one operator a copyset')
    this.#count(index, operator)
    return operator
  }

  #count(index: number, operator: PlannedOperator): void {
    const { id, leader } = this.copyset(index)
    this.#operators.set(id, operator)
    if (operator.kind === 'lead') this.#countLead(operator.from, operator.to)
    else this.#countMove(index, operator, this.position(leader))
  }

  #countLead(from: number, to: number): void {
    this.#handovers++
    for (const [id, by] of [
      [from, -1],
      [to, 1],
    ] as const) {
      bump(this.leadsOf, this.position(id), by)
      bump(this.#handoversOf, this.position(id), 1)
    }
  }

  #countMove(
    index: number,
    operator: Exclude<PlannedOperator, { kind: 'lead' }>,
    leader: number,
  ): void {
    const places = this.members(index)
    const to = operator.kind === 'remove' ? NOWHERE : this.position(operator.to)
    const from = operator.kind === 'add' ? NOWHERE : this.position(operator.from)
    this.#moves++
    bump(this.#movesOf, leader, 1)
    if (to !== leader) bump(this.#movesOf, to, 1)
    if (from === to) return
    const stay = places.filter((place) => place !== from && place !== to && place !== NOWHERE)
    if (places.includes(from)) {
      bump(this.copysetsOf, from, -1)
      if (from !== NOWHERE) this.#pairs?.leave(from, stay)
    }
    if (!places.includes(to)) {
      bump(this.copysetsOf, to, 1)
      if (to !== NOWHERE) this.#pairs?.join(to, stay)
    }
  }
}

function isKnown(place: number): boolean {
  return place !== NOWHERE
}

function bump(counts: Int32Array, position: number, by: number): void {
  if (position !== NOWHERE) counts[position] = (counts[position] as number) + by
}
