import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { must } from '../base/assert.ts'
import { Prng } from '../base/prng.ts'
import { createCopysets } from './create.ts'
import { planRecovery, type RecoverLimits, zonesAway } from './recover.ts'
import type { ChunkserverView, ClusterView, CopysetView } from './view.ts'
import { isGone, isUsable } from './view.ts'

const LIMITS: RecoverLimits = {
  movesMax: 1000,
  movesPerChunkserverMax: 1000,
  serverSilentMax: 3,
  zoneGuardServersMin: 1,
}
const GIB = 1024 ** 3

function cluster(count: number, zones: number, copysets: number, seed = 1): ClusterView {
  const chunkservers = Array.from(
    { length: count },
    (_, i): ChunkserverView => ({
      id: i + 1,
      pool: 'default',
      zone: `z${i % zones}`,
      server: `s${i}`,
      presence: 'online',
      isLost: false,
      isFull: false,
      capacityBytes: 100 * GIB,
      freeBytes: 50 * GIB,
    }),
  )
  const made = createCopysets(chunkservers, 3, copysets, new Prng(seed))
  return {
    chunkservers,
    copysets: made.map(
      (members, i): CopysetView => ({
        id: i + 1,
        pool: 'default',
        members,
        leader: must(members[0], 'a member'),
        isBusy: false,
        damaged: [],
      }),
    ),
    moves: [],
  }
}

/** The view with some chunkservers changed, and leaders moved away from those that are gone. */
function changed(
  view: ClusterView,
  ids: readonly number[],
  replaced: Partial<ChunkserverView>,
): ClusterView {
  const chunkservers = view.chunkservers.map((one) =>
    ids.includes(one.id) ? { ...one, ...replaced } : one,
  )
  const gone = new Set(chunkservers.filter(isGone).map(({ id }) => id))
  const copysets = view.copysets.map((copyset) => ({
    ...copyset,
    leader: copyset.members.find((id) => !gone.has(id)) ?? 0,
  }))
  return { ...view, chunkservers, copysets }
}

const OFFLINE = { presence: 'offline' } as const

describe('recovery', () => {
  it('has nothing to do in a sound cluster', () => {
    const { moves, waiting, zonesAway: away } = planRecovery(cluster(9, 3, 36), LIMITS)
    expect({ moves, waiting: waiting.size, away }).toEqual({ moves: [], waiting: 0, away: [] })
  })

  it('replaces a chunkserver in all its copysets, in its zone, evenly', () => {
    const view = changed(cluster(12, 3, 96), [1], OFFLINE)
    const { moves } = planRecovery(view, LIMITS)
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
    const all = planRecovery(view, LIMITS).moves
    const underWay = all.slice(0, 3)
    const { moves, waiting } = planRecovery(
      { ...view, moves: underWay },
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
    expect(planRecovery(busy, LIMITS).moves).toEqual([])
  })

  it('mends first what has fewest sound members, also of larger groups', () => {
    const view = cluster(10, 5, 0)
    const of = (id: number, members: number[]): CopysetView => {
      return { id, pool: 'default', members, leader: 3, isBusy: false, damaged: [] }
    }
    const copysets = [of(1, [1, 3, 4]), of(2, [1, 2, 3, 4, 5])]
    const { moves } = planRecovery(changed({ ...view, copysets }, [1], OFFLINE), LIMITS)
    expect(moves.map(({ copyset }) => copyset)).toEqual([1, 2])
    const two = changed({ ...view, copysets }, [1, 2], OFFLINE)
    expect(planRecovery(two, LIMITS).moves.map(({ copyset }) => copyset)).toEqual([1, 2])
  })

  it('does not move while a zone is away, but for lost disks alone it does', () => {
    const view = cluster(8, 4, 40)
    const zone = [1, 5]
    const away = planRecovery(changed(view, zone, OFFLINE), LIMITS)
    expect(away.moves).toEqual([])
    expect(away.zonesAway).toEqual(['default/z0'])
    expect(away.waiting.get('zone-away')).toBeGreaterThan(0)
    expect(zonesAway(changed(view, zone, { presence: 'unstable' }), 1)).toEqual(['default/z0'])
    expect(zonesAway(changed(view, zone, OFFLINE), 3)).toEqual([])
    const lost = planRecovery(changed(view, [1], { isLost: true }), LIMITS)
    expect(lost.moves.length).toBeGreaterThan(0)
    expect(lost.moves.every(({ why }) => why === 'disk-lost')).toBe(true)
  })

  it('takes a server of which many chunkservers are silent for a failed host', () => {
    const view = cluster(12, 3, 96)
    const hosted = view.chunkservers.map((one) =>
      [1, 4, 7].includes(one.id) ? { ...one, server: 'one-host' } : one,
    )
    const silent = changed({ ...view, chunkservers: hosted }, [1, 4, 7], OFFLINE)
    const { moves, waiting } = planRecovery(silent, LIMITS)
    expect(moves).toEqual([])
    expect(waiting.get('host-away')).toBeGreaterThan(0)
    expect(planRecovery(silent, { ...LIMITS, serverSilentMax: 4 }).moves.length).toBeGreaterThan(0)
  })

  it('makes a damaged replica anew where it is, and waits where there is no place', () => {
    const view = cluster(3, 3, 5)
    const copysets = view.copysets.map((copyset) => ({
      ...copyset,
      damaged: copyset.id === 2 ? [3] : [],
    }))
    const { moves } = planRecovery({ ...view, copysets }, LIMITS)
    expect(moves).toEqual([{ copyset: 2, from: 3, to: 3, why: 'damaged' }])
    const { moves: none, waiting } = planRecovery(changed(view, [3], { isLost: true }), LIMITS)
    expect(none).toEqual([])
    expect(waiting.get('no-place')).toBe(5)
  })
})

/** The rules, said again in the simplest way. */
function checkPlan(view: ClusterView, limits: RecoverLimits): void {
  const { moves, zonesAway: away } = planRecovery(view, limits)
  const byId = new Map(view.chunkservers.map((one) => [one.id, one]))
  const at = (id: number): ChunkserverView => must(byId.get(id), 'a chunkserver')
  if (away.length > 0) expect(moves).toEqual([])
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
