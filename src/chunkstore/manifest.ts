// Owns the bytes of a manifest: the whole state of a replica at one index but for the blocks
// themselves and their tables, which it names and whose pages it knows by slot and CRC
// (docs/formats/chunk.md).
//   magic u32 | version u16 | zero u16 | group u53 | replica u53 | generation u53 | appliedIndex u53 |
//   settledIndex u53 | nextFile u53 | volumesVersion u53 | markBytes u32 | volumesBytes u32 | chunks u32 |
//   gone u32 | mark | volumes | gone: id u53, index u53 each | rows | CRC32C u32 of all that
// After a layer's zeros: files u16, then for each: id u53 | present u16 | slots u16 | CRC u32 of each
// page present | data, a block set.

import { concat, viewOf } from '../base/bytes.ts'
import type { Crc32c } from '../base/crc32c.ts'
import { LemnisError } from '../base/errors.ts'
import { readU53, writeU53 } from '../base/u53.ts'
import { BlockSet } from './block-set.ts'
import type { Chunk, Layer } from './chunk.ts'
import type { ChunkFile } from './chunk-file.ts'
import { PAGES } from './layout.ts'
import { decodeRow, encodeRow, rowBytes, type StoredChunk } from './row-codec.ts'

const MAGIC = 0x4d53_434c // "LCSM"
const VERSION = 1
const HEAD_BYTES = 80
const GONE_BYTES = 16
const FILE_HEAD_BYTES = 12

export interface ManifestHead {
  readonly group: number
  readonly replica: number
  readonly generation: number
  readonly appliedIndex: number
  readonly settledIndex: number
  readonly nextFile: number
  readonly volumesVersion: number
}

/** Where the pages of a file's table are. */
export interface FileTable {
  readonly present: number
  readonly slots: number
  readonly crcs: Uint32Array
}

export interface StoredFile extends FileTable {
  readonly id: number
  readonly data: BlockSet
}

export interface Manifest extends ManifestHead {
  readonly mark: Uint8Array
  readonly volumes: Uint8Array
  /** Chunks that are not there, and up to which index no entry makes them. */
  readonly gone: ReadonlyMap<number, number>
  readonly chunks: readonly StoredChunk<readonly StoredFile[]>[]
}

/** What a manifest has besides its head and the rows. */
export interface ManifestExtras {
  readonly mark: Uint8Array
  readonly volumes: Uint8Array
  readonly gone: ReadonlyMap<number, number>
}

export function encodeManifest(
  head: ManifestHead,
  { mark, volumes, gone }: ManifestExtras,
  chunks: readonly Chunk[],
  tableOf: (file: ChunkFile) => FileTable,
  crc32c: Crc32c,
): Uint8Array {
  const bytesOfLayer = ({ files }: Layer): number => {
    let sum = 2
    for (const { file, data } of files) {
      sum += FILE_HEAD_BYTES + 4 * bitsIn(tableOf(file).present) + data.encodedBytes()
    }
    return sum
  }
  const rowsAt = HEAD_BYTES + mark.byteLength + volumes.byteLength + GONE_BYTES * gone.size
  let bytes = rowsAt + 4
  for (const chunk of chunks) bytes += rowBytes(chunk, bytesOfLayer)
  const out = new Uint8Array(bytes)
  const view = viewOf(out)
  encodeHead(view, head)
  view.setUint32(64, mark.byteLength, true)
  view.setUint32(68, volumes.byteLength, true)
  view.setUint32(72, chunks.length, true)
  out.set(mark, HEAD_BYTES)
  out.set(volumes, HEAD_BYTES + mark.byteLength)
  encodeGone(view, rowsAt - GONE_BYTES * gone.size, gone)
  let at = rowsAt
  for (const chunk of chunks) {
    at = encodeRow(out, at, chunk, (layer, _view, from) => encodeFiles(layer, tableOf, view, from))
  }
  view.setUint32(at, crc32c(out.subarray(0, at)), true)
  return out
}

function encodeHead(view: DataView, head: ManifestHead): void {
  view.setUint32(0, MAGIC, true)
  view.setUint16(4, VERSION, true)
  writeU53(view, 8, head.group)
  writeU53(view, 16, head.replica)
  writeU53(view, 24, head.generation)
  writeU53(view, 32, head.appliedIndex)
  writeU53(view, 40, head.settledIndex)
  writeU53(view, 48, head.nextFile)
  writeU53(view, 56, head.volumesVersion)
}

function encodeGone(view: DataView, from: number, gone: ReadonlyMap<number, number>): void {
  view.setUint32(76, gone.size, true)
  let at = from
  for (const id of [...gone.keys()].sort((a, b) => a - b)) {
    writeU53(view, at, id)
    writeU53(view, at + 8, gone.get(id) as number)
    at += GONE_BYTES
  }
}

function decodeGone(view: DataView, from: number): Map<number, number> {
  const gone = new Map<number, number>()
  for (let i = 0; i < view.getUint32(76, true); i++) {
    gone.set(readU53(view, from + GONE_BYTES * i), readU53(view, from + GONE_BYTES * i + 8))
  }
  return gone
}

function encodeFiles(
  { files }: Layer,
  tableOf: (file: ChunkFile) => FileTable,
  view: DataView,
  from: number,
): number {
  view.setUint16(from, files.length, true)
  let at = from + 2
  for (const { file, data } of files) {
    const { present, slots, crcs } = tableOf(file)
    writeU53(view, at, file.id)
    view.setUint16(at + 8, present, true)
    view.setUint16(at + 10, slots, true)
    at += FILE_HEAD_BYTES
    for (let page = 0; page < PAGES; page++) {
      if (((present >>> page) & 1) === 0) continue
      view.setUint32(at, crcs[page] as number, true)
      at += 4
    }
    at = data.encode(view, at)
  }
  return at
}

/** Whether these are the bytes that were written once, whatever they say. */
export function isSound(bytes: Uint8Array, crc32c: Crc32c): boolean {
  const end = bytes.byteLength - 4
  if (end < HEAD_BYTES) return false
  const view = viewOf(bytes)
  const isManifest = view.getUint32(0, true) === MAGIC
  return isManifest && crc32c(bytes.subarray(0, end)) === view.getUint32(end, true)
}

export function decodeManifest(bytes: Uint8Array, crc32c: Crc32c): Manifest {
  if (!isSound(bytes, crc32c)) throw corrupt('checksum')
  const end = bytes.byteLength - 4
  const view = viewOf(bytes)
  const version = view.getUint16(4, true)
  if (version !== VERSION) throw new LemnisError('VERSION_MISMATCH', { what: 'manifest', version })
  const volumesAt = HEAD_BYTES + view.getUint32(64, true)
  const goneAt = volumesAt + view.getUint32(68, true)
  const rowsAt = goneAt + GONE_BYTES * view.getUint32(76, true)
  if (rowsAt > end) throw corrupt('length')
  const rows = bytes.subarray(0, end)
  const chunks: StoredChunk<readonly StoredFile[]>[] = []
  let at = rowsAt
  let lastId = 0
  for (let left = view.getUint32(72, true); left > 0; left--) {
    const { row, end: next } = decodeRow(rows, at, (from) => decodeFiles(rows, from))
    if (row.id <= lastId) throw corrupt('order of chunks')
    lastId = row.id
    chunks.push(row)
    at = next
  }
  if (at !== end) throw corrupt('length')
  return {
    group: readU53(view, 8),
    replica: readU53(view, 16),
    generation: readU53(view, 24),
    appliedIndex: readU53(view, 32),
    settledIndex: readU53(view, 40),
    nextFile: readU53(view, 48),
    volumesVersion: readU53(view, 56),
    mark: bytes.slice(HEAD_BYTES, volumesAt),
    volumes: bytes.slice(volumesAt, goneAt),
    gone: decodeGone(view, goneAt),
    chunks,
  }
}

/** By which entry a chunk went; 0 for one that has not. */
export type GoneBy = (id: number, birth: number) => number

/** The same manifest under another generation and without chunks that are gone. */
export function pruneManifest(
  bytes: Uint8Array,
  generation: number,
  goneBy: GoneBy,
  crc32c: Crc32c,
): Uint8Array {
  const old = decodeManifest(bytes, crc32c)
  const gone = new Map(old.gone)
  const rows: Uint8Array[] = []
  let { settledIndex } = old
  let at = bytes.byteLength - 4 - rowsBytes(bytes)
  for (const { id, birth } of old.chunks) {
    const { end } = decodeRow(bytes, at, (from) => decodeFiles(bytes, from))
    const index = goneBy(id, birth)
    if (index === 0) rows.push(bytes.subarray(at, end))
    else {
      gone.set(id, index)
      settledIndex = Math.max(settledIndex, index)
    }
    at = end
  }
  const head = { ...old, generation, settledIndex }
  const start = encodeManifest(head, { ...old, gone }, [], noTable, crc32c)
  viewOf(start).setUint32(72, rows.length, true)
  const body = concat([start.subarray(0, start.byteLength - 4), ...rows, new Uint8Array(4)])
  const end = body.byteLength - 4
  viewOf(body).setUint32(end, crc32c(body.subarray(0, end)), true)
  return body
}

function noTable(): FileTable {
  return { present: 0, slots: 0, crcs: new Uint32Array(0) }
}

function rowsBytes(bytes: Uint8Array): number {
  const view = viewOf(bytes)
  const before =
    HEAD_BYTES +
    view.getUint32(64, true) +
    view.getUint32(68, true) +
    GONE_BYTES * view.getUint32(76, true)
  return bytes.byteLength - 4 - before
}

function decodeFiles(
  bytes: Uint8Array,
  from: number,
): { readonly held: readonly StoredFile[]; readonly end: number } {
  if (from + 2 > bytes.byteLength) throw corrupt('length')
  const view = viewOf(bytes)
  const held: StoredFile[] = []
  let at = from + 2
  for (let left = view.getUint16(from, true); left > 0; left--) {
    if (at + FILE_HEAD_BYTES > bytes.byteLength) throw corrupt('length')
    const id = readU53(view, at)
    const present = view.getUint16(at + 8, true)
    const slots = view.getUint16(at + 10, true)
    at += FILE_HEAD_BYTES
    if (present >>> PAGES !== 0 || at + 4 * bitsIn(present) > bytes.byteLength)
      throw corrupt('pages')
    const crcs = new Uint32Array(PAGES)
    for (let page = 0; page < PAGES; page++) {
      if (((present >>> page) & 1) === 0) continue
      crcs[page] = view.getUint32(at, true)
      at += 4
    }
    const { set: data, end } = BlockSet.decode(bytes, at)
    held.push({ id, present, slots, crcs, data })
    at = end
  }
  return { held, end: at }
}

function bitsIn(mask: number): number {
  let count = 0
  for (let rest = mask; rest !== 0; rest >>>= 1) count += rest & 1
  return count
}

function corrupt(reason: string): LemnisError {
  return new LemnisError('CORRUPT', { what: 'manifest', reason })
}
