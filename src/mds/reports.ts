// Owns what chunkservers said of themselves since this MDS started: when they were heard, their
// disks, and their replicas. Memory only: nothing here is a decision, and after a restart everybody
// has a fresh period to be heard in, so that a restart declares nobody offline.

import type { Clock } from '../env/clock.ts'
import type { RequestOf } from '../format/control/call.ts'
import type { HEARTBEAT, ReplicaReport } from '../format/control/chunkserver.ts'
import type { CopysetRecord } from '../format/records/topology.ts'
import type { Presence } from '../placement/view.ts'
import { quorumOf } from '../placement/view.ts'
import { chunkserverOf } from './topology/topology.ts'

export type Heartbeat = RequestOf<typeof HEARTBEAT>

/** Complete heartbeats in a row that lack a replica before it counts as gone; see Reports.heard. */
const LACKS_MIN = 3

export interface Heard {
  /** By this MDS's monotonic clock. */
  readonly atMs: number
  /** For people. */
  readonly wallMs: number
  readonly last: Heartbeat
  readonly replicas: ReadonlyMap<number, ReplicaReport>
  /** The heartbeat before; null for the first one. */
  readonly before: { readonly atMs: number; readonly replicas: Heard['replicas'] } | null
}

/** What a copyset's leader said last. */
export interface LeaderReport {
  readonly chunkserver: number
  readonly report: ReplicaReport
}

export class Reports {
  readonly #clock: Clock
  readonly #onlineMs: number
  readonly #offlineMs: number
  readonly #startedMs: number
  readonly #heard = new Map<number, Heard>()
  /** Who says in its newest heartbeat that it leads a copyset; seldom more than one. */
  readonly #leads = new Map<number, readonly LeaderReport[]>()
  /** When one of which nothing was heard registered first: a sign of life too. */
  readonly #registeredMs = new Map<number, number>()
  /** Since when a chunkserver has been heard without a gap, of those that had one in this life. */
  readonly #upSinceMs = new Map<number, number>()
  /** Silence before this does not make anybody offline. */
  #pardonedMs = 0
  /** Complete heartbeats in a row of a chunkserver that lacked its replica of a copyset. */
  readonly #lacks = new Map<number, Map<number, number>>()

  constructor(clock: Clock, limits: { readonly onlineMs: number; readonly offlineMs: number }) {
    this.#clock = clock
    this.#onlineMs = limits.onlineMs
    this.#offlineMs = limits.offlineMs
    this.#startedMs = clock.monotonicMs()
  }

  /** Once: one that starts over and over, and never says what it has, is not there. */
  registered(chunkserver: number): void {
    if (this.#registeredMs.has(chunkserver) || this.#heard.has(chunkserver)) return
    this.#registeredMs.set(chunkserver, this.#clock.monotonicMs())
  }

  /**
   * Takes in a heartbeat. `expected` are the copysets of which a replica should be there, as
   * recorded before it came, with the replica's id: one that several complete heartbeats in a row
   * lack is gone. (The first may have been written before the replica was made, and the next before
   * the first was answered.)
   */
  heard(heartbeat: Heartbeat, expected: ReadonlyMap<number, number>): void {
    const { id } = heartbeat
    const replicas = new Map(heartbeat.replicas.map((report) => [report.group, report]))
    const atMs = this.#clock.monotonicMs()
    const hadGap = this.#heard.has(id) && this.silentMs(id) >= this.#onlineMs
    if (hadGap) this.#upSinceMs.set(id, atMs)
    const earlier = this.#heard.get(id)
    this.#heard.set(id, {
      atMs,
      wallMs: this.#clock.wallMs(),
      last: heartbeat,
      replicas,
      before: earlier === undefined ? null : { atMs: earlier.atMs, replicas: earlier.replicas },
    })
    for (const report of earlier?.last.replicas ?? []) if (report.leads) this.#unclaim(id, report)
    for (const report of heartbeat.replicas) if (report.leads) this.#claim(id, report)
    const before = this.#lacks.get(id)
    const lacks = new Map<number, number>()
    if (heartbeat.complete) {
      for (const [group, replica] of expected) {
        if (replicas.get(group)?.replica === replica) continue
        lacks.set(group, (before?.get(group) ?? 0) + 1)
      }
    }
    this.#lacks.set(id, lacks)
  }

  #claim(chunkserver: number, report: ReplicaReport): void {
    const others = this.#leads.get(report.group) ?? []
    this.#leads.set(report.group, [...others, { chunkserver, report }])
  }

  #unclaim(chunkserver: number, { group }: ReplicaReport): void {
    const others = (this.#leads.get(group) ?? []).filter((one) => one.chunkserver !== chunkserver)
    if (others.length === 0) this.#leads.delete(group)
    else this.#leads.set(group, others)
  }

  of(chunkserver: number): Heard | undefined {
    return this.#heard.get(chunkserver)
  }

  /**
   * Who has given no sign of life to this MDS yet is not online, and has its whole time to give
   * one.
   */
  presenceOf(chunkserver: number): Presence {
    const silentMs = this.silentMs(chunkserver)
    const sincePardonMs = this.#clock.monotonicMs() - this.#pardonedMs
    if (Math.min(silentMs, sincePardonMs) >= this.#offlineMs) return 'offline'
    const isKnown = this.#heard.has(chunkserver) || this.#registeredMs.has(chunkserver)
    return isKnown && silentMs < this.#onlineMs ? 'online' : 'unstable'
  }

  /** Whatever anybody's silence was so far, it has its whole time from now on. */
  pardon(): void {
    this.#pardonedMs = this.#clock.monotonicMs()
  }

  /**
   * For how long it has been online in a row: by its own word, unless it was silent meanwhile, so
   * that another MDS need not wait to learn it.
   */
  upMs(chunkserver: number): number {
    if (this.presenceOf(chunkserver) !== 'online') return 0
    const saysMs = this.#heard.get(chunkserver)?.last.upMs
    const sinceMs = this.#upSinceMs.get(chunkserver) ?? this.#startedMs
    const seenMs = this.#clock.monotonicMs() - sinceMs
    if (saysMs === undefined) return seenMs
    return this.#upSinceMs.has(chunkserver) ? Math.min(saysMs, seenMs) : saysMs
  }

  /** It is so early that not all of these can have been heard, and not all were. */
  isYoung(chunkservers: Iterable<number>): boolean {
    if (this.#clock.monotonicMs() - this.#startedMs >= this.#onlineMs) return false
    for (const id of chunkservers) if (!this.#heard.has(id)) return true
    return false
  }

  /** Nothing was heard of it yet, and it is early: nothing follows from that. */
  isAwaited(chunkserver: number): boolean {
    return !this.#heard.has(chunkserver) && this.silentMs(chunkserver) < this.#onlineMs
  }

  /** Since the last sign of life, or since this MDS began to listen. */
  silentMs(chunkserver: number): number {
    const heardMs = this.#heard.get(chunkserver)?.atMs ?? this.#startedMs
    const registeredMs = this.#registeredMs.get(chunkserver) ?? this.#startedMs
    return this.#clock.monotonicMs() - Math.max(heardMs, registeredMs)
  }

  /** Its disk serves nothing any more, by its own word. */
  hasFailed(chunkserver: number): boolean {
    return this.#heard.get(chunkserver)?.last.disk.state === 'failed'
  }

  replica(group: number, replica: number): ReplicaReport | undefined {
    const report = this.#heard.get(chunkserverOf(replica))?.replicas.get(group)
    return report?.replica === replica ? report : undefined
  }

  /** Damaged by its chunkserver's word, or not there although it should be. */
  isDamaged(group: number, replica: number): boolean {
    if (this.replica(group, replica)?.damage !== undefined) return true
    const lacks = this.#lacks.get(chunkserverOf(replica))?.get(group) ?? 0
    return lacks >= LACKS_MIN
  }

  /** The voter that says it leads in the newest term, while its chunkserver is heard. */
  leaderOf(copyset: CopysetRecord): LeaderReport | null {
    let best: LeaderReport | null = null
    for (const claim of this.#leads.get(copyset.id) ?? []) {
      const { chunkserver, report } = claim
      const isVoter = copyset.voters.includes(report.replica)
      if (!isVoter || this.presenceOf(chunkserver) !== 'online') continue
      if (best === null || report.term > best.report.term) best = claim
    }
    return best
  }

  /**
   * Entries that a voter had not applied although its leader had said before that it has: reports
   * come one after the other, so a leader's newer word says nothing.
   */
  lagOf(copyset: CopysetRecord, voter: number, leader: LeaderReport): number {
    const heard = this.#heard.get(chunkserverOf(voter))
    const report = this.replica(copyset.id, voter)
    const led = this.#heard.get(leader.chunkserver)
    if (heard === undefined || report === undefined || led === undefined) return 0
    const earlier = led.atMs <= heard.atMs ? led : led.before
    if (earlier === null || earlier.atMs > heard.atMs) return 0
    const then = earlier.replicas.get(copyset.id)
    if (then === undefined || !then.leads) return 0
    return Math.max(0, then.appliedIndex - report.appliedIndex)
  }

  /**
   * The leader and a majority of the voters have said in this MDS's life that they have applied the
   * recorded configuration: then nobody outside of it is needed for any vote.
   */
  isConfirmed(copyset: CopysetRecord): boolean {
    const leader = this.leaderOf(copyset)
    if (leader === null || leader.report.epoch !== copyset.epoch) return false
    const applied = copyset.voters.filter((voter) => {
      const report = this.replica(copyset.id, voter)
      return report !== undefined && report.epoch >= copyset.epoch
    })
    return applied.length >= quorumOf(copyset.voters.length)
  }
}
