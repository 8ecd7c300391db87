// Owns the bytes of the log: segment header, batch header, records (docs/formats/raftlog.md). All
// little endian. Every byte that means something is under a checksum, and each checksum covers
// where the thing belongs (log, segment, position), so that neither a recycled segment nor a
// misdirected write is taken for what it is not. Decoders of headers answer null where there is
// none: scanning asks that of any block.

import { viewOf } from '../base/bytes.ts'
import { type Crc32c, crc32cPure } from '../base/crc32c.ts'
import { LemnisError } from '../base/errors.ts'
import { readU53, writeU53 } from '../base/u53.ts'
import { DISK_BLOCK_BYTES } from '../env/disk.ts'
import {
  configurationBytes,
  decodeConfiguration,
  encodeConfiguration,
} from '../raft/configuration.ts'
import type { EntryKind, HardState, ReplicaId, SnapshotMark } from '../raft/types.ts'

const VERSION = 1
const SEGMENT_MAGIC = 0x534c_524c // "LRLS"
const BATCH_MAGIC = 0x424c_524c // "LRLB"

/** The first block of a segment is its header's; batches follow. */
export const SEGMENT_BODY_AT = DISK_BLOCK_BYTES

// Segment header: magic u32 | version u16 | zero u16 | logId u53 | sequence u53 |
//   segmentBytes u32 | batchBytesMax u32 | zero u32 | crc u32 of the 36 bytes before
export const SEGMENT_HEADER_BYTES = 40

export interface SegmentHeader {
  /**
   * Random, the same in all segments of one log: files of another log are not taken for this one's.
   */
  readonly logId: number
  readonly sequence: number
  readonly segmentBytes: number
  readonly batchBytesMax: number
}

export function encodeSegmentHeader(header: SegmentHeader, block: Uint8Array): void {
  const view = viewOf(block)
  block.fill(0, 0, SEGMENT_HEADER_BYTES)
  view.setUint32(0, SEGMENT_MAGIC, true)
  view.setUint16(4, VERSION, true)
  writeU53(view, 8, header.logId)
  writeU53(view, 16, header.sequence)
  view.setUint32(24, header.segmentBytes, true)
  view.setUint32(28, header.batchBytesMax, true)
  view.setUint32(36, crc32cPure(block.subarray(0, 36)), true)
}

export function decodeSegmentHeader(block: Uint8Array): SegmentHeader | null {
  if (block.byteLength < SEGMENT_HEADER_BYTES) return null
  const view = viewOf(block)
  if (view.getUint32(0, true) !== SEGMENT_MAGIC) return null
  if (view.getUint32(36, true) !== crc32cPure(block.subarray(0, 36))) return null
  requireVersion(view)
  return {
    logId: readU53(view, 8),
    sequence: readU53(view, 16),
    segmentBytes: view.getUint32(24, true),
    batchBytesMax: view.getUint32(28, true),
  }
}

// Batch header: magic u32 | version u16 | zero u16 | logId u53 | sequence u53 | position u32 |
//   recordBytes u32 | number u53 | boundary u53 | recordCount u32 | previousCrc u32 |
//   recordsCrc u32 | crc u32 of the 60 bytes before
export const BATCH_HEADER_BYTES = 64

export interface BatchHeader {
  readonly logId: number
  readonly sequence: number
  /** Where in the segment the batch begins. */
  readonly position: number
  readonly recordBytes: number
  /** One more than the batch before has, over all segments. */
  readonly number: number
  /** Segments before this sequence hold nothing that is needed any more. */
  readonly boundary: number
  readonly recordCount: number
  /** The crc of the header of the batch before: a batch that was cut off has no successors. */
  readonly previousCrc: number
  /** Over the crc fields of the records: these very records, not others of the same lengths. */
  readonly recordsCrc: number
}

/** Returns the header's crc, which the next batch repeats. */
export function encodeBatchHeader(header: BatchHeader, batch: Uint8Array): number {
  const view = viewOf(batch)
  batch.fill(0, 0, BATCH_HEADER_BYTES)
  view.setUint32(0, BATCH_MAGIC, true)
  view.setUint16(4, VERSION, true)
  writeU53(view, 8, header.logId)
  writeU53(view, 16, header.sequence)
  view.setUint32(24, header.position, true)
  view.setUint32(28, header.recordBytes, true)
  writeU53(view, 32, header.number)
  writeU53(view, 40, header.boundary)
  view.setUint32(48, header.recordCount, true)
  view.setUint32(52, header.previousCrc, true)
  view.setUint32(56, header.recordsCrc, true)
  const crc = crc32cPure(batch.subarray(0, 60))
  view.setUint32(60, crc, true)
  return crc
}

export function decodeBatchHeader(
  bytes: Uint8Array,
): { readonly header: BatchHeader; readonly crc: number } | null {
  if (bytes.byteLength < BATCH_HEADER_BYTES) return null
  const view = viewOf(bytes)
  if (view.getUint32(0, true) !== BATCH_MAGIC) return null
  const crc = crc32cPure(bytes.subarray(0, 60))
  if (view.getUint32(60, true) !== crc) return null
  requireVersion(view)
  const header = {
    logId: readU53(view, 8),
    sequence: readU53(view, 16),
    position: view.getUint32(24, true),
    recordBytes: view.getUint32(28, true),
    number: readU53(view, 32),
    boundary: readU53(view, 40),
    recordCount: view.getUint32(48, true),
    previousCrc: view.getUint32(52, true),
    recordsCrc: view.getUint32(56, true),
  }
  return { header, crc }
}

function requireVersion(view: DataView): void {
  const version = view.getUint16(4, true)
  if (version !== VERSION) throw new LemnisError('VERSION_MISMATCH', { format: 'raftlog', version })
}

// Record: crc u32 | payloadBytes u32 | group u53 | term u53 | index u53 | kind u32 | payload
//   The crc covers all that follows it and is seeded with the record's place.
export const RECORD_HEAD_BYTES = 36

export const RECORD_KINDS = {
  noop: 1,
  data: 2,
  config: 3,
  /** term; index = commit; payload: vote u53 */
  'hard-state': 4,
  /** A checkpoint: term, index; payload: Configuration */
  mark: 5,
  /** As mark, and replaces the group's whole log. */
  restart: 6,
  /** payload: replica u53 | epoch u53 */
  create: 7,
  /** payload: replica u53 | created epoch u53 | epoch u53 */
  destroy: 8,
  /** A group's small state again, so that the segments that held it may go; see Kept. */
  keep: 9,
} as const

export type RecordKind = keyof typeof RECORD_KINDS

const KIND_OF = new Map<number, RecordKind>(
  Object.entries(RECORD_KINDS).map(([kind, number]) => [number, kind as RecordKind]),
)

export function isEntryKind(kind: RecordKind): kind is EntryKind {
  return RECORD_KINDS[kind] <= RECORD_KINDS.config
}

/** What a group is apart from its entries. */
export interface Kept {
  readonly replica: ReplicaId | 0
  readonly createdEpoch: number
  readonly destroyedEpoch: number | null
  readonly hardState: HardState
  readonly mark: SnapshotMark | null
}

/** Binds a record to its place: bytes left over from elsewhere do not check. */
function seedOf(sequence: number, offset: number): number {
  return (Math.imul(sequence % 0x1_0000_0000, 0x9e3779b1) + offset) >>> 0
}

export interface RecordHead {
  readonly kind: RecordKind
  readonly group: number
  readonly term: number
  readonly index: number
}

/**
 * A record whose payload is at `at + RECORD_HEAD_BYTES` already; `offset` is its place in the
 * segment.
 */
export function sealRecord(
  crc32c: Crc32c,
  bytes: Uint8Array,
  view: DataView,
  at: number,
  head: RecordHead,
  payloadBytes: number,
  sequence: number,
  offset: number,
): void {
  view.setUint32(at + 4, payloadBytes, true)
  writeU53(view, at + 8, head.group)
  writeU53(view, at + 16, head.term)
  writeU53(view, at + 24, head.index)
  view.setUint32(at + 32, RECORD_KINDS[head.kind], true)
  const end = at + RECORD_HEAD_BYTES + payloadBytes
  view.setUint32(at, crc32c(bytes.subarray(at + 4, end), seedOf(sequence, offset)), true)
}

/** The sum over records so far with the one at `at` added. */
export function addRecordCrc(recordsCrc: number, bytes: Uint8Array, at: number): number {
  return crc32cPure(bytes.subarray(at, at + 4), recordsCrc)
}

export interface DecodedRecord extends RecordHead {
  /** A view of the bytes given. */
  readonly payload: Uint8Array
  readonly end: number
}

/** The record at `at`, or null when there is no sound one that ends by `limit`. */
export function decodeRecord(
  crc32c: Crc32c,
  bytes: Uint8Array,
  at: number,
  limit: number,
  sequence: number,
  offset: number,
): DecodedRecord | null {
  if (at + RECORD_HEAD_BYTES > limit) return null
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, RECORD_HEAD_BYTES)
  const end = at + RECORD_HEAD_BYTES + view.getUint32(4, true)
  if (end > limit) return null
  const crc = crc32c(bytes.subarray(at + 4, end), seedOf(sequence, offset))
  if (crc !== view.getUint32(0, true)) return null
  const kind = KIND_OF.get(view.getUint32(32, true))
  if (kind === undefined)
    throw new LemnisError('CORRUPT', { field: 'record kind', sequence, offset })
  return {
    kind,
    group: readU53(view, 8),
    term: readU53(view, 16),
    index: readU53(view, 24),
    payload: bytes.subarray(at + RECORD_HEAD_BYTES, end),
    end,
  }
}

export function readIds(payload: Uint8Array, count: number): number[] {
  if (payload.byteLength !== 8 * count) throw new LemnisError('CORRUPT', { field: 'record length' })
  const view = viewOf(payload)
  return Array.from({ length: count }, (_, i) => readU53(view, 8 * i))
}

export function readMark(record: DecodedRecord): SnapshotMark {
  const view = viewOf(record.payload)
  const { config, end } = decodeConfiguration(view, 0)
  if (end !== view.byteLength) throw new LemnisError('CORRUPT', { field: 'mark' })
  return { index: record.index, term: record.term, config }
}

// Kept: replica u53 | created epoch u53 | destroyed epoch + 1, or 0 u53 | vote u53 | has mark u8 |
//   with one: index u53 | term u53 | Configuration. Term and commit are in the record's head.
const KEPT_HEAD_BYTES = 33
const KEPT_MARK_BYTES = 16

export function keptBytes(kept: Kept): number {
  const { mark } = kept
  return KEPT_HEAD_BYTES + (mark === null ? 0 : KEPT_MARK_BYTES + configurationBytes(mark.config))
}

export function writeKept(kept: Kept, view: DataView, at: number): void {
  const { destroyedEpoch, mark } = kept
  writeU53(view, at, kept.replica)
  writeU53(view, at + 8, kept.createdEpoch)
  writeU53(view, at + 16, destroyedEpoch === null ? 0 : destroyedEpoch + 1)
  writeU53(view, at + 24, kept.hardState.vote)
  view.setUint8(at + 32, mark === null ? 0 : 1)
  if (mark === null) return
  writeU53(view, at + KEPT_HEAD_BYTES, mark.index)
  writeU53(view, at + KEPT_HEAD_BYTES + 8, mark.term)
  encodeConfiguration(mark.config, view, at + KEPT_HEAD_BYTES + KEPT_MARK_BYTES)
}

export function readKept(record: DecodedRecord): Kept {
  const view = viewOf(record.payload)
  if (view.byteLength < KEPT_HEAD_BYTES) throw new LemnisError('CORRUPT', { field: 'kept' })
  const hasMark = view.getUint8(32) === 1
  if (hasMark && view.byteLength < KEPT_HEAD_BYTES + KEPT_MARK_BYTES) {
    throw new LemnisError('CORRUPT', { field: 'kept' })
  }
  const destroyed = readU53(view, 16)
  return {
    replica: readU53(view, 0) as ReplicaId | 0,
    createdEpoch: readU53(view, 8),
    destroyedEpoch: destroyed === 0 ? null : destroyed - 1,
    hardState: {
      term: record.term,
      vote: readU53(view, 24) as ReplicaId | 0,
      commit: record.index,
    },
    mark: hasMark
      ? {
          index: readU53(view, KEPT_HEAD_BYTES),
          term: readU53(view, KEPT_HEAD_BYTES + 8),
          config: decodeConfiguration(view, KEPT_HEAD_BYTES + KEPT_MARK_BYTES).config,
        }
      : null,
  }
}
