import { describe, expect, it } from 'vitest'
import { RateLimit } from './rate.ts'

describe('RateLimit', () => {
  it('lets bytes through at its rate, after a burst of a tenth of a second', () => {
    const rate = new RateLimit(1_000_000)
    const nowMs = 5000
    let sent = 0
    let waitMs = 0
    while (waitMs < 1000) {
      waitMs = rate.claim(10_000, nowMs)
      sent += 10_000
    }
    // What may leave within one second: the burst and one second's worth, and the piece that ends it.
    expect(sent).toBe(100_000 + 1_000_000 + 10_000)
  })

  it('saves up no more than its burst while idle', () => {
    const rate = new RateLimit(1_000_000)
    expect(rate.claim(1, 60_000)).toBe(0)
    expect(rate.claim(100_000, 120_000)).toBe(0)
    expect(rate.claim(1, 120_000)).toBe(0)
    expect(rate.claim(1000, 120_000)).toBeCloseTo(0.001)
    expect(rate.claim(1, 120_000)).toBeCloseTo(1.001)
  })

  it('changes for what is taken from then on', () => {
    const rate = new RateLimit(1_000_000)
    rate.take(200_000, 5000)
    expect(rate.waitMs(5000)).toBeCloseTo(100)
    rate.change(100_000)
    expect(rate.waitMs(5000)).toBeCloseTo(100)
    rate.take(10_000, 5000)
    expect(rate.waitMs(5000)).toBeCloseTo(200)
    expect(rate.perSecond).toBe(100_000)
  })
})
