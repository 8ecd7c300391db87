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

export interface RecoveryRate {
  readonly bytesPerSecond: number
  /** The usual latency; null while nothing was learned. */
  readonly usualUs: number | null
  /** The present one, smoothed; null while clients ask nothing. */
  readonly latencyUs: number | null
}

/** What happened in the second that is over. */
export interface RecoverySecond {
  /** Of most of what clients had done; null when they asked for nothing. */
  readonly latencyUs: number | null
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
const LATENCY_SHARE = 1 / 2
/** From the floor to the ceiling in so many seconds, when clients feel nothing. */
const STEPS = 32
/** Where a rebuild begins while clients are served, as a share of the ceiling. */
const START_SHARE = 1 / 8
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
  return { bytesPerSecond: limits.recoveryBytesPerSecondMax, usualUs: null, latencyUs: null }
}

export function nextRate(
  before: RecoveryRate,
  { latencyUs: seenUs, isBusy }: RecoverySecond,
  limits: RecoveryLimits,
): RecoveryRate {
  if (seenUs === null) return { ...before, latencyUs: null, bytesPerSecond: grown(before, limits) }
  const latencyUs = blend(before.latencyUs, seenUs, LATENCY_SHARE)
  if (!isBusy) {
    const usualUs = blend(before.usualUs, seenUs, USUAL_SHARE)
    return { latencyUs, usualUs, bytesPerSecond: startOf(limits) }
  }
  const usualUs = before.usualUs ?? seenUs
  if (latencyUs <= boundUs(usualUs, limits)) {
    return { latencyUs, usualUs, bytesPerSecond: grown(before, limits) }
  }
  const floor = limits.recoveryBytesPerSecondMin
  const isLowest = before.bytesPerSecond <= floor
  return {
    latencyUs,
    usualUs: isLowest ? blend(usualUs, seenUs, FLOOR_SHARE) : usualUs,
    bytesPerSecond: Math.max(floor, Math.floor(before.bytesPerSecond / 2)),
  }
}

function startOf(limits: RecoveryLimits): number {
  const { recoveryBytesPerSecondMin: floor, recoveryBytesPerSecondMax: ceiling } = limits
  return Math.max(floor, Math.floor(ceiling * START_SHARE))
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
