// Owns when it is looked what must move: pass after pass it follows the operators under way, asks the
// guard, and then the planners (placement/, one file each), the most urgent first, so that they share
// the limits. Each has an interval and a switch. What a pass decides is durable before the next one.

import { LemnisError } from '../../base/errors.ts'
import type { Timer } from '../../env/clock.ts'
import type { SchedulerName, Scheduler as SchedulerState } from '../../format/control/operators.ts'
import type {
  ChunkserverRecord,
  CopysetRecord,
  OperatorRecord,
} from '../../format/records/topology.ts'
import { planBalance } from '../../placement/balance.ts'
import { planDrain } from '../../placement/drain.ts'
import type { Guard } from '../../placement/guard.ts'
import { planLeaders, planLeadersAtOnce } from '../../placement/leaders.ts'
import type { Obstacle, OperatorReason, Plan, PlannedOperator } from '../../placement/operator.ts'
import { Pass } from '../../placement/pass.ts'
import { planRecovery } from '../../placement/recover.ts'
import { planRelief } from '../../placement/relieve.ts'
import { planReplicas } from '../../placement/replicas.ts'
import type { ClusterView, Presence } from '../../placement/view.ts'
import type { MdsConfig } from '../config.ts'
import { chunkserverOf } from '../topology/topology.ts'
import { Guarding } from './guarding.ts'
import type { Maintenance } from './maintenance.ts'
import type { Operators, OperatorsOptions } from './operators.ts'
import type { Scrubs } from './scrubs.ts'

export interface SchedulerOptions extends OperatorsOptions {
  readonly operators: Operators
  readonly maintenance: Maintenance
  readonly scrubs: Scrubs
}

interface Planner {
  readonly name: SchedulerName
  readonly intervalMs: (config: MdsConfig) => number
  readonly plan: (pass: Pass) => Plan
  /** Whether it is one of its operators. */
  readonly owns: (operator: OperatorRecord) => boolean
}

const often = (config: MdsConfig): number => config.scheduleIntervalMs
const seldom = (config: MdsConfig): number => config.balanceIntervalMs
const isFor =
  (...reasons: readonly OperatorReason[]) =>
  ({ why }: OperatorRecord): boolean =>
    reasons.includes(why)
const isLeaving = isFor('slow', 'drain')

/** The most urgent first: what comes later gets what the limits leave. */
const PLANNERS: readonly Planner[] = [
  {
    name: 'recover',
    intervalMs: often,
    plan: planRecovery,
    owns: isFor('offline', 'disk-lost', 'damaged'),
  },
  {
    name: 'replicas',
    intervalMs: often,
    plan: planReplicas,
    owns: isFor('too-few', 'too-many'),
  },
  {
    name: 'relieve',
    intervalMs: often,
    plan: planRelief,
    owns: (operator) => isLeaving(operator) && operator.kind === 'lead',
  },
  {
    name: 'drain',
    intervalMs: often,
    plan: planDrain,
    owns: (operator) => isLeaving(operator) && operator.kind === 'move',
  },
  { name: 'balance', intervalMs: seldom, plan: planBalance, owns: isFor('balance') },
  {
    name: 'leaders',
    intervalMs: seldom,
    plan: planLeaders,
    owns: isFor('leader-balance', 'asked'),
  },
]
const NAMES: readonly SchedulerName[] = [...PLANNERS.map(({ name }) => name), 'scrub']

/** Between two that begin, at most. */
const GAP_MAX_MS = 500

export class Scheduler {
  readonly #options: SchedulerOptions
  readonly #guarding: Guarding
  readonly #presences = new Map<number, Presence>()
  /** When each planner was last asked: by the monotonic clock, and for people. */
  readonly #lastMs = new Map<SchedulerName, { atMs: number; wallMs: number }>()
  readonly #waiting = new Map<SchedulerName, ReadonlyMap<Obstacle, number>>()
  #scrubsDue = 0
  #timer: Timer | null = null
  /** Of the pass that is under way, or was the last: how long it has waited on purpose. */
  #waitedMs = 0
  #goOn: (() => void) | null = null
  #pass: Promise<void> = Promise.resolve()
  #closed = false

  constructor(options: SchedulerOptions) {
    this.#options = options
    this.#guarding = new Guarding(options)
  }

  /** What forbids everything to move, as of the last look. */
  get guard(): Guard {
    return this.#guarding.guard
  }

  /** How many copysets wait to be mended, by what stands against it. */
  get waiting(): ReadonlyMap<Obstacle, number> {
    return this.#waiting.get('recover') ?? new Map()
  }

  /** Replicas to be rebuilt that wait only for others to finish. */
  get rebuildsWaiting(): number {
    let count = 0
    for (const waiting of this.#waiting.values()) count += waiting.get('limit') ?? 0
    return count
  }

  start(): void {
    const { env, config } = this.#options
    this.#timer = env.clock.after(config.scheduleIntervalMs - this.#waitedMs, () => {
      this.#pass = this.#run().finally(() => {
        if (!this.#closed) this.start()
      })
    })
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#timer?.cancel()
    this.#goOn?.()
    await this.#pass
  }

  /** One pass. A ledger that refuses ends it: the next one sees what is left to do. */
  async #run(): Promise<void> {
    const { operators, maintenance, topology } = this.#options
    this.#waitedMs = 0
    try {
      this.#notePresence()
      await maintenance.tick()
      const view = this.#look()
      // What follow() changes is not as the view has it, and is planned for by the next pass.
      const seen: ReadonlyMap<number, CopysetRecord> = new Map(topology.copysets)
      await operators.follow(this.#guarding.halt())
      if (this.#guarding.mayMove()) {
        await this.#plan(view, seen)
        await this.#scrub()
      }
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

  // --- what may move

  /** What there is; whether anything may move at all is known then. */
  #look(): ClusterView {
    const view = this.#view()
    return this.#guarding.look(view.chunkservers) === 'pardoned' ? this.#view() : view
  }

  #view(): ClusterView {
    const { env, views, operators, observer } = this.#options
    const beforeMs = env.clock.monotonicMs()
    const view = views.cluster(
      (copyset) => operators.isHeld(copyset),
      (copyset) => operators.avoidedBy(copyset),
    )
    const seconds = (env.clock.monotonicMs() - beforeMs) / 1000
    observer.histogram('mds_view_seconds').record(seconds)
    return view
  }

  // --- what moves

  async #plan(view: ClusterView, seen: ReadonlyMap<number, CopysetRecord>): Promise<void> {
    const { config, operators, env, observer } = this.#options
    const due = PLANNERS.filter((planner) => this.#isDue(planner))
    if (due.length === 0) return
    const pass = new Pass(view, config, this.#options.bugs?.has('recovery-below-quorum') !== true)
    const planned: PlannedOperator[] = []
    for (const { name, plan } of due) {
      const beforeMs = env.clock.monotonicMs()
      const { operators: wanted, waiting } = plan(pass)
      const seconds = (env.clock.monotonicMs() - beforeMs) / 1000
      observer.histogram('mds_plan_seconds', name).record(seconds)
      planned.push(...wanted)
      this.#waiting.set(name, waiting)
      this.#noteRun(name)
      // Each may take long in a large cluster: calls are answered in between.
      await new Promise<void>((resume) => env.clock.after(0, resume))
      if (this.#closed) return
    }
    const isSoon = ({ kind }: PlannedOperator): boolean => kind === 'lead' || kind === 'remove'
    await operators.beginAll(planned.filter(isSoon), seen, () => this.#guarding.mayMove())
    await this.#beginEvenly(
      planned.filter((one) => !isSoon(one)),
      seen,
    )
  }

  /**
   * What builds replicas begins one after the other over the time to the next pass: many small ones at
   * once take all of a machine for a moment, and clients feel that.
   */
  async #beginEvenly(
    planned: readonly PlannedOperator[],
    seen: ReadonlyMap<number, CopysetRecord>,
  ): Promise<void> {
    const { config, operators, views } = this.#options
    const gapMs = Math.min(GAP_MAX_MS, Math.floor(config.scheduleIntervalMs / planned.length))
    for (const [i, one] of planned.entries()) {
      if (i > 0) {
        await this.#wait(gapMs)
        if (this.#closed) return
        // Who was there when it was planned may be away by now.
        this.#guarding.look(views.chunkservers())
      }
      await operators.beginAll([one], seen, () => this.#guarding.mayMove())
    }
  }

  async #wait(ms: number): Promise<void> {
    const { clock } = this.#options.env
    this.#waitedMs += ms
    await new Promise<void>((resume) => {
      const timer = clock.after(ms, resume)
      this.#goOn = () => {
        timer.cancel()
        resume()
      }
    })
    this.#goOn = null
  }

  #isDue({ name, intervalMs }: Planner): boolean {
    if (!this.isOn(name)) {
      this.#waiting.delete(name)
      return false
    }
    const last = this.#lastMs.get(name)
    const nowMs = this.#options.env.clock.monotonicMs()
    return last === undefined || nowMs - last.atMs >= intervalMs(this.#options.config)
  }

  #noteRun(name: SchedulerName): void {
    const { clock } = this.#options.env
    this.#lastMs.set(name, { atMs: clock.monotonicMs(), wallMs: clock.wallMs() })
  }

  async #scrub(): Promise<void> {
    this.#scrubsDue = 0
    if (!this.isOn('scrub')) return
    this.#scrubsDue = await this.#options.scrubs.plan()
    this.#noteRun('scrub')
  }

  /** Hands leaders over until all lead about as many, at once. Says how many. */
  async balanceLeaders(): Promise<number> {
    const { topology, operators, observer } = this.#options
    const view = this.#look()
    const { reasons } = this.guard
    if (reasons.length > 0) {
      const reason = 'nothing may move now: see `lemnis status`'
      throw new LemnisError('CONFLICT', { reason, guard: reasons.join(' ') })
    }
    const seen = new Map(topology.copysets)
    const planned = planLeadersAtOnce(view)
    const begun = await operators.beginAll(planned, seen, () => this.#guarding.mayMove())
    observer.emit('mds_leaders_balanced', { operators: begun })
    return begun
  }

  // --- switches

  isOn(name: SchedulerName): boolean {
    return this.#options.topology.cluster.schedulersOff?.includes(name) !== true
  }

  async setOn(name: SchedulerName, on: boolean): Promise<void> {
    const { topology, observer } = this.#options
    if (this.isOn(name) === on) return
    await topology.ledger.change(() => {
      const draft = topology.draft()
      const off = (draft.cluster.schedulersOff ?? []).filter((one) => one !== name)
      draft.patchCluster({ schedulersOff: on ? off : [...off, name] })
      return draft.write(() => observer.emit('mds_scheduler_switched', { name, on }))
    })
  }

  states(): SchedulerState[] {
    return NAMES.map((name) => this.stateOf(name))
  }

  stateOf(name: SchedulerName): SchedulerState {
    const { config, topology, scrubs } = this.#options
    const planner = PLANNERS.find((one) => one.name === name)
    const last = this.#lastMs.get(name)
    let active = name === 'scrub' ? scrubs.running() : 0
    for (const operator of topology.operators.values()) {
      if (planner?.owns(operator) === true) active++
    }
    return {
      name,
      on: this.isOn(name),
      intervalMs: planner?.intervalMs(config) ?? config.scheduleIntervalMs,
      ...(last === undefined ? {} : { lastMs: last.wallMs }),
      active,
      waits: this.#waitsOf(name),
    }
  }

  #waitsOf(name: SchedulerName): string[] {
    const { reasons } = this.guard
    if (reasons.length > 0) return [`nothing may move: ${reasons.join(', ')}`]
    if (name === 'scrub') {
      return this.#scrubsDue === 0 ? [] : [`their turn or hour: ${this.#scrubsDue} chunkservers`]
    }
    const waiting = this.#waiting.get(name) ?? new Map<Obstacle, number>()
    return Array.from(waiting, ([obstacle, count]) => `${SAYS[obstacle]}: ${count} copysets`)
  }

  // --- retiring

  /**
   * A chunkserver that is to go, and holds nothing any more, is done with: one that was drained by
   * request when it says so itself, one whose disk was replaced when it is silent.
   */
  async #retireEmpty(): Promise<void> {
    const { env, observer, topology } = this.#options
    const targets = new Set<number>()
    for (const { to } of topology.operators.values()) {
      if (to !== undefined) targets.add(chunkserverOf(to))
    }
    for (const record of [...topology.chunkservers.values()]) {
      const { id } = record
      const isEmpty = topology.copysetsOf(id).size === 0 && !targets.has(id)
      if (record.retiredMs !== undefined || !isEmpty || !this.#isDone(record)) continue
      await topology.ledger.change(() => {
        const draft = topology.draft()
        const isAsBefore = topology.chunkservers.get(id) === record
        if (!isAsBefore || topology.copysetsOf(id).size > 0) return draft.write(() => {})
        draft.putChunkserver({ ...record, retiredMs: env.clock.wallMs() })
        return draft.write(() => observer.emit('mds_chunkserver_retired', { chunkserver: id }))
      })
    }
  }

  #isDone({ id, replacedBy, draining }: ChunkserverRecord): boolean {
    const { reports } = this.#options
    const presence = reports.presenceOf(id)
    if (replacedBy !== undefined) return presence === 'offline'
    if (draining?.why !== 'asked' || this.guard.reasons.includes('maintenance')) return false
    const heard = reports.of(id)
    const saysEmpty = heard?.last.complete === true && heard.replicas.size === 0
    return presence === 'offline' || (presence === 'online' && saysEmpty)
  }
}

const SAYS: Readonly<Record<Obstacle, string>> = {
  'host-away': 'a server that is silent',
  'no-quorum': 'a quorum of sound members',
  'no-place': 'a place',
  limit: 'others to finish first',
}
