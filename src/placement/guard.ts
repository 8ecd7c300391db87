// Owns the decision whether anything may move at all: a pure function that is asked before all
// planners. What is away in great number comes back together (a switch, a power feed, a mistake),
// and copying it meanwhile would burden what is left for nothing.

import type { ChunkserverView } from './view.ts'

export type GuardReason =
  /** People work on the cluster, and said so. */
  | 'maintenance'
  /** The MDS has not heard everybody yet. */
  | 'young'
  /** A zone is away as a whole. */
  | 'zone-away'
  /** Too large a share of the chunkservers is silent. */
  | 'many-away'

export interface GuardLimits {
  /** A zone of fewer servers may be given up although it is away as a whole. */
  readonly zoneGuardServersMin: number
  /** While more than this share of the chunkservers, and two at least, is silent, nothing moves. */
  readonly awayPercentMax: number
}

export interface GuardFacts {
  readonly isMaintained: boolean
  readonly isYoung: boolean
}

export interface Guard {
  /** Nothing may move while there is one. */
  readonly reasons: readonly GuardReason[]
  /** Zones that are away as a whole, as `pool/zone`. */
  readonly zonesAway: readonly string[]
  /** Chunkservers that are silent, of `expected`: all but those that are drained or without disk. */
  readonly away: number
  readonly expected: number
}

const AWAY_MIN = 2
const PERCENT = 100

export function guard(
  chunkservers: readonly ChunkserverView[],
  facts: GuardFacts,
  limits: GuardLimits,
): Guard {
  let away = 0
  let expected = 0
  for (const { isLost, isDraining, presence } of chunkservers) {
    if (isLost || isDraining) continue
    expected++
    if (presence !== 'online') away++
  }
  const zones = zonesAway(chunkservers, limits.zoneGuardServersMin)
  const isMany = away >= AWAY_MIN && away * PERCENT > expected * limits.awayPercentMax
  const reasons: GuardReason[] = []
  if (facts.isMaintained) reasons.push('maintenance')
  if (facts.isYoung) reasons.push('young')
  if (zones.length > 0) reasons.push('zone-away')
  if (isMany) reasons.push('many-away')
  return { reasons, zonesAway: zones, away, expected }
}

/**
 * Zones in which every chunkserver is silent. A lost disk is no silence, and one that is emptied is not
 * waited for; while it is heard it tells that the zone is there.
 */
function zonesAway(chunkservers: readonly ChunkserverView[], serversMin: number): string[] {
  const zones = new Map<string, { isAway: boolean; servers: Set<string> }>()
  for (const chunkserver of chunkservers) {
    const isSilent = chunkserver.presence !== 'online'
    if (chunkserver.isLost || (isSilent && chunkserver.isDraining)) continue
    const name = `${chunkserver.pool}/${chunkserver.zone}`
    let zone = zones.get(name)
    if (zone === undefined) {
      zone = { isAway: true, servers: new Set() }
      zones.set(name, zone)
    }
    zone.servers.add(chunkserver.server)
    if (!isSilent) zone.isAway = false
  }
  const away: string[] = []
  for (const [name, { isAway, servers }] of zones) {
    if (isAway && servers.size >= serversMin) away.push(name)
  }
  return away.sort()
}
