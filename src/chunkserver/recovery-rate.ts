// Owns the decision how fast a chunkserver sends, and takes in, the state of replicas that are being
// rebuilt: as fast as may be while clients do not feel it. Pure; once a second it is told what clients
// felt. The rate grows by steps and is halved when they wait longer than usual (additive increase,
// multiplicative decrease: Chiu and Jain, 1989), between a floor, so that every rebuild ends, and a
// ceiling. What is usual is learned while nothing is rebuilt.

import type { ChunkserverConfig } from './config.ts'

export interface RecoveryLimits {
  readonly recoveryBytesPerSecondMin: number
  readonly recoveryBytesPerSecondMax: number
  /** A latency above the usual one by this factor is too much, in percent. */
  readonly recoveryLatencyPercent: number
  /** So much more than usual is no harm, whatever the factor says. */
  readonly recoveryLatencySlackMs: number
}

/** How long clients wait for one kind of calls. */
export interface Felt {
  /** Usually; null while nothing was learned. */
  readonly usualUs: number | null
  /** At present, smoothed; null while they ask for nothing. */
  readonly nowUs: number | null
}

export interface RecoveryRate {
  readonly bytesPerSecond: number
  readonly writes: Felt
  readonly reads: Felt
}

/** What happened in the second that is over. */
export interface RecoverySecond {
  /** Time of most writes, and of most reads, of clients; null when there were none. */
  readonly writeUs: number | null
  readonly readUs: number | null
  /** State was sent or taken in. */
  readonly isBusy: boolean
}

/** A new value's share in the usual latency: it forgets in some minutes. */
const USUAL_SHARE = 1 / 64
/**
 * At the floor, rebuilding is not what slows clients down: a load that grew becomes usual, in some
 * minutes more.
 */
const FLOOR_SHARE = 1 / 256
/** As above, in the present one. */
const NOW_SHARE = 1 / 2
/** From the floor to the ceiling in so many seconds, when clients feel nothing. */
const STEPS = 32
/** Nothing was learned yet. */
const UNFELT: Felt = { usualUs: null, nowUs: null }
const US_PER_MS = 1000
const PERCENT = 100

/** A ceiling below the floor is meant: then there is one rate. */
export function recoveryLimits(config: ChunkserverConfig, ceiling: number): RecoveryLimits {
  const { recoveryBytesPerSecondMin: floor } = config
  return {
    ...config,
    recoveryBytesPerSecondMin: Math.min(floor, ceiling),
    recoveryBytesPerSecondMax: ceiling,
  }
}

export function startRate(limits: RecoveryLimits): RecoveryRate {
  return { bytesPerSecond: limits.recoveryBytesPerSecondMax, writes: UNFELT, reads: UNFELT }
}

export function nextRate(
  before: RecoveryRate,
  { writeUs, readUs, isBusy }: RecoverySecond,
  limits: RecoveryLimits,
): RecoveryRate {
  const { recoveryBytesPerSecondMin: floor } = limits
  const isLowest = before.bytesPerSecond <= floor
  const share = isBusy ? (isLowest ? FLOOR_SHARE : 0) : USUAL_SHARE
  const writes = felt(before.writes, writeUs, share)
  const reads = felt(before.reads, readUs, share)
  const rate = (bytesPerSecond: number): RecoveryRate => ({ bytesPerSecond, writes, reads })
  const isServing = writeUs !== null || readUs !== null
  // The next rebuild begins there, beside clients.
  if (isServing && !isBusy) return rate(floor)
  const isFelt = isTooLong(writes, limits) || isTooLong(reads, limits)
  if (isFelt) return rate(Math.max(floor, Math.floor(before.bytesPerSecond / 2)))
  return rate(grown(before, limits))
}

/** After one more second, that counts by `share` in the usual time. */
function felt({ usualUs, nowUs }: Felt, seenUs: number | null, share: number): Felt {
  if (seenUs === null) return { usualUs, nowUs: null }
  return { usualUs: blend(usualUs, seenUs, share), nowUs: blend(nowUs, seenUs, NOW_SHARE) }
}

function isTooLong({ usualUs, nowUs }: Felt, limits: RecoveryLimits): boolean {
  return usualUs !== null && nowUs !== null && nowUs > boundUs(usualUs, limits)
}

function grown({ bytesPerSecond }: RecoveryRate, limits: RecoveryLimits): number {
  const { recoveryBytesPerSecondMin: floor, recoveryBytesPerSecondMax: ceiling } = limits
  return Math.min(ceiling, Math.floor(bytesPerSecond + (ceiling - floor) / STEPS + 1))
}

/** What clients may feel. */
function boundUs(usualUs: number, limits: RecoveryLimits): number {
  const { recoveryLatencyPercent: percent, recoveryLatencySlackMs: slackMs } = limits
  return Math.max((usualUs * percent) / PERCENT, usualUs + slackMs * US_PER_MS)
}

function blend(before: number | null, value: number, share: number): number {
  return before === null ? value : before + (value - before) * share
}
