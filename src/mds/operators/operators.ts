// Owns the life of operators: each is durable before anybody is told of it, is handed to its
// copyset's leader, and ends once, with the record of its end in the same commit. One operator a
// copyset; a more urgent one takes the place of one that has not begun. Another MDS goes on with
// what it finds: nothing that matters is in memory only.
// What to begin is decided elsewhere (placement/, scheduler.ts), and what to give up too (endings.ts).

import type { Env } from '../../env/env.ts'
import { META_CHANGES_MAX } from '../../env/metastore.ts'
import type { ReplicaReport } from '../../format/control/chunkserver.ts'
import type {
  CopysetRecord,
  EndedOperatorRecord,
  OperatorRecord,
} from '../../format/records/topology.ts'
import type { Observer } from '../../observe/observe.ts'
import type { PlannedOperator, Priority } from '../../placement/operator.ts'
import type { MdsBugs } from '../bugs.ts'
import type { ClusterViews } from '../cluster-view.ts'
import type { MdsConfig } from '../config.ts'
import type { Reports } from '../reports.ts'
import { chunkserverOf, type Draft, issueReplica, type Topology } from '../topology/topology.ts'
import type { Courier } from './courier.ts'
import { Deadlines } from './deadlines.ts'
import { cancelled, type Ending, Endings, type EndReason } from './endings.ts'
import type { Orders } from './orders.ts'
import type { Progress } from './progress.ts'
import { Setbacks } from './setbacks.ts'

export interface OperatorsOptions {
  readonly env: Env
  readonly observer: Observer
  readonly config: MdsConfig
  readonly topology: Topology
  readonly reports: Reports
  readonly views: ClusterViews
  readonly orders: Orders
  readonly courier: Courier
  readonly progress: Progress
  readonly bugs?: MdsBugs
}

const RANKS: Readonly<Record<Priority, number>> = { low: 0, normal: 1, high: 2 }
/** Operators begun in one commit: each changes two records of its own and ends at most one. */
const BEGIN_MAX = Math.min(256, Math.floor(META_CHANGES_MAX / 4))

export class Operators {
  readonly #options: OperatorsOptions
  readonly #deadlines: Deadlines
  readonly #endings: Endings
  readonly #setbacks: Setbacks

  constructor(options: OperatorsOptions) {
    this.#options = options
    const { env, topology, reports, views, config } = options
    this.#deadlines = new Deadlines(env.clock, topology, reports)
    this.#endings = new Endings({ topology, reports, views, deadlines: this.#deadlines })
    this.#setbacks = new Setbacks(env.clock, topology, config.operatorRetryMs)
  }

  /** Numbers those that were decided before operators had ids. */
  async adopt(): Promise<void> {
    const { topology } = this.#options
    const unnumbered = [...topology.operators.values()].filter(({ id }) => id === 0)
    if (unnumbered.length === 0) return
    await topology.ledger.change(() => {
      const draft = topology.draft()
      for (const operator of unnumbered) draft.putOperator({ ...operator, id: nextId(draft) })
      return draft.write(() => {})
    })
  }

  /** Its copyset is to be left alone for now. */
  isHeld(copyset: number): boolean {
    return this.#setbacks.isHeld(copyset)
  }

  /** Chunkservers on which a replica of it could not be built. */
  avoidedBy(copyset: number): readonly number[] {
    return this.#setbacks.avoidedBy(copyset)
  }

  hasBegun(operator: OperatorRecord): boolean {
    return this.#endings.hasBegun(operator)
  }

  // --- beginning

  /**
   * Records what is still possible of a plan that was made when the copysets were as `seen`, and hands it
   * out: nothing once `mayBegin` says no, which is asked when its turn to be written has come. Says how
   * many.
   */
  async beginAll(
    plan: readonly PlannedOperator[],
    seen: ReadonlyMap<number, CopysetRecord>,
    mayBegin: () => boolean,
  ): Promise<number> {
    const { topology } = this.#options
    let begun = 0
    for (let first = 0; first < plan.length; first += BEGIN_MAX) {
      const part = plan.slice(first, first + BEGIN_MAX)
      const records = await topology.ledger.change(() => {
        const draft = topology.draft()
        const made = new Map<number, OperatorRecord>()
        for (const planned of mayBegin() ? part : []) {
          const { copyset } = planned
          // What has changed while this waited for its turn is planned anew.
          const isAsPlanned = topology.copysets.get(copyset) === seen.get(copyset)
          const record = isAsPlanned && !made.has(copyset) ? this.#draft(draft, planned) : null
          if (record !== null) made.set(copyset, record)
        }
        return draft.write(() => [...made.values()])
      })
      for (const record of records) this.#handOut(record)
      begun += records.length
    }
    return begun
  }

  #draft(draft: Draft, planned: PlannedOperator): OperatorRecord | null {
    const { env, topology, observer } = this.#options
    const copyset = topology.copysets.get(planned.copyset)
    if (copyset === undefined) return null
    const { kind, why, priority } = planned
    const voterOn = (chunkserver: number): number | undefined =>
      copyset.voters.find((voter) => chunkserverOf(voter) === chunkserver)
    const common = {
      copyset: copyset.id,
      why,
      epoch: copyset.epoch,
      sinceMs: env.clock.wallMs(),
      id: 0,
      kind,
      priority,
      limitMs: this.#limitOf(kind),
    }
    const from = kind === 'add' ? undefined : voterOn(planned.from)
    if (kind !== 'add' && from === undefined) return null
    let to = kind === 'lead' ? voterOn(planned.to) : undefined
    if (kind === 'lead' && to === undefined) return null
    if (kind === 'move' || kind === 'add') {
      // Two on one chunkserver are lost together, and it would refuse the second.
      const stays = voterOn(planned.to)
      if (stays !== undefined && stays !== from) return null
    }
    const ends = () => ({
      ...(from === undefined ? {} : { from }),
      ...(to === undefined ? {} : { to }),
    })
    if (!this.#endings.isStillWanted({ ...common, ...ends() }, copyset)) return null
    if (!this.#makesRoom(draft, planned)) return null
    if (kind === 'move' || kind === 'add') {
      const made = issueReplica(copyset, planned.to)
      to = made.replica
      draft.putCopyset({ ...copyset, issued: made.issued })
    }
    const record: OperatorRecord = { ...common, ...ends(), id: nextId(draft) }
    draft.putOperator(record)
    draft.after(() => {
      this.#deadlines.begin(record)
      observer.counter('mds_operators_begun_total', why).add(1)
      this.#say('mds_operator_begun', record)
    })
    return record
  }

  /** True when the copyset has no operator, or one that this takes the place of. */
  #makesRoom(draft: Draft, { copyset, priority }: PlannedOperator): boolean {
    const before = this.#options.topology.operators.get(copyset)
    if (before === undefined) return true
    if (RANKS[before.priority] >= RANKS[priority] || this.#endings.hasBegun(before)) return false
    this.#draftEnd(draft, before, { state: 'cancelled', reason: 'replaced' })
    return true
  }

  #limitOf(kind: PlannedOperator['kind']): number {
    const { operatorTimeoutMs, removeTimeoutMs, leadTimeoutMs } = this.#options.config
    switch (kind) {
      case 'move':
      case 'add':
        return operatorTimeoutMs
      case 'remove':
        return removeTimeoutMs
      case 'lead':
        return leadTimeoutMs
    }
  }

  #handOut({ copyset: id }: OperatorRecord): void {
    const { topology, orders, courier, reports } = this.#options
    const copyset = topology.copysets.get(id)
    if (copyset === undefined) return
    const order = orders.ofLeader(copyset)
    const leader = reports.leaderOf(copyset)
    if (order !== null && leader !== null) courier.give(leader.chunkserver, order)
  }

  // --- following

  /** Gives up what takes too long or has lost its sense; `halt` gives up all that has not begun. */
  async follow(halt: 'guard' | 'maintenance' | null): Promise<void> {
    const { topology } = this.#options
    const endings = new Map<OperatorRecord, Ending>()
    for (const operator of topology.operators.values()) {
      const ending = this.#endings.of(operator, halt)
      if (ending !== null) endings.set(operator, ending)
    }
    if (endings.size > 0) await this.#endAll(endings)
    this.#deadlines.keep(topology.operators)
    this.#setbacks.prune()
  }

  async #endAll(endings: ReadonlyMap<OperatorRecord, Ending>): Promise<void> {
    const { topology } = this.#options
    await topology.ledger.change(() => {
      const draft = topology.draft()
      for (const [operator, ending] of endings) {
        if (topology.operators.get(operator.copyset) !== operator) continue
        this.#draftEnd(draft, operator, ending)
      }
      return draft.write(() => {})
    })
  }

  // --- ending

  /** Adds the end of the copyset's operator to `draft`, if `copyset`, as it is now, has what it wanted. */
  noteMembers(draft: Draft, { id, voters }: CopysetRecord): void {
    const operator = this.#options.topology.operators.get(id)
    if (operator === undefined || operator.kind === 'lead') return
    const { from, to } = operator
    const hasCome = to === undefined || voters.includes(to)
    const hasGone = from === undefined || !voters.includes(from)
    if (hasCome && hasGone) this.#draftEnd(draft, operator, null)
  }

  /** The same for one that was to lead and says that it does. */
  noteLeader(draft: Draft, copyset: CopysetRecord, report: ReplicaReport): void {
    const operator = this.#options.topology.operators.get(copyset.id)
    if (operator?.kind !== 'lead' || operator.to !== report.replica) return
    if (this.#options.reports.leaderOf(copyset)?.report !== report) return
    this.#draftEnd(draft, operator, null)
  }

  /** Adds its end to `draft` when its copyset is no more. */
  noteRemoved(draft: Draft, copyset: number): void {
    const operator = this.#options.topology.operators.get(copyset)
    if (operator !== undefined) this.#draftEnd(draft, operator, cancelled('not-wanted'))
  }

  /** Gives one up because somebody asked for it; false when it has ended meanwhile. */
  async cancel(operator: OperatorRecord, reason: EndReason = 'asked'): Promise<boolean> {
    const { topology } = this.#options
    await this.#endAll(new Map([[operator, cancelled(reason)]]))
    const ended = topology.endedOperator(operator.id)
    return ended?.state === 'cancelled'
  }

  #draftEnd(draft: Draft, operator: OperatorRecord, ending: Ending | null): void {
    const { env, observer } = this.#options
    const ended: EndedOperatorRecord = {
      ...operator,
      state: ending?.state ?? 'finished',
      endedMs: env.clock.wallMs(),
      ...(ending === null ? {} : { error: ending.reason }),
    }
    if (this.#options.bugs?.has('operators-vanish') === true && ending !== null) {
      draft.removeOperator(operator.copyset)
    } else draft.endOperator(ended)
    draft.after(() => {
      observer.counter('mds_operators_ended_total', ended.state).add(1)
      if (ending === null) return this.#finished(operator)
      const { reason } = ending
      if (reason === 'timeout') this.#setbacks.timedOut(operator)
      else if (reason === 'asked') this.#setbacks.hold(operator)
      observer.emit('mds_operator_dropped', { ...fieldsOf(operator), reason })
    })
  }

  #finished(operator: OperatorRecord): void {
    const { kind } = operator
    this.#setbacks.finished(operator)
    if (kind === 'move' || kind === 'add') this.#options.progress.finished()
    this.#say('mds_operator_finished', operator)
  }

  #say(event: 'mds_operator_begun' | 'mds_operator_finished', operator: OperatorRecord): void {
    this.#options.observer.emit(event, { ...fieldsOf(operator), why: operator.why })
  }
}

function nextId(draft: Draft): number {
  const id = draft.cluster.nextOperator ?? 1
  draft.patchCluster({ nextOperator: id + 1 })
  return id
}

function fieldsOf({
  id,
  copyset,
  kind,
  from,
  to,
}: OperatorRecord): Record<string, number | string> {
  return {
    id,
    kind,
    group: copyset,
    from: from === undefined ? 0 : chunkserverOf(from),
    to: to === undefined ? 0 : chunkserverOf(to),
  }
}
