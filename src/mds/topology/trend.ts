// Owns how long a pool lasts at the rate at which it filled lately. Pure. It says nothing rather than
// something that a few minutes, or a pool that empties, can't support.

export interface FillSample {
  readonly atMs: number
  readonly usedBytes: number
}

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
/** Less says nothing: a copy of one volume would be taken for a habit. */
const SPAN_MIN_MS = HOUR_MS
const SPAN_MAX_MS = DAY_MS
/** Two samples are at least so far apart. */
const GAP_MS = 600_000
/** Longer than that is not a forecast. */
const DAYS_MAX = 3650

/** With `sample`, unless it comes too soon; without those that are too old. */
export function keptSamples(
  samples: readonly FillSample[],
  sample: FillSample,
): readonly FillSample[] {
  const newest = samples.at(-1)
  if (newest !== undefined && sample.atMs - newest.atMs < GAP_MS) return samples
  return [...samples.filter(({ atMs }) => sample.atMs - atMs <= SPAN_MAX_MS), sample]
}

/** Days until `fullBytes` are used, to a tenth; null when nothing can be said. */
export function daysUntilFull(
  samples: readonly FillSample[],
  usedBytes: number,
  fullBytes: number,
): number | null {
  const first = samples[0]
  const last = samples.at(-1)
  if (first === undefined || last === undefined) return null
  const spanMs = last.atMs - first.atMs
  const grownBytes = last.usedBytes - first.usedBytes
  if (spanMs < SPAN_MIN_MS || grownBytes <= 0) return null
  const leftMs = (Math.max(0, fullBytes - usedBytes) * spanMs) / grownBytes
  const days = Math.round((leftMs / DAY_MS) * 10) / 10
  return days <= DAYS_MAX ? days : null
}
