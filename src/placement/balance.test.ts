import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { planBalance } from './balance.ts'
import { Pairs } from './pairs.ts'
import { Pass, type PlanLimits } from './pass.ts'
import {
  applied,
  changed,
  chunkserver,
  cluster,
  countsOf,
  joined,
  LIMITS,
  OFFLINE,
  populated,
  spreadOf,
} from './testing/clusters.ts'
import type { ChunkserverView, ClusterView } from './view.ts'

const TIGHT: PlanLimits = { ...LIMITS, movesMax: 16, movesPerChunkserverMax: 2 }

/** Plans and carries out until nothing is planned. */
function settled(view: ClusterView, limits: PlanLimits): { view: ClusterView; moves: number } {
  let now = view
  let moves = 0
  for (;;) {
    const { operators } = planBalance(new Pass(now, limits))
    if (operators.length === 0) return { view: now, moves }
    moves += operators.length
    expect(moves).toBeLessThanOrEqual(view.copysets.length * 3)
    now = applied(now, operators)
  }
}

function widthsOf(view: ClusterView): number[] {
  const pairs = new Pairs(view.chunkservers.length)
  const positions = new Map(view.chunkservers.map(({ id }, position) => [id, position]))
  for (const { members } of view.copysets) pairs.add(members.map((id) => positions.get(id) ?? -1))
  return view.chunkservers.map((_, position) => pairs.width(position))
}

function added(view: ClusterView, count: number, zones: number): ClusterView {
  const first = view.chunkservers.length + 1
  return joined(
    view,
    Array.from({ length: count }, (_, i) => chunkserver(first + i, zones)),
  )
}

describe('the balance of copysets', () => {
  it('leaves a pool alone as it was created', () => {
    const { operators, waiting } = planBalance(new Pass(cluster(12, 4, 100), LIMITS))
    expect({ operators, waiting: waiting.size }).toEqual({ operators: [], waiting: 0 })
  })

  it('fills three that come to twelve, with as many moves as that takes', () => {
    const view = added(cluster(12, 3, 160), 3, 3)
    const { view: now, moves } = settled(view, TIGHT)
    expect(spreadOf(countsOf(now).copysets)).toBeLessThanOrEqual(2)
    expect(moves).toBeLessThanOrEqual(96)
    const reach = 10
    expect(Math.min(...widthsOf(now))).toBeGreaterThanOrEqual(0.9 * reach)
  })

  it('gets equal chunkservers even, to 5 % or to one copyset, wherever they come', () => {
    const shape = fc.record({
      perZone: fc.integer({ min: 2, max: 6 }),
      zones: fc.integer({ min: 3, max: 6 }),
      copysets: fc.integer({ min: 20, max: 300 }),
      perZoneAdded: fc.integer({ min: 0, max: 3 }),
      isTight: fc.boolean(),
      seed: fc.nat(),
    })
    fc.assert(
      fc.property(shape, ({ perZone, zones, copysets, perZoneAdded, isTight, seed }) => {
        const whole = cluster(perZone * zones, zones, copysets, seed)
        const view = added(whole, perZoneAdded * zones, zones)
        const { view: now } = settled(view, isTight ? TIGHT : LIMITS)
        const counts = countsOf(now).copysets
        const mean = (3 * copysets) / counts.length
        expect(spreadOf(counts)).toBeLessThanOrEqual(Math.max(1, 0.05 * mean))
      }),
      { numRuns: 200 },
    )
  })

  it('ends, whatever the sizes are, with zones distinct and everybody near his due', () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 10 }), { minLength: 1, maxLength: 5 })
    const zoned = fc.array(sizes, { minLength: 3, maxLength: 6 })
    fc.assert(
      fc.property(zoned, sizes, fc.nat(), (zones, more, seed) => {
        const of = (capacities: readonly number[], zone: number): Omit<ChunkserverView, 'id'>[] =>
          capacities.map((size) => ({
            ...chunkserver(1, 1),
            zone: `z${zone}`,
            capacityBytes: size * 1024 ** 3,
          }))
        const named = zones.flatMap(of).map((one, i) => ({ ...one, id: i + 1 }))
        const view = joined(
          populated(named, 120, seed),
          of(more, 0).map((one, i) => ({ ...one, id: named.length + 1 + i })),
        )
        const { view: now } = settled(view, LIMITS)
        const zoneOf = new Map(now.chunkservers.map(({ id, zone }) => [id, zone]))
        for (const { members } of now.copysets) {
          expect(new Set(members.map((id) => zoneOf.get(id))).size).toBe(3)
        }
        const pass = new Pass(now, LIMITS)
        countsOf(now).copysets.forEach((count, place) => {
          // The zone is even to one replica, and so is each in its zone, or all are within 5 %.
          const due = pass.due(place)
          expect(Math.abs(count - due)).toBeLessThanOrEqual(Math.max(2.5, 0.1 * due))
        })
      }),
      {
        numRuns: 300,
        examples: [
          // What one chunkserver has too much fits nowhere: another of its zone has to give.
          [[[1], [6, 5], [2, 2], [4, 9, 2]], [1, 7, 6], 0],
        ],
      },
    )
  })

  it('ends in the smallest clusters too, where what is due is less than one', () => {
    for (const zones of [3, 4, 5]) {
      for (let perZone = 1; perZone <= 4; perZone++) {
        for (let copysets = 1; copysets <= 20; copysets++) {
          const { moves } = settled(cluster(perZone * zones, zones, copysets), LIMITS)
          expect(moves).toBeLessThanOrEqual(3 * copysets)
        }
      }
    }
  })

  it('does not act on less than its share', () => {
    const view = cluster(6, 3, 1000)
    const [first] = view.copysets.filter(
      ({ members }) => members.includes(1) && !members.includes(4),
    )
    expect(first).toBeDefined()
    // 10 of 500 more on one and fewer on its neighbour: 4 %.
    let left = 10
    const copysets = view.copysets.map((copyset) => {
      if (left === 0 || !copyset.members.includes(1)) return copyset
      left--
      return { ...copyset, members: copyset.members.map((id) => (id === 1 ? 4 : id)) }
    })
    const skewed = { ...view, copysets }
    expect(spreadOf(countsOf(skewed).copysets)).toBeGreaterThanOrEqual(20)
    expect(planBalance(new Pass(skewed, LIMITS)).operators).toEqual([])
    const strict = planBalance(new Pass(skewed, { ...LIMITS, balancePercent: 3 })).operators
    expect(strict.length).toBeGreaterThan(0)
  })

  it('gives nothing to what is full, slow, drained or away, and moves no unsound copyset', () => {
    const view = added(cluster(12, 3, 160), 3, 3)
    for (const replaced of [
      { isFull: true },
      { isSlow: true },
      { isDraining: true },
      { presence: 'unstable' } as const,
      OFFLINE,
    ]) {
      const { operators } = planBalance(new Pass(changed(view, [13, 14, 15], replaced), LIMITS))
      expect(operators).toEqual([])
    }
    const away = changed(view, [1], { presence: 'unstable' })
    const { operators } = planBalance(new Pass(away, LIMITS))
    expect(operators.length).toBeGreaterThan(0)
    const concerned = new Set(
      away.copysets.filter(({ members }) => members.includes(1)).map(({ id }) => id),
    )
    expect(operators.filter(({ copyset }) => concerned.has(copyset))).toEqual([])
  })

  it('leaves a part of the limits to what is urgent', () => {
    const view = added(cluster(12, 3, 160), 3, 3)
    const { operators } = planBalance(new Pass(view, { ...LIMITS, movesMax: 10 }))
    expect(operators).toHaveLength(5)
    const few = planBalance(new Pass(view, { ...LIMITS, movesPerChunkserverMax: 2 })).operators
    const taken = few.map((one) => (one.kind === 'move' ? one.to : 0))
    expect(new Set(taken).size).toBe(taken.length)
  })
})
