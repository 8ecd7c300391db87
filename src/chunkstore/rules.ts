// Owns what a request means for a chunk, from the chunk's row alone: which are refused, when a new
// generation begins, which layers outlive the deletion of snapshots. Pure, so that every replica
// decides alike. The rules are Curve's (its chunk file's Write, DeleteSnapshotOrCorrectSn, DeleteChunk
// and clone chunks), with as many snapshots for a chunk as there are, where Curve has one.

import type { ChunkRefusal } from './types.ts'

/** What the rules look at. */
export interface ChunkRow {
  /** Of the newest generation. */
  readonly sn: number
  /** Writes up to here need no new generation: the snapshots before it are gone. */
  readonly correctedSn: number
  /** Of a clone; null for a chunk whose unwritten blocks are zeros. */
  readonly source: Uint8Array | null
}

/** A source is a name or a place, not data. */
export const SOURCE_BYTES_MAX = 3000

/**
 * 'create': the chunk begins with this write. 'layer': the present generation becomes a snapshot, a
 * new one begins. 'advance': the present generation takes the newer number. 'same': nothing of it.
 */
export type WriteRule = ChunkRefusal | 'create' | 'layer' | 'advance' | 'same'

export function ruleOfWrite(row: ChunkRow | null, sn: number): WriteRule {
  if (sn === 0) return 'INVALID_ARGUMENT'
  if (row === null) return 'create'
  if (sn < row.sn || sn < row.correctedSn) return 'STALE_SEQUENCE'
  if (sn > row.sn && sn > row.correctedSn) return row.source === null ? 'layer' : 'CONFLICT'
  return sn > row.sn ? 'advance' : 'same'
}

export function ruleOfDelete(row: ChunkRow | null, sn: number): ChunkRefusal | null {
  return row !== null && sn < row.sn ? 'STALE_SEQUENCE' : null
}

export function ruleOfCreateClone(
  row: ChunkRow | null,
  sn: number,
  source: Uint8Array,
): ChunkRefusal | 'create' | 'same' {
  if (sn === 0 || source.byteLength === 0 || source.byteLength > SOURCE_BYTES_MAX) {
    return 'INVALID_ARGUMENT'
  }
  if (row === null) return 'create'
  const known = row.source
  const isSame =
    known !== null &&
    row.sn === sn &&
    row.correctedSn === 0 &&
    known.byteLength === source.byteLength &&
    known.every((byte, i) => byte === source[i])
  return isSame ? 'same' : 'CONFLICT'
}

/** 'same': the chunk is no clone (any more), so there is nothing to paste. */
export function ruleOfPaste(row: ChunkRow | null): ChunkRefusal | 'paste' | 'same' {
  if (row === null) return 'NOT_FOUND'
  return row.source === null ? 'same' : 'paste'
}

/** 'drop': the snapshots below `sn` go. */
export function ruleOfDeleteSnapshot(
  row: ChunkRow | null,
  sn: number,
): ChunkRefusal | 'drop' | 'same' {
  if (sn === 0) return 'INVALID_ARGUMENT'
  if (row === null) return 'same'
  if (row.source !== null) return 'CONFLICT'
  return sn < row.correctedSn ? 'STALE_SEQUENCE' : 'drop'
}

/** The corrected number after the snapshots below `sn` went. */
export function correctedBy(row: ChunkRow, sn: number): number {
  return sn > row.sn && sn > row.correctedSn ? sn : row.correctedSn
}

/**
 * How many layers are left when the snapshots below `sn` go, of layers with these numbers (newest
 * first); those behind them are merged into the last one left. What was the newest below `sn` still is
 * the content of generation `sn`, unless that has a layer of its own.
 */
export function layersKept(sns: readonly number[], sn: number): number {
  let kept = 0
  while (kept < sns.length && (sns[kept] as number) > sn) kept++
  return Math.min(sns.length, kept + 1)
}
