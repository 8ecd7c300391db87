// Owns the keys under which the MDS keeps its records, and what its parts are given: the world, the
// ledger through which everything is written, and what placement answers to the namespace.
// The tables of keys and records: docs/formats/metastore.md.

import type { Env } from '../env/env.ts'
import type { Observer } from '../observe/observe.ts'
import type { RpcConfig } from '../rpc/config.ts'
import type { MdsBugs } from './bugs.ts'
import type { Ledger } from './state.ts'
import type { VolumeConfig } from './volumes/config.ts'

export interface GroupMember {
  readonly chunkserver: number
  readonly address: string
}

/** What the namespace asks of topology and placement. */
export interface MdsTopology {
  /** Copysets for `count` new chunks of a pool, one each; UNPLACEABLE when there are none. */
  choose(count: number, pool: string): number[]
  /** Where the members of a copyset are, as last known; empty for one that is not known. */
  membersOf(group: number): readonly GroupMember[]
  poolExists(name: string): boolean
}

export interface MdsContext {
  readonly env: Env
  readonly observer: Observer
  readonly config: VolumeConfig
  readonly rpc: RpcConfig
  readonly ledger: Ledger
  readonly topology: MdsTopology
  readonly bugs: MdsBugs
}

const ID_DIGITS = 16
const INDEX_DIGITS = 8

/** Keys sort as their numbers do. */
export function idKey(prefix: string, id: number): string {
  return `${prefix}${String(id).padStart(ID_DIGITS, '0')}`
}

export const VOLUME_PREFIX = 'volume/'
export const SEGMENT_PREFIX = 'segment/'
/** The next ids of volumes and segments. */
export const SERIALS_KEY = 'namespace/serials'

export function volumeKey(id: number): string {
  return idKey(VOLUME_PREFIX, id)
}

export function segmentKey(volume: number, index: number): string {
  return `${idKey(SEGMENT_PREFIX, volume)}/${String(index).padStart(INDEX_DIGITS, '0')}`
}

/** Volume and index of a segment's key. */
export function readSegmentKey(key: string): { volume: number; index: number } | null {
  const match = /^segment\/(\d{16})\/(\d{8})$/.exec(key)
  return match === null ? null : { volume: Number(match[1]), index: Number(match[2]) }
}
