// Owns how sizes and durations are written (`10GiB`, `500ms`) and read back. What write* gives, parse*
// reads back exactly; what format* gives is rounded to three digits, for people only.

import { LemnisError } from './errors.ts'

export const KIB = 1024
export const MIB = 1024 * KIB
export const GIB = 1024 * MIB
export const TIB = 1024 * GIB

const SIZES: ReadonlyMap<string, number> = new Map([
  ['B', 1],
  ['KiB', KIB],
  ['MiB', MIB],
  ['GiB', GIB],
  ['TiB', TIB],
])
/** In microseconds, so that no factor is a fraction. */
const DURATIONS: ReadonlyMap<string, number> = new Map([
  ['us', 1],
  ['ms', 1000],
  ['s', 1_000_000],
  ['m', 60_000_000],
  ['h', 3_600_000_000],
  ['d', 86_400_000_000],
])

function parseWithUnit(text: string, units: ReadonlyMap<string, number>, what: string): number {
  const match = /^(\d+(?:\.\d+)?)([A-Za-z]+)$/.exec(text.trim())
  const value = Number(match?.[1]) * (units.get(match?.[2] ?? '') ?? Number.NaN)
  if (!(value <= Number.MAX_SAFE_INTEGER)) {
    const expected = `a number and one of ${[...units.keys()].join(', ')}`
    throw new LemnisError('INVALID_ARGUMENT', { [what]: text, expected })
  }
  return value
}

/** `value`, a whole number of the smallest unit, in the largest unit that it is a multiple of. */
function writeWithUnit(value: number, units: ReadonlyMap<string, number>): string {
  let best = ''
  for (const [unit, factor] of units) if (value % factor === 0) best = `${value / factor}${unit}`
  return best
}

/** `16MiB` → 16777216. The unit is required: a bare number says nothing. */
export function parseSizeBytes(text: string): number {
  const bytes = parseWithUnit(text, SIZES, 'size')
  if (!Number.isSafeInteger(bytes)) {
    throw new LemnisError('INVALID_ARGUMENT', { size: text, expected: 'a whole number of bytes' })
  }
  return bytes
}

/** `500ms` → 500. */
export function parseDurationMs(text: string): number {
  return parseWithUnit(text, DURATIONS, 'duration') / 1000
}

/** 16777216 → `16MiB`, exactly; `bytes` is whole. */
export function writeSize(bytes: number): string {
  return bytes === 0 ? '0B' : writeWithUnit(bytes, SIZES)
}

/** 1500 → `1500ms`, exactly to the microsecond. */
export function writeDuration(ms: number): string {
  return ms === 0 ? '0ms' : writeWithUnit(Math.round(ms * 1000), DURATIONS)
}

export function formatBytes(bytes: number): string {
  for (const [unit, factor] of [...SIZES].reverse()) {
    if (bytes >= factor && factor > 1) return `${trim(bytes / factor)} ${unit}`
  }
  return `${bytes} B`
}

function trim(value: number): string {
  return value >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3)))
}
