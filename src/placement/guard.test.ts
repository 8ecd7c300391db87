import { describe, expect, it } from 'vitest'
import { type GuardFacts, guard } from './guard.ts'
import { changed, cluster, OFFLINE } from './testing/clusters.ts'
import type { ClusterView } from './view.ts'

const QUIET: GuardFacts = { isMaintained: false, isYoung: false }
const LIMITS = { zoneGuardServersMin: 2, awayPercentMax: 20 }
const UNSTABLE = { presence: 'unstable' } as const

function reasons(view: ClusterView, facts: Partial<GuardFacts> = {}): readonly string[] {
  return guard(view.chunkservers, { ...QUIET, ...facts }, LIMITS).reasons
}

describe('the guard', () => {
  const view = cluster(12, 4, 24)

  it('lets things move in a sound cluster, and when a few are away', () => {
    expect(reasons(view)).toEqual([])
    expect(reasons(changed(view, [1, 2], OFFLINE))).toEqual([])
    expect(reasons(changed(cluster(4, 4, 8), [1], OFFLINE))).toEqual([])
  })

  it('holds everything when more than the share is silent, whether or not for long', () => {
    expect(reasons(changed(view, [1, 2, 3], OFFLINE))).toEqual(['many-away'])
    const mixed = changed(changed(view, [1, 2, 3], UNSTABLE), [4, 5], OFFLINE)
    expect(guard(mixed.chunkservers, QUIET, LIMITS)).toEqual({
      reasons: ['many-away'],
      zonesAway: [],
      away: 5,
      expected: 12,
    })
    expect(reasons(changed(cluster(5, 5, 10), [1, 2], UNSTABLE))).toEqual(['many-away'])
  })

  it('does not count those that are drained, or whose disk is lost', () => {
    const lost = changed(view, [1, 2, 3, 4], { isLost: true })
    expect(reasons(lost)).toEqual([])
    const drained = changed(changed(view, [1, 2, 3], OFFLINE), [1, 2, 3], { isDraining: true })
    expect(guard(drained.chunkservers, QUIET, LIMITS)).toMatchObject({
      reasons: [],
      away: 0,
      expected: 9,
    })
  })

  it('does not wait for a zone whose chunkservers are all emptied or heard', () => {
    const zone = [1, 5, 9]
    const DRAINED = { ...OFFLINE, isDraining: true }
    expect(guard(changed(view, zone, DRAINED).chunkservers, QUIET, LIMITS)).toMatchObject({
      reasons: [],
      zonesAway: [],
    })
    // Two of it are waited for, on two servers.
    const some = changed(changed(view, zone, OFFLINE), [1], DRAINED)
    expect(guard(some.chunkservers, QUIET, LIMITS).zonesAway).toEqual(['default/z0'])
    // One that is heard while it is emptied proves that the zone is there.
    const heard = changed(changed(view, zone, OFFLINE), [1], {
      presence: 'online',
      isDraining: true,
    })
    expect(guard(heard.chunkservers, QUIET, LIMITS).zonesAway).toEqual([])
  })

  it('holds everything while a zone is away, for maintenance, and while the MDS is young', () => {
    const away = guard(changed(view, [1, 5, 9], OFFLINE).chunkservers, QUIET, LIMITS)
    expect(away.reasons).toEqual(['zone-away', 'many-away'])
    expect(away.zonesAway).toEqual(['default/z0'])
    expect(reasons(view, { isMaintained: true })).toEqual(['maintenance'])
    expect(reasons(view, { isYoung: true })).toEqual(['young'])
  })
})
