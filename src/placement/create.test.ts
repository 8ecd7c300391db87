import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LemnisError } from '../base/errors.ts'
import { Prng } from '../base/prng.ts'
import { copysetCountFor, createCopysets, type Target } from './create.ts'
import { Pairs } from './pairs.ts'

const TIB = 1024 ** 4

/** Chunkservers spread over zones as they come, so that zones differ by one at most. */
function evenTargets(count: number, zones: number): Target[] {
  return Array.from({ length: count }, (_, i) => ({
    id: i + 1,
    zone: `z${i % zones}`,
    capacityBytes: TIB,
  }))
}

function countsOf(targets: readonly Target[], made: readonly (readonly number[])[]): number[] {
  const counts = new Map(targets.map(({ id }) => [id, 0]))
  for (const members of made) for (const id of members) counts.set(id, (counts.get(id) ?? 0) + 1)
  return [...counts.values()]
}

function widthsOf(targets: readonly Target[], made: readonly (readonly number[])[]): number[] {
  const pairs = new Pairs(targets.length)
  for (const members of made) pairs.add(members.map((id) => id - 1))
  return targets.map((_, position) => pairs.width(position))
}

const shapes = fc.record({
  chunkservers: fc.integer({ min: 3, max: 60 }),
  zones: fc.integer({ min: 3, max: 8 }),
  copysets: fc.integer({ min: 1, max: 400 }),
  replicas: fc.integer({ min: 1, max: 3 }),
  seed: fc.nat(),
})

describe('the copysets of a new pool', () => {
  it('have members in zones of their own, and are the same for the same seed', () => {
    fc.assert(
      fc.property(shapes, ({ chunkservers, zones, copysets, replicas, seed }) => {
        const targets = evenTargets(chunkservers, Math.min(zones, chunkservers))
        const zoneOf = new Map(targets.map(({ id, zone }) => [id, zone]))
        const made = createCopysets(targets, replicas, copysets, new Prng(seed))
        expect(made).toHaveLength(copysets)
        for (const members of made) {
          expect(new Set(members.map((id) => zoneOf.get(id))).size).toBe(replicas)
        }
        expect(createCopysets(targets, replicas, copysets, new Prng(seed))).toEqual(made)
      }),
    )
  })

  it('are even to one in zones of one size, or where no zone is larger than its fair share', () => {
    fc.assert(
      fc.property(shapes, ({ chunkservers, zones, copysets, replicas, seed }) => {
        const zoneCount = Math.min(zones, chunkservers)
        const perZone = Math.ceil(chunkservers / zoneCount)
        const isCapped = replicas * perZone > chunkservers
        fc.pre(!isCapped || chunkservers % zoneCount === 0)
        const targets = evenTargets(chunkservers, zoneCount)
        const counts = countsOf(
          targets,
          createCopysets(targets, replicas, copysets, new Prng(seed)),
        )
        expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1)
      }),
    )
  })

  it('are shared out by capacity, to the whole number, below what a zone can take', () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 3, maxLength: 8 })
    fc.assert(
      fc.property(fc.array(sizes, { minLength: 3, maxLength: 6 }), fc.nat(), (zones, seed) => {
        const targets = zones.flatMap((capacities, zone) =>
          capacities.map((size) => ({ zone: `z${zone}`, capacityBytes: size * TIB })),
        )
        const named = targets.map((target, i) => ({ ...target, id: i + 1 }))
        const total = named.reduce((sum, { capacityBytes }) => sum + capacityBytes, 0)
        const replicas = 2
        const count = 500
        const zoneTotals = zones.map((capacities) => capacities.reduce((a, b) => a + b, 0) * TIB)
        fc.pre(zoneTotals.every((zone) => (replicas * zone) / total <= 1))
        const counts = countsOf(named, createCopysets(named, replicas, count, new Prng(seed)))
        named.forEach(({ capacityBytes }, i) => {
          const share = (replicas * count * capacityBytes) / total
          // The zone's share is rounded first, then the chunkserver's in it.
          expect(Math.abs((counts[i] ?? 0) - share)).toBeLessThan(2)
        })
      }),
    )
  })

  it('give a zone that is too large for its share one replica of every copyset', () => {
    const targets = [1, 2, 3, 4, 5, 6, 7, 8].map((id) => ({
      id,
      zone: id <= 6 ? 'large' : `small${id}`,
      capacityBytes: TIB,
    }))
    const made = createCopysets(targets, 3, 60, new Prng(1))
    expect(countsOf(targets, made)).toEqual([10, 10, 10, 10, 10, 10, 60, 60])
  })

  it('have scatter widths as wide as the number of replicas allows, and even', () => {
    const cases = [
      { chunkservers: 9, zones: 3, copysets: 36 },
      { chunkservers: 30, zones: 5, copysets: 300 },
      { chunkservers: 60, zones: 3, copysets: 600 },
      { chunkservers: 60, zones: 8, copysets: 1000 },
    ]
    for (const { chunkservers, zones, copysets } of cases) {
      const targets = evenTargets(chunkservers, zones)
      const made = createCopysets(targets, 3, copysets, new Prng(5))
      const perZone = Math.ceil(chunkservers / zones)
      const reach = Math.min(chunkservers - perZone, Math.floor((2 * 3 * copysets) / chunkservers))
      expect(Math.min(...widthsOf(targets, made))).toBeGreaterThanOrEqual(0.9 * reach)
    }
  })

  it('are refused with too few zones, with the counts', () => {
    const refused = (): unknown => createCopysets(evenTargets(4, 2), 3, 10, new Prng(1))
    expect(refused).toThrow(LemnisError)
    try {
      refused()
    } catch (error) {
      expect((error as LemnisError).code).toBe('UNPLACEABLE')
      expect((error as LemnisError).detail).toMatchObject({
        replicas: 3,
        zones: 2,
        chunkservers: 4,
      })
    }
  })
})

describe('the number of copysets', () => {
  it('follows the number of chunkservers', () => {
    const counts = [1, 3, 6, 10, 25, 100].map((chunkservers) => copysetCountFor(chunkservers, 3))
    expect(counts).toEqual([4, 12, 48, 134, 834, 3334])
  })
})
