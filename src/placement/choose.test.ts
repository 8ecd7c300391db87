import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Prng } from '../base/prng.ts'
import { Chooser } from './choose.ts'

const IDS = Array.from({ length: 12 }, (_, i) => i + 1)

function tally(chosen: readonly number[]): Map<number, number> {
  const counts = new Map<number, number>()
  for (const id of chosen) counts.set(id, (counts.get(id) ?? 0) + 1)
  return counts
}

describe('the choice of copysets for new chunks', () => {
  it('goes round, so that a lap has each copyset once', () => {
    const chooser = new Chooser(IDS, new Prng(1))
    for (let lap = 0; lap < 5; lap++) {
      expect(chooser.choose(12, () => 7).toSorted((a, b) => a - b)).toEqual(IDS)
    }
  })

  it('takes each as often as its free space is of all, to one a lap', () => {
    const weights = fc.array(fc.integer({ min: 1, max: 100 }), { minLength: 2, maxLength: 40 })
    fc.assert(
      fc.property(weights, fc.nat(), (free, seed) => {
        const ids = free.map((_, i) => i + 1)
        const total = free.reduce((a, b) => a + b, 0)
        const chooser = new Chooser(ids, new Prng(seed))
        const chosen: number[] = []
        const most = Math.max(...free)
        // A hundred laps in which the emptiest one is taken each time.
        const count = Math.round((100 * total) / most)
        for (let i = 0; i < count; i += 64) {
          chosen.push(...chooser.choose(Math.min(64, count - i), (id) => free[id - 1] as number))
        }
        const counts = tally(chosen)
        for (const id of ids) {
          const share = (count * (free[id - 1] as number)) / total
          expect(Math.abs((counts.get(id) ?? 0) - share)).toBeLessThanOrEqual(2.5)
        }
      }),
    )
  })

  it('puts consecutive chunks on different copysets', () => {
    const chooser = new Chooser(IDS, new Prng(3))
    const chosen = chooser.choose(500, (id) => (id <= 2 ? 100 : 90))
    for (const [i, id] of chosen.entries()) expect(chosen[i + 1]).not.toBe(id)
  })

  it('passes over what has no weight, and refuses when nothing has', () => {
    const chooser = new Chooser(IDS, new Prng(3))
    const chosen = chooser.choose(100, (id) => (id % 2 === 0 ? 5 : 0))
    expect(new Set(chosen)).toEqual(new Set([2, 4, 6, 8, 10, 12]))
    expect(() => chooser.choose(1, () => 0)).toThrow('UNPLACEABLE')
  })
})
