// Owns how much of a volume is under way: operations and bytes at once, and the limits a second that
// its lease tells. Who finds no room waits, and all go in the order in which they came; past a bound of
// waiting ones a new one is refused.
// Invariant: what enters leaves once; one operation larger than the bound goes alone.

import { assert } from '../base/assert.ts'
import type { LemnisError } from '../base/errors.ts'
import { RateLimit } from '../base/rate.ts'
import type { Clock, Timer } from '../env/clock.ts'
import type { ClientConfig } from './config.ts'

export interface Entrant {
  /** What it counts for in the bounds, and in the limit of bytes a second. */
  readonly bytes: number
  /** Called once, by enter() itself when there is room. */
  admitted(): void
  /** Instead of admitted(). */
  refused(error: LemnisError): void
}

export class Admission {
  readonly #clock: Clock
  readonly #config: ClientConfig
  #queue: Entrant[] = []
  #head = 0
  #ops = 0
  #bytes = 0
  #iopsLimit: RateLimit | null = null
  #bytesLimit: RateLimit | null = null
  #timer: Timer | null = null
  #isPumping = false

  constructor(clock: Clock, config: ClientConfig) {
    this.#clock = clock
    this.#config = config
  }

  get ops(): number {
    return this.#ops
  }
  get bytes(): number {
    return this.#bytes
  }
  get waitingOps(): number {
    return this.#queue.length - this.#head
  }

  /** I/Os and bytes a second, 0 for no limit. What was saved up of an unchanged limit stays. */
  setLimits(iopsMax: number, bytesPerSecondMax: number): void {
    const { qosBurstMs } = this.#config
    this.#iopsLimit = changed(this.#iopsLimit, iopsMax, qosBurstMs)
    this.#bytesLimit = changed(this.#bytesLimit, bytesPerSecondMax, qosBurstMs)
    this.#pump()
  }

  /** False when too many wait; the entrant hears nothing then. */
  enter(entrant: Entrant): boolean {
    const isFree = this.waitingOps === 0 && !this.#isPumping
    if (isFree && this.#hasRoom(entrant) && this.#limitMs() === 0) {
      this.#admit(entrant)
      return true
    }
    if (this.waitingOps >= this.#config.waitingOpsMax) return false
    this.#queue.push(entrant)
    this.#pump()
    return true
  }

  leave(bytes: number): void {
    this.#ops--
    this.#bytes -= bytes
    assert(this.#ops >= 0 && this.#bytes >= 0, 'more left than entered')
    if (this.waitingOps > 0) this.#pump()
  }

  /** Refuses all that wait. */
  refuseAll(error: LemnisError): void {
    const waiting = this.#queue.slice(this.#head)
    this.#queue = []
    this.#head = 0
    this.#timer?.cancel()
    this.#timer = null
    for (const entrant of waiting) entrant.refused(error)
  }

  #hasRoom(entrant: Entrant): boolean {
    if (this.#ops === 0) return true
    const { inflightOpsMax, inflightBytesMax } = this.#config
    return this.#ops < inflightOpsMax && this.#bytes + entrant.bytes <= inflightBytesMax
  }

  #limitMs(): number {
    if (this.#iopsLimit === null && this.#bytesLimit === null) return 0
    const nowMs = this.#clock.monotonicMs()
    return Math.max(this.#iopsLimit?.waitMs(nowMs) ?? 0, this.#bytesLimit?.waitMs(nowMs) ?? 0)
  }

  #admit(entrant: Entrant): void {
    this.#ops++
    this.#bytes += entrant.bytes
    if (this.#iopsLimit !== null || this.#bytesLimit !== null) {
      const nowMs = this.#clock.monotonicMs()
      this.#iopsLimit?.take(1, nowMs)
      this.#bytesLimit?.take(entrant.bytes, nowMs)
    }
    entrant.admitted()
  }

  /** An entrant may be over, and leave, within admitted(): the loop goes on with the next one then. */
  #pump(): void {
    if (this.#isPumping) return
    this.#isPumping = true
    for (let next = this.#queue[this.#head]; next !== undefined; next = this.#queue[this.#head]) {
      if (!this.#hasRoom(next)) break
      const waitMs = this.#limitMs()
      if (waitMs > 0) {
        this.#comeBack(waitMs)
        break
      }
      this.#head++
      this.#admit(next)
    }
    this.#isPumping = false
    if (this.#head > 64 && this.#head * 2 > this.#queue.length) {
      this.#queue = this.#queue.slice(this.#head)
      this.#head = 0
    }
  }

  #comeBack(waitMs: number): void {
    this.#timer?.cancel()
    this.#timer = this.#clock.after(waitMs, () => {
      this.#timer = null
      this.#pump()
    })
  }
}

function changed(limit: RateLimit | null, perSecond: number, burstMs: number): RateLimit | null {
  if (perSecond === 0) return null
  return limit?.perSecond === perSecond ? limit : new RateLimit(perSecond, burstMs)
}
