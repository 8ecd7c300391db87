// Owns the evening out of leaders: of all chunkservers of a pool that are able to lead, none leads
// two copysets more than another. All count alike, whatever their capacity: leading costs processor
// and network, not space. Where a leader can't go straight from the one that has most to the one
// that has least, as they share no copyset, a chain of neighbours each hands one on (the augmenting
// paths of bipartite assignment; Harvey and others, Semi-matchings for bipartite graphs, 2006, which
// also shows that where no such path is left the result is the best there is).

import { must } from '../base/assert.ts'
import type { LeadOperator, OperatorReason, Plan } from './operator.ts'
import { NOWHERE, Pass, type PlanLimits } from './pass.ts'
import { type ChunkserverView, type ClusterView, type CopysetView, isGone } from './view.ts'

/** What is asked for waits for nobody. */
const UNLIMITED: PlanLimits = {
  movesMax: Number.POSITIVE_INFINITY,
  movesPerChunkserverMax: Number.POSITIVE_INFINITY,
  handoversMax: Number.POSITIVE_INFINITY,
  handoversPerChunkserverMax: Number.POSITIVE_INFINITY,
  serverSilentMax: Number.POSITIVE_INFINITY,
  balancePercent: 0,
  leaderUpMinMs: 0,
}

/** Little by little, within the limits. */
export function planLeaders(pass: Pass): Plan {
  return { operators: plan(pass, 'leader-balance'), waiting: new Map() }
}

/**
 * All at once, because somebody asked for it: without limits, and without waiting for anybody. A
 * copyset that one chain hands on may be handed on by another; what counts is where it ends.
 */
export function planLeadersAtOnce(view: ClusterView): LeadOperator[] {
  const operators = new Map<number, LeadOperator>()
  let copysets = view.copysets
  for (;;) {
    const pass = new Pass({ ...view, copysets }, UNLIMITED)
    const more = new Map<number, LeadOperator>()
    for (const operator of plan(pass, 'asked')) more.set(operator.copyset, operator)
    if (more.size === 0) return [...operators.values()]
    for (const [copyset, { to, ...operator }] of more) {
      const from = operators.get(copyset)?.from ?? operator.from
      if (from === to) operators.delete(copyset)
      else operators.set(copyset, { ...operator, from, to })
    }
    copysets = copysets.map((copyset) => {
      const operator = more.get(copyset.id)
      return operator === undefined ? copyset : { ...copyset, leader: operator.to }
    })
  }
}

/**
 * For each copyset about to be founded, by its members, which of them is to lead first: so that all
 * are even with those that the pool has already, which are left as they are.
 */
export function chooseFirstLeaders(
  view: ClusterView,
  pool: string,
  founding: readonly (readonly number[])[],
): number[] {
  const leads = new Map<number, number>()
  const countLead = (id: number): unknown => leads.set(id, (leads.get(id) ?? 0) + 1)
  const old = view.copysets.filter((copyset) => copyset.pool === pool)
  for (const { leader } of old) countLead(leader)
  const fresh = founding.map((members, i): CopysetView => {
    const counts = members.map((id) => leads.get(id) ?? 0)
    const leader = must(members[counts.indexOf(Math.min(...counts))] ?? null, 'a member')
    countLead(leader)
    // No copyset has an id below 1.
    return { id: -1 - i, pool, members, leader, isBusy: false, damaged: [] }
  })
  const handovers = planLeadersAtOnce({
    chunkservers: view.chunkservers.filter((chunkserver) => chunkserver.pool === pool),
    copysets: [...old.map((copyset) => ({ ...copyset, isBusy: true })), ...fresh],
    // It may be about to be made, too.
    pools: [{ name: pool, replicas: founding[0]?.length ?? 0 }],
    operators: [],
  })
  const leaders = fresh.map(({ leader }) => leader)
  for (const { copyset, to } of handovers) leaders[-1 - copyset] = to
  return leaders
}

function plan(pass: Pass, why: OperatorReason): LeadOperator[] {
  const operators: LeadOperator[] = []
  for (const { name } of pass.view.pools) new PoolLeaders(pass, name, why).evenOut(operators)
  return operators
}

/** May be given leaders that another could keep. */
export function isFitToLead(chunkserver: ChunkserverView): boolean {
  const { presence, isSlow, isDraining } = chunkserver
  return presence === 'online' && !isGone(chunkserver) && !isSlow && !isDraining
}

/** One step of a chain: a copyset whose leadership comes here, and from where. */
interface Step {
  readonly from: number
  readonly index: number
}

class PoolLeaders {
  readonly #pass: Pass
  readonly #why: OperatorReason
  readonly #able: number[] = []
  readonly #isAble: Uint8Array
  /** Copysets that each one could hand over; made when first something is uneven. */
  #ledBy: Map<number, number[]> | null = null
  readonly #pool: string

  constructor(pass: Pass, pool: string, why: OperatorReason) {
    this.#pass = pass
    this.#why = why
    this.#pool = pool
    this.#isAble = new Uint8Array(pass.view.chunkservers.length)
    pass.view.chunkservers.forEach((chunkserver, position) => {
      const isOld = chunkserver.upMs >= pass.limits.leaderUpMinMs
      if (chunkserver.pool !== pool || !isOld || !isFitToLead(chunkserver)) return
      this.#able.push(position)
      this.#isAble[position] = 1
    })
  }

  evenOut(operators: LeadOperator[]): void {
    const open = new Set(this.#able)
    for (;;) {
      const from = this.#most(open)
      if (from === NOWHERE || this.#leads(from) - this.#least() <= 1) return
      for (const { index, from: giver, to } of this.#findChain(from, open)) {
        operators.push(this.#begin(index, giver, to))
      }
    }
  }

  #leads(place: number): number {
    return this.#pass.leadsOf[place] as number
  }

  #most(open: ReadonlySet<number>): number {
    let most = NOWHERE
    for (const place of open) {
      if (most === NOWHERE || this.#leads(place) > this.#leads(most)) most = place
    }
    return most
  }

  #least(): number {
    let least = Number.POSITIVE_INFINITY
    for (const place of this.#able) least = Math.min(least, this.#leads(place))
    return least
  }

  /**
   * The shortest chain to one that has two less at least, its last step first. Where there is none,
   * all that were reached have as many as the first or one less, and reach only each other: none
   * of them needs to be looked at again.
   */
  #findChain(start: number, open: Set<number>): { index: number; from: number; to: number }[] {
    const pass = this.#pass
    const steps = new Map<number, Step | null>([[start, null]])
    const enough = this.#leads(start) - 2
    let level = pass.handoversLeftAt(start) >= 1 ? [start] : []
    for (let depth = 1; level.length > 0 && depth <= pass.handoversLeft(); depth++) {
      const next: number[] = []
      for (const from of level) this.#reach(from, steps, next)
      let end = NOWHERE
      for (const place of next) {
        if (this.#leads(place) > enough) continue
        if (end === NOWHERE || this.#leads(place) < this.#leads(end)) end = place
      }
      if (end !== NOWHERE) return this.#chainTo(end, steps)
      // Who hands on both takes and gives.
      level = next.filter((place) => pass.handoversLeftAt(place) >= 2)
    }
    for (const place of steps.keys()) open.delete(place)
    return []
  }

  /** Adds to `next` those to whom `from` could hand a leadership over and who aren't reached yet. */
  #reach(from: number, steps: Map<number, Step | null>, next: number[]): void {
    const pass = this.#pass
    for (const index of this.#handableBy(from)) {
      if (pass.isTaken(pass.copyset(index))) continue
      for (const to of pass.members(index)) {
        if (this.#isAble[to] === 0 || steps.has(to) || pass.handoversLeftAt(to) < 1) continue
        steps.set(to, { from, index })
        next.push(to)
      }
    }
  }

  #chainTo(
    end: number,
    steps: ReadonlyMap<number, Step | null>,
  ): { index: number; from: number; to: number }[] {
    const chain: { index: number; from: number; to: number }[] = []
    for (let to = end; ; ) {
      const step = must(steps.get(to) ?? null, 'a chain leads back to its start')
      chain.push({ ...step, to })
      if (steps.get(step.from) === null) return chain
      to = step.from
    }
  }

  #handableBy(place: number): readonly number[] {
    this.#ledBy ??= this.#findLed()
    return this.#ledBy.get(place) ?? []
  }

  /** Only copysets whose members all are heard and sound: the others have something else to do. */
  #findLed(): Map<number, number[]> {
    const pass = this.#pass
    const ledBy = new Map<number, number[]>(this.#able.map((place) => [place, []]))
    pass.view.copysets.forEach((copyset, index) => {
      if (copyset.pool !== this.#pool || pass.isTaken(copyset)) return
      for (const place of pass.members(index)) {
        if (!pass.isSound(copyset, place) || pass.at(place).presence !== 'online') return
      }
      ledBy.get(pass.position(copyset.leader))?.push(index)
    })
    return ledBy
  }

  #begin(index: number, from: number, to: number): LeadOperator {
    const pass = this.#pass
    const operator: LeadOperator = {
      kind: 'lead',
      copyset: pass.copyset(index).id,
      from: pass.at(from).id,
      to: pass.at(to).id,
      why: this.#why,
      priority: this.#why === 'asked' ? 'normal' : 'low',
    }
    pass.begin(index, operator)
    return operator
  }
}
