// Owns a virtual clock for tests of one part over a SimDisk, without a world: time jumps to the
// next timer as soon as everything that is ready has run. Events at one instant keep their order.

import type { Clock, Timer } from '../env/clock.ts'

interface Due {
  readonly atMs: number
  readonly fire: () => void
}

export class InstantClock implements Clock {
  #nowMs = 0
  /** By time, then by order of arrival. */
  readonly #due: Due[] = []
  #pumping = false

  monotonicMs(): number {
    return this.#nowMs
  }

  wallMs(): number {
    return this.#nowMs
  }

  after(delayMs: number, fire: () => void): Timer {
    const due = { atMs: this.#nowMs + Math.max(0, delayMs), fire }
    let place = this.#due.length
    while (place > 0 && (this.#due[place - 1] as Due).atMs > due.atMs) place--
    this.#due.splice(place, 0, due)
    this.#pump()
    return {
      cancel: () => {
        const at = this.#due.indexOf(due)
        if (at >= 0) this.#due.splice(at, 1)
      },
    }
  }

  soon(fire: () => void): void {
    this.after(0, fire)
  }

  #pump(): void {
    if (this.#pumping) return
    this.#pumping = true
    setImmediate(() => {
      this.#pumping = false
      const due = this.#due.shift()
      if (due === undefined) return
      if (this.#due.length > 0) this.#pump()
      this.#nowMs = Math.max(this.#nowMs, due.atMs)
      due.fire()
    })
  }
}
