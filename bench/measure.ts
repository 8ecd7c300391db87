// Owns the timing of functions of a few nanoseconds: rounds of many calls, the median of the rounds.

import { must } from '../src/base/assert.ts'

/** Long enough that reading the clock is no part of the figure. */
const ROUND_MS = 5

/**
 * Nanoseconds of one call of what `repeat(count)` does `count` times. Give it a function that returns
 * something computed from every call, or the engine may leave the work out.
 */
export function nanosecondsEach(seconds: number, repeat: (count: number) => number): number {
  let count = 1
  while (millisecondsOf(repeat, count) < ROUND_MS) count *= 2
  const rounds: number[] = []
  const endMs = performance.now() + seconds * 1000
  while (rounds.length < 3 || performance.now() < endMs) {
    rounds.push((millisecondsOf(repeat, count) * 1e6) / count)
  }
  const sorted = rounds.toSorted((a, b) => a - b)
  return must(sorted[Math.floor(sorted.length / 2)], 'a round')
}

let kept = 0

function millisecondsOf(repeat: (count: number) => number, count: number): number {
  const startedMs = performance.now()
  kept ^= repeat(count)
  return performance.now() - startedMs
}
