import { describe, expect, it } from 'vitest'
import { must } from '../../base/assert.ts'
import type { ErrorDetail } from '../../base/errors.ts'
import { chunkserver } from '../../placement/testing/clusters.ts'
import type { ChunkserverView } from '../../placement/view.ts'
import { zonesMissing } from './unplaceable.ts'

function many(count: number, changes: Partial<ChunkserverView> = {}): ChunkserverView[] {
  return Array.from({ length: count }, (_, i) => ({ ...chunkserver(i + 1, 4), ...changes }))
}

function detailOf(
  all: readonly ChunkserverView[],
  pool: { replicas?: number; zones?: string[] } = {},
): ErrorDetail {
  return must(zonesMissing({ name: 'fast', replicas: 3, ...pool }, all), 'an error').detail
}

describe('a pool without zones enough', () => {
  it('says how many there are, and where chunkservers run that it does not count', () => {
    const all = [...many(12), { ...chunkserver(13, 1), pool: 'fast' }]
    expect(detailOf(all)).toMatchObject({
      reason: '3 replicas need chunkservers in 3 zones, and pool fast has 1 (z0)',
      elsewhere: '12 in pool default',
    })
    expect(detailOf(all)['helps']).toMatch(/2 more zones: `lemnis chunkserver --pool fast --zone/)
    expect(detailOf([])['reason']).toMatch(/pool fast has none$/)
    expect(detailOf([])['helps']).toMatch(/in 3 zones/)
  })

  it('names those that take nothing now, and says that they would do', () => {
    const fast = { pool: 'fast' }
    const all = [
      ...many(2, fast),
      { ...chunkserver(3, 4), ...fast, presence: 'offline' as const },
      { ...chunkserver(4, 4), ...fast, isDraining: true },
      { ...chunkserver(5, 4), ...fast, isFull: true },
    ]
    const detail = detailOf(all)
    expect(detail['unfit']).toBe('3 is offline, 4 empties itself, 5 is full')
    expect(detail['helps']).toMatch(/start those that are away/)
  })

  it('says so when too few zones were named', () => {
    const all = many(4, { pool: 'fast' })
    expect(detailOf(all, { zones: ['z1', 'z2'] })).toMatchObject({
      reason: '3 replicas need chunkservers in 3 zones, and pool fast in z1, z2 has 2 (z1, z2)',
      helps: 'name at least 3 zones, or ask for fewer replicas',
    })
    expect(zonesMissing({ name: 'fast', replicas: 3 }, all)).toBeNull()
  })
})
