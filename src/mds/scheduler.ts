// Owns the operators: it looks again and again for what must move, makes each decision durable
// before anybody is told, hands it to the copyset's leader, and follows it to its end. That the end
// was reached is seen in heartbeats.ts; here operators are given up that take too long or have lost
// their sense. What to move is decided by pure functions of placement/, one file a scheduler.

import { LemnisError } from '../base/errors.ts'
import type { Timer } from '../env/clock.ts'
import type { Env } from '../env/env.ts'
import type { OperatorRecord } from '../format/records/topology.ts'
import type { Observer } from '../observe/observe.ts'
import { type Obstacle, type PlannedMove, planRecovery } from '../placement/recover.ts'
import { isGone, type Presence } from '../placement/view.ts'
import type { ClusterViews } from './cluster-view.ts'
import type { MdsConfig } from './config.ts'
import type { Courier } from './courier.ts'
import type { Orders } from './orders.ts'
import type { Reports } from './reports.ts'
import { chunkserverOf, issueReplica, type Topology } from './topology.ts'

export interface SchedulerOptions {
  readonly env: Env
  readonly observer: Observer
  readonly config: MdsConfig
  readonly topology: Topology
  readonly reports: Reports
  readonly views: ClusterViews
  readonly orders: Orders
  readonly courier: Courier
}

type DropReason = 'timeout' | 'target-gone' | 'source-back' | 'source-left'

export class Scheduler {
  readonly #options: SchedulerOptions
  /** When an operator is given up, by this MDS's clock; a restart gives a whole time anew. */
  readonly #deadlines = new Map<number, number>()
  /** Copysets left alone after an operator was given up, and until when. */
  readonly #heldUntilMs = new Map<number, number>()
  readonly #presences = new Map<number, Presence>()
  #timer: Timer | null = null
  #pass: Promise<void> = Promise.resolve()
  #closed = false
  #zonesAway: readonly string[] = []
  #waiting: ReadonlyMap<Obstacle, number> = new Map()

  constructor(options: SchedulerOptions) {
    this.#options = options
  }

  /** Zones that are away as a whole, for which everything waits, as of the last pass. */
  get zonesAway(): readonly string[] {
    return this.#zonesAway
  }

  /** How many copysets wait to be mended, by what stands against it. */
  get waiting(): ReadonlyMap<Obstacle, number> {
    return this.#waiting
  }

  start(): void {
    const { env, config } = this.#options
    this.#timer = env.clock.after(config.scheduleIntervalMs, () => {
      this.#pass = this.#run().finally(() => {
        if (!this.#closed) this.start()
      })
    })
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#timer?.cancel()
    await this.#pass
  }

  /** One pass. A ledger that refuses ends it: the next one sees what is left to do. */
  async #run(): Promise<void> {
    try {
      this.#notePresence()
      await this.#followAll()
      await this.#beginAll()
      await this.#retireEmpty()
    } catch (error) {
      if (!(error instanceof LemnisError)) throw error
    }
  }

  #notePresence(): void {
    const { observer, topology, reports } = this.#options
    for (const { id, address, retiredMs } of topology.chunkservers.values()) {
      const before = this.#presences.get(id) ?? 'unstable'
      const presence = retiredMs === undefined ? reports.presenceOf(id) : 'unstable'
      if (presence === before) continue
      this.#presences.set(id, presence)
      if (presence === 'online')
        observer.emit('mds_chunkserver_online', { chunkserver: id, address })
      if (presence === 'offline') {
        observer.emit('mds_chunkserver_offline', { chunkserver: id, address })
      }
    }
  }

  // --- what is under way

  async #followAll(): Promise<void> {
    const { topology } = this.#options
    for (const operator of [...topology.operators.values()]) {
      const reason = this.#reasonToDrop(operator)
      if (reason !== null) await this.#drop(operator, reason)
    }
    for (const copyset of [...this.#deadlines.keys()]) {
      if (!topology.operators.has(copyset)) this.#deadlines.delete(copyset)
    }
  }

  #reasonToDrop(operator: OperatorRecord): DropReason | null {
    const { env, config, topology, views } = this.#options
    const nowMs = env.clock.monotonicMs()
    const deadlineMs = this.#deadlines.get(operator.copyset)
    if (deadlineMs === undefined) {
      this.#deadlines.set(operator.copyset, nowMs + config.operatorTimeoutMs)
    } else if (nowMs >= deadlineMs) return 'timeout'
    const copyset = topology.copysets.get(operator.copyset)
    if (copyset === undefined || !copyset.voters.includes(operator.from)) return 'source-left'
    const target = views.chunkserver(chunkserverOf(operator.to))
    if (target === undefined || isGone(target)) return 'target-gone'
    if (operator.why === 'damaged' || this.#hasBegun(operator)) return null
    const source = views.chunkserver(chunkserverOf(operator.from))
    const isBack = source !== undefined && source.presence === 'online' && !source.isLost
    return isBack ? 'source-back' : null
  }

  /** The leader works on it, or the new replica is a member in some way. */
  #hasBegun({ copyset: id, to }: OperatorRecord): boolean {
    const { topology, reports } = this.#options
    const copyset = topology.copysets.get(id)
    const leader = copyset === undefined ? null : reports.leaderOf(copyset)
    if (leader === null) return true
    const { changing, voters, learners } = leader.report
    return changing !== undefined || voters.includes(to) || learners.includes(to)
  }

  async #drop(operator: OperatorRecord, reason: DropReason): Promise<void> {
    const { env, config, observer, topology } = this.#options
    const { copyset } = operator
    await topology.ledger.change(() => {
      const draft = topology.draft()
      if (topology.operators.get(copyset) !== operator) return draft.write(() => {})
      draft.removeOperator(copyset)
      return draft.write(() => {
        const heldUntilMs = env.clock.monotonicMs() + config.operatorRetryMs
        if (reason === 'timeout') this.#heldUntilMs.set(copyset, heldUntilMs)
        observer.emit('mds_operator_dropped', {
          group: copyset,
          from: chunkserverOf(operator.from),
          to: chunkserverOf(operator.to),
          reason,
        })
      })
    })
  }

  // --- what is to begin

  async #beginAll(): Promise<void> {
    const { config, views } = this.#options
    const plan = planRecovery(
      views.cluster((copyset) => this.#isHeld(copyset)),
      config,
    )
    this.#zonesAway = plan.zonesAway
    this.#waiting = plan.waiting
    // One after the other: each is checked against what has become durable before it.
    for (const move of plan.moves) await this.#begin(move)
  }

  #isHeld(copyset: number): boolean {
    const untilMs = this.#heldUntilMs.get(copyset)
    if (untilMs === undefined) return false
    if (this.#options.env.clock.monotonicMs() < untilMs) return true
    this.#heldUntilMs.delete(copyset)
    return false
  }

  async #begin(move: PlannedMove): Promise<void> {
    const { env, config, topology, orders, courier, reports } = this.#options
    const planned = topology.copysets.get(move.copyset)
    const nowMs = env.clock.monotonicMs()
    await topology.ledger.change(() => {
      const draft = topology.draft()
      const copyset = topology.copysets.get(move.copyset)
      const from = copyset?.voters.find((voter) => chunkserverOf(voter) === move.from)
      const isAsPlanned = copyset === planned && !topology.operators.has(move.copyset)
      if (copyset === undefined || from === undefined || !isAsPlanned) return draft.write(() => {})
      const { replica: to, issued } = issueReplica(copyset, move.to)
      const { id, epoch } = copyset
      const { why } = move
      draft.putCopyset({ ...copyset, issued })
      draft.putOperator({ copyset: id, from, to, why, epoch, sinceMs: env.clock.wallMs() })
      return draft.write(() => {
        this.#deadlines.set(id, nowMs + config.operatorTimeoutMs)
        this.#say(move)
      })
    })
    const copyset = topology.copysets.get(move.copyset)
    if (copyset === undefined || !topology.operators.has(copyset.id)) return
    const order = orders.changeOf(copyset)
    const leader = reports.leaderOf(copyset)
    if (order !== null && leader !== null) courier.give(leader.chunkserver, order)
  }

  #say({ copyset, from, to, why }: PlannedMove): void {
    this.#options.observer.emit('mds_operator_begun', { group: copyset, from, to, why })
  }

  /**
   * A chunkserver whose disk was replaced, that holds nothing any more and is silent, is done with.
   */
  async #retireEmpty(): Promise<void> {
    const { env, observer, topology, reports } = this.#options
    const targets = new Set(Array.from(topology.operators.values(), ({ to }) => chunkserverOf(to)))
    for (const record of [...topology.chunkservers.values()]) {
      const { id } = record
      const isDone =
        record.replacedBy !== undefined &&
        record.retiredMs === undefined &&
        topology.copysetsOf(id).size === 0 &&
        !targets.has(id) &&
        reports.presenceOf(id) === 'offline'
      if (!isDone) continue
      await topology.ledger.change(() => {
        const draft = topology.draft()
        if (topology.chunkservers.get(id) !== record) return draft.write(() => {})
        draft.putChunkserver({ ...record, retiredMs: env.clock.wallMs() })
        return draft.write(() => observer.emit('mds_chunkserver_retired', { chunkserver: id }))
      })
    }
  }
}
