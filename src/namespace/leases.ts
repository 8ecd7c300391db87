// Owns until when each writer's lease lasts, on the monotonic clock of this process. Who holds a volume
// is in its record and outlives the process; when the lease ends does not, so that after a start every
// holder is given a whole lease anew. Readers have no lease: they keep nobody away.

import type { VolumeRecord } from '../format/records/volume.ts'

export class Leases {
  readonly #termMs: number
  readonly #endsMs = new Map<number, number>()

  /** `termMs` is the client's lease with the margin by which it is held longer here. */
  constructor(termMs: number) {
    this.#termMs = termMs
  }

  /** A whole lease from now. */
  grant(volume: number, nowMs: number): void {
    this.#endsMs.set(volume, nowMs + this.#termMs)
  }

  end(volume: number): void {
    this.#endsMs.delete(volume)
  }

  /** How long the holder of this record is still kept safe from others; 0 when nobody is. */
  leftMs(volume: VolumeRecord, nowMs: number): number {
    if (volume.holder === undefined) return 0
    return Math.max(0, (this.#endsMs.get(volume.id) ?? nowMs) - nowMs)
  }
}
