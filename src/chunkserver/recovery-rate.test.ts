import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MIB } from '../base/units.ts'
import { nextRate, type RecoveryRate, type RecoverySecond, startRate } from './recovery-rate.ts'

const LIMITS = {
  recoveryBytesPerSecondMin: 8 * MIB,
  recoveryBytesPerSecondMax: 128 * MIB,
  recoveryLatencyPercent: 150,
  recoveryLatencySlackMs: 1,
}

function after(seconds: readonly RecoverySecond[], from = startRate(LIMITS)): RecoveryRate {
  return seconds.reduce((rate, second) => nextRate(rate, second, LIMITS), from)
}

function times(count: number, writeUs: number | null, isBusy = true): RecoverySecond[] {
  return Array<RecoverySecond>(count).fill({ writeUs, readUs: null, isBusy })
}

function reading(count: number, readUs: number, isBusy = true): RecoverySecond[] {
  return times(count, null, isBusy).map((second) => ({ ...second, readUs }))
}

const QUIET = times(100, 4000, false)

describe('the rate of rebuilding', () => {
  it('is the ceiling while clients ask for nothing', () => {
    expect(startRate(LIMITS).bytesPerSecond).toBe(128 * MIB)
    expect(after(times(5, null)).bytesPerSecond).toBe(128 * MIB)
    expect(after([...QUIET, ...times(32, null)]).bytesPerSecond).toBe(128 * MIB)
  })

  it('begins at the floor beside clients and grows to the ceiling when they feel nothing', () => {
    expect(after(QUIET).bytesPerSecond).toBe(8 * MIB)
    expect(after(times(10, 5500), after(QUIET)).bytesPerSecond).toBeGreaterThan(40 * MIB)
    expect(after(times(32, 5500), after(QUIET)).bytesPerSecond).toBe(128 * MIB)
  })

  it('is halved each second while they wait longer than usual, down to the floor', () => {
    const full = after([...QUIET, ...times(32, 4000)])
    expect(after(times(1, 10_000), full).bytesPerSecond).toBe(64 * MIB)
    expect(after(times(2, 10_000), full).bytesPerSecond).toBe(32 * MIB)
    expect(after(times(9, 10_000), full).bytesPerSecond).toBe(8 * MIB)
    const back = after([...times(9, 10_000), ...times(40, 4000)], full)
    expect(back.bytesPerSecond).toBe(128 * MIB)
  })

  it('yields to those who only read, and to either of two', () => {
    const usual = reading(100, 500, false)
    expect(after(usual).bytesPerSecond).toBe(8 * MIB)
    const full = after([...usual, ...reading(32, 500)])
    expect(full.bytesPerSecond).toBe(128 * MIB)
    expect(after(reading(9, 4000), full).bytesPerSecond).toBe(8 * MIB)
    // Reads that take longer show beside writes that take far longer and do not change.
    const both = (readUs: number, isBusy = true): RecoverySecond => {
      return { writeUs: 9000, readUs, isBusy }
    }
    const mixed = after([...Array(100).fill(both(500, false)), ...Array(32).fill(both(500))])
    expect(mixed.bytesPerSecond).toBe(128 * MIB)
    expect(after(Array(9).fill(both(4000)), mixed).bytesPerSecond).toBe(8 * MIB)
  })

  it('is not moved by what is little more in milliseconds', () => {
    const fast = after([...times(100, 200, false), ...times(32, 200)])
    expect(after(times(10, 1150), fast).bytesPerSecond).toBe(128 * MIB)
    expect(after(times(10, 1300), fast).bytesPerSecond).toBe(8 * MIB)
  })

  it('takes a load that grew for usual, in minutes and not in seconds', () => {
    const low = after([...QUIET, ...times(60, 9000)])
    expect(low.bytesPerSecond).toBe(8 * MIB)
    expect(after(times(600, 9000), low).bytesPerSecond).toBe(128 * MIB)
  })

  it('compares with the first seconds when it never saw a quiet one', () => {
    expect(after(times(3, 4000)).writes.usualUs).toBe(4000)
    expect(after([...times(3, 4000), ...times(8, 9000)]).bytesPerSecond).toBe(8 * MIB)
  })

  it('stays within its limits whatever clients feel', () => {
    const second = fc.record({
      writeUs: fc.option(fc.integer({ min: 0, max: 10_000_000 })),
      readUs: fc.option(fc.integer({ min: 0, max: 10_000_000 })),
      isBusy: fc.boolean(),
    })
    fc.assert(
      fc.property(fc.array(second, { maxLength: 200 }), (seconds) => {
        const { bytesPerSecond } = after(seconds)
        expect(bytesPerSecond).toBeGreaterThanOrEqual(8 * MIB)
        expect(bytesPerSecond).toBeLessThanOrEqual(128 * MIB)
        expect(Number.isSafeInteger(bytesPerSecond)).toBe(true)
      }),
    )
  })
})
