import { describe, expect, it } from 'vitest'
import {
  ago,
  countArgument,
  counted,
  duration,
  durationArgument,
  offsetArgument,
  share,
  sizeArgument,
} from './words.ts'

describe('for people', () => {
  it('durations have two digits in the largest unit', () => {
    const written = [0, 999, 1000, 4234, 59_999, 60_000, 90_000, 3_600_000, 3 * 86_400_000].map(
      duration,
    )
    expect(written).toEqual([
      '0 ms',
      '999 ms',
      '1 s',
      '4.2 s',
      '60 s',
      '1 min',
      '1.5 min',
      '1 h',
      '3 d',
    ])
  })

  it('times are how long ago, also when clocks differ, and never is a dash', () => {
    expect(ago(7000, 10_000)).toBe('3 s ago')
    expect(ago(10_500, 10_000)).toBe('0 ms ago')
    expect(ago(0, 10_000)).toBe('-')
  })

  it('shares and counts', () => {
    expect([share(1, 3), share(0, 0)]).toEqual(['33.3 %', '-'])
    expect([counted(1, 'volume'), counted(0, 'volume')]).toEqual(['1 volume', '0 volumes'])
  })
})

describe('from people', () => {
  it('sizes and durations have a unit, counts have none', () => {
    expect(sizeArgument('10GiB')).toBe(10 * 1024 ** 3)
    expect(durationArgument('500ms')).toBe(500)
    expect(countArgument('32')).toBe(32)
  })

  it('a place in a volume is a size or a number of bytes', () => {
    expect(offsetArgument('4096')).toBe(4096)
    expect(offsetArgument('3GiB')).toBe(3 * 1024 ** 3)
  })

  it('what can not be read is refused with what it should be', () => {
    expect(() => sizeArgument('10')).toThrow(/a number and one of B, KiB, MiB/)
    expect(() => sizeArgument('10GB')).toThrow(/KiB/)
    expect(() => durationArgument('5')).toThrow(/ms/)
    for (const text of ['-1', '1.5', '1e3', '']) expect(() => countArgument(text)).toThrow(/whole/)
  })
})
