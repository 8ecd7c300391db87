// Owns what a chunkserver is told to do, derived anew for every heartbeat from what is recorded and
// what was reported: nothing is remembered about orders, so none is lost and repeating them is the
// rule. Invariant: nothing is destroyed on a guess; see #destroyOf.

import type { Order, ReplicaReport } from '../../format/control/chunkserver.ts'
import type { CopysetRecord } from '../../format/records/topology.ts'
import type { Observer } from '../../observe/observe.ts'
import type { Reports } from '../reports.ts'
import { chunkserverOf, issuedEpoch, type Topology } from '../topology/topology.ts'

/** Of one kind in one answer; the rest comes with the next. */
const ORDERS_MAX = 512
/**
 * Entries by which the next leader may lag as reported. Reports are seconds old, so that one under load
 * always seems to lag; the transfer itself waits until it has everything (raft/replication.ts).
 */
const LEAD_LAG_MAX = 100_000

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
    const scrubMs = this.#scrubDue(chunkserver, heard.last.scrub.startedMs)
    if (scrubMs > 0) orders.push({ kind: 'scrub', startedMs: scrubMs })
    for (const { kind } of orders) this.#observer.counter('mds_orders_total', kind).add(1)
    return orders
  }

  /** The newest scrub that it was to begin, when it has neither begun nor finished it; 0 for none. */
  #scrubDue(chunkserver: number, startedMs: number): number {
    const record = this.#topology.chunkservers.get(chunkserver)
    const wantedMs = Math.max(this.#topology.cluster.scrubMs, record?.scrubMs ?? 0)
    // A chunkserver that was started again has forgotten what it has scrubbed.
    return wantedMs > Math.max(startedMs, record?.scrubbedMs ?? 0) ? wantedMs : 0
  }

  /**
   * Founding replicas of a chunkserver that it has not reported yet: those that are to lead first of
   * all, so that they stand for election before the others wonder why nobody does.
   */
  founding(chunkserver: number): Order[] {
    const leaders: Order[] = []
    const others: Order[] = []
    for (const id of this.#topology.copysetsOf(chunkserver)) {
      const copyset = this.#topology.copysets.get(id)
      if (copyset?.founding !== true) continue
      const replica = copyset.voters.find((voter) => chunkserverOf(voter) === chunkserver)
      if (replica === undefined || this.#reports.replica(id, replica) !== undefined) continue
      const orders = replica === copyset.voters[0] ? leaders : others
      orders.push({ kind: 'found', group: id, replica, voters: [...copyset.voters] })
    }
    return [...leaders, ...others].slice(0, ORDERS_MAX)
  }

  #ofReplica(report: ReplicaReport): Order | null {
    const copyset = this.#topology.copysets.get(report.group)
    if (copyset === undefined) {
      if (this.#topology.endings.has(report.group)) return endOf(report)
      this.#noteStranger(report)
      return null
    }
    if (copyset.voters.includes(report.replica)) {
      const leader = report.leads ? this.#reports.leaderOf(copyset) : null
      return leader?.report === report ? this.ofLeader(copyset) : null
    }
    return this.#destroyOf(copyset, report)
  }

  /**
   * What the leader of a copyset is to do: what the operator wants, or, without one, to make its
   * members what is recorded, without the learners that a given-up operator left.
   */
  ofLeader(copyset: CopysetRecord): Order | null {
    const leader = this.#reports.leaderOf(copyset)
    if (leader === null || leader.report.epoch !== copyset.epoch) return null
    const { learners, changing } = leader.report
    if (changing !== undefined) return null
    const operator = this.#topology.operators.get(copyset.id)
    if (operator === undefined) {
      return learners.length === 0 ? null : changeOf(copyset, copyset.voters)
    }
    const { from, to, kind } = operator
    // It left by a change that was ordered before: one member more is not what was planned.
    if (from !== undefined && !copyset.voters.includes(from)) return null
    if (kind === 'lead') {
      const isReady = to !== undefined && this.#canLead(copyset, leader.report, to)
      return isReady && leader.report.replica !== to ? leadOf(copyset, to) : null
    }
    // A leader that is removed would leave its group without one for the time of an election.
    const heir = leader.report.replica === from ? this.#heirOf(copyset, leader.report) : null
    if (heir !== null) return leadOf(copyset, heir)
    const stay = copyset.voters.filter((voter) => voter !== from && voter !== to)
    return changeOf(copyset, to === undefined ? stay : [...stay, to])
  }

  /** The voter that may best lead instead of the present leader. */
  #heirOf(copyset: CopysetRecord, leader: ReplicaReport): number | null {
    let heir: number | null = null
    let mostApplied = -1
    for (const voter of copyset.voters) {
      if (voter === leader.replica || !this.#canLead(copyset, leader, voter)) continue
      const applied = this.#reports.replica(copyset.id, voter)?.appliedIndex ?? 0
      if (applied <= mostApplied) continue
      heir = voter
      mostApplied = applied
    }
    return heir
  }

  /** It serves, has the leader's configuration, and lags so little that nobody waits for it. */
  #canLead(copyset: CopysetRecord, leader: ReplicaReport, voter: number): boolean {
    const report = this.#reports.replica(copyset.id, voter)
    if (report === undefined || report.damage !== undefined) return false
    const chunkserver = chunkserverOf(voter)
    const isWell =
      this.#reports.presenceOf(chunkserver) === 'online' &&
      !this.#reports.hasFailed(chunkserver) &&
      this.#topology.chunkservers.get(chunkserver)?.slow === undefined
    const lag = leader.appliedIndex - report.appliedIndex
    return isWell && report.epoch === leader.epoch && lag <= LEAD_LAG_MAX
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

function changeOf({ id: group, epoch }: CopysetRecord, voters: readonly number[]): Order {
  return { kind: 'change', group, epoch, voters: [...voters].sort((a, b) => a - b) }
}

function leadOf({ id: group }: CopysetRecord, replica: number): Order {
  return { kind: 'lead', group, replica }
}

/** No configuration reaches it; what a replica keeps of it has one added (raftlog/format.ts). */
const LAST_EPOCH = Number.MAX_SAFE_INTEGER - 1

/** Its pool was removed, with all that was on it: whatever the replica knows, it goes. */
function endOf({ group, replica }: ReplicaReport): Order {
  return { kind: 'destroy', group, replica, epoch: LAST_EPOCH }
}
