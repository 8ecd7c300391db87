import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Clock } from '../env/clock.ts'
import { type Deadlined, DeadlineWheel } from './deadlines.ts'

interface Item extends Deadlined {
  readonly id: number
}

function item(id: number, deadlineMs: number): Item {
  return { id, deadlineMs, wheelStep: 0, wheelNext: null, wheelPrevious: null }
}

/** A clock that goes where it is told, firing what is due on its way. */
class HandClock implements Clock {
  nowMs = 12_345.5
  fired = 0
  readonly #timers = new Set<{ dueMs: number; fire: () => void }>()

  get armed(): number {
    return this.#timers.size
  }
  monotonicMs(): number {
    return this.nowMs
  }
  wallMs(): number {
    return 0
  }
  soon(): void {}
  after(delayMs: number, fire: () => void): { cancel(): void } {
    const timer = { dueMs: this.nowMs + delayMs, fire }
    this.#timers.add(timer)
    return { cancel: () => void this.#timers.delete(timer) }
  }
  goTo(ms: number): void {
    for (;;) {
      const due = [...this.#timers].filter((t) => t.dueMs <= ms).sort((a, b) => a.dueMs - b.dueMs)
      const [next] = due
      if (next === undefined) break
      this.#timers.delete(next)
      this.nowMs = Math.max(this.nowMs, next.dueMs)
      this.fired++
      next.fire()
    }
    this.nowMs = ms
  }
}

describe('DeadlineWheel', () => {
  it('expires each item once, not early and at most a step late; what is removed never', () => {
    const plan = fc.array(
      fc.record({
        waitMs: fc.nat({ max: 400 }),
        budgetMs: fc.oneof(fc.nat({ max: 100 }), fc.nat({ max: 30_000 })),
        removeAfterMs: fc.option(fc.nat({ max: 10_000 }), { nil: null }),
      }),
      { maxLength: 60 },
    )
    fc.assert(
      fc.property(plan, (steps) => {
        const clock = new HandClock()
        const expiredAt = new Map<number, number>()
        const wheel = new DeadlineWheel<Item>(clock, (it) => {
          expect(expiredAt.has(it.id)).toBe(false)
          expiredAt.set(it.id, clock.nowMs)
        })
        const added: { it: Item; removedAtMs: number }[] = []
        for (const [id, { waitMs, budgetMs, removeAfterMs }] of steps.entries()) {
          clock.goTo(clock.nowMs + waitMs)
          const it = item(id, clock.nowMs + budgetMs)
          wheel.add(it)
          const entry = { it, removedAtMs: Number.POSITIVE_INFINITY }
          added.push(entry)
          if (removeAfterMs === null) continue
          clock.after(removeAfterMs, () => {
            wheel.remove(it)
            entry.removedAtMs = clock.nowMs
          })
        }
        clock.goTo(clock.nowMs + 60_000)
        for (const { it, removedAtMs } of added) {
          const at = expiredAt.get(it.id)
          if (removedAtMs < it.deadlineMs) expect(at).toBeUndefined()
          else if (at === undefined) expect(removedAtMs).toBeLessThanOrEqual(it.deadlineMs + 20)
          else {
            expect(at).toBeGreaterThanOrEqual(it.deadlineMs)
            expect(at).toBeLessThanOrEqual(it.deadlineMs + 20)
          }
        }
        expect(wheel.count).toBe(0)
        expect(clock.armed).toBe(0)
      }),
    )
  })

  it('expires in the order of deadlines, and of adding where they are equal', () => {
    const clock = new HandClock()
    const order: number[] = []
    const wheel = new DeadlineWheel<Item>(clock, (it) => order.push(it.id))
    const start = clock.nowMs
    for (const [id, ms] of [40, 20, 20, 41, 5, 20].entries()) wheel.add(item(id, start + ms))
    // The process stood still: all are due in one sweep.
    clock.nowMs += 10_000
    clock.goTo(clock.nowMs)
    expect(order).toEqual([4, 1, 2, 5, 0, 3])
  })

  it('never expires what has no deadline', () => {
    const clock = new HandClock()
    const wheel = new DeadlineWheel<Item>(clock, () => expect.unreachable())
    const eternal = item(1, Number.POSITIVE_INFINITY)
    wheel.add(eternal)
    expect([wheel.count, clock.armed]).toEqual([0, 0])
    wheel.remove(eternal)
  })

  it('lets an expired item add and remove others', () => {
    const clock = new HandClock()
    const order: number[] = []
    const other = item(2, clock.nowMs + 600)
    const wheel = new DeadlineWheel<Item>(clock, (it) => {
      order.push(it.id)
      if (it.id !== 1) return
      wheel.remove(other)
      wheel.add(item(3, clock.nowMs + 50))
    })
    wheel.add(item(1, clock.nowMs + 10))
    wheel.add(other)
    // First one after the other, then all due in one sweep.
    clock.goTo(clock.nowMs + 500)
    expect(order).toEqual([1, 3])
    const again = item(1, clock.nowMs + 10)
    wheel.add(again)
    wheel.add(other)
    clock.nowMs += 1000
    clock.goTo(clock.nowMs + 100)
    expect(order).toEqual([1, 3, 1, 3])
    expect([wheel.count, clock.armed]).toEqual([0, 0])
  })

  it('wakes up seldom: calls that end in time cost about one timer a budget', () => {
    const clock = new HandClock()
    const wheel = new DeadlineWheel<Item>(clock, () => expect.unreachable())
    const start = clock.nowMs
    for (let id = 0; id < 10_000; id++) {
      const it = item(id, clock.nowMs + 1000)
      wheel.add(it)
      clock.goTo(clock.nowMs + 1)
      wheel.remove(it)
    }
    const seconds = (clock.nowMs - start) / 1000
    expect(clock.fired).toBeLessThan(2 * seconds)
  })

  it('forgets its timer when closed', () => {
    const clock = new HandClock()
    const wheel = new DeadlineWheel<Item>(clock, () => expect.unreachable())
    wheel.add(item(1, clock.nowMs + 5))
    wheel.close()
    expect(clock.armed).toBe(0)
  })
})
