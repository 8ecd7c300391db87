import { describe, expect, it } from 'vitest'
import { GIB } from '../../base/units.ts'
import { daysUntilFull, type FillSample, keptSamples } from './trend.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS

/** `perHour` bytes come each hour, looked at each minute. */
function grown(hours: number, perHour: number): readonly FillSample[] {
  let samples: readonly FillSample[] = []
  for (let atMs = 0; atMs <= hours * HOUR_MS; atMs += MINUTE_MS) {
    samples = keptSamples(samples, { atMs, usedBytes: 100 * GIB + (perHour * atMs) / HOUR_MS })
  }
  return samples
}

describe('how long a pool lasts', () => {
  it('follows from the rate of the last hours', () => {
    // 1 GiB an hour, and 48 GiB are left.
    expect(daysUntilFull(grown(5, GIB), 105 * GIB, 153 * GIB)).toBe(2)
    expect(daysUntilFull(grown(5, GIB), 160 * GIB, 153 * GIB)).toBe(0)
  })

  it('is not said after less than an hour, nor when nothing comes, nor for years', () => {
    expect(daysUntilFull([], GIB, 2 * GIB)).toBe(null)
    expect(daysUntilFull(grown(0.9, GIB), 101 * GIB, 149 * GIB)).toBe(null)
    expect(daysUntilFull(grown(1, GIB), 101 * GIB, 149 * GIB)).toBe(2)
    expect(daysUntilFull(grown(5, 0), 100 * GIB, 200 * GIB)).toBe(null)
    expect(daysUntilFull(grown(5, -GIB), 100 * GIB, 200 * GIB)).toBe(null)
    expect(daysUntilFull(grown(5, 1024), 100 * GIB, 1000 * GIB)).toBe(null)
  })

  it('looks back one day, in samples of ten minutes', () => {
    const samples = grown(50, GIB)
    expect(samples).toHaveLength(6 * 24 + 1)
    expect(samples[0]?.atMs).toBe(26 * HOUR_MS)
  })
})
