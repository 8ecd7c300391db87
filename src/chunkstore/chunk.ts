// Owns one chunk in memory: its row and its layers, newest generation first. A layer says which blocks
// were written in its generation (in one of its files) and which became zeros; what it says nothing
// of is what the next older one says, and under the last one zeros, or the source of a clone.
// Invariants: a block is in at most one file of a layer, and not in its zeros then; the last layer of a
// chunk that is no clone has no zeros. So the order of a layer's files means nothing, but that the
// first takes new blocks, and equal logical states have equal sets.

import { must } from '../base/assert.ts'
import { BLOCK_BYTES, CHUNK_BLOCKS } from '../format/chunk-request.ts'
import { BlockSet } from './block-set.ts'
import type { ChunkFile } from './chunk-file.ts'
import { FILE_OVERHEAD_BYTES } from './layout.ts'

/** What a file contributes to a layer. */
export interface LayerFile {
  readonly file: ChunkFile
  readonly data: BlockSet
}

export interface Layer {
  sn: number
  readonly zeros: BlockSet
  readonly files: LayerFile[]
}

export class Chunk {
  readonly id: number
  /** Index of the entry that made it: another chunk of the same id has another. */
  readonly birth: number
  /** Index of the last entry that changed it. */
  version: number
  correctedSn = 0
  source: Uint8Array | null
  /** At least one. */
  readonly layers: Layer[]

  constructor(id: number, birth: number, source: Uint8Array | null, layers: Layer[]) {
    this.id = id
    this.birth = birth
    this.version = birth
    this.source = source
    this.layers = layers
  }

  get top(): Layer {
    return must(this.layers[0], 'a chunk has a layer')
  }

  get sn(): number {
    return this.top.sn
  }

  /** Shares the files. */
  clone(): Chunk {
    const layers = this.layers.map(({ sn, zeros, files }) => ({
      sn,
      zeros: zeros.clone(),
      files: files.map(({ file, data }) => ({ file, data: data.clone() })),
    }))
    const copy = new Chunk(this.id, this.birth, this.source, layers)
    copy.version = this.version
    copy.correctedSn = this.correctedSn
    return copy
  }

  *files(): IterableIterator<LayerFile> {
    for (const layer of this.layers) yield* layer.files
  }

  get usedBytes(): number {
    let bytes = 0
    for (const { data } of this.files()) bytes += FILE_OVERHEAD_BYTES + data.count * BLOCK_BYTES
    return bytes
  }

  /** The layer that generation `sn` reads first, by place; -1 when the chunk is younger. */
  placeOf(sn: number): number {
    if (sn === 0) return 0
    return this.layers.findIndex((layer) => layer.sn <= sn)
  }

  isData(block: number, fromLayer = 0): boolean {
    return this.fileOf(block, fromLayer) !== null
  }

  /** The file that has the block for a reader of that layer; null for zeros, or the source. */
  fileOf(block: number, fromLayer = 0): ChunkFile | null {
    for (let i = fromLayer; i < this.layers.length; i++) {
      const layer = this.layers[i] as Layer
      const holder = holderOf(layer, block)
      if (holder !== null) return holder.file
      if (layer.zeros.has(block)) return null
    }
    return null
  }

  /** Of a clone: neither written nor zeroed here. */
  isMissing(block: number): boolean {
    if (this.source === null) return false
    const layer = this.top
    return !layer.zeros.has(block) && holderOf(layer, block) === null
  }

  /** Nothing of it would be missed. */
  get isEmpty(): boolean {
    if (this.source !== null) return false
    for (const { data } of this.files()) if (data.count > 0) return false
    return true
  }

  get isWhole(): boolean {
    let count = this.top.zeros.count
    for (const { data } of this.top.files) count += data.count
    return count === CHUNK_BLOCKS
  }

  /** Files without blocks, taken out of their layers. */
  takeEmptyFiles(): ChunkFile[] {
    const taken: ChunkFile[] = []
    for (const { files } of this.layers) {
      for (let i = files.length - 1; i >= 0; i--) {
        const { file, data } = files[i] as LayerFile
        if (data.count > 0) continue
        files.splice(i, 1)
        taken.push(file)
      }
    }
    return taken
  }

  /** Zeros say nothing in the last layer of a chunk that is no clone. */
  normalize(): void {
    if (this.source === null) must(this.layers.at(-1), 'a chunk has a layer').zeros.clear()
  }

  /** Merges the layers behind the first `count` into the last of those. */
  mergeBehind(count: number): void {
    const into = must(this.layers[count - 1], 'a layer is left')
    const older = this.layers.splice(count)
    for (const layer of older) {
      const hidden = layerData(into)
      hidden.addAll(into.zeros)
      for (const { file, data } of layer.files) {
        for (let block = data.next(0); block < CHUNK_BLOCKS; block = data.next(block + 1)) {
          if (hidden.has(block)) file.forget(block)
        }
        data.deleteAll(hidden)
        into.files.push({ file, data })
      }
      const zeros = layer.zeros.clone()
      zeros.deleteAll(hidden)
      into.zeros.addAll(zeros)
    }
    this.normalize()
  }
}

export function emptyLayer(sn: number): Layer {
  return { sn, zeros: new BlockSet(), files: [] }
}

export function holderOf(layer: Layer, block: number): LayerFile | null {
  const { files } = layer
  for (let i = 0; i < files.length; i++) {
    const holder = files[i] as LayerFile
    if (holder.data.has(block)) return holder
  }
  return null
}

/** All blocks with data of a layer, as a set of the caller's. */
export function layerData(layer: Layer): BlockSet {
  const all = new BlockSet()
  for (const { data } of layer.files) all.addAll(data)
  return all
}
