import { describe, expect, it } from 'vitest'
import { LemnisError } from '../base/errors.ts'
import type { Clock } from '../env/clock.ts'
import { Admission, type Entrant } from './admission.ts'
import { type ClientConfig, clientConfig } from './config.ts'

const MIB = 1024 * 1024

/** A clock that a test turns. */
class HandClock implements Clock {
  #nowMs = 0
  #timers: { atMs: number; fire: () => void }[] = []

  monotonicMs(): number {
    return this.#nowMs
  }
  wallMs(): number {
    return this.#nowMs
  }
  soon(fire: () => void): void {
    this.after(0, fire)
  }
  after(delayMs: number, fire: () => void): { cancel(): void } {
    const timer = { atMs: this.#nowMs + delayMs, fire }
    this.#timers.push(timer)
    return { cancel: () => void (this.#timers = this.#timers.filter((other) => other !== timer)) }
  }
  turn(ms: number): void {
    const endMs = this.#nowMs + ms
    for (;;) {
      const next = this.#timers.toSorted((a, b) => a.atMs - b.atMs)[0]
      if (next === undefined || next.atMs > endMs) break
      this.#timers = this.#timers.filter((timer) => timer !== next)
      this.#nowMs = next.atMs
      next.fire()
    }
    this.#nowMs = endMs
  }
}

function setup(replaced: Partial<ClientConfig> = {}) {
  const clock = new HandClock()
  const admission = new Admission(clock, clientConfig(replaced))
  const log: string[] = []
  const entrant = (name: string, bytes = 1, work: () => void = () => {}): Entrant => ({
    bytes,
    admitted: () => {
      log.push(name)
      work()
    },
    refused: (error) => log.push(`${name} ${error.code}`),
  })
  return { clock, admission, log, entrant }
}

describe('admission', () => {
  it('lets no more than the bound in, and the rest in order', () => {
    const { admission, log, entrant } = setup({ inflightOpsMax: 2 })
    for (const name of ['a', 'b', 'c', 'd']) expect(admission.enter(entrant(name))).toBe(true)
    expect(log).toEqual(['a', 'b'])
    expect([admission.ops, admission.waitingOps]).toEqual([2, 2])
    admission.leave(1)
    expect(log).toEqual(['a', 'b', 'c'])
    admission.leave(1)
    admission.leave(1)
    expect(log).toEqual(['a', 'b', 'c', 'd'])
  })

  it('bounds bytes too, lets nothing small overtake, and lets the largest go alone', () => {
    const { admission, log, entrant } = setup({ inflightBytesMax: MIB })
    admission.enter(entrant('half', MIB / 2))
    admission.enter(entrant('huge', 5 * MIB))
    admission.enter(entrant('small', 1))
    expect(log).toEqual(['half'])
    admission.leave(MIB / 2)
    expect(log).toEqual(['half', 'huge'])
    admission.leave(5 * MIB)
    expect(log).toEqual(['half', 'huge', 'small'])
  })

  it('refuses when too many wait', () => {
    const { admission, entrant, log } = setup({ inflightOpsMax: 1, waitingOpsMax: 1 })
    expect(['a', 'b', 'c'].map((name) => admission.enter(entrant(name)))).toEqual([
      true,
      true,
      false,
    ])
    admission.refuseAll(new LemnisError('CLOSED'))
    expect(log).toEqual(['a', 'b CLOSED'])
    expect(admission.waitingOps).toBe(0)
  })

  it('goes through ten thousand that are over at once without growing the stack', () => {
    const { admission, log, entrant } = setup({ inflightOpsMax: 1 })
    admission.enter(entrant('first'))
    for (let i = 0; i < 10_000; i++) {
      admission.enter(entrant('next', 1, () => admission.leave(1)))
    }
    admission.leave(1)
    expect(log.length).toBe(10_001)
    expect(admission.ops).toBe(0)
  })

  it('keeps I/Os a second, after a burst of what was saved up', () => {
    const { admission, clock, log, entrant } = setup({ qosBurstMs: 100 })
    admission.setLimits(100, 0)
    clock.turn(5000)
    for (let i = 0; i < 60; i++) admission.enter(entrant('op', 1, () => admission.leave(1)))
    // 100 ms of saving are 10, and one is always let through.
    expect(log.length).toBe(11)
    clock.turn(100)
    expect(log.length).toBe(21)
    clock.turn(300)
    expect(log.length).toBe(51)
  })

  it('keeps bytes a second with operations larger than a second of them', () => {
    const { admission, clock, log, entrant } = setup({ qosBurstMs: 0 })
    admission.setLimits(0, MIB)
    for (let i = 0; i < 4; i++) {
      admission.enter(entrant('op', 2 * MIB, () => admission.leave(2 * MIB)))
    }
    expect(log.length).toBe(1)
    clock.turn(1999)
    expect(log.length).toBe(1)
    clock.turn(2)
    expect(log.length).toBe(2)
    admission.setLimits(0, 0)
    expect(log.length).toBe(4)
  })
})
