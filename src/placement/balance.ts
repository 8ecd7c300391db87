// Owns the evening out of copysets over the chunkservers of a pool, by capacity: first between
// zones, then inside each. It acts when two chunkservers differ by more than a share of what is due
// to them, and stops where they no longer do. Every move lessens the sum of squared distances from
// what is due, of zones or else inside one, so that balancing ends, and nothing goes to and fro.
// Invariants: members stay in different zones; only sound copysets move; scatter widths stay above
// their limit where any choice keeps them there (the limits are Curve's; see SCATTER_LOW).

import { assert, must } from '../base/assert.ts'
import type { MoveOperator, Plan } from './operator.ts'
import { NOWHERE, type Pass } from './pass.ts'
import { isUsable } from './view.ts'

/**
 * No chunkserver's scatter width is taken below this part of its pool's average, as Curve does it.
 * There is no upper limit here: how likely several failures at once meet a copyset follows from the
 * number of copysets, which moves don't change, while a wider chunkserver is rebuilt faster.
 */
const SCATTER_LOW = 0.9
/** More than the widths of one copyset's members can gain twice over. */
const HARM = 1000
const PERCENT = 100

export function planBalance(pass: Pass): Plan {
  const operators: MoveOperator[] = []
  for (const { name } of pass.view.pools) {
    const balance = new PoolBalance(pass, name)
    for (let move = balance.next(); move !== null; move = balance.next()) operators.push(move)
  }
  return { operators, waiting: new Map() }
}

interface Zone {
  readonly name: string
  readonly due: number
  count: number
  /** Places of which nothing more can come to this zone now. */
  readonly hasNothingFrom: Set<number>
}

class PoolBalance {
  readonly #pass: Pass
  readonly #pool: string
  /** The pool's chunkservers that are to have copysets, the emptiest for its due first. */
  readonly #order: number[] = []
  readonly #zoneAt = new Map<number, Zone>()
  readonly #meanFill: number
  #widthMin: number | null = null
  #movable: Map<number, number[]> | null = null

  constructor(pass: Pass, pool: string) {
    this.#pass = pass
    this.#pool = pool
    let due = 0
    let count = 0
    for (const [name, places] of pass.zonesOf(pool)) {
      const zone = { name, due: 0, count: 0, hasNothingFrom: new Set<number>() }
      for (const place of places) {
        zone.due += pass.due(place)
        zone.count += pass.copysetsOf[place] as number
        this.#zoneAt.set(place, zone)
        if (pass.due(place) > 0) this.#order.push(place)
      }
      due += zone.due
      count += zone.count
    }
    this.#meanFill = count / due
    this.#order.sort((a, b) => this.#fill(a) - this.#fill(b) || a - b)
  }

  /** Begins one more move; null when it is even enough, or nothing more may move now. */
  next(): MoveOperator | null {
    const pass = this.#pass
    if (!pass.hasMoveLeft('normal') || !this.#isUneven()) return null
    return this.#nextToMean() ?? (this.#isStill() ? this.#nextInside() : null)
  }

  /** From one that has too much to one that has too little. */
  #nextToMean(): MoveOperator | null {
    const pass = this.#pass
    for (const to of this.#order) {
      if (this.#fill(to) >= this.#meanFill) return null
      if (!isUsable(pass.at(to)) || !pass.canMoveAt(to, 'normal')) continue
      const { hasNothingFrom } = this.#zone(to)
      for (let i = this.#order.length - 1; i >= 0; i--) {
        const from = this.#order[i] as number
        if (this.#fill(from) <= this.#meanFill) break
        if (hasNothingFrom.has(from) || !this.#isBetter(from, to)) continue
        const index = this.#bestCopyset(from, to)
        if (index !== NOWHERE) return this.#begin(index, from, to)
        hasNothingFrom.add(from)
      }
    }
    return null
  }

  #isStill(): boolean {
    const { view } = this.#pass
    return !view.copysets.some((one) => one.pool === this.#pool && this.#pass.isTaken(one))
  }

  /**
   * From one that has too much to one of its zone that has what it should. None of the copysets of the
   * first may fit where something lacks; those of the second may, and it is the next to give.
   */
  #nextInside(): MoveOperator | null {
    const pass = this.#pass
    for (let i = this.#order.length - 1; i >= 0; i--) {
      const from = this.#order[i] as number
      if (this.#fill(from) <= this.#meanFill) return null
      for (const to of this.#order) {
        if (this.#zone(to) !== this.#zone(from) || !this.#isBetter(from, to)) continue
        if (!isUsable(pass.at(to)) || !pass.canMoveAt(to, 'normal')) continue
        const index = this.#bestCopyset(from, to)
        if (index !== NOWHERE) return this.#begin(index, from, to)
      }
    }
    return null
  }

  /** Between the fullest and the emptiest that could take something. */
  #isUneven(): boolean {
    const emptiest = this.#order.find((place) => isUsable(this.#pass.at(place)))
    const fullest = this.#order.at(-1)
    if (emptiest === undefined || fullest === undefined) return false
    const spread = this.#fill(fullest) - this.#fill(emptiest)
    return spread * PERCENT > this.#pass.limits.balancePercent
  }

  /** The sum of squared distances from what is due gets smaller: of the zones, or inside theirs. */
  #isBetter(from: number, to: number): boolean {
    const pass = this.#pass
    const source = this.#zone(from)
    const target = this.#zone(to)
    if (source !== target) return lessens(source.count, source.due, target.count, target.due)
    return lessens(
      pass.copysetsOf[from] as number,
      pass.due(from),
      pass.copysetsOf[to] as number,
      pass.due(to),
    )
  }

  /** The copyset of `from` whose move does most for scatter widths, or least harm to them. */
  #bestCopyset(from: number, to: number): number {
    const pass = this.#pass
    const { name } = this.#zone(to)
    let best = NOWHERE
    let bestEffect = Number.NEGATIVE_INFINITY
    for (const index of this.#movableOf(from)) {
      const copyset = pass.copyset(index)
      if (pass.isTaken(copyset) || !this.#fits(index, from, name)) continue
      if (!pass.canMoveAt(pass.position(copyset.leader), 'normal')) continue
      const effect = this.#effect(index, from, to)
      if (effect <= bestEffect) continue
      best = index
      bestEffect = effect
    }
    return best
  }

  /** No other member is in the zone already. */
  #fits(index: number, from: number, zone: string): boolean {
    for (const place of this.#pass.members(index)) {
      if (place !== from && this.#pass.at(place).zone === zone) return false
    }
    return true
  }

  /**
   * What all scatter widths together gain. One that goes below the limit is worse than any gain,
   * and so is half of it a leader that would leave, which costs an election.
   */
  #effect(index: number, from: number, to: number): number {
    const pass = this.#pass
    const pairs = pass.pairs()
    const widthMin = this.#widthLimit()
    let effect = 0
    let lost = 0
    for (const place of pass.members(index)) {
      if (place === from) continue
      const loses = pairs.shared(from, place) === 1 ? 1 : 0
      const gains = pairs.shared(to, place) === 0 ? 1 : 0
      lost += loses
      effect += 2 * (gains - loses)
      if (gains < loses && pairs.width(place) - 1 < widthMin) effect -= HARM
    }
    if (lost > 0 && pairs.width(from) - lost < widthMin) effect -= HARM
    if (pass.position(pass.copyset(index).leader) === from) effect -= HARM / 2
    return effect
  }

  #widthLimit(): number {
    if (this.#widthMin === null) {
      const pairs = this.#pass.pairs()
      let sum = 0
      for (const place of this.#order) sum += pairs.width(place)
      this.#widthMin = (SCATTER_LOW * sum) / this.#order.length
    }
    return this.#widthMin
  }

  #movableOf(place: number): readonly number[] {
    this.#movable ??= this.#findMovable()
    return this.#movable.get(place) ?? []
  }

  /** Copysets of full size whose members all are sound and heard, by their members. */
  #findMovable(): Map<number, number[]> {
    const pass = this.#pass
    const movable = new Map<number, number[]>(this.#order.map((place) => [place, []]))
    pass.view.copysets.forEach((copyset, index) => {
      if (copyset.pool !== this.#pool || pass.isTaken(copyset)) return
      const places = pass.members(index)
      if (places.length !== pass.replicasOf(copyset) || copyset.damaged.length > 0) return
      for (const place of places) {
        if (!pass.isSound(copyset, place) || pass.at(place).presence !== 'online') return
      }
      for (const place of places) movable.get(place)?.push(index)
    })
    return movable
  }

  #begin(index: number, from: number, to: number): MoveOperator {
    const pass = this.#pass
    const operator: MoveOperator = {
      kind: 'move',
      copyset: pass.copyset(index).id,
      from: pass.at(from).id,
      to: pass.at(to).id,
      why: 'balance',
      priority: 'normal',
    }
    pass.begin(index, operator)
    this.#zone(from).count--
    this.#zone(to).count++
    this.#settle(from)
    this.#settle(to)
    return operator
  }

  /** Puts a place where it belongs in the order, after its fill has changed by one copyset. */
  #settle(place: number): void {
    const order = this.#order
    let at = order.indexOf(place)
    assert(at >= 0, 'a place of this pool')
    const isAfter = (other: number | undefined): boolean =>
      other !== undefined && (this.#fill(other) - this.#fill(place) || other - place) > 0
    const isBefore = (other: number | undefined): boolean =>
      other !== undefined && (this.#fill(other) - this.#fill(place) || other - place) < 0
    for (; isAfter(order[at - 1]); at--) order[at] = order[at - 1] as number
    for (; isBefore(order[at + 1]); at++) order[at] = order[at + 1] as number
    order[at] = place
  }

  #fill(place: number): number {
    return (this.#pass.copysetsOf[place] as number) / this.#pass.due(place)
  }

  #zone(place: number): Zone {
    return must(this.#zoneAt.get(place), 'a place of this pool')
  }
}

/**
 * One going from a count to another lessens the sum of (count - due)² / due of both. The -2 that both sides
 * of the comparison have is left out of them: rounded with it, equals with a small due took turns for ever.
 */
function lessens(from: number, fromDue: number, to: number, toDue: number): boolean {
  return (2 * to + 1) / toDue < (2 * from - 1) / fromDue
}
