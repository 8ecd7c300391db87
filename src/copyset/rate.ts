// Owns a token bucket: how long a sender must wait so that bytes leave at no more than a rate, with
// bursts of at most a tenth of a second's worth. Pure; time is an argument.

const BURST_SECONDS = 0.1

export class RateLimit {
  readonly #bytesPerMs: number
  readonly #burstMs: number
  /** When everything admitted so far has been paid for. */
  #paidUntilMs = 0

  constructor(bytesPerSecond: number) {
    this.#bytesPerMs = bytesPerSecond / 1000
    this.#burstMs = BURST_SECONDS * 1000
  }

  /** Admits `bytes` and says after how many milliseconds they may leave. */
  claim(bytes: number, nowMs: number): number {
    const start = Math.max(this.#paidUntilMs, nowMs - this.#burstMs)
    this.#paidUntilMs = start + bytes / this.#bytesPerMs
    return Math.max(0, start - nowMs)
  }
}
