import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { InvariantError } from './assert.ts'
import { Ring } from './ring.ts'

describe('Ring', () => {
  it('is a bounded queue: equal to an array under any pushes and shifts', () => {
    const steps = fc.array(fc.oneof(fc.nat(), fc.constant('shift' as const)), { maxLength: 60 })
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 7 }), steps, (capacity, script) => {
        const ring = new Ring<number>(capacity)
        const twin: number[] = []
        for (const step of script) {
          if (step === 'shift') expect(ring.shift()).toBe(twin.shift())
          else if (twin.length === capacity) expect(ring.tryPush(step)).toBe(false)
          else expect([ring.tryPush(step), twin.push(step) > 0]).toEqual([true, true])
          expect(ring.count).toBe(twin.length)
          expect(ring.peek()).toBe(twin[0])
        }
      }),
    )
  })

  it('needs a capacity', () => {
    for (const capacity of [0, -1, 1.5, Number.POSITIVE_INFINITY]) {
      expect(() => new Ring(capacity)).toThrow(InvariantError)
    }
  })
})
