// Owns what a chunkserver is told to do, derived anew for every heartbeat from what is recorded and
// what was reported: nothing is remembered about orders, so none is lost and repeating them is the
// rule. Invariant: nothing is destroyed on a guess; see #destroyOf.

import type { Order, ReplicaReport } from '../format/control/chunkserver.ts'
import type { CopysetRecord } from '../format/records/topology.ts'
import type { Observer } from '../observe/observe.ts'
import type { Reports } from './reports.ts'
import { chunkserverOf, issuedEpoch, type Topology } from './topology.ts'

/** Of one kind in one answer; the rest comes with the next. */
const ORDERS_MAX = 512

export class Orders {
  readonly #observer: Observer
  readonly #topology: Topology
  readonly #reports: Reports
  /** Replicas of copysets that nobody knows, as `group/replica`, so that each is told of once. */
  readonly #strangers = new Set<string>()

  constructor(observer: Observer, topology: Topology, reports: Reports) {
    this.#observer = observer
    this.#topology = topology
    this.#reports = reports
  }

  of(chunkserver: number): Order[] {
    const heard = this.#reports.of(chunkserver)
    if (heard === undefined) return []
    const orders = heard.last.complete ? this.founding(chunkserver) : []
    for (const report of heard.replicas.values()) {
      const order = this.#ofReplica(report)
      if (order !== null && orders.length < 2 * ORDERS_MAX) orders.push(order)
    }
    const { scrubMs } = this.#topology.cluster
    if (scrubMs > heard.last.scrub.startedMs) orders.push({ kind: 'scrub', startedMs: scrubMs })
    for (const { kind } of orders) this.#observer.counter('mds_orders_total', kind).add(1)
    return orders
  }

  /** Founding replicas of a chunkserver that it has not reported yet. */
  founding(chunkserver: number): Order[] {
    const orders: Order[] = []
    for (const id of this.#topology.copysetsOf(chunkserver)) {
      const copyset = this.#topology.copysets.get(id)
      if (copyset?.founding !== true || orders.length >= ORDERS_MAX) continue
      const replica = copyset.voters.find((voter) => chunkserverOf(voter) === chunkserver)
      if (replica === undefined || this.#reports.replica(id, replica) !== undefined) continue
      orders.push({ kind: 'found', group: id, replica, voters: [...copyset.voters] })
    }
    return orders
  }

  #ofReplica(report: ReplicaReport): Order | null {
    const copyset = this.#topology.copysets.get(report.group)
    if (copyset === undefined) {
      this.#noteStranger(report)
      return null
    }
    if (copyset.voters.includes(report.replica)) {
      const leader = report.leads ? this.#reports.leaderOf(copyset) : null
      return leader?.report === report ? this.changeOf(copyset) : null
    }
    return this.#destroyOf(copyset, report)
  }

  /**
   * What the leader of a copyset is to make of its members: what the operator wants, or, without
   * one, what is recorded, without the learners that a given-up operator left.
   */
  changeOf(copyset: CopysetRecord): Order | null {
    const leader = this.#reports.leaderOf(copyset)
    if (leader === null || leader.report.epoch !== copyset.epoch) return null
    const { epoch, learners, changing } = leader.report
    if (changing !== undefined) return null
    const operator = this.#topology.operators.get(copyset.id)
    if (operator === undefined) {
      if (learners.length === 0) return null
      return { kind: 'change', group: copyset.id, epoch, voters: [...copyset.voters] }
    }
    const stay = copyset.voters.filter((voter) => voter !== operator.from && voter !== operator.to)
    const voters = [...stay, operator.to].sort((a, b) => a - b)
    return { kind: 'change', group: copyset.id, epoch, voters }
  }

  /**
   * Ends a replica that is no member any more, when all of this holds: the recorded configuration
   * does not have it; the leader and a majority of the voters have applied that configuration, so
   * that no joint phase waits for its vote; and the configuration is newer than all that the
   * replica knows, and than the change for which it was made, which may still be on its way to it.
   * One that has applied its own removal ends by the voters' word alone (copyset/removal.ts).
   */
  #destroyOf(copyset: CopysetRecord, report: ReplicaReport): Order | null {
    const { group, replica } = report
    const { epoch } = copyset
    if (copyset.learners.includes(replica)) return null
    if (this.#topology.operators.get(group)?.to === replica) return null
    if (report.epoch >= epoch || issuedEpoch(copyset, replica) >= epoch) return null
    if (!this.#reports.isConfirmed(copyset)) return null
    return { kind: 'destroy', group, replica, epoch }
  }

  #noteStranger({ group, replica }: ReplicaReport): void {
    const name = `${group}/${replica}`
    if (this.#strangers.has(name)) return
    this.#strangers.add(name)
    this.#observer.emit('mds_replica_unknown', {
      chunkserver: chunkserverOf(replica),
      group,
      replica,
    })
  }
}
