// Owns what follows from operators that were given up: their copyset is left alone for a while, and is
// rebuilt elsewhere if it can be. Where nothing arrives although it is heard, the next try would not
// arrive either. Memory only: another MDS tries once more.

import type { Clock } from '../../env/clock.ts'
import type { OperatorRecord } from '../../format/records/topology.ts'
import { chunkserverOf, type Topology } from '../topology/topology.ts'

const NOWHERE: readonly number[] = []

export class Setbacks {
  readonly #clock: Clock
  readonly #topology: Topology
  readonly #retryMs: number
  /** Copysets that are left alone, and until when. */
  readonly #heldUntilMs = new Map<number, number>()
  /** Chunkservers, by the copyset of which no replica could be built there. */
  readonly #avoided = new Map<number, readonly number[]>()

  constructor(clock: Clock, topology: Topology, retryMs: number) {
    this.#clock = clock
    this.#topology = topology
    this.#retryMs = retryMs
  }

  isHeld(copyset: number): boolean {
    const untilMs = this.#heldUntilMs.get(copyset)
    if (untilMs === undefined) return false
    if (this.#clock.monotonicMs() < untilMs) return true
    this.#heldUntilMs.delete(copyset)
    return false
  }

  avoidedBy(copyset: number): readonly number[] {
    return this.#avoided.get(copyset) ?? NOWHERE
  }

  hold({ copyset }: OperatorRecord): void {
    this.#heldUntilMs.set(copyset, this.#clock.monotonicMs() + this.#retryMs)
  }

  timedOut(operator: OperatorRecord): void {
    const { copyset, kind, from, to } = operator
    this.hold(operator)
    if (kind === 'lead' || to === undefined) return
    const target = chunkserverOf(to)
    // A damaged replica is made anew where it is, or not at all.
    if (from !== undefined && chunkserverOf(from) === target) return
    const others = this.avoidedBy(copyset).filter((id) => id !== target)
    this.#avoided.set(copyset, [...others, target])
  }

  finished({ copyset }: OperatorRecord): void {
    this.#avoided.delete(copyset)
  }

  /** Forgets copysets that are no more. */
  prune(): void {
    for (const known of [this.#heldUntilMs, this.#avoided]) {
      for (const copyset of known.keys()) {
        if (!this.#topology.copysets.has(copyset)) known.delete(copyset)
      }
    }
  }
}
