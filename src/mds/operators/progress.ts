// Owns the guess when what moves will have moved: by how fast replicas were finished of late. Says
// nothing where there is too little to go by. For people; nothing follows from it.

import type { Clock } from '../../env/clock.ts'

/** Finished ones that the rate is of, and for how long one counts. */
const FINISHED_MAX = 256
const FINISHED_AGE_MS = 600_000
/** Fewer tell nothing. */
const FINISHED_MIN = 3

export class Progress {
  readonly #clock: Clock
  /** When the newest were finished, by the monotonic clock; oldest first. */
  readonly #finishedMs: number[] = []

  constructor(clock: Clock) {
    this.#clock = clock
  }

  finished(): void {
    this.#finishedMs.push(this.#clock.monotonicMs())
    if (this.#finishedMs.length > FINISHED_MAX) this.#finishedMs.shift()
  }

  /** When `left` more will be finished, by the wall clock; null when nobody can say. */
  endsMs(left: number): number | null {
    const nowMs = this.#clock.monotonicMs()
    const recent = this.#finishedMs.filter((atMs) => nowMs - atMs < FINISHED_AGE_MS)
    const [first] = recent
    if (left === 0 || recent.length < FINISHED_MIN || first === undefined || nowMs <= first) {
      return null
    }
    // The first one only marks where the time begins.
    const eachMs = (nowMs - first) / (recent.length - 1)
    return Math.round(this.#clock.wallMs() + left * eachMs)
  }
}
