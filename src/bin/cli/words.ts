// Owns how numbers and times are written for people, and how what people type becomes numbers.

import { InvalidArgumentError } from 'commander'
import { LemnisError } from '../../base/errors.ts'
import { formatBytes, parseDurationMs, parseSizeBytes } from '../../base/units.ts'

const MS_OF = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['min', 60_000],
  ['s', 1000],
] as const

/** Two digits are enough to see how long: `4.2 s`, `3 d`. */
export function duration(ms: number): string {
  for (const [unit, factor] of MS_OF) {
    if (ms >= factor) return `${Number((ms / factor).toPrecision(2))} ${unit}`
  }
  return `${Math.round(ms)} ms`
}

/** When it was; `-` for never. */
export function ago(wallMs: number, nowMs: number): string {
  return wallMs === 0 ? '-' : `${duration(Math.max(0, nowMs - wallMs))} ago`
}

/** When it will be: `in 4.2 min`, `at any moment` when that has passed. */
export function left(wallMs: number, nowMs: number): string {
  return wallMs <= nowMs ? 'at any moment' : `in ${duration(wallMs - nowMs)}`
}

export function size(bytes: number): string {
  return formatBytes(bytes)
}

export function share(part: number, whole: number): string {
  return whole === 0 ? '-' : `${((100 * part) / whole).toFixed(1)} %`
}

/** `1 volume`, `2 volumes`. */
export function counted(count: number, noun: string, plural = `${noun}s`): string {
  return `${count} ${count === 1 ? noun : plural}`
}

/** Lines of at most `width` characters, broken between words. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line)
      line = word
    } else {
      line = line === '' ? word : `${line} ${word}`
    }
  }
  return [...lines, line]
}

function parser<T>(parse: (text: string) => T): (text: string) => T {
  return (text) => {
    try {
      return parse(text)
    } catch (error) {
      if (!(error instanceof LemnisError)) throw error
      throw new InvalidArgumentError(`It takes ${String(error.detail['expected'])}.`)
    }
  }
}

export const sizeArgument = parser(parseSizeBytes)
export const durationArgument = parser(parseDurationMs)

export const countArgument = parser((text) => {
  const value = Number(text)
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value)) {
    throw new LemnisError('INVALID_ARGUMENT', { expected: 'a whole number' })
  }
  return value
})

/** A place in a volume: a size with its unit, or a bare number of bytes. */
export const offsetArgument = parser((text) =>
  /^\d+$/.test(text) ? countArgument(text) : parseSizeBytes(text),
)
