// Owns the answers to chunk calls, and the calls that replicas send each other for repair
// (docs/formats/chunk-replies.md). Small fixed layouts, little endian; what is of impossible size or
// value is INVALID_ARGUMENT.
//
// CHUNK_WRITE, CHUNK_CHANGE: the reply is empty. CHUNK_READ: the payload has the blocks, or is empty
// when all of them are zeros. Refusals are errors, with what the caller needs in their detail:
// NOT_LEADER {leader, term}: chunkserver id, 0 when nobody is known; STALE_ATTEMPT {attempt}: go on
// with at least that; FENCED {epoch} and STALE_SEQUENCE {sn}: the newest that the copyset has seen.

import { viewOf } from '../base/bytes.ts'
import { LemnisError } from '../base/errors.ts'
import { readU53, writeU53 } from '../base/u53.ts'
import { CHUNK_BLOCKS, REQUEST_BLOCKS_MAX } from './chunk-request.ts'

/** COPYSET_LEADER: the request is the copyset's id as one u64; this is the answer of any member. */
export interface CopysetLeader {
  /** The chunkserver that this member believes to lead, itself included; 0 for nobody. */
  readonly leader: number
  readonly term: number
}

export function encodeGroup(group: number): Uint8Array {
  const bytes = new Uint8Array(8)
  writeU53(viewOf(bytes), 0, group)
  return bytes
}

export function decodeGroup(bytes: Uint8Array): number {
  if (bytes.byteLength < 8) throw malformed('group')
  return readU53(viewOf(bytes), 0)
}

export function encodeCopysetLeader(answer: CopysetLeader): Uint8Array {
  const bytes = new Uint8Array(16)
  const view = viewOf(bytes)
  writeU53(view, 0, answer.leader)
  writeU53(view, 8, answer.term)
  return bytes
}

export function decodeCopysetLeader(bytes: Uint8Array): CopysetLeader {
  if (bytes.byteLength < 16) throw malformed('leader')
  const view = viewOf(bytes)
  return { leader: readU53(view, 0), term: readU53(view, 8) }
}

/** CHUNK_EXTENTS: which blocks of the range asked hold data; all others read as zeros. */
export interface DataExtent {
  readonly firstBlock: number
  readonly blockCount: number
}

const EXTENT_BYTES = 4

/** As (u16 first block, u16 count) each, ascending, not overlapping. */
export function encodeExtents(extents: readonly DataExtent[]): Uint8Array {
  const bytes = new Uint8Array(EXTENT_BYTES * extents.length)
  const view = viewOf(bytes)
  for (const [i, { firstBlock, blockCount }] of extents.entries()) {
    view.setUint16(EXTENT_BYTES * i, firstBlock, true)
    view.setUint16(EXTENT_BYTES * i + 2, blockCount, true)
  }
  return bytes
}

export function decodeExtents(bytes: Uint8Array): DataExtent[] {
  if (bytes.byteLength % EXTENT_BYTES !== 0) throw malformed('extents')
  const view = viewOf(bytes)
  const extents: DataExtent[] = []
  let end = 0
  for (let at = 0; at < bytes.byteLength; at += EXTENT_BYTES) {
    const firstBlock = view.getUint16(at, true)
    const blockCount = view.getUint16(at + 2, true)
    if (firstBlock < end || blockCount === 0) throw malformed('extents')
    end = firstBlock + blockCount
    if (end > CHUNK_BLOCKS) throw malformed('extents')
    extents.push({ firstBlock, blockCount })
  }
  return extents
}

/** CHUNK_BLOCKS: blocks of one layer of a chunk, each at the version that the asker lacks. */
export interface BlocksWanted {
  readonly group: number
  readonly chunk: number
  /** Generation of the layer. */
  readonly sn: number
  /** Version 0: any; the asker has lost what it was. */
  readonly blocks: readonly { readonly block: number; readonly version: number }[]
}

const WANTED_HEAD_BYTES = 26
const WANTED_BYTES = 10

export function encodeBlocksWanted(wanted: BlocksWanted): Uint8Array {
  const { blocks } = wanted
  const bytes = new Uint8Array(WANTED_HEAD_BYTES + WANTED_BYTES * blocks.length)
  const view = viewOf(bytes)
  writeU53(view, 0, wanted.group)
  writeU53(view, 8, wanted.chunk)
  writeU53(view, 16, wanted.sn)
  view.setUint16(24, blocks.length, true)
  for (const [i, { block, version }] of blocks.entries()) {
    const at = WANTED_HEAD_BYTES + WANTED_BYTES * i
    view.setUint16(at, block, true)
    writeU53(view, at + 2, version)
  }
  return bytes
}

export function decodeBlocksWanted(bytes: Uint8Array): BlocksWanted {
  if (bytes.byteLength < WANTED_HEAD_BYTES) throw malformed('blocks wanted')
  const view = viewOf(bytes)
  const count = view.getUint16(24, true)
  if (count === 0 || count > REQUEST_BLOCKS_MAX) throw malformed('blocks wanted')
  if (bytes.byteLength < WANTED_HEAD_BYTES + WANTED_BYTES * count) throw malformed('blocks wanted')
  const blocks: { block: number; version: number }[] = []
  for (let i = 0; i < count; i++) {
    const at = WANTED_HEAD_BYTES + WANTED_BYTES * i
    const block = view.getUint16(at, true)
    if (block >= CHUNK_BLOCKS) throw malformed('blocks wanted')
    blocks.push({ block, version: readU53(view, at + 2) })
  }
  return { group: readU53(view, 0), chunk: readU53(view, 8), sn: readU53(view, 16), blocks }
}

/** The reply to CHUNK_BLOCKS: which of them are in the payload, in that order, verified. */
export interface BlocksFound {
  /** Of the chunk, when the blocks were taken. */
  readonly chunkVersion: number
  readonly blocks: readonly {
    readonly block: number
    readonly version: number
    readonly crc: number
  }[]
}

const FOUND_HEAD_BYTES = 8
const FOUND_BYTES = 14

export function encodeBlocksFound({ chunkVersion, blocks }: BlocksFound): Uint8Array {
  const bytes = new Uint8Array(FOUND_HEAD_BYTES + FOUND_BYTES * blocks.length)
  const view = viewOf(bytes)
  writeU53(view, 0, chunkVersion)
  for (const [i, { block, version, crc }] of blocks.entries()) {
    const at = FOUND_HEAD_BYTES + FOUND_BYTES * i
    view.setUint16(at, block, true)
    view.setUint32(at + 2, crc, true)
    writeU53(view, at + 6, version)
  }
  return bytes
}

export function decodeBlocksFound(bytes: Uint8Array): BlocksFound {
  const listBytes = bytes.byteLength - FOUND_HEAD_BYTES
  const isList = listBytes >= 0 && listBytes % FOUND_BYTES === 0
  if (!isList || listBytes > FOUND_BYTES * REQUEST_BLOCKS_MAX) throw malformed('blocks found')
  const view = viewOf(bytes)
  const blocks: { block: number; version: number; crc: number }[] = []
  for (let at = FOUND_HEAD_BYTES; at < bytes.byteLength; at += FOUND_BYTES) {
    const block = view.getUint16(at, true)
    if (block >= CHUNK_BLOCKS) throw malformed('blocks found')
    blocks.push({ block, crc: view.getUint32(at + 2, true), version: readU53(view, at + 6) })
  }
  return { chunkVersion: readU53(view, 0), blocks }
}

function malformed(what: string): LemnisError {
  return new LemnisError('INVALID_ARGUMENT', { what })
}
