// Owns what placement sees of a cluster: plain values, made anew by whoever asks. The functions of
// this folder are pure over it; time, reports and persistence are the MDS's.

import type { PlannedOperator } from './operator.ts'

/**
 * 'online': heard lately; 'unstable': silent for a while; 'offline': silent for so long that it
 * counts as gone.
 */
export type Presence = 'online' | 'unstable' | 'offline'

export interface ChunkserverView {
  readonly id: number
  readonly pool: string
  readonly zone: string
  /** The machine; names are of their own in each zone. */
  readonly server: string
  readonly presence: Presence
  /**
   * Its disk is known to be gone: failed, or another one answers in its place. Not a matter of
   * silence.
   */
  readonly isLost: boolean
  /** Takes no new chunks. */
  readonly isFull: boolean
  /** Marked for removal: gets nothing, and empties itself. */
  readonly isDraining: boolean
  /** Stands out by latency or errors: its leaders leave, and no new data comes. */
  readonly isSlow: boolean
  /** Online in a row for this long. */
  readonly upMs: number
  readonly capacityBytes: number
  readonly freeBytes: number
}

export interface CopysetView {
  readonly id: number
  readonly pool: string
  /** Ids of the chunkservers that hold its voters. */
  readonly members: readonly number[]
  /** Id of the chunkserver that leads; 0 when nobody is known to. */
  readonly leader: number
  /** Its members are changing, or nobody has confirmed them since the MDS started. */
  readonly isBusy: boolean
  /** Members whose replica is damaged, or gone, while their chunkserver serves. */
  readonly damaged: readonly number[]
  /** Where a replica of it could not be built lately: only if there is no other place. */
  readonly avoided?: readonly number[]
}

export interface PoolView {
  readonly name: string
  /** How many replicas each of its copysets is to have. */
  readonly replicas: number
}

export interface ClusterView {
  readonly chunkservers: readonly ChunkserverView[]
  readonly copysets: readonly CopysetView[]
  readonly pools: readonly PoolView[]
  /** Those under way. */
  readonly operators: readonly PlannedOperator[]
}

/** Nothing is expected of it any more: offline, or without its disk. */
export function isGone(chunkserver: ChunkserverView): boolean {
  return chunkserver.isLost || chunkserver.presence === 'offline'
}

/** May take new data. */
export function isUsable(chunkserver: ChunkserverView): boolean {
  const { presence, isLost, isFull, isDraining, isSlow } = chunkserver
  return presence === 'online' && !isLost && !isFull && !isDraining && !isSlow
}

/** Most of `voters` many. */
export function quorumOf(voters: number): number {
  return Math.floor(voters / 2) + 1
}
