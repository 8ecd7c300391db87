// Owns the judgement whether a chunkserver is slow or sick: whether the durable writes of its disk
// stand out from those of its pool, second after second, or its disk returns errors. Pure: what was
// known before is passed in, and what is known then comes out.
// Invariant: one bad second makes nobody slow, and one good one makes nobody sound. Comparing with
// peers under the same load, instead of with a fixed bound, is how fail-slow disks are found in large
// fleets (Lu and others, "Perseus", USENIX FAST 2023; Panda and others, "IASO", USENIX ATC 2019).

import { must } from '../base/assert.ts'

export interface SlowLimits {
  /** Times the median of its peers. */
  readonly slowFactor: number
  /** A mean below this is never slow, whatever the peers do. */
  readonly slowFloorMs: number
  /** Seconds that stand out, less those that do not, before it counts as slow. */
  readonly slowSeconds: number
  /** Sound for so long in a row, it is no longer slow. */
  readonly slowRecoverMs: number
  /** Errors of the disk that make it sick. */
  readonly diskErrorsMax: number
  /** Errors older than this are forgotten, if none came since. */
  readonly diskErrorsForgetMs: number
}

/** A second in which the disk wrote. */
export interface Second {
  readonly meanUs: number
}

export type SlowWhy = 'latency' | 'errors'

/** What is known of one disk. Times are of one monotonic clock. */
export interface Sense {
  /** From 0 to `slowSeconds`. */
  readonly score: number
  /** Of the last seconds seen; null before the first. */
  readonly recentUs: number | null
  /** Since when no second was near to standing out; null while one was. */
  readonly soundSinceMs: number | null
  readonly errors: number
  /** When the last of them came. */
  readonly errorMs: number
  readonly slow: SlowWhy | null
}

export const UNKNOWN_SENSE: Sense = {
  score: 0,
  recentUs: null,
  soundSinceMs: null,
  errors: 0,
  errorMs: 0,
  slow: null,
}

/** As known after a start from what was recorded. */
export function recordedSense(slow: SlowWhy, limits: SlowLimits, nowMs: number): Sense {
  const { slowSeconds: score, diskErrorsMax: errors } = limits
  const isSick = slow === 'errors'
  return {
    ...UNKNOWN_SENSE,
    slow,
    ...(isSick ? { errors, errorMs: nowMs } : { score }),
  }
}

export interface Seen {
  /** Oldest first. */
  readonly seconds: readonly Second[]
  /** Errors that are new. */
  readonly errors: number
}

/**
 * `peersUs` is peersLatencyUs() of the others; null when there are too few to compare with: then nobody
 * becomes slow, and who is slow must only fall below the floor.
 */
export function sense(
  before: Sense,
  seen: Seen,
  peersUs: number | null,
  limits: SlowLimits,
  nowMs: number,
): Sense {
  const known = forgetErrors(before, limits, nowMs)
  const felt = feelErrors(feelSeconds(known, seen.seconds, peersUs, limits, nowMs), seen, nowMs)
  const slow = verdict(felt, limits, nowMs)
  // Who is sound again begins anew: one that was silent meanwhile has not lived its bad seconds down.
  const isOver = before.slow !== null && slow === null
  return { ...felt, slow, score: isOver ? 0 : felt.score }
}

function feelSeconds(
  before: Sense,
  seconds: readonly Second[],
  peersUs: number | null,
  limits: SlowLimits,
  nowMs: number,
): Sense {
  if (seconds.length === 0) return before
  const boundUs = slowBoundUs(peersUs, limits)
  // To be sound again takes more than to be a little below the bound.
  const soundUs = (boundUs === null ? limits.slowFloorMs * US_PER_MS : boundUs) / 2
  let { score, soundSinceMs } = before
  let sumUs = 0
  for (const { meanUs } of seconds) {
    sumUs += meanUs
    const standsOut = boundUs !== null && meanUs > boundUs
    score = standsOut ? Math.min(limits.slowSeconds, score + 1) : Math.max(0, score - 1)
    if (meanUs > soundUs) soundSinceMs = null
    else soundSinceMs ??= nowMs
  }
  return { ...before, score, soundSinceMs, recentUs: sumUs / seconds.length }
}

const US_PER_MS = 1000

/** Above it a second stands out; null when there is nothing to compare with. */
export function slowBoundUs(peersUs: number | null, limits: SlowLimits): number | null {
  if (peersUs === null) return null
  return Math.max(limits.slowFloorMs * US_PER_MS, peersUs * limits.slowFactor)
}

function feelErrors(before: Sense, { errors }: Seen, nowMs: number): Sense {
  return errors === 0 ? before : { ...before, errors: before.errors + errors, errorMs: nowMs }
}

function verdict(felt: Sense, limits: SlowLimits, nowMs: number): SlowWhy | null {
  if (felt.errors >= limits.diskErrorsMax) return 'errors'
  if (felt.score >= limits.slowSeconds) return 'latency'
  if (felt.slow !== 'latency') return null
  const { soundSinceMs } = felt
  const isSound = soundSinceMs !== null && nowMs - soundSinceMs >= limits.slowRecoverMs
  return isSound ? null : 'latency'
}

/** So that new ones begin at none. */
function forgetErrors(known: Sense, limits: SlowLimits, nowMs: number): Sense {
  const areOld = known.errors > 0 && nowMs - known.errorMs >= limits.diskErrorsForgetMs
  return areOld ? { ...known, errors: 0 } : known
}

/** With fewer, nobody can say which of them is the odd one. */
const PEERS_MIN = 2

/** How long the writes of a disk took lately. */
export interface Latency {
  readonly id: number
  readonly us: number
}

/**
 * The median of all but `self`, the upper of the two middle ones; null with fewer than two. `sorted`
 * ascends; `self` need not be among them.
 */
export function peersLatencyUs(sorted: readonly Latency[], self: number): number | null {
  const selfAt = sorted.findIndex(({ id }) => id === self)
  const peers = sorted.length - (selfAt < 0 ? 0 : 1)
  if (peers < PEERS_MIN) return null
  const middle = Math.floor(peers / 2)
  const at = selfAt >= 0 && middle >= selfAt ? middle + 1 : middle
  return must(sorted[at], 'a middle one').us
}
