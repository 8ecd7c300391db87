// Owns the taking in of another replica's state. What arrives of a chunk goes into new files beside
// those of the chunk that is here; in the end each layer is made of the new file and of the blocks
// that the old ones have already, and one manifest makes all of it the state.
// Equal versions are equal bytes, so what an interrupted transfer has brought counts for the next one.

import { assert, must } from '../base/assert.ts'
import { concat, EMPTY } from '../base/bytes.ts'
import { LemnisError } from '../base/errors.ts'
import { CHUNK_BLOCKS } from '../format/chunk-request.ts'
import {
  HAVE_BYTES_MAX,
  type SnapshotItem,
  type SnapshotSink,
  TRANSFER_END,
} from '../raft/snapshot.ts'
import { HeldPages } from './block-reader.ts'
import { BlockSet } from './block-set.ts'
import { Chunk, type Layer, type LayerFile } from './chunk.ts'
import type { ChunkFile } from './chunk-file.ts'
import type { StoreParts } from './parts.ts'
import type { ReplicaState } from './replica-state.ts'
import {
  type Candidate,
  candidatesOf,
  decodePiece,
  encodeHave,
  type StateRow,
} from './transfer-codec.ts'
import { VOLUMES_ITEM } from './transfer-source.ts'
import { Volumes } from './volumes.ts'

/** Layers that an interrupted transfer has brought of a chunk. */
export interface Leftover {
  readonly birth: number
  readonly layers: readonly LeftoverLayer[]
}

type LeftoverLayer = Pick<Layer, 'sn' | 'files'>

/** What the sink asks of its replica. */
export interface SinkHost {
  readonly state: ReplicaState
  readonly leftovers: Map<number, Leftover>
  newFile(): ChunkFile
  /** Makes the received state the replica's, durably and in one step. */
  install(received: Received): Promise<void>
  dropStaged(files: readonly ChunkFile[]): void
}

export interface Received {
  readonly index: number
  readonly mark: Uint8Array
  readonly settledIndex: number
  readonly chunks: readonly Chunk[]
  readonly volumes: Volumes
  /** Chunks that the sender had no more when their turn came, and by which entry. */
  readonly gone: ReadonlyMap<number, number>
}

/** A wanted chunk on its way. */
interface Incoming {
  /** The cursor of the next piece. */
  next: number
  row: StateRow | null
  /** For each layer of the row, what has come. */
  readonly staged: LayerFile[]
  /** Version of the chunk that was here when have() looked, 0 for none; and the index of then. */
  seenVersion: number
  seenIndex: number
}

export class TransferSink implements SnapshotSink {
  readonly wanted: readonly SnapshotItem[]
  readonly #parts: StoreParts
  readonly #host: SinkHost
  readonly #index: number
  readonly #items: readonly SnapshotItem[]
  readonly #incoming = new Map<number, Incoming>()
  readonly #gone = new Map<number, number>()
  readonly #volumeParts: Uint8Array[] = []
  #settledIndex: number
  #ended = false

  constructor(parts: StoreParts, host: SinkHost, index: number, items: readonly SnapshotItem[]) {
    this.#parts = parts
    this.#host = host
    this.#index = index
    this.#items = items
    this.#settledIndex = index
    const { state } = host
    this.wanted = items.filter(({ id, version }) => {
      const known = id === VOLUMES_ITEM ? state.volumes.version : state.chunk(id)?.version
      return known !== version
    })
    for (const { id } of this.wanted) {
      const incoming = { next: 0, row: null, staged: [], seenVersion: 0, seenIndex: 0 }
      this.#incoming.set(id, incoming)
    }
    this.#forgetLeftovers()
  }

  /** What is not wanted any more would only take room. */
  #forgetLeftovers(): void {
    for (const [id, { layers }] of this.#host.leftovers) {
      if (this.#incoming.has(id)) continue
      this.#host.leftovers.delete(id)
      this.#host.dropStaged(filesOf(layers))
    }
  }

  resumeAt(_id: number): number {
    // What is here already is said by have(), and does not come again.
    return 0
  }

  async have(id: number): Promise<Uint8Array> {
    const incoming = this.#find(id)
    if (id === VOLUMES_ITEM) return EMPTY
    const { birth, layers } = this.#basis(id)
    const { state } = this.#host
    const chunk = state.chunk(id)
    incoming.seenVersion = chunk?.version ?? 0
    incoming.seenIndex = state.appliedIndex
    const own = new Set(Array.from(chunk?.files() ?? [], ({ file }) => file))
    // What is applied while this looks is in the source's state too, which then sends it.
    const newestOf = (file: ChunkFile): number =>
      own.has(file) ? incoming.seenIndex : Number.POSITIVE_INFINITY
    const candidates: Candidate[] = []
    for (const { sn, files } of layers) {
      candidates.push(await this.#candidate(sn, files, newestOf))
    }
    return encodeHave({ birth, candidates }, HAVE_BYTES_MAX)
  }

  /** The layers from which blocks may be taken: those left over first, then those of the chunk. */
  #basis(id: number): { readonly birth: number; readonly layers: readonly LeftoverLayer[] } {
    const leftover = this.#host.leftovers.get(id)
    const chunk = this.#host.state.chunk(id)
    const birth = leftover?.birth ?? chunk?.birth ?? 0
    const own = chunk?.birth === birth ? chunk.layers : []
    return { birth, layers: [...(leftover?.layers ?? []), ...own] }
  }

  async #candidate(
    sn: number,
    files: readonly LayerFile[],
    newestOf: (file: ChunkFile) => number,
  ): Promise<Candidate> {
    const held = new HeldPages()
    const data = new BlockSet()
    const versions = new Float64Array(CHUNK_BLOCKS)
    for (const { file, data: blocks } of files.slice()) {
      const now = blocks.clone()
      const newest = newestOf(file)
      for (let block = now.next(0); block < CHUNK_BLOCKS; block = now.next(block + 1)) {
        const { version } = await this.#parts.reader.locateLoading(file, block, held)
        // A bad one comes again, which is a way to mend it.
        if (version === 0 || version > newest || file.knownBad(block)) continue
        data.add(block)
        versions[block] = version
      }
    }
    return { sn, data, versions }
  }

  async write(id: number, cursor: number, bytes: Uint8Array, next: number): Promise<void> {
    const incoming = this.#find(id)
    if (cursor !== incoming.next || (next <= cursor && next !== TRANSFER_END)) {
      throw new LemnisError('INVALID_ARGUMENT', { item: id, cursor, reason: 'not expected' })
    }
    if (id === VOLUMES_ITEM) this.#volumeParts.push(bytes.slice())
    else this.#take(id, incoming, cursor, bytes.slice())
    incoming.next = next
    await this.#parts.writeBack.room()
  }

  #take(id: number, incoming: Incoming, cursor: number, bytes: Uint8Array): void {
    const { row, goneBy, records } = decodePiece(bytes)
    if (goneBy > 0) {
      this.#gone.set(id, goneBy)
      this.#settledIndex = Math.max(this.#settledIndex, goneBy)
    } else if (cursor === 0) this.#begin(id, incoming, row)
    for (const record of records) {
      const layer = incoming.row?.layers[record.layer]
      const staged = incoming.staged[record.layer]
      if (layer === undefined || staged === undefined || !layer.held.has(record.block)) {
        throw corrupt(id, 'a block outside of the row')
      }
      const { version, crc } = record
      if (record.bytes === null) staged.file.putLost(record.block, version, crc)
      else {
        if (this.#parts.env.crc32c(record.bytes) !== crc) throw corrupt(id, 'checksum')
        const at = record.bytes.byteOffset - bytes.byteOffset
        staged.file.put(record.block, { version, crc, data: bytes, at })
      }
      staged.data.add(record.block)
      this.#settledIndex = Math.max(this.#settledIndex, version)
    }
  }

  #begin(id: number, incoming: Incoming, row: StateRow | null): void {
    if (row === null || row.id !== id) throw corrupt(id, 'no row')
    incoming.row = row
    this.#settledIndex = Math.max(this.#settledIndex, row.version)
    for (let i = 0; i < row.layers.length; i++) {
      incoming.staged.push({ file: this.#host.newFile(), data: new BlockSet() })
    }
  }

  #find(id: number): Incoming {
    const incoming = this.#incoming.get(id)
    if (incoming === undefined || this.#ended) {
      throw new LemnisError('INVALID_ARGUMENT', { item: id, reason: 'not wanted' })
    }
    return incoming
  }

  // --- the end

  async finish(mark: Uint8Array): Promise<void> {
    for (const [id, { next }] of this.#incoming) {
      if (next !== TRANSFER_END) throw corrupt(id, 'not complete')
    }
    assert(!this.#ended, 'a transfer ends once')
    const { state } = this.#host
    const chunks: Chunk[] = []
    for (const { id, version } of this.#items) {
      if (id === VOLUMES_ITEM) continue
      const incoming = this.#incoming.get(id)
      if (incoming === undefined) {
        const kept = state.chunk(id)
        if (kept?.version !== version) throw corrupt(id, 'changed while the state came')
        chunks.push(kept)
      } else if (incoming.row !== null) {
        chunks.push(await this.#assemble(incoming, incoming.row))
      }
    }
    chunks.sort((a, b) => a.id - b.id)
    await this.#host.install({
      index: this.#index,
      mark: mark.slice(),
      settledIndex: this.#settledIndex,
      chunks,
      volumes: this.#volumes(),
      gone: this.#gone,
    })
    this.#ended = true
    this.#incoming.clear()
    this.#forgetLeftovers()
  }

  #volumes(): Volumes {
    const item = this.#items.find(({ id }) => id === VOLUMES_ITEM)
    if (item === undefined || !this.#incoming.has(VOLUMES_ITEM)) return this.#host.state.volumes
    return Volumes.decode(concat(this.#volumeParts), item.version)
  }

  async #assemble(incoming: Incoming, row: StateRow): Promise<Chunk> {
    const { birth, layers: basis } = this.#basis(row.id)
    const sns = row.layers.map(({ sn }) => sn)
    const sources = candidatesOf(sns, birth === row.birth ? basis : [])
    const layers: Layer[] = []
    for (const [i, { sn, zeros, held }] of row.layers.entries()) {
      const staged = must(incoming.staged[i], 'a file of each layer')
      const missing = held.clone()
      missing.deleteAll(staged.data)
      const files: LayerFile[] = []
      for (const { file, data } of (sources[i] ?? []).flatMap((layer) => layer.files)) {
        const taken = data.clone()
        taken.keepOnly(missing)
        await this.#keepUnchanged(row.id, incoming, file, taken)
        if (taken.count === 0) continue
        missing.deleteAll(taken)
        files.push({ file, data: taken })
      }
      // What nobody has is bad until it is repaired: never other bytes than the source's.
      const data = staged.data.clone()
      data.addAll(missing)
      if (data.count > 0) files.unshift({ file: staged.file, data })
      layers.push({ sn, zeros: zeros.clone(), files })
    }
    const chunk = new Chunk(row.id, row.birth, row.source, layers)
    chunk.version = row.version
    chunk.correctedSn = row.correctedSn
    return chunk
  }

  /**
   * Entries that were applied here since have() spoke are in the source's state too, which then sent
   * those blocks. Should one be left, it is not what the source was told, and is not taken.
   */
  async #keepUnchanged(
    id: number,
    incoming: Incoming,
    file: ChunkFile,
    blocks: BlockSet,
  ): Promise<void> {
    const chunk = this.#host.state.chunk(id)
    if (chunk === undefined || chunk.version === incoming.seenVersion) return
    if (![...chunk.files()].some((own) => own.file === file)) return
    const held = new HeldPages()
    for (let block = blocks.next(0); block < CHUNK_BLOCKS; block = blocks.next(block + 1)) {
      const { version } = await this.#parts.reader.locateLoading(file, block, held)
      if (version > incoming.seenIndex) blocks.delete(block)
    }
  }

  /** What has come is kept for the next transfer. */
  async abort(): Promise<void> {
    if (this.#ended) return
    this.#ended = true
    for (const [id, { row, staged }] of this.#incoming) {
      if (row === null) continue
      const before = this.#host.leftovers.get(id)
      const came = row.layers.map(({ sn }, i) => ({ sn, files: [staged[i] as LayerFile] }))
      const older = before?.birth === row.birth ? before.layers : []
      if (before !== undefined && older.length === 0) this.#host.dropStaged(filesOf(before.layers))
      this.#host.leftovers.set(id, { birth: row.birth, layers: [...came, ...older] })
    }
    this.#incoming.clear()
  }
}

function filesOf(layers: readonly LeftoverLayer[]): ChunkFile[] {
  return layers.flatMap(({ files }) => files.map(({ file }) => file))
}

function corrupt(item: number, reason: string): LemnisError {
  return new LemnisError('CORRUPT', { what: 'received state', item, reason })
}
