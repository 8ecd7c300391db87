import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { planDrain } from './drain.ts'
import { Pass, type PlanLimits } from './pass.ts'
import { applied, changed, cluster, countsOf, LIMITS, spreadOf } from './testing/clusters.ts'
import type { ClusterView } from './view.ts'

const TIGHT: PlanLimits = {
  ...LIMITS,
  movesMax: 16,
  movesPerChunkserverMax: 2,
  handoversPerChunkserverMax: 2,
}
const DRAINING = { isDraining: true } as const

function settled(view: ClusterView, limits: PlanLimits): ClusterView {
  let now = view
  for (let round = 0; ; round++) {
    expect(round).toBeLessThan(1000)
    const { operators } = planDrain(new Pass(now, limits))
    if (operators.length === 0) return now
    now = applied(now, operators)
  }
}

describe('draining', () => {
  it('does nothing where nobody is drained', () => {
    expect(planDrain(new Pass(cluster(12, 4, 120), LIMITS)).operators).toEqual([])
  })

  it('empties several at once, evenly onto the others, without meeting each other', () => {
    const shape = fc.record({
      perZone: fc.integer({ min: 3, max: 6 }),
      zones: fc.integer({ min: 3, max: 6 }),
      which: fc.array(fc.nat(), { minLength: 1, maxLength: 4 }),
      isTight: fc.boolean(),
      seed: fc.nat(),
    })
    fc.assert(
      fc.property(shape, ({ perZone, zones, which, isTight, seed }) => {
        const count = perZone * zones
        const view = cluster(count, zones, count * 6, seed)
        // At most one of each zone, so that all find a place.
        const ids = which.map((n) => (n % zones) + 1)
        const now = settled(changed(view, ids, DRAINING), isTight ? TIGHT : LIMITS)
        const { copysets, leads } = countsOf(now)
        for (const id of ids) {
          expect(copysets[id - 1]).toBe(0)
          expect(leads[id - 1]).toBe(0)
        }
        const zoneOf = new Map(view.chunkservers.map(({ id, zone }) => [id, zone]))
        for (const { members } of now.copysets) {
          expect(new Set(members.map((id) => zoneOf.get(id))).size).toBe(3)
        }
      }),
      { numRuns: 100 },
    )
  })

  it('begins nothing where a majority is silent, however short', () => {
    const view = cluster(12, 4, 120)
    const silent = { isDraining: true, presence: 'unstable' } as const
    const { operators, waiting } = planDrain(new Pass(changed(view, [1, 2], silent), LIMITS))
    const both = view.copysets.filter(({ members }) => members.includes(1) && members.includes(2))
    expect(both.length).toBeGreaterThan(0)
    const begun = new Set(operators.map(({ copyset }) => copyset))
    expect(both.filter(({ id }) => begun.has(id))).toEqual([])
    expect(waiting.get('no-quorum')).toBe(both.length)
    expect(operators.length).toBeGreaterThan(both.length)
  })

  it('keeps the others even', () => {
    const now = settled(changed(cluster(12, 3, 160), [1, 2, 3], DRAINING), TIGHT)
    const others = countsOf(now).copysets.slice(3)
    expect(spreadOf(others)).toBeLessThanOrEqual(2)
  })

  it('hands over first what the chunkserver leads', () => {
    const view = changed(cluster(12, 3, 160), [1], DRAINING)
    const { operators } = planDrain(new Pass(view, LIMITS))
    const led = view.copysets.filter(({ leader }) => leader === 1).map(({ id }) => id)
    expect(led.length).toBeGreaterThan(0)
    const handedOver = operators.filter(({ kind }) => kind === 'lead').map(({ copyset }) => copyset)
    expect(handedOver.toSorted((a, b) => a - b)).toEqual(led)
    expect(operators.every(({ why, priority }) => why === 'drain' && priority === 'normal')).toBe(
      true,
    )
  })

  it('is urgent for a slow disk, and comes before the others', () => {
    const view = changed(changed(cluster(12, 3, 160), [1, 2], DRAINING), [2], { isSlow: true })
    const { operators } = planDrain(new Pass(view, { ...LIMITS, movesMax: 1 }))
    const moves = operators.filter(({ kind }) => kind === 'move')
    expect(moves).toMatchObject([{ from: 2, why: 'slow', priority: 'high' }])
  })

  it('says how many find no place, and moves even a leader that nobody could follow', () => {
    const three = changed(cluster(3, 3, 12), [1], DRAINING)
    const handed = planDrain(new Pass(three, LIMITS)).operators
    expect(handed.every(({ kind }) => kind === 'lead')).toBe(true)
    const { operators, waiting } = planDrain(new Pass(applied(three, handed), LIMITS))
    expect(operators).toEqual([])
    expect(waiting.get('no-place')).toBe(12)
    const single = changed(cluster(3, 3, 12, 1, 1), [1], DRAINING)
    const moves = planDrain(new Pass(single, LIMITS)).operators
    expect(moves).toHaveLength(4)
    expect(moves.every(({ kind }) => kind === 'move')).toBe(true)
  })
})
