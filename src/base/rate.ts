// Owns a rate with saved-up burst, as the time until which everything taken has been paid for (the
// virtual scheduling form of the generic cell rate algorithm, ITU-T I.371). What is taken may be larger
// than the burst: it passes and is paid for afterwards. Pure; time is an argument.

/** A tenth of a second's worth. */
const BURST_MS = 100

export class RateLimit {
  #perSecond: number
  readonly #burstMs: number
  #paidUntilMs = Number.NEGATIVE_INFINITY

  constructor(perSecond: number, burstMs = BURST_MS) {
    this.#perSecond = perSecond
    this.#burstMs = burstMs
  }

  get perSecond(): number {
    return this.#perSecond
  }

  /** From now on; what was taken before is paid for as it was. */
  change(perSecond: number): void {
    this.#perSecond = perSecond
  }

  /** 0 when something may be taken, else after how many milliseconds it may. */
  waitMs(nowMs: number): number {
    return Math.max(0, this.#paidUntilMs - nowMs)
  }

  take(count: number, nowMs: number): void {
    const fromMs = Math.max(this.#paidUntilMs, nowMs - this.#burstMs)
    this.#paidUntilMs = fromMs + count / (this.#perSecond / 1000)
  }

  /** Takes at once, and says after how many milliseconds that may leave. */
  claim(count: number, nowMs: number): number {
    const waitMs = this.waitMs(nowMs)
    this.take(count, nowMs)
    return waitMs
  }
}
