import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Histogram } from './histogram.ts'

const values = fc.array(
  fc.oneof(fc.nat(), fc.nat({ max: 100 }), fc.nat({ max: Number.MAX_SAFE_INTEGER })),
  { minLength: 1, maxLength: 50 },
)
const quantiles = fc.constantFrom(0, 0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 1)

describe('Histogram', () => {
  it('gives percentiles at most one step, 1/32, above those of the sorted values', () => {
    fc.assert(
      fc.property(values, quantiles, (some, quantile) => {
        const histogram = new Histogram()
        for (const value of some) histogram.record(value)
        const sorted = some.toSorted((a, b) => a - b)
        const exact = sorted[Math.max(0, Math.ceil(some.length * quantile) - 1)] as number
        const got = histogram.percentile(quantile)
        expect(got).toBeGreaterThanOrEqual(exact)
        expect(got).toBeLessThanOrEqual(exact * (1 + 1 / 32))
        expect(histogram.max).toBe(sorted.at(-1))
        expect(histogram.count).toBe(some.length)
      }),
    )
  })

  it('is exact below 32 and at the largest value', () => {
    const histogram = new Histogram()
    for (let value = 0; value < 32; value++) histogram.record(value)
    for (let value = 0; value < 32; value++)
      expect(histogram.percentile((value + 1) / 32)).toBe(value)
    expect(histogram.sum).toBe(496)
    histogram.record(1_000_003)
    expect(histogram.percentile(1)).toBe(1_000_003)
  })

  it('rounds down, takes what is negative or no number as 0, and holds on at the upper end', () => {
    const histogram = new Histogram()
    for (const value of [-5, Number.NaN, 0.9]) histogram.record(value)
    expect([histogram.max, histogram.sum, histogram.percentile(1)]).toEqual([0, 0, 0])
    histogram.record(Number.POSITIVE_INFINITY)
    expect(histogram.max).toBe(Number.MAX_SAFE_INTEGER)
    expect(histogram.percentile(1)).toBe(Number.MAX_SAFE_INTEGER)
  })

  it('is 0 when empty', () => {
    expect(new Histogram().percentile(0.5)).toBe(0)
  })
})
