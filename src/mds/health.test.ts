import { describe, expect, it } from 'vitest'
import { type ChunkserverFacts, guardSays, type HealthFacts, judge } from './health.ts'

const GOOD: HealthFacts = {
  pools: 1,
  chunkservers: [one(1), one(2), one(3)],
  copysets: { ok: 12, degraded: 0, broken: 0, moving: 0, unknown: 0 },
  founding: 0,
  guard: { reasons: [], zonesAway: [], away: 0, expected: 3 },
  maintenance: null,
  waiting: new Map(),
}

function one(id: number, replaced: Partial<ChunkserverFacts> = {}): ChunkserverFacts {
  const facts = { isLost: false, isFull: false, badBlocks: 0, repairedBlocks: 0 }
  return { id, state: 'online', ...facts, ...replaced }
}

describe('the health of a cluster', () => {
  it('is ok without reasons', () => {
    expect(judge(GOOD)).toEqual({ state: 'ok', reasons: [] })
  })

  it('is a warning while all is served, and an error when something is not', () => {
    const copysets = { ...GOOD.copysets, degraded: 1 }
    expect(judge({ ...GOOD, copysets }).state).toBe('warning')
    expect(judge({ ...GOOD, copysets: { ...copysets, broken: 2 } }).state).toBe('error')
    expect(judge({ ...GOOD, chunkservers: [one(1, { isFull: true })] }).state).toBe('error')
  })

  it('says of everything that is wrong what it means and what helps, in one sentence', () => {
    const { reasons } = judge({
      pools: 0,
      chunkservers: [
        one(1, { state: 'offline' }),
        one(2, { state: 'unstable' }),
        one(3, { isLost: true }),
        one(4, { isFull: true }),
        one(5, { badBlocks: 3, repairedBlocks: 1 }),
      ],
      copysets: { ok: 0, degraded: 1, broken: 1, moving: 0, unknown: 1 },
      founding: 1,
      guard: { reasons: ['zone-away'], zonesAway: ['default/z1'], away: 2, expected: 5 },
      maintenance: { by: 'ana', reason: 'new switches', leftMs: 90_000 },
      waiting: new Map([
        ['host-away', 1],
        ['no-place', 2],
      ]),
    })
    expect(reasons).toHaveLength(14)
    for (const reason of reasons) expect(reason).toMatch(/^[A-Z0-9][^:]+: [^;]+; [^;]+\.$/)
    expect(reasons).toContain(
      'Chunkserver 1 is offline: the other replicas serve, and what they held is rebuilt where ' +
        'there is a place for it; start it again, or replace its disk.',
    )
  })

  it('names a few of many, and not those that are retired', () => {
    const many = Array.from({ length: 20 }, (_, i) => one(i + 1, { state: 'offline' }))
    expect(judge({ ...GOOD, chunkservers: many }).reasons[0]).toContain(
      'Chunkservers 1, 2, 3, 4, 5, 6, 7, 8 and 12 more are offline',
    )
    const retired = [one(1, { state: 'retired', isLost: true, isFull: true })]
    expect(judge({ ...GOOD, chunkservers: retired }).reasons).toEqual([])
  })

  it('says why nothing moves, in one sentence', () => {
    expect(guardSays(GOOD.guard)).toBeNull()
    const guard = { ...GOOD.guard, reasons: ['many-away' as const], away: 5, expected: 12 }
    expect(guardSays(guard)).toBe('Nothing moves: 5 of 12 chunkservers are silent.')
    const { state, reasons } = judge({ ...GOOD, guard })
    expect(state).toBe('warning')
    expect(reasons.join()).toContain('5 of 12 chunkservers are silent')
    const all = ['maintenance', 'young', 'zone-away', 'many-away'] as const
    const says = guardSays({ ...guard, reasons: all, zonesAway: ['p/z1'] })
    expect(says).toMatch(/^Nothing moves: maintenance is on; .*p\/z1; 5 of 12 .*\.$/)
  })
})
