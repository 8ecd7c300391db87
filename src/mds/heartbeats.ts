// Owns what a heartbeat does: it is remembered, what it says of configurations becomes durable, and
// its answer has orders and addresses. Invariant: orders follow from what is durable, so the answer
// waits for the commit; and a configuration is recorded only when it is settled and newer than the
// known one.

import { LemnisError } from '../base/errors.ts'
import type { ReplyOf } from '../format/control/call.ts'
import type { HEARTBEAT, ReplicaReport } from '../format/control/chunkserver.ts'
import type { ChunkserverRecord, CopysetRecord } from '../format/records/topology.ts'
import type { Observer } from '../observe/observe.ts'
import type { Operators } from './operators/operators.ts'
import type { Orders } from './operators/orders.ts'
import type { Heartbeat, Reports } from './reports.ts'
import { chunkserverOf, type Draft, type Topology } from './topology/topology.ts'

export type HeartbeatReply = ReplyOf<typeof HEARTBEAT>

export interface HeartbeatsOptions {
  readonly observer: Observer
  readonly topology: Topology
  readonly reports: Reports
  readonly orders: Orders
  readonly operators: Operators
  readonly intervalMs: number
  /** Limits of the volumes that have any. */
  readonly limits: () => HeartbeatReply['limits']
}

export class Heartbeats {
  readonly #options: HeartbeatsOptions
  /** Told of once each. */
  readonly #conflicts = new Set<string>()

  constructor(options: HeartbeatsOptions) {
    this.#options = options
  }

  async take(heartbeat: Heartbeat): Promise<HeartbeatReply> {
    const { observer, topology, reports, orders, intervalMs, limits } = this.#options
    this.#check(heartbeat)
    observer.counter('mds_heartbeats_total').add(1)
    reports.heard(heartbeat, this.#expectedOn(heartbeat.id))
    for (const report of heartbeat.replicas) this.#noteConflict(report)
    if (!this.#draft(heartbeat).isEmpty) {
      // Asked for again when its turn has come: other writes may have come before it.
      await topology.ledger.change(() => this.#draft(heartbeat).write(() => {}))
    }
    const { directoryVersion } = topology.cluster
    return {
      intervalMs,
      orders: orders.of(heartbeat.id),
      directoryVersion,
      ...(heartbeat.directoryVersion === directoryVersion ? {} : { directory: this.#directory() }),
      limits: limits(),
      full: this.#full(),
    }
  }

  /** By their own last word; one that is silent for good is replaced, and holds nobody back. */
  #full(): number[] {
    const { topology, reports } = this.#options
    const full: number[] = []
    for (const id of topology.chunkservers.keys()) {
      const isFull = reports.of(id)?.last.disk.state === 'full'
      if (isFull && reports.presenceOf(id) !== 'offline') full.push(id)
    }
    return full
  }

  #check({ id, token, address }: Heartbeat): ChunkserverRecord {
    const record = this.#options.topology.chunkservers.get(id)
    if (record === undefined) throw new LemnisError('NOT_FOUND', { chunkserver: id })
    if (record.token !== token) {
      throw new LemnisError('WRONG_DISK', { chunkserver: id, reason: 'the token is another' })
    }
    if (record.retiredMs !== undefined) throw new LemnisError('RETIRED', { chunkserver: id })
    const isReplaced = record.replacedBy !== undefined || record.address !== address
    if (isReplaced) {
      // Registering says where it is, and that it is not gone.
      throw new LemnisError('NOT_FOUND', { chunkserver: id, address, reason: 'register again' })
    }
    return record
  }

  /**
   * Replicas that should be on a chunkserver: settled voters of copysets that are past founding.
   */
  #expectedOn(chunkserver: number): Map<number, number> {
    const { topology } = this.#options
    const expected = new Map<number, number>()
    for (const id of topology.copysetsOf(chunkserver)) {
      const copyset = topology.copysets.get(id)
      if (copyset === undefined || copyset.founding) continue
      const voter = copyset.voters.find((replica) => chunkserverOf(replica) === chunkserver)
      if (voter !== undefined) expected.set(id, voter)
    }
    return expected
  }

  #draft(heartbeat: Heartbeat): Draft {
    const draft = this.#options.topology.draft()
    for (const report of heartbeat.replicas) this.#draftCopyset(draft, report)
    this.#draftScrub(draft, heartbeat)
    return draft
  }

  /** What it has scrubbed outlives its process, which forgets it. */
  #draftScrub(draft: Draft, { id, scrub }: Heartbeat): void {
    const record = this.#options.topology.chunkservers.get(id)
    const isOver = scrub.state === 'idle' && scrub.finishedMs > 0
    if (record === undefined || !isOver || scrub.startedMs <= (record.scrubbedMs ?? 0)) return
    draft.putChunkserver({ ...record, scrubbedMs: scrub.startedMs })
  }

  #draftCopyset(draft: Draft, report: ReplicaReport): void {
    const { topology, observer } = this.#options
    const copyset = topology.copysets.get(report.group)
    // A damaged replica knows nothing of its configuration.
    if (copyset === undefined || report.voters.length === 0) return
    if (report.epoch > copyset.epoch && isSettled(report.epoch)) {
      const record = withMembers(copyset, report)
      draft.putCopyset(record)
      draft.after(() => {
        observer.emit('mds_membership_changed', {
          group: record.id,
          epoch: record.epoch,
          voters: record.voters.map(chunkserverOf).join(' '),
        })
      })
      this.#options.operators.noteMembers(draft, record)
      return
    }
    if (report.leads) this.#options.operators.noteLeader(draft, copyset, report)
    if (copyset.founding && this.#isFounded(copyset)) {
      draft.putCopyset({ ...copyset, founding: false })
      draft.after(() => observer.emit('mds_copyset_founded', { group: copyset.id }))
    }
  }

  /** Cannot be while Raft is right; whatever it is, the recorded members stand. */
  #noteConflict({ group, replica, epoch, voters }: ReplicaReport): void {
    const copyset = this.#options.topology.copysets.get(group)
    if (copyset === undefined || epoch !== copyset.epoch || voters.length === 0) return
    const chunkserver = chunkserverOf(replica)
    if (isSameSet(voters, copyset.voters)) return
    const key = `${group}/${epoch}/${chunkserver}`
    if (this.#conflicts.has(key)) return
    this.#conflicts.add(key)
    this.#options.observer.emit('mds_membership_conflict', {
      group,
      epoch,
      chunkserver,
      reported: voters.join(' '),
      recorded: copyset.voters.join(' '),
    })
  }

  #isFounded(copyset: CopysetRecord): boolean {
    const { reports } = this.#options
    return copyset.voters.every((voter) => reports.replica(copyset.id, voter) !== undefined)
  }

  #directory(): { chunkserver: number; address: string }[] {
    const found: { chunkserver: number; address: string }[] = []
    for (const { id, address, retiredMs } of this.#options.topology.chunkservers.values()) {
      if (retiredMs === undefined) found.push({ chunkserver: id, address })
    }
    return found
  }
}

/**
 * Groups are founded with epoch 1, and every change of members enters a joint phase and leaves it,
 * one epoch each (raft/configuration.ts): so the epochs between are even. Voters of a joint phase
 * are not all that still count, so it is not recorded.
 */
function isSettled(epoch: number): boolean {
  return epoch % 2 === 1
}

/** As reported; a configuration that has changed was founded, whoever has not been seen. */
function withMembers(copyset: CopysetRecord, report: ReplicaReport): CopysetRecord {
  return {
    ...copyset,
    epoch: report.epoch,
    voters: [...report.voters].sort((a, b) => a - b),
    learners: [...report.learners].sort((a, b) => a - b),
    founding: false,
  }
}

function isSameSet(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((id) => b.includes(id))
}
