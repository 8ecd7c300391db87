// Owns the layout of requests about chunks, the same on the wire and, followed by the blocks it
// carries, in a log entry (docs/formats/chunk-request.md). Every check that must hold in apply has its
// field here: the volume's write epoch and its sequence number.
// A request: fixed head, then one CRC32C (u32) for each block of a write.

import { viewOf } from '../base/bytes.ts'
import { LemnisError } from '../base/errors.ts'
import { readU53, writeU53 } from '../base/u53.ts'

/** The unit of checksums, copy-on-write and zeroing. */
export const BLOCK_BYTES = 4096
export const CHUNK_BYTES = 16 * 1024 * 1024
export const CHUNK_BLOCKS = CHUNK_BYTES / BLOCK_BYTES
export const SEGMENT_CHUNKS = 64
export const SEGMENT_BYTES = SEGMENT_CHUNKS * CHUNK_BYTES
/** Blocks in one request; larger ones are split by the client. */
export const REQUEST_BLOCKS_MAX = 256

export const CHUNK_OPS = {
  write: 1,
  read: 2,
  /** Blocks read as zeros from now on: discard and write-zeroes alike. */
  zero: 3,
  /** Nothing but the epoch: writers with an older one are refused from now on. */
  fence: 4,
  /** Ends the chunk with everything that belongs to it. */
  delete: 5,
  /** Makes the chunk one whose unwritten blocks come from a source. */
  'create-clone': 6,
  /** Writes those of the blocks that were never written: a copy from the source. */
  paste: 7,
  /** Drops the snapshots below `sn`, and lets the next write of `sn` make none. */
  'delete-snapshot': 8,
  /** Forgets the epoch of a volume. Of old logs only: a late write would make a chunk again. */
  forget: 9,
  /** The volume is gone for good, and so is every one from `chunk` to `sn`. */
  'end-volume': 10,
} as const

export type ChunkOp = keyof typeof CHUNK_OPS

const OP_OF: (ChunkOp | undefined)[] = []
for (const [name, number] of Object.entries(CHUNK_OPS)) OP_OF[number] = name as ChunkOp

export interface ChunkRequest {
  readonly op: ChunkOp
  readonly group: number
  readonly volume: number
  /** The writer's; for readers the one they were opened with. */
  readonly epoch: number
  /** The volume's sequence number; for reads the generation wanted, 0 for the present. */
  readonly sn: number
  readonly chunk: number
  readonly firstBlock: number
  readonly blockCount: number
  /** The leader's term as the client knows it; 0 asks for it. Not looked at in apply. */
  readonly term: number
  /** The client's count of given-up attempts in this copyset. Not looked at in apply. */
  readonly attempt: number
  /** One for each block of a write or paste, as the writer computed it; else empty. */
  readonly crcs: readonly number[]
}

const VERSION = 1
const NO_CRCS: readonly number[] = []
export const CHUNK_REQUEST_HEAD_BYTES = 72

export function encodeChunkRequest(request: ChunkRequest): Uint8Array {
  const { crcs, firstBlock, blockCount } = request
  // They would be cut to 16 bits without a word.
  if (!isRange(firstBlock, blockCount)) throw malformed('range')
  const bytes = new Uint8Array(CHUNK_REQUEST_HEAD_BYTES + 4 * crcs.length)
  const view = viewOf(bytes)
  view.setUint8(0, VERSION)
  view.setUint8(1, CHUNK_OPS[request.op])
  view.setUint16(2, crcs.length, true)
  view.setUint16(4, firstBlock, true)
  view.setUint16(6, blockCount, true)
  writeU53(view, 8, request.group)
  writeU53(view, 16, request.volume)
  writeU53(view, 24, request.epoch)
  writeU53(view, 32, request.sn)
  writeU53(view, 40, request.chunk)
  writeU53(view, 48, request.term)
  writeU53(view, 56, request.attempt)
  for (let i = 0; i < crcs.length; i++) {
    view.setUint32(CHUNK_REQUEST_HEAD_BYTES + 4 * i, crcs[i] as number, true)
  }
  return bytes
}

/** Reads a request at the beginning of `bytes`; `chunkRequestBytes` of it says where data begins. */
export function decodeChunkRequest(bytes: Uint8Array): ChunkRequest {
  if (bytes.byteLength < CHUNK_REQUEST_HEAD_BYTES) throw malformed('length')
  const view = viewOf(bytes)
  const op = OP_OF[view.getUint8(1)]
  if (view.getUint8(0) !== VERSION || op === undefined) throw malformed('op')
  const crcCount = view.getUint16(2, true)
  const firstBlock = view.getUint16(4, true)
  const blockCount = view.getUint16(6, true)
  if (!isRange(firstBlock, blockCount)) throw malformed('range')
  const hasData = carriesBlocks(op)
  if (crcCount !== (hasData ? blockCount : 0)) throw malformed('crcs')
  if (hasData && (blockCount === 0 || blockCount > REQUEST_BLOCKS_MAX)) throw malformed('range')
  if (bytes.byteLength < CHUNK_REQUEST_HEAD_BYTES + 4 * crcCount) throw malformed('length')
  return {
    op,
    firstBlock,
    blockCount,
    crcs: crcCount === 0 ? NO_CRCS : decodeCrcs(view, crcCount),
    group: readU53(view, 8),
    volume: readU53(view, 16),
    epoch: readU53(view, 24),
    sn: readU53(view, 32),
    chunk: readU53(view, 40),
    term: readU53(view, 48),
    attempt: readU53(view, 56),
  }
}

function decodeCrcs(view: DataView, count: number): readonly number[] {
  const crcs = [view.getUint32(CHUNK_REQUEST_HEAD_BYTES, true)]
  for (let i = 1; i < count; i++) crcs.push(view.getUint32(CHUNK_REQUEST_HEAD_BYTES + 4 * i, true))
  return crcs
}

export function chunkRequestBytes(request: Pick<ChunkRequest, 'crcs'>): number {
  return CHUNK_REQUEST_HEAD_BYTES + 4 * request.crcs.length
}

/** Whether a request of that kind is followed by its blocks. */
export function carriesBlocks(op: ChunkOp): boolean {
  return op === 'write' || op === 'paste'
}

function isRange(firstBlock: number, blockCount: number): boolean {
  return firstBlock >= 0 && blockCount >= 0 && firstBlock + blockCount <= CHUNK_BLOCKS
}

function malformed(field: string): LemnisError {
  return new LemnisError('INVALID_ARGUMENT', { what: 'chunk request', field })
}
