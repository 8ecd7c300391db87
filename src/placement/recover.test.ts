import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { must } from '../base/assert.ts'
import type { MoveOperator, Plan } from './operator.ts'
import { Pass, type PlanLimits } from './pass.ts'
import { planRecovery } from './recover.ts'
import { changed, cluster, LIMITS, OFFLINE } from './testing/clusters.ts'
import type { ChunkserverView, ClusterView, CopysetView } from './view.ts'
import { isGone, isUsable } from './view.ts'

function recovery(
  view: ClusterView,
  limits: PlanLimits,
): { moves: MoveOperator[]; waiting: Plan['waiting'] } {
  const { operators, waiting } = planRecovery(new Pass(view, limits))
  const moves = operators.map((one) => must(one.kind === 'move' ? one : null, 'only moves'))
  return { moves, waiting }
}

describe('recovery', () => {
  it('has nothing to do in a sound cluster', () => {
    const { moves, waiting } = recovery(cluster(9, 3, 36), LIMITS)
    expect({ moves, waiting: waiting.size }).toEqual({ moves: [], waiting: 0 })
  })

  it('replaces a chunkserver in all its copysets, in its zone, evenly', () => {
    const view = changed(cluster(12, 3, 96), [1], OFFLINE)
    const { moves } = recovery(view, LIMITS)
    const concerned = view.copysets.filter(({ members }) => members.includes(1))
    expect(moves.map(({ copyset }) => copyset)).toEqual(concerned.map(({ id }) => id))
    const targets = new Map<number, number>()
    for (const { to, from, why } of moves) {
      expect({ from, why }).toEqual({ from: 1, why: 'offline' })
      targets.set(to, (targets.get(to) ?? 0) + 1)
    }
    expect([...targets.keys()].sort((a, b) => a - b)).toEqual([4, 7, 10])
    expect(Math.max(...targets.values()) - Math.min(...targets.values())).toBeLessThanOrEqual(1)
  })

  it('never breaks its rules, whatever is gone', () => {
    const shape = fc.record({
      chunkservers: fc.integer({ min: 4, max: 30 }),
      zones: fc.integer({ min: 3, max: 6 }),
      gone: fc.array(fc.integer({ min: 1, max: 30 }), { maxLength: 6 }),
      lost: fc.array(fc.integer({ min: 1, max: 30 }), { maxLength: 3 }),
      full: fc.array(fc.integer({ min: 1, max: 30 }), { maxLength: 3 }),
      damaged: fc.array(fc.integer({ min: 1, max: 60 }), { maxLength: 5 }),
      movesMax: fc.integer({ min: 1, max: 40 }),
      movesPerChunkserverMax: fc.integer({ min: 1, max: 5 }),
      seed: fc.nat(),
    })
    fc.assert(
      fc.property(shape, (given) => {
        const whole = cluster(given.chunkservers, given.zones, 60, given.seed)
        let view = changed(whole, given.gone, OFFLINE)
        view = changed(view, given.lost, { isLost: true })
        view = changed(view, given.full, { isFull: true })
        const copysets = view.copysets.map((copyset) => ({
          ...copyset,
          damaged: given.damaged.includes(copyset.id) ? copyset.members.slice(0, 1) : [],
        }))
        view = { ...view, copysets }
        const limits = { ...LIMITS, ...given }
        checkPlan(view, limits)
      }),
      { numRuns: 300 },
    )
  })

  it('fills up to its limits, with what is under way counted', () => {
    const view = changed(cluster(12, 3, 96), [1], OFFLINE)
    const all = recovery(view, LIMITS).moves
    const underWay = all.slice(0, 3)
    const { moves, waiting } = recovery(
      { ...view, operators: underWay },
      { ...LIMITS, movesMax: 5 },
    )
    expect(moves).toHaveLength(2)
    const again = moves.filter(({ copyset }) => underWay.some((one) => one.copyset === copyset))
    expect(again).toEqual([])
    expect(waiting.get('limit')).toBe(all.length - 5)
  })

  it('leaves copysets that are changing alone', () => {
    const view = changed(cluster(12, 3, 96), [1], OFFLINE)
    const busy = { ...view, copysets: view.copysets.map((one) => ({ ...one, isBusy: true })) }
    expect(recovery(busy, LIMITS).moves).toEqual([])
  })

  it('mends first what has fewest sound members, also of larger groups', () => {
    const view = { ...cluster(10, 5, 0), pools: [] }
    const of = (id: number, members: number[]): CopysetView => {
      return { id, pool: 'default', members, leader: 3, isBusy: false, damaged: [] }
    }
    const copysets = [of(1, [1, 3, 4]), of(2, [1, 2, 3, 4, 5])]
    const { moves } = recovery(changed({ ...view, copysets }, [1], OFFLINE), LIMITS)
    expect(moves.map(({ copyset }) => copyset)).toEqual([1, 2])
    const two = changed({ ...view, copysets }, [1, 2], OFFLINE)
    expect(recovery(two, LIMITS).moves.map(({ copyset }) => copyset)).toEqual([1, 2])
  })

  it('rebuilds what was on a lost disk', () => {
    const view = cluster(8, 4, 40)
    const lost = recovery(changed(view, [1], { isLost: true }), LIMITS)
    expect(lost.moves.length).toBeGreaterThan(0)
    expect(lost.moves.every(({ why }) => why === 'disk-lost')).toBe(true)
  })

  it('takes a server of which many chunkservers are silent for a failed host', () => {
    const view = cluster(12, 3, 96)
    const hosted = view.chunkservers.map((one) =>
      [1, 4, 7].includes(one.id) ? { ...one, server: 'one-host' } : one,
    )
    const silent = changed({ ...view, chunkservers: hosted }, [1, 4, 7], OFFLINE)
    const { moves, waiting } = recovery(silent, LIMITS)
    expect(moves).toEqual([])
    expect(waiting.get('host-away')).toBeGreaterThan(0)
    expect(recovery(silent, { ...LIMITS, serverSilentMax: 4 }).moves.length).toBeGreaterThan(0)
  })

  it('makes a damaged replica anew where it is, and waits where there is no place', () => {
    const view = cluster(3, 3, 5)
    const copysets = view.copysets.map((copyset) => ({
      ...copyset,
      damaged: copyset.id === 2 ? [3] : [],
    }))
    const { moves } = recovery({ ...view, copysets }, LIMITS)
    expect(moves).toEqual([
      { kind: 'move', copyset: 2, from: 3, to: 3, why: 'damaged', priority: 'high' },
    ])
    const { moves: none, waiting } = recovery(changed(view, [3], { isLost: true }), LIMITS)
    expect(none).toEqual([])
    expect(waiting.get('no-place')).toBe(5)
  })
})

/** The rules, said again in the simplest way. */
function checkPlan(view: ClusterView, limits: PlanLimits): void {
  const { moves } = recovery(view, limits)
  const byId = new Map(view.chunkservers.map((one) => [one.id, one]))
  const at = (id: number): ChunkserverView => must(byId.get(id), 'a chunkserver')
  expect(moves.length).toBeLessThanOrEqual(limits.movesMax)
  expect(new Set(moves.map(({ copyset }) => copyset)).size).toBe(moves.length)
  const loads = new Map<number, number>()
  for (const { copyset: id, from, to } of moves) {
    const copyset = must(
      view.copysets.find((one) => one.id === id),
      'a copyset',
    )
    const sound = copyset.members.filter((m) => !isGone(at(m)) && !copyset.damaged.includes(m))
    expect(sound.length).toBeGreaterThanOrEqual(2)
    expect(sound).not.toContain(from)
    expect(copyset.members).toContain(from)
    if (to !== from) {
      expect(isUsable(at(to))).toBe(true)
      const stay = copyset.members.filter((member) => member !== from)
      expect(stay).not.toContain(to)
      expect(stay.map((member) => at(member).zone)).not.toContain(at(to).zone)
    }
    for (const one of new Set([to, copyset.leader])) loads.set(one, (loads.get(one) ?? 0) + 1)
  }
  for (const load of loads.values()) {
    expect(load).toBeLessThanOrEqual(limits.movesPerChunkserverMax)
  }
}
