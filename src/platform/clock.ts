// Owns time by Node: performance.now, setTimeout, setImmediate.
// Invariant: a timer never fires before its delay has passed on monotonicMs(). Node's own may, by
// up to a millisecond: libuv rounds the loop's time down to whole milliseconds, so what is early
// waits on.

import type { Clock, Timer } from '../env/clock.ts'

/** setTimeout takes 31 bits; a longer delay is reached in several steps. */
const STEP_MS_MAX = 0x7fff_ffff

class NodeTimer implements Timer {
  readonly #dueMs: number
  readonly #fire: () => void
  #handle: NodeJS.Timeout

  constructor(dueMs: number, delayMs: number, fire: () => void) {
    this.#dueMs = dueMs
    this.#fire = fire
    this.#handle = this.#arm(delayMs)
  }

  cancel(): void {
    clearTimeout(this.#handle)
  }

  #arm(delayMs: number): NodeJS.Timeout {
    return setTimeout(() => this.#rang(), Math.min(Math.ceil(delayMs), STEP_MS_MAX))
  }

  #rang(): void {
    const leftMs = this.#dueMs - performance.now()
    if (leftMs <= 0) this.#fire()
    else this.#handle = this.#arm(leftMs)
  }
}

export class NodeClock implements Clock {
  /** A callback of soon() runs. */
  #ending = false

  monotonicMs(): number {
    return performance.now()
  }

  wallMs(): number {
    return Date.now()
  }

  after(delayMs: number, fire: () => void): Timer {
    return new NodeTimer(performance.now() + delayMs, delayMs, fire)
  }

  /**
   * At the end of the callback that runs now: one turn of the event loop earlier than setImmediate,
   * which is 15 % of a replicated write's latency. What such an end asks for in its turn does wait, or
   * a chain of them would keep sockets and disks from being heard.
   */
  soon(fire: () => void): void {
    if (this.#ending) {
      setImmediate(fire)
      return
    }
    queueMicrotask(() => {
      this.#ending = true
      try {
        fire()
      } finally {
        this.#ending = false
      }
    })
  }
}
