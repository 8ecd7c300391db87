// Owns the bytes of a transfer between replicas (docs/formats/chunk.md): what a receiver says it has of
// a chunk, and the pieces that it gets. Little endian; what does not decode is CORRUPT.
//   have: birth u53 | candidates u32 | for each: sn u53 | data, a block set | version u48 of each block
//   piece: flags u32 (1 row, 2 gone) | rowBytes u32 | gone by u53, 0 without that flag | row | records
//   row: as in row-codec.ts, each layer with its data as a block set
//   record: layer u16 | block u16 | flags u32 (1 lost) | crc u32 | zero u32 | version u53, and the
//     block unless it is lost

import { viewOf } from '../base/bytes.ts'
import { LemnisError } from '../base/errors.ts'
import { readU53, writeU53 } from '../base/u53.ts'
import { BLOCK_BYTES, CHUNK_BLOCKS } from '../format/chunk-request.ts'
import { BlockSet } from './block-set.ts'
import { type Chunk, type Layer, layerData } from './chunk.ts'
import { decodeRow, encodeRow, rowBytes, type StoredChunk } from './row-codec.ts'

/** A layer that a receiver may take blocks from, of those before it in the list first. */
export interface Candidate {
  readonly sn: number
  readonly data: BlockSet
  /** By block; 0 where there is none. */
  readonly versions: Float64Array
}

export interface Have {
  /** Of the chunk that the candidates belong to; 0 for none. */
  readonly birth: number
  readonly candidates: readonly Candidate[]
}

/** Layers told of at most; each takes 32 KiB where it is read. */
const CANDIDATES_MAX = 64
const HAVE_HEAD_BYTES = 12
const VERSION_BYTES = 6

/** As many of the candidates as fit into `bytesMax`. */
export function encodeHave(have: Have, bytesMax: number): Uint8Array {
  const fitting: Candidate[] = []
  let bytes = HAVE_HEAD_BYTES
  for (const candidate of have.candidates) {
    const { data } = candidate
    const more = 8 + data.encodedBytes() + VERSION_BYTES * data.count
    if (bytes + more > bytesMax || fitting.length === CANDIDATES_MAX) break
    bytes += more
    fitting.push(candidate)
  }
  const out = new Uint8Array(bytes)
  const view = viewOf(out)
  writeU53(view, 0, have.birth)
  view.setUint32(8, fitting.length, true)
  let at = HAVE_HEAD_BYTES
  for (const { sn, data, versions } of fitting) {
    writeU53(view, at, sn)
    at = data.encode(view, at + 8)
    for (let block = data.next(0); block < CHUNK_BLOCKS; block = data.next(block + 1)) {
      const version = versions[block] as number
      view.setUint32(at, version >>> 0, true)
      view.setUint16(at + 4, version / 0x1_0000_0000, true)
      at += VERSION_BYTES
    }
  }
  return out
}

export function decodeHave(bytes: Uint8Array): Have {
  if (bytes.byteLength === 0) return { birth: 0, candidates: [] }
  if (bytes.byteLength < HAVE_HEAD_BYTES) throw corrupt('have')
  const view = viewOf(bytes)
  if (view.getUint32(8, true) > CANDIDATES_MAX) throw corrupt('have')
  const candidates: Candidate[] = []
  let at = HAVE_HEAD_BYTES
  for (let left = view.getUint32(8, true); left > 0; left--) {
    if (at + 8 > bytes.byteLength) throw corrupt('have')
    const sn = readU53(view, at)
    const { set: data, end } = BlockSet.decode(bytes, at + 8)
    if (end + VERSION_BYTES * data.count > bytes.byteLength) throw corrupt('have')
    const versions = new Float64Array(CHUNK_BLOCKS)
    at = end
    for (let block = data.next(0); block < CHUNK_BLOCKS; block = data.next(block + 1)) {
      versions[block] = view.getUint16(at + 4, true) * 0x1_0000_0000 + view.getUint32(at, true)
      at += VERSION_BYTES
    }
    candidates.push({ sn, data, versions })
  }
  if (at !== bytes.byteLength) throw corrupt('have')
  return { birth: readU53(view, 0), candidates }
}

/**
 * Which of the candidates' layers lie in each of `sns` (newest first): a layer is merged into the
 * next newer one when its snapshot goes, so those between two belong to the newer.
 */
export function candidatesOf<T extends { readonly sn: number }>(
  sns: readonly number[],
  candidates: readonly T[],
): T[][] {
  return sns.map((sn, i) => {
    const olderSn = sns[i + 1] ?? 0
    return candidates.filter((candidate) => candidate.sn <= sn && candidate.sn > olderSn)
  })
}

const PIECE_HEAD_BYTES = 16
const RECORD_BYTES = 24
const FLAG_ROW = 1
const FLAG_GONE = 2
const FLAG_LOST = 1

/** A row with the data of each layer. */
export type StateRow = StoredChunk<BlockSet>

export interface BlockRecord {
  /** Place in the row's layers. */
  readonly layer: number
  readonly block: number
  readonly version: number
  readonly crc: number
  /** Null when the sender can't give the block. */
  readonly bytes: Uint8Array | null
}

export interface Piece {
  readonly row: StateRow | null
  /** The sender has no such chunk any more, after it applied that entry; 0 when it has. */
  readonly goneBy: number
  readonly records: readonly BlockRecord[]
}

/** How many blocks a piece of `bytes` has room for; at least one. */
export function blocksInPiece(bytes: number): number {
  return Math.max(1, Math.floor(bytes / (RECORD_BYTES + BLOCK_BYTES)))
}

export function encodePiece(
  row: Chunk | null,
  goneBy: number,
  records: readonly BlockRecord[],
): Uint8Array {
  const bytesOfLayer = (layer: Layer): number => layerData(layer).encodedBytes()
  const rowSize = row === null ? 0 : rowBytes(row, bytesOfLayer)
  let bytes = PIECE_HEAD_BYTES + rowSize
  for (const record of records) bytes += RECORD_BYTES + (record.bytes?.byteLength ?? 0)
  const out = new Uint8Array(bytes)
  const view = viewOf(out)
  view.setUint32(0, (row === null ? 0 : FLAG_ROW) | (goneBy > 0 ? FLAG_GONE : 0), true)
  writeU53(view, 8, goneBy)
  view.setUint32(4, rowSize, true)
  let at = PIECE_HEAD_BYTES
  if (row !== null) {
    at = encodeRow(out, at, row, (layer, rowView, from) => layerData(layer).encode(rowView, from))
  }
  for (const record of records) {
    view.setUint16(at, record.layer, true)
    view.setUint16(at + 2, record.block, true)
    view.setUint32(at + 4, record.bytes === null ? FLAG_LOST : 0, true)
    view.setUint32(at + 8, record.crc, true)
    writeU53(view, at + 16, record.version)
    at += RECORD_BYTES
    if (record.bytes === null) continue
    out.set(record.bytes, at)
    at += record.bytes.byteLength
  }
  return out
}

/** Blocks are views of `bytes`. */
export function decodePiece(bytes: Uint8Array): Piece {
  if (bytes.byteLength < PIECE_HEAD_BYTES) throw corrupt('piece')
  const view = viewOf(bytes)
  const flags = view.getUint32(0, true)
  const rowEnd = PIECE_HEAD_BYTES + view.getUint32(4, true)
  if (rowEnd > bytes.byteLength) throw corrupt('piece')
  let row: StateRow | null = null
  if ((flags & FLAG_ROW) !== 0) {
    const rowPart = bytes.subarray(0, rowEnd)
    const decoded = decodeRow(rowPart, PIECE_HEAD_BYTES, (at) => {
      const { set, end } = BlockSet.decode(rowPart, at)
      return { held: set, end }
    })
    if (decoded.end !== rowEnd) throw corrupt('row')
    row = decoded.row
  } else if (rowEnd !== PIECE_HEAD_BYTES) throw corrupt('row')
  const records: BlockRecord[] = []
  for (let at = rowEnd; at < bytes.byteLength; ) {
    if (at + RECORD_BYTES > bytes.byteLength) throw corrupt('record')
    const isLost = (view.getUint32(at + 4, true) & FLAG_LOST) !== 0
    const from = at + RECORD_BYTES
    const end = isLost ? from : from + BLOCK_BYTES
    const block = view.getUint16(at + 2, true)
    if (end > bytes.byteLength || block >= CHUNK_BLOCKS) throw corrupt('record')
    records.push({
      layer: view.getUint16(at, true),
      block,
      version: readU53(view, at + 16),
      crc: view.getUint32(at + 8, true),
      bytes: isLost ? null : bytes.subarray(from, end),
    })
    at = end
  }
  const goneBy = readU53(view, 8)
  if (((flags & FLAG_GONE) !== 0) !== goneBy > 0) throw corrupt('gone')
  return { row, goneBy, records }
}

function corrupt(what: string): LemnisError {
  return new LemnisError('CORRUPT', { what })
}
