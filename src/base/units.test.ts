import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  formatBytes,
  GIB,
  KIB,
  MIB,
  parseDurationMs,
  parseSizeBytes,
  TIB,
  writeDuration,
  writeSize,
} from './units.ts'

describe('units', () => {
  it('reads sizes and durations with their unit', () => {
    expect(parseSizeBytes('16MiB')).toBe(16 * MIB)
    expect(parseSizeBytes(' 1.5KiB ')).toBe(1536)
    expect(parseSizeBytes('0B')).toBe(0)
    expect(parseDurationMs('500ms')).toBe(500)
    expect(parseDurationMs('250us')).toBe(0.25)
    expect(parseDurationMs('1.5h')).toBe(5_400_000)
  })

  it.each([
    '',
    '16',
    'MiB',
    '16 MiB',
    '16mib',
    '-1B',
    '1e3B',
    '0.1KiB',
    '1constructor',
    '9007199255TiB',
  ])('refuses the size %j', (text) => {
    expect(() => parseSizeBytes(text)).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
    )
  })

  it.each(['5', '5 s', '5sec', '5toString', '.5s', `${'9'.repeat(400)}d`])(
    'refuses the duration %j',
    (text) => {
      expect(() => parseDurationMs(text)).toThrow(
        expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
      )
    },
  )

  it('writes what it reads back exactly, in the largest unit that fits', () => {
    expect(writeSize(4096)).toBe('4KiB')
    expect(writeSize(TIB)).toBe('1TiB')
    expect(writeSize(1_000_000)).toBe('1000000B')
    expect(writeDuration(1500)).toBe('1500ms')
    expect(writeDuration(90_000)).toBe('90s')
    expect(writeDuration(0.05)).toBe('50us')
    fc.assert(
      fc.property(fc.nat({ max: Number.MAX_SAFE_INTEGER }), fc.nat(2 ** 40), (bytes, us) => {
        expect(parseSizeBytes(writeSize(bytes))).toBe(bytes)
        expect(parseDurationMs(writeDuration(us / 1000))).toBe(us / 1000)
      }),
    )
  })

  it('rounds to three digits for people', () => {
    expect(formatBytes(0)).toBe('0 B')
    expect(formatBytes(1023)).toBe('1023 B')
    expect(formatBytes(1.5 * GIB)).toBe('1.5 GiB')
    expect(formatBytes(777 * KIB + 300)).toBe('777 KiB')
  })
})
