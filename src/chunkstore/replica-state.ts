// Owns the replicated state of one replica in memory, and what each request does to it. Pure of I/O:
// equal requests in equal order give equal states and outcomes on every replica. An entry that a
// chunk already has (its version is not older) changes nothing: after a transfer the log comes again.
// A freeze keeps a chunk as it was for whoever writes the state down while entries go on being applied.

import { assert } from '../base/assert.ts'
import { LemnisError } from '../base/errors.ts'
import {
  BLOCK_BYTES,
  CHUNK_BLOCKS,
  type ChunkRequest,
  REQUEST_BLOCKS_MAX,
} from '../format/chunk-request.ts'
import { BlockSet } from './block-set.ts'
import { Chunk, emptyLayer, holderOf, type LayerFile } from './chunk.ts'
import type { ChunkFile } from './chunk-file.ts'
import { FILE_OVERHEAD_BYTES } from './layout.ts'
import {
  correctedBy,
  layersKept,
  ruleOfCreateClone,
  ruleOfDelete,
  ruleOfDeleteSnapshot,
  ruleOfPaste,
  ruleOfWrite,
} from './rules.ts'
import type { ChunkOutcome, ChunkRefusal } from './types.ts'
import { GONE, Volumes } from './volumes.ts'

/** The chunks as they were when it was made: a chunk that changed since is in `saved`. */
export interface Freeze {
  readonly appliedIndex: number
  readonly chunks: readonly Chunk[]
  readonly saved: Map<Chunk, Chunk>
}

/** What the state asks of its surroundings. */
export interface StateHost {
  /** A file that is not on the disk yet. */
  newFile(): ChunkFile
  /** No chunk has the file any more. */
  fileDropped(file: ChunkFile): void
  /** The chunk is gone, and none has its files. */
  chunkDropped(chunk: Chunk): void
  /** Bytes that count as used, more or fewer. */
  used(bytes: number): void
  /** A layer may have more than one file now. */
  mergeable(chunk: Chunk): void
}

export class ReplicaState {
  /** A block was found bad, or came in as one, since it was last seen that none is. */
  mayBeDamaged = false
  readonly #host: StateHost
  #chunks = new Map<number, Chunk>()
  #volumes = new Volumes()
  /** Chunks that are not there, by id: entries up to that index make nothing of them. */
  #gone: ReadonlyMap<number, number> = new Map()
  #appliedIndex = 0
  #usedBytes = 0
  #isClosed = false
  readonly #freezes = new Set<Freeze>()

  constructor(host: StateHost) {
    this.#host = host
  }

  get appliedIndex(): number {
    return this.#appliedIndex
  }

  get chunkCount(): number {
    return this.#chunks.size
  }

  get usedBytes(): number {
    return this.#usedBytes
  }

  get volumes(): Volumes {
    return this.#volumes
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  /** CLOSED once the replica is: what is not there any more must not be taken for zeros. */
  chunk(id: number): Chunk | undefined {
    if (this.#isClosed) throw new LemnisError('CLOSED')
    return this.#chunks.get(id)
  }

  /** In order of id. */
  chunks(): Chunk[] {
    return [...this.#chunks.values()].sort((a, b) => a.id - b.id)
  }

  /** Puts another state in the place of this one; nothing is frozen then. */
  replace(
    chunks: readonly Chunk[],
    volumes: Volumes,
    gone: ReadonlyMap<number, number>,
    appliedIndex: number,
  ): void {
    assert(this.#freezes.size === 0, 'a state is replaced while somebody writes it down')
    this.#chunks = new Map(chunks.map((chunk) => [chunk.id, chunk]))
    this.#volumes = volumes
    this.#gone = gone
    this.#appliedIndex = appliedIndex
    let usedBytes = 0
    for (const chunk of chunks) usedBytes += chunk.usedBytes
    this.#use(usedBytes - this.#usedBytes)
  }

  /** Those that still mean something: the log has not come so far again. */
  gone(): Map<number, number> {
    return new Map([...this.#gone].filter(([, index]) => index > this.#appliedIndex))
  }

  freeze(): Freeze {
    const freeze = {
      appliedIndex: this.#appliedIndex,
      chunks: this.chunks(),
      saved: new Map<Chunk, Chunk>(),
    }
    this.#freezes.add(freeze)
    return freeze
  }

  get isFrozen(): boolean {
    return this.#freezes.size > 0
  }

  thaw(freeze: Freeze): void {
    this.#freezes.delete(freeze)
  }

  /** To be called before anything of a chunk is changed. */
  beforeChange(chunk: Chunk): void {
    for (const freeze of this.#freezes) {
      const isOfThen = chunk.version <= freeze.appliedIndex && !freeze.saved.has(chunk)
      if (isOfThen) freeze.saved.set(chunk, chunk.clone())
    }
  }

  // --- apply

  skip(index: number): void {
    assert(index > this.#appliedIndex, 'entries are applied in order')
    this.#appliedIndex = index
  }

  apply(index: number, request: ChunkRequest, data: Uint8Array): ChunkOutcome {
    this.skip(index)
    const code = this.#fence(index, request) ?? this.#change(index, request, data)
    const { epoch, sn } = this.#volumes.fenceOf(request.volume)
    const chunk = this.#chunks.get(request.chunk)
    const newest = chunk === undefined ? sn : Math.max(sn, chunk.sn, chunk.correctedSn)
    return { code, epoch, sn: newest }
  }

  #fence(index: number, request: ChunkRequest): ChunkRefusal | null {
    const known = this.#volumes.fenceOf(request.volume)
    if (known === GONE) return isOfTheEnd(request) ? null : 'FENCED'
    if (request.epoch < known.epoch) return 'FENCED'
    // Every writer has an epoch; what is kept without one means something else (volumes.ts).
    if (request.op === 'fence' && request.epoch === 0) return 'INVALID_ARGUMENT'
    const sn = request.op === 'fence' ? Math.max(known.sn, request.sn) : known.sn
    if (request.epoch > known.epoch || sn > known.sn) {
      this.#volumes.raise(request.volume, request.epoch, sn, index)
    }
    return null
  }

  #change(index: number, request: ChunkRequest, data: Uint8Array): ChunkRefusal | null {
    const { op } = request
    if (op === 'fence') return null
    if (op === 'forget') {
      this.#volumes.forget(request.volume, index)
      return null
    }
    if (op === 'end-volume') return this.#endVolume(index, request)
    if (!isInRange(request) || request.chunk === 0) return 'INVALID_ARGUMENT'
    const chunk = this.#chunks.get(request.chunk) ?? null
    if (index <= (chunk?.version ?? this.#gone.get(request.chunk) ?? 0)) return null
    switch (op) {
      case 'write':
        return this.#write(index, request, data, chunk)
      case 'zero':
        return this.#zero(index, request, chunk)
      case 'paste':
        return this.#paste(index, request, data, chunk)
      case 'create-clone':
        return this.#createClone(index, request, data, chunk)
      case 'delete':
        return this.#delete(request, chunk)
      case 'delete-snapshot':
        return this.#deleteSnapshot(index, request, chunk)
      case 'read':
        return 'INVALID_ARGUMENT'
    }
  }

  #endVolume(index: number, request: ChunkRequest): ChunkRefusal | null {
    const { volume, chunk: first, sn: last } = request
    if (first === 0 || first > volume || last < volume) return 'INVALID_ARGUMENT'
    this.#volumes.end(first, last, index)
    return null
  }

  #write(
    index: number,
    request: ChunkRequest,
    data: Uint8Array,
    chunk: Chunk | null,
  ): ChunkRefusal | null {
    if (!hasBlocks(request, data)) return 'INVALID_ARGUMENT'
    const { sn, firstBlock, blockCount, crcs } = request
    const rule = this.#ruleOfWrite(request, chunk)
    if (rule !== 'create' && rule !== 'layer' && rule !== 'advance' && rule !== 'same') return rule
    const target = chunk ?? this.#create(request.chunk, index, sn, null)
    this.beforeChange(target)
    this.#generation(target, rule, sn)
    for (let i = 0; i < blockCount; i++) {
      this.#put(target, firstBlock + i, index, crcs[i] as number, data, i * BLOCK_BYTES)
    }
    target.version = index
    if (target.source !== null) this.#completeClone(target)
    else if (target.top.files.length > 1) this.#dropEmptyFiles(target)
    return null
  }

  /** The fence of the volume first: it holds for chunks too that nobody has written yet. */
  #ruleOfWrite(request: ChunkRequest, chunk: Chunk | null): ReturnType<typeof ruleOfWrite> {
    const fence = this.#volumes.fenceOf(request.volume)
    if (request.sn !== 0 && request.sn < fence.sn) return 'STALE_SEQUENCE'
    return ruleOfWrite(chunk, request.sn)
  }

  #generation(chunk: Chunk, rule: 'create' | 'layer' | 'advance' | 'same', sn: number): void {
    if (rule === 'layer') chunk.layers.unshift(emptyLayer(sn))
    else if (rule === 'advance') chunk.top.sn = sn
  }

  #put(
    chunk: Chunk,
    block: number,
    version: number,
    crc: number,
    data: Uint8Array,
    at: number,
  ): void {
    const layer = chunk.top
    const first = layer.files[0] ?? this.#addFile(layer.files)
    if (first.data.add(block)) {
      for (let i = 1; i < layer.files.length; i++) {
        const other = layer.files[i] as LayerFile
        if (other.data.delete(block)) {
          other.file.forget(block)
          this.#use(-BLOCK_BYTES)
        }
      }
      layer.zeros.delete(block)
      this.#use(BLOCK_BYTES)
    }
    first.file.put(block, { version, crc, data, at })
  }

  #addFile(files: LayerFile[]): LayerFile {
    const added = { file: this.#host.newFile(), data: new BlockSet() }
    files.unshift(added)
    this.#use(FILE_OVERHEAD_BYTES)
    return added
  }

  #zero(index: number, request: ChunkRequest, chunk: Chunk | null): ChunkRefusal | null {
    const { sn, firstBlock } = request
    if (request.blockCount === 0) return 'INVALID_ARGUMENT'
    const end = firstBlock + request.blockCount
    const rule = this.#ruleOfWrite(request, chunk)
    if (rule === 'create') return null
    if (rule !== 'layer' && rule !== 'advance' && rule !== 'same') return rule
    assert(chunk !== null, 'no chunk is made by zeros')
    if (!hidesAnything(chunk, firstBlock, end)) return null
    this.beforeChange(chunk)
    this.#generation(chunk, rule, sn)
    const { files, zeros } = chunk.top
    const isMarked = chunk.layers.length > 1 || chunk.source !== null
    for (let block = firstBlock; block < end; block++) {
      for (const { file, data } of files) {
        if (!data.delete(block)) continue
        file.forget(block)
        this.#use(-BLOCK_BYTES)
      }
      if (isMarked) zeros.add(block)
    }
    chunk.version = index
    this.#completeClone(chunk)
    this.#settle(chunk)
    return null
  }

  #paste(
    index: number,
    request: ChunkRequest,
    data: Uint8Array,
    chunk: Chunk | null,
  ): ChunkRefusal | null {
    if (!hasBlocks(request, data)) return 'INVALID_ARGUMENT'
    const rule = ruleOfPaste(chunk)
    if (rule !== 'paste') return rule === 'same' ? null : rule
    assert(chunk !== null, 'paste into a chunk')
    this.beforeChange(chunk)
    const { firstBlock, blockCount, crcs } = request
    for (let i = 0; i < blockCount; i++) {
      const block = firstBlock + i
      if (!chunk.isMissing(block)) continue
      this.#put(chunk, block, index, crcs[i] as number, data, i * BLOCK_BYTES)
      chunk.version = index
    }
    this.#completeClone(chunk)
    return null
  }

  /** A clone that misses nothing of its source is a chunk like others. */
  #completeClone(chunk: Chunk): void {
    if (chunk.source === null || !chunk.isWhole) return
    chunk.source = null
    chunk.normalize()
    this.#settle(chunk)
  }

  #createClone(
    index: number,
    request: ChunkRequest,
    source: Uint8Array,
    chunk: Chunk | null,
  ): ChunkRefusal | null {
    const fence = this.#volumes.fenceOf(request.volume)
    if (request.sn !== 0 && request.sn < fence.sn) return 'STALE_SEQUENCE'
    const rule = ruleOfCreateClone(chunk, request.sn, source)
    if (rule === 'create') this.#create(request.chunk, index, request.sn, source.slice())
    return rule === 'create' || rule === 'same' ? null : rule
  }

  #create(id: number, index: number, sn: number, source: Uint8Array | null): Chunk {
    const chunk = new Chunk(id, index, source, [emptyLayer(sn)])
    this.#chunks.set(id, chunk)
    return chunk
  }

  #delete(request: ChunkRequest, chunk: Chunk | null): ChunkRefusal | null {
    const refusal = ruleOfDelete(chunk, request.sn)
    if (refusal === null && chunk !== null) this.#drop(chunk)
    return refusal
  }

  #deleteSnapshot(index: number, request: ChunkRequest, chunk: Chunk | null): ChunkRefusal | null {
    const rule = ruleOfDeleteSnapshot(chunk, request.sn)
    if (rule !== 'drop') return rule === 'same' ? null : rule
    assert(chunk !== null, 'snapshots of a chunk')
    const corrected = correctedBy(chunk, request.sn)
    const sns = chunk.layers.map(({ sn }) => sn)
    const kept = layersKept(sns, request.sn)
    if (corrected === chunk.correctedSn && kept === sns.length) return null
    this.beforeChange(chunk)
    chunk.correctedSn = corrected
    chunk.version = index
    if (kept < sns.length) {
      const before = chunk.usedBytes
      chunk.mergeBehind(kept)
      this.#use(chunk.usedBytes - before)
      this.#settle(chunk)
      this.#host.mergeable(chunk)
    }
    return null
  }

  /** Lets go what holds nothing any more. */
  #settle(chunk: Chunk): void {
    if (chunk.isEmpty) this.#drop(chunk)
    else this.#dropEmptyFiles(chunk)
  }

  #drop(chunk: Chunk): void {
    // It stays as it is for whoever has it frozen; only the map forgets it.
    if (this.#chunks.get(chunk.id) !== chunk) return
    this.#chunks.delete(chunk.id)
    this.#use(-chunk.usedBytes)
    this.#host.chunkDropped(chunk)
  }

  #dropEmptyFiles(chunk: Chunk): void {
    for (const file of chunk.takeEmptyFiles()) {
      this.#use(-FILE_OVERHEAD_BYTES)
      this.#host.fileDropped(file)
    }
  }

  /**
   * Moves a block within its layer to another file, which changes nothing that anybody can see. The
   * caller has seen that `from` still has it.
   */
  move(
    chunk: Chunk,
    block: number,
    from: LayerFile,
    to: LayerFile,
    entry: { readonly version: number; readonly crc: number; readonly data: Uint8Array },
  ): void {
    this.beforeChange(chunk)
    from.data.delete(block)
    from.file.forget(block)
    to.data.add(block)
    to.file.put(block, { ...entry, at: 0 })
    if (from.data.count === 0) this.#dropEmptyFiles(chunk)
  }

  #use(bytes: number): void {
    this.#usedBytes += bytes
    this.#host.used(bytes)
  }

  /** Nothing of it counts any more, and nobody gets at it. */
  close(): void {
    this.#use(-this.#usedBytes)
    for (const chunk of this.#chunks.values()) {
      for (const { file } of chunk.files()) file.forgetAll()
    }
    this.#isClosed = true
  }
}

/** What may be done once more to a volume that is gone: it leaves nothing behind. */
function isOfTheEnd({ op }: ChunkRequest): boolean {
  return op === 'delete' || op === 'end-volume'
}

function isInRange({ firstBlock, blockCount }: ChunkRequest): boolean {
  return firstBlock >= 0 && blockCount >= 0 && firstBlock + blockCount <= CHUNK_BLOCKS
}

function hasBlocks({ blockCount, crcs }: ChunkRequest, data: Uint8Array): boolean {
  return (
    blockCount > 0 &&
    blockCount <= REQUEST_BLOCKS_MAX &&
    crcs.length === blockCount &&
    data.byteLength === blockCount * BLOCK_BYTES
  )
}

/** Whether a reader would see these blocks change if they became zeros. */
function hidesAnything(chunk: Chunk, firstBlock: number, end: number): boolean {
  for (let block = firstBlock; block < end; block++) {
    if (chunk.isData(block) || chunk.isMissing(block)) return true
  }
  return false
}

/** Blocks that a write of `request` would have to allocate. */
export function blocksToAllocate(chunk: Chunk | undefined, request: ChunkRequest): number {
  const { firstBlock, blockCount, sn } = request
  if (chunk === undefined) return blockCount
  if (sn > chunk.sn && sn > chunk.correctedSn) return blockCount
  let missing = 0
  for (let block = firstBlock; block < firstBlock + blockCount; block++) {
    if (holderOf(chunk.top, block) === null) missing++
  }
  return missing
}
