// Owns how long to wait before a role that died is started again: 0.2 s, doubling to 10 s, and from the
// shortest again when it had lived long enough to be well.

const PAUSE_MIN_MS = 200
const PAUSE_MAX_MS = 10_000
const WELL_AFTER_MS = 30_000

export class Backoff {
  #pauseMs = PAUSE_MIN_MS
  #beganMs = 0

  began(nowMs: number): void {
    this.#beganMs = nowMs
  }

  /** It has died now: the pause before it begins again. */
  pauseMs(nowMs: number): number {
    if (nowMs - this.#beganMs >= WELL_AFTER_MS) this.#pauseMs = PAUSE_MIN_MS
    const pauseMs = this.#pauseMs
    this.#pauseMs = Math.min(PAUSE_MAX_MS, 2 * pauseMs)
    return pauseMs
  }
}
