// Owns what every Clock must do, as one suite for platform/ and sim/. Nothing here says how long
// anything takes: only orders and lower bounds, which hold on a loaded machine too.

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Clock } from '../../src/env/clock.ts'

export interface ClockUnderTest {
  readonly clock: Clock
  /** Lets the world go on until `promise` is done. */
  settle<T>(promise: Promise<T>): Promise<T>
  close(): Promise<void>
}

export function describeClock(name: string, make: () => Promise<ClockUnderTest>): void {
  describe(`clock contract: ${name}`, () => {
    let world: ClockUnderTest
    let clock: Clock

    beforeEach(async () => {
      world = await make()
      clock = world.clock
    })
    afterEach(() => world.close())

    function passed(delayMs: number): Promise<void> {
      return world.settle(new Promise<void>((done) => void clock.after(delayMs, done)))
    }

    it('never goes back', async () => {
      let last = clock.monotonicMs()
      for (let i = 0; i < 20; i++) {
        await passed(i % 3)
        const now = clock.monotonicMs()
        expect(now).toBeGreaterThanOrEqual(last)
        last = now
      }
    })

    it('fires once, and not before its delay', async () => {
      for (const delayMs of [0, 0.4, 1, 3.7, 20]) {
        const start = clock.monotonicMs()
        let fired = 0
        await world.settle(
          new Promise<void>((done) => {
            clock.after(delayMs, () => {
              fired++
              done()
            })
          }),
        )
        expect(clock.monotonicMs() - start).toBeGreaterThanOrEqual(delayMs)
        await passed(2)
        expect(fired).toBe(1)
      }
    })

    it('fires a shorter delay first', async () => {
      const order: number[] = []
      await world.settle(
        new Promise<void>((done) => {
          clock.after(60, () => {
            order.push(60)
            done()
          })
          clock.after(20, () => order.push(20))
          clock.after(1, () => order.push(1))
        }),
      )
      expect(order).toEqual([1, 20, 60])
    })

    it('forgets a cancelled timer; cancelling again or late is harmless', async () => {
      let fired = 0
      const timer = clock.after(1, () => fired++)
      timer.cancel()
      timer.cancel()
      const other = clock.after(1, () => {
        fired += 10
      })
      await passed(10)
      other.cancel()
      expect(fired).toBe(10)
    })

    it('never calls from within after() or soon()', async () => {
      const order: string[] = []
      const both = Promise.all([
        new Promise<void>((done) =>
          clock.after(0, () => {
            order.push('after')
            done()
          }),
        ),
        new Promise<void>((done) =>
          clock.soon(() => {
            order.push('soon')
            done()
          }),
        ),
      ])
      order.push('returned')
      await world.settle(both)
      expect(order[0]).toBe('returned')
      expect(order.toSorted()).toEqual(['after', 'returned', 'soon'])
    })

    it('calls soon() in order, also from within soon()', async () => {
      const order: string[] = []
      const last = new Promise<void>((done) => {
        clock.soon(() => {
          order.push('first')
          clock.soon(() => {
            order.push('third')
            done()
          })
        })
        clock.soon(() => order.push('second'))
      })
      await world.settle(last)
      expect(order).toEqual(['first', 'second', 'third'])
    })

    it('tells a time of day that a person would believe', () => {
      expect(clock.wallMs()).toBeGreaterThan(Date.UTC(2020, 0, 1))
    })
  })
}
