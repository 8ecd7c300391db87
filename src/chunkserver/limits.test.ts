import { describe, expect, it } from 'vitest'
import type { Clock } from '../env/clock.ts'
import { VolumeLimits } from './limits.ts'

class HandClock implements Clock {
  nowMs = 1000
  monotonicMs(): number {
    return this.nowMs
  }
  wallMs(): number {
    return this.nowMs
  }
  after(): never {
    throw new Error('limits set no timers')
  }
  soon(): never {
    throw new Error('limits set no timers')
  }
}

const LIMIT = { volume: 1, iopsMax: 100, bytesPerSecondMax: 0 }

function takenIn(limits: VolumeLimits, clock: HandClock, ms: number, bytes: number): number {
  let taken = 0
  for (const end = clock.nowMs + ms; clock.nowMs < end; clock.nowMs++) {
    for (let i = 0; i < 5; i++) if (limits.take(1, bytes) === 0) taken++
  }
  return taken
}

describe('limits of volumes', () => {
  it('hold I/Os to the rate after the burst', () => {
    const clock = new HandClock()
    const limits = new VolumeLimits(clock, 500)
    limits.set([LIMIT])
    takenIn(limits, clock, 1000, 4096)
    expect(takenIn(limits, clock, 10_000, 4096)).toBeCloseTo(1000, -1)
  })

  it('hold bytes to the rate, and let one large request through that is owed for', () => {
    const clock = new HandClock()
    const limits = new VolumeLimits(clock, 100)
    limits.set([{ volume: 1, iopsMax: 0, bytesPerSecondMax: 1_000_000 }])
    expect(limits.take(1, 1_000_000)).toBe(0)
    const waitMs = limits.take(1, 4096)
    expect(waitMs).toBeGreaterThan(800)
    clock.nowMs += waitMs
    expect(limits.take(1, 4096)).toBe(0)
  })

  it('leave other volumes alone, and end when they are taken away', () => {
    const clock = new HandClock()
    const limits = new VolumeLimits(clock, 10)
    limits.set([LIMIT])
    while (limits.take(1, 0) === 0);
    expect(limits.take(2, 1 << 30)).toBe(0)
    limits.set([])
    expect(limits.take(1, 0)).toBe(0)
  })

  it('stay as empty as they are when the same limit is told again', () => {
    const clock = new HandClock()
    const limits = new VolumeLimits(clock, 10)
    limits.set([LIMIT])
    while (limits.take(1, 0) === 0);
    limits.set([{ ...LIMIT }])
    expect(limits.take(1, 0)).toBeGreaterThan(0)
    limits.set([{ ...LIMIT, iopsMax: 200 }])
    expect(limits.take(1, 0)).toBe(0)
  })
})
