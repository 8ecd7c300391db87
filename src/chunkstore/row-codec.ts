// Owns the bytes of a chunk's row, which a manifest and a transfer have in common:
//   id u53 | birth u53 | version u53 | correctedSn u53 | sourceBytes u16 | layers u16 | zero u32 |
//   source, then for each layer, newest first: sn u53 | zeros, a block set | what the writer adds
// All little endian. Numbers out of order or range are CORRUPT.

import { viewOf } from '../base/bytes.ts'
import { LemnisError } from '../base/errors.ts'
import { readU53, writeU53 } from '../base/u53.ts'
import { BlockSet } from './block-set.ts'
import { Chunk, type Layer, type LayerFile } from './chunk.ts'
import { SOURCE_BYTES_MAX } from './rules.ts'

const ROW_BYTES = 40

/** A chunk as bytes say it; what a layer holds besides is read by the caller's function. */
export interface StoredChunk<T> {
  readonly id: number
  readonly birth: number
  readonly version: number
  readonly correctedSn: number
  readonly source: Uint8Array | null
  readonly layers: readonly {
    readonly sn: number
    readonly zeros: BlockSet
    readonly held: T
  }[]
}

export function rowBytes(chunk: Chunk, bytesOfLayer: (layer: Layer) => number): number {
  let bytes = ROW_BYTES + (chunk.source?.byteLength ?? 0)
  for (const layer of chunk.layers) {
    bytes += 8 + layer.zeros.encodedBytes() + bytesOfLayer(layer)
  }
  return bytes
}

/** Returns where the row ends. */
export function encodeRow(
  out: Uint8Array,
  from: number,
  chunk: Chunk,
  encodeLayer: (layer: Layer, view: DataView, at: number) => number,
): number {
  const view = viewOf(out)
  writeU53(view, from, chunk.id)
  writeU53(view, from + 8, chunk.birth)
  writeU53(view, from + 16, chunk.version)
  writeU53(view, from + 24, chunk.correctedSn)
  view.setUint16(from + 32, chunk.source?.byteLength ?? 0, true)
  view.setUint16(from + 34, chunk.layers.length, true)
  view.setUint32(from + 36, 0, true)
  let at = from + ROW_BYTES
  if (chunk.source !== null) {
    out.set(chunk.source, at)
    at += chunk.source.byteLength
  }
  for (const layer of chunk.layers) {
    writeU53(view, at, layer.sn)
    at = layer.zeros.encode(view, at + 8)
    at = encodeLayer(layer, view, at)
  }
  return at
}

export function decodeRow<T>(
  bytes: Uint8Array,
  from: number,
  decodeLayer: (at: number) => { readonly held: T; readonly end: number },
): { readonly row: StoredChunk<T>; readonly end: number } {
  if (from + ROW_BYTES > bytes.byteLength) throw corrupt('length')
  const view = viewOf(bytes)
  const sourceBytes = view.getUint16(from + 32, true)
  const layerCount = view.getUint16(from + 34, true)
  let at = from + ROW_BYTES + sourceBytes
  if (layerCount === 0 || sourceBytes > SOURCE_BYTES_MAX || at > bytes.byteLength) {
    throw corrupt('sizes')
  }
  const layers: { sn: number; zeros: BlockSet; held: T }[] = []
  for (let i = 0; i < layerCount; i++) {
    if (at + 8 > bytes.byteLength) throw corrupt('length')
    const sn = readU53(view, at)
    const newer = layers.at(-1)
    if (sn === 0 || (newer !== undefined && sn >= newer.sn)) throw corrupt('order of layers')
    const { set: zeros, end } = BlockSet.decode(bytes, at + 8)
    const { held, end: next } = decodeLayer(end)
    layers.push({ sn, zeros, held })
    at = next
  }
  const row = {
    id: readU53(view, from),
    birth: readU53(view, from + 8),
    version: readU53(view, from + 16),
    correctedSn: readU53(view, from + 24),
    source:
      sourceBytes === 0 ? null : bytes.slice(from + ROW_BYTES, from + ROW_BYTES + sourceBytes),
    layers,
  }
  if (row.id === 0 || row.birth > row.version) throw corrupt('numbers')
  return { row, end: at }
}

/** A chunk of a row; `file` makes what a layer holds of what the row says of it. */
export function chunkOf<T>(row: StoredChunk<readonly T[]>, file: (held: T) => LayerFile): Chunk {
  const layers = row.layers.map(({ sn, zeros, held }) => ({ sn, zeros, files: held.map(file) }))
  const chunk = new Chunk(row.id, row.birth, row.source, layers)
  chunk.version = row.version
  chunk.correctedSn = row.correctedSn
  return chunk
}

function corrupt(reason: string): LemnisError {
  return new LemnisError('CORRUPT', { what: 'chunk row', reason })
}
