// Owns when operators are given up: those that get no further for their time. A rebuild whose state
// arrives has its whole time anew, as what is large takes long beside clients, and to begin again and
// again would never end. A transfer that starts over is no progress before it has passed the last one.
// Memory only: under another MDS an operator has what is left of its time by the record.

import type { Clock } from '../../env/clock.ts'
import type { OperatorRecord } from '../../format/records/topology.ts'
import type { Reports } from '../reports.ts'
import type { Topology } from '../topology/topology.ts'

interface Deadline {
  /** By this MDS's monotonic clock. */
  atMs: number
  /** Of the state that is sent to the new replica: the least that was ever left to send. */
  leftBytes: number
}

export class Deadlines {
  readonly #clock: Clock
  readonly #topology: Topology
  readonly #reports: Reports
  readonly #known = new Map<number, Deadline>()

  constructor(clock: Clock, topology: Topology, reports: Reports) {
    this.#clock = clock
    this.#topology = topology
    this.#reports = reports
  }

  begin({ id, limitMs }: OperatorRecord): void {
    const atMs = this.#clock.monotonicMs() + limitMs
    this.#known.set(id, { atMs, leftBytes: Number.POSITIVE_INFINITY })
  }

  isOver(operator: OperatorRecord): boolean {
    const nowMs = this.#clock.monotonicMs()
    const deadline = this.#of(operator, nowMs)
    const leftBytes = this.#leftBytes(operator)
    if (leftBytes < deadline.leftBytes) {
      deadline.leftBytes = leftBytes
      deadline.atMs = nowMs + operator.limitMs
    }
    return nowMs >= deadline.atMs
  }

  /** Forgets all others. */
  keep(operators: ReadonlyMap<number, OperatorRecord>): void {
    if (this.#known.size <= operators.size) return
    const live = new Set(Array.from(operators.values(), ({ id }) => id))
    for (const id of this.#known.keys()) if (!live.has(id)) this.#known.delete(id)
  }

  /** What is left of its time by the record, half of it at least: another host has another date. */
  #of({ id, sinceMs, limitMs }: OperatorRecord, nowMs: number): Deadline {
    let deadline = this.#known.get(id)
    if (deadline === undefined) {
      const leftMs = limitMs - Math.max(0, this.#clock.wallMs() - sinceMs)
      const atMs = nowMs + Math.max(leftMs, limitMs / 2)
      deadline = { atMs, leftBytes: Number.POSITIVE_INFINITY }
      this.#known.set(id, deadline)
    }
    return deadline
  }

  /** By its leader's word; infinite while that says nothing. */
  #leftBytes({ copyset: id, to }: OperatorRecord): number {
    const copyset = this.#topology.copysets.get(id)
    const leader = copyset === undefined ? null : this.#reports.leaderOf(copyset)
    const sending = leader?.report.sending?.find((one) => one.to === to)
    if (sending === undefined || sending.bytesWanted === 0) return Number.POSITIVE_INFINITY
    return Math.max(0, sending.bytesWanted - sending.bytesSent)
  }
}
