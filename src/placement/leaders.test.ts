import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { chooseFirstLeaders, planLeaders, planLeadersAtOnce } from './leaders.ts'
import { Pass, type PlanLimits } from './pass.ts'
import { planRelief } from './relieve.ts'
import { applied, changed, cluster, countsOf, LIMITS, spreadOf } from './testing/clusters.ts'
import type { ClusterView } from './view.ts'

const TIGHT: PlanLimits = { ...LIMITS, handoversMax: 6, handoversPerChunkserverMax: 2 }

function settled(view: ClusterView, limits: PlanLimits): ClusterView {
  let now = view
  for (let round = 0; ; round++) {
    expect(round).toBeLessThan(500)
    const { operators } = planLeaders(new Pass(now, limits))
    if (operators.length === 0) return now
    now = applied(now, operators)
  }
}

/** All copysets led by the member with the lowest id. */
function lopsided(view: ClusterView): ClusterView {
  const copysets = view.copysets.map((one) => ({ ...one, leader: Math.min(...one.members) }))
  return { ...view, copysets }
}

function leadsOf(view: ClusterView, ids: readonly number[]): number[] {
  const { leads } = countsOf(view)
  return ids.map((id) => leads[id - 1] as number)
}

describe('the balance of leaders', () => {
  it('gets them even to one, little by little or at once', () => {
    const shape = fc.record({
      perZone: fc.integer({ min: 1, max: 6 }),
      zones: fc.integer({ min: 3, max: 6 }),
      each: fc.integer({ min: 4, max: 20 }),
      seed: fc.nat(),
    })
    fc.assert(
      fc.property(shape, ({ perZone, zones, each, seed }) => {
        const view = lopsided(cluster(perZone * zones, zones, perZone * zones * each, seed))
        expect(spreadOf(countsOf(settled(view, TIGHT)).leads)).toBeLessThanOrEqual(1)
        const atOnce = applied(view, planLeadersAtOnce(view))
        expect(spreadOf(countsOf(atOnce).leads)).toBeLessThanOrEqual(1)
        expect(planLeaders(new Pass(atOnce, LIMITS)).operators).toEqual([])
      }),
      { numRuns: 60 },
    )
  })

  it('hands on along a chain where the first and the last share nothing', () => {
    const view = cluster(6, 6, 0)
    const of = (id: number, leader: number, other: number): ClusterView['copysets'][number] => {
      return { id, pool: 'default', members: [leader, other], leader, isBusy: false, damaged: [] }
    }
    const copysets = [of(1, 1, 2), of(2, 1, 2), of(3, 2, 3), of(4, 3, 4), of(5, 5, 6), of(6, 6, 5)]
    const { operators } = planLeaders(new Pass({ ...view, copysets, pools: view.pools }, LIMITS))
    expect(operators.map(({ copyset }) => copyset)).toEqual([4, 3, 1])
    expect(leadsOf(applied({ ...view, copysets }, operators), [1, 2, 3, 4])).toEqual([1, 1, 1, 1])
    const held = planLeaders(new Pass({ ...view, copysets }, { ...LIMITS, handoversMax: 2 }))
    expect(held.operators).toEqual([])
  })

  it('waits for those that came up lately, unless it is asked for', () => {
    const view = changed(lopsided(cluster(9, 3, 90)), [9], { upMs: 1000 })
    const before = leadsOf(view, [9])
    const now = settled(view, LIMITS)
    expect(leadsOf(now, [9])).toEqual(before)
    expect(spreadOf(leadsOf(now, [1, 2, 3, 4, 5, 6, 7, 8]))).toBeLessThanOrEqual(1)
    const operators = planLeadersAtOnce(view)
    expect(spreadOf(countsOf(applied(view, operators)).leads)).toBeLessThanOrEqual(1)
    expect(new Set(operators.map(({ why }) => why))).toEqual(new Set(['asked']))
  })

  it('leaves copysets alone that have a member away, or are changing', () => {
    const view = changed(lopsided(cluster(9, 3, 90)), [9], { presence: 'unstable' })
    const concerned = view.copysets.filter(({ members }) => members.includes(9))
    const ids = new Set(concerned.map(({ id }) => id))
    const { operators } = planLeaders(new Pass(view, LIMITS))
    expect(operators.length).toBeGreaterThan(0)
    expect(operators.filter(({ copyset }) => ids.has(copyset))).toEqual([])
    const busy = { ...view, copysets: view.copysets.map((one) => ({ ...one, isBusy: true })) }
    expect(planLeaders(new Pass(busy, LIMITS)).operators).toEqual([])
  })
})

describe('the leaders that a new pool is to have', () => {
  const shape = fc.record({
    perZone: fc.integer({ min: 1, max: 6 }),
    zones: fc.integer({ min: 3, max: 6 }),
    each: fc.integer({ min: 1, max: 20 }),
    replicas: fc.integer({ min: 1, max: 3 }),
    seed: fc.nat(),
  })

  it('are members, and even to one', () => {
    fc.assert(
      fc.property(shape, ({ perZone, zones, each, replicas, seed }) => {
        const copysets = perZone * zones * each
        const view = cluster(perZone * zones, zones, copysets, seed, replicas)
        const members = view.copysets.map((copyset) => copyset.members)
        const before = { ...view, copysets: [], pools: [] }
        const first = chooseFirstLeaders(before, 'default', members)
        expect(first.every((leader, i) => members[i]?.includes(leader))).toBe(true)
        const led = view.copysets.map((copyset, i) => ({ ...copyset, leader: first[i] as number }))
        expect(spreadOf(countsOf({ ...view, copysets: led }).leads)).toBeLessThanOrEqual(1)
      }),
      { numRuns: 60 },
    )
  })

  it('make up for those of the copysets that are there, which are left alone', () => {
    // Chunkservers 2 and 3 lead 12 each, 1 and all the others nothing.
    const view = cluster(9, 3, 24)
    const copysets = view.copysets.map((copyset, i) => ({ ...copyset, leader: 2 + (i % 2) }))
    const members = cluster(9, 3, 84, 2).copysets.map((copyset) => copyset.members)
    const first = chooseFirstLeaders({ ...view, copysets }, 'default', members)
    const leads = view.chunkservers.map(({ id }) => first.filter((one) => one === id).length)
    expect(leads).toEqual([12, 0, 0, 12, 12, 12, 12, 12, 12])
    const elsewhere = chooseFirstLeaders({ ...view, copysets }, 'other', members)
    expect(elsewhere).toHaveLength(84)
  })
})

describe('slow chunkservers', () => {
  it('hand over all that they lead, spread over the others, and get none back', () => {
    const view = changed(settled(cluster(12, 4, 120), LIMITS), [5], { isSlow: true })
    const { operators } = planRelief(new Pass(view, TIGHT))
    expect(operators).toHaveLength(TIGHT.handoversMax)
    expect(operators.every(({ why, priority }) => why === 'slow' && priority === 'high')).toBe(true)
    const all = applied(view, planRelief(new Pass(view, LIMITS)).operators)
    const now = settled(all, LIMITS)
    expect(leadsOf(now, [5])).toEqual([0])
    const others = [1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12]
    expect(spreadOf(leadsOf(all, others))).toBeLessThanOrEqual(3)
    expect(spreadOf(leadsOf(now, others))).toBeLessThanOrEqual(1)
  })

  it('keep their leaders where nobody else is fit, and prefer those long up', () => {
    const view = cluster(3, 3, 12)
    const slow = changed(view, [1, 2, 3], { isSlow: true })
    const { operators, waiting } = planRelief(new Pass(slow, LIMITS))
    expect(operators).toEqual([])
    expect(waiting.get('no-place')).toBe(12)
    const one = changed(lopsided(view), [1], { isSlow: true })
    const young = planRelief(new Pass(changed(one, [2], { upMs: 0 }), LIMITS)).operators
    expect(young.map((operator) => operator.kind === 'lead' && operator.to)).toEqual(
      Array.from({ length: 12 }, () => 3),
    )
    const onlyYoung = changed(one, [2, 3], { upMs: 0 })
    expect(planRelief(new Pass(onlyYoung, LIMITS)).operators).toHaveLength(12)
  })
})
