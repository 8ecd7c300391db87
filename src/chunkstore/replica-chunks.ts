// Owns the chunks of one copyset replica: what the copyset's state machine for chunks is made of.
// Applying is in memory; blocks reach their files later, tables and the rest with a checkpoint. What
// was applied since the newest checkpoint is in the Raft log, which brings it again after a crash.
// Leaves the log, the wire and the repair from peers to the chunkserver.

import { assert } from '../base/assert.ts'
import { EMPTY, viewOf } from '../base/bytes.ts'
import { LemnisError } from '../base/errors.ts'
import { writeU53 } from '../base/u53.ts'
import { BLOCK_BYTES, type ChunkRequest } from '../format/chunk-request.ts'
import type { SnapshotItem, SnapshotSink, SnapshotSource } from '../raft/snapshot.ts'
import type { Chunk } from './chunk.ts'
import type { ChunkFile } from './chunk-file.ts'
import { type ChunkPicture, Digests, digestOf, loadPages, takePicture } from './digests.ts'
import { FILE_OVERHEAD_BYTES } from './layout.ts'
import type { Manifest } from './manifest.ts'
import type { Mergeable, Merger } from './merger.ts'
import type { StoreParts } from './parts.ts'
import { freezeFiles, type Publication, Publisher } from './publish.ts'
import { Reads } from './reads.ts'
import { ReplicaFiles } from './replica-files.ts'
import { blocksToAllocate, ReplicaState } from './replica-state.ts'
import { chunkOf } from './row-codec.ts'
import { type Leftover, type Received, type SinkHost, TransferSink } from './transfer-sink.ts'
import { TransferSource } from './transfer-source.ts'
import type {
  ChunkDigest,
  ChunkOutcome,
  ChunkRead,
  Extent,
  FoundBlocks,
  ReplicaUsage,
} from './types.ts'
import { Volumes } from './volumes.ts'

/** What a replica asks of its store. */
export interface ReplicaHost {
  readonly merger: Merger
  /** Bytes that may still be allocated; negative when there are too many. */
  freeBytes(): number
  /** Resolves when nobody has its files open any more. */
  closed(replica: ReplicaChunks): Promise<void>
}

export class ReplicaChunks implements Mergeable {
  readonly group: number
  readonly replica: number
  /** For the store's own use, and for looking at; entries come by apply(). */
  readonly state: ReplicaState
  readonly #parts: StoreParts
  readonly #host: ReplicaHost
  readonly #files: ReplicaFiles
  readonly #publisher: Publisher
  readonly #reads: Reads
  readonly #digests: Digests
  /** What interrupted transfers have brought. */
  readonly #leftovers = new Map<number, Leftover>()
  #mark: Uint8Array = EMPTY
  #settledIndex = 0
  #received = 0
  #sink: TransferSink | null = null
  #installing = false
  #closed = false

  /** `manifest`: the newest; null for a replica that never was. */
  constructor(
    parts: StoreParts,
    host: ReplicaHost,
    group: number,
    replica: number,
    manifest: Manifest | null,
    isThere: (path: string) => boolean,
  ) {
    this.#parts = parts
    this.#host = host
    this.group = group
    this.replica = replica
    this.#publisher = new Publisher(parts, group, replica, manifest?.generation ?? 0)
    const files = new ReplicaFiles(parts, group, replica, manifest?.nextFile ?? 1, (work) => {
      // Its error is the health's matter, and the files stay for the next time.
      this.#publisher.inTurn(() => work((goneBy) => this.#publisher.prune(goneBy))).catch(() => {})
    })
    this.#files = files
    this.state = new ReplicaState({
      newFile: () => files.make(),
      fileDropped: (file) => files.fileDropped(file),
      chunkDropped: (chunk) => files.chunkDropped(chunk, this.appliedIndex),
      used: (bytes) => {
        parts.tally.usedBytes += bytes
      },
      mergeable: (chunk) => this.#mergeable(chunk),
    })
    this.#reads = new Reads(parts, group, replica, this.state)
    this.#digests = new Digests(parts, this.#reads, (id) => this.state.chunk(id))
    if (manifest !== null) this.#load(manifest, isThere)
  }

  #load(manifest: Manifest, isThere: (path: string) => boolean): void {
    this.#mark = manifest.mark
    this.#settledIndex = manifest.settledIndex
    const chunks = manifest.chunks.map((row) =>
      chunkOf(row, (stored) => {
        const file = this.#files.known(stored.id, false)
        file.exists = isThere(file.path)
        file.pagesPresent = stored.present
        file.pageSlots = stored.slots
        file.pageCrcs.set(stored.crcs)
        return { file, data: stored.data }
      }),
    )
    const volumes = Volumes.decode(manifest.volumes, manifest.volumesVersion)
    this.state.replace(chunks, volumes, manifest.gone, manifest.appliedIndex)
    this.#mergeAll()
  }

  get appliedIndex(): number {
    return this.state.appliedIndex
  }

  get mark(): Uint8Array {
    return this.#mark
  }

  /**
   * After a state came in from a peer, contents may be those of entries up to here, which the log will
   * bring again: digests of replicas are equal from this index on.
   */
  get settledIndex(): number {
    return this.#settledIndex
  }

  /** States of other replicas that this one has taken in since it was loaded. */
  get received(): number {
    return this.#received
  }

  usage(): ReplicaUsage {
    return { chunks: this.state.chunkCount, usedBytes: this.state.usedBytes }
  }

  // --- apply

  /**
   * Applies an entry, at once and in memory. `data` has the blocks of a write or paste, or the source
   * of a clone; it is kept, and must not be changed any more.
   */
  apply(index: number, request: ChunkRequest, data: Uint8Array): ChunkOutcome {
    assert(!this.#installing, 'apply while a state is installed')
    return this.state.apply(index, request, data)
  }

  skip(index: number): void {
    assert(!this.#installing, 'apply while a state is installed')
    this.state.skip(index)
  }

  /**
   * For a leader before it proposes: NO_SPACE, OVERLOADED, DISK_FAILED, or null. `isFollowerFull`: another
   * replica has no room, so that only what has its place already is let in.
   */
  admits(request: ChunkRequest, isFollowerFull = false): LemnisError | null {
    const { health, writeBack, config } = this.#parts
    if (health.failed !== null) return health.failed
    if (request.op !== 'write' && request.op !== 'paste') return null
    if (writeBack.dirtyBytes >= config.dirtyBytesMax) {
      return new LemnisError('OVERLOADED', { reason: 'blocks wait for the disk' })
    }
    const chunk = this.state.chunk(request.chunk)
    const blocks = blocksToAllocate(chunk, request)
    if (blocks === 0) return null
    if (isFollowerFull) return new LemnisError('NO_SPACE', { reason: 'on another replica' })
    health.sampleIfOld()
    const fileBytes = chunk === undefined ? FILE_OVERHEAD_BYTES : 0
    const bytes = blocks * BLOCK_BYTES + fileBytes
    const freeBytes = this.#host.freeBytes()
    if (!health.full && bytes <= freeBytes) return null
    return new LemnisError('NO_SPACE', { freeBytes: Math.max(0, freeBytes) })
  }

  epochOf(volume: number): number {
    return this.state.volumes.fenceOf(volume).epoch
  }

  // --- reads

  /** Blocks of generation `sn`, 0 for the present; to be asked after the host's read point. */
  read(chunk: number, sn: number, firstBlock: number, count: number): Promise<ChunkRead> {
    return this.#reads.range(chunk, sn, firstBlock, count)
  }

  /** What a range of the present generation is made of, ascending and without gaps. */
  extents(chunk: number, firstBlock: number, count: number): Extent[] {
    return this.#reads.extents(chunk, firstBlock, count)
  }

  /** Of up to `count` chunks, in order of id, from id `from`; `verify` reads every block. */
  async digests(from: number, count: number, verify: boolean): Promise<ChunkDigest[]> {
    const found: ChunkDigest[] = []
    for (const { id } of this.state.chunks()) {
      if (id < from) continue
      if (found.length === count) break
      const digest = await this.#digests.of(id, verify)
      if (digest !== null) found.push(digest)
    }
    return found
  }

  /** Chunks with blocks that were found bad and are not repaired. */
  damaged(): number[] {
    if (!this.state.mayBeDamaged) return []
    const isBad = (chunk: Chunk): boolean =>
      [...chunk.files()].some(({ file, data }) => file.hasBadOf(data))
    const damaged = this.state.chunks().filter(isBad)
    this.state.mayBeDamaged = damaged.length > 0
    return damaged.map(({ id }) => id)
  }

  /** Those of the blocks of layer `sn` that are here, good, and of the version asked (0: any). */
  blocksFor(
    chunk: number,
    sn: number,
    wanted: readonly { readonly block: number; readonly version: number }[],
  ): Promise<FoundBlocks> {
    return this.#reads.blocksFor(chunk, sn, wanted)
  }

  /**
   * Takes a block as a peer has it, if that version is still the one here; false if not. Where this
   * replica has lost the version (0 in BadBlock), the peer's `chunkVersion` must be this chunk's.
   */
  repair(
    chunk: number,
    sn: number,
    block: number,
    version: number,
    bytes: Uint8Array,
    chunkVersion = 0,
  ): Promise<boolean> {
    return this.#reads.repair(chunk, sn, block, version, bytes, chunkVersion)
  }

  /** CRC32C of the whole state as it is at this call. */
  async digest(): Promise<number> {
    for (;;) {
      const pictures = this.state.chunks().map(takePicture)
      const volumes = this.state.volumes.encode()
      if (!(await this.#loadAll(pictures))) continue
      const { crc32c } = this.#parts.env
      const bytes = new Uint8Array(20 * pictures.length)
      const view = viewOf(bytes)
      for (const [i, picture] of pictures.entries()) {
        writeU53(view, 20 * i, picture.chunk.id)
        writeU53(view, 20 * i + 8, picture.chunk.version)
        view.setUint32(20 * i + 16, digestOf(picture, crc32c), true)
      }
      return crc32c(bytes, crc32c(volumes))
    }
  }

  async #loadAll(pictures: readonly ChunkPicture[]): Promise<boolean> {
    for (const picture of pictures) {
      if (!(await loadPages(picture, this.#parts))) return false
    }
    return true
  }

  // --- making it durable

  /**
   * Makes what is applied at this call durable, together with `mark`, in one step. NO_SPACE leaves all
   * as it was, to be tried again; DISK_FAILED is told to the store's owner too.
   */
  checkpoint(mark: Uint8Array): Promise<void> {
    assert(!this.#installing, 'checkpoint while a state is installed')
    const freeze = this.state.freeze()
    const dropped = this.#files.takeDropped()
    const kept = mark.slice()
    const { appliedIndex, volumes } = this.state
    const publication: Publication = {
      head: {
        appliedIndex,
        settledIndex: this.#settledIndex,
        nextFile: this.#files.next,
        volumesVersion: volumes.version,
      },
      extras: { mark: kept, volumes: volumes.encode(), gone: this.state.gone() },
      files: freezeFiles(freeze.chunks),
      chunks: () => freeze.chunks.map((chunk) => freeze.saved.get(chunk) ?? chunk),
      appliedNow: () => this.state.appliedIndex,
    }
    return this.#publisher.inTurn(async () => {
      try {
        await this.#publisher.publish(publication)
      } catch (error) {
        this.#files.putBack(dropped)
        throw error
      } finally {
        this.state.thaw(freeze)
      }
      this.#mark = kept
      await this.#files.recycle(dropped.map(({ file }) => file))
    })
  }

  // --- transfers

  snapshot(): SnapshotSource {
    return new TransferSource(this.#parts, this.state, this.#reads)
  }

  /** Begins to replace this replica's state by a peer's; an earlier transfer ends. */
  async receive(index: number, items: readonly SnapshotItem[]): Promise<SnapshotSink> {
    checkItems(items)
    await this.#sink?.abort()
    this.#sink = new TransferSink(this.#parts, this.#sinkHost(), index, items)
    return this.#sink
  }

  #sinkHost(): SinkHost {
    return {
      state: this.state,
      leftovers: this.#leftovers,
      newFile: () => this.#files.make(),
      install: (received) => this.#installAlone(received),
      dropStaged: (files) => this.#dropStaged(files),
    }
  }

  async #installAlone(received: Received): Promise<void> {
    this.#installing = true
    try {
      await this.#publisher.inTurn(() => this.#install(received))
    } finally {
      this.#installing = false
    }
  }

  async #install(received: Received): Promise<void> {
    const { chunks, volumes, gone, mark, index, settledIndex } = received
    const dropped = this.#files.takeDropped()
    try {
      await this.#publisher.publish({
        head: {
          appliedIndex: index,
          settledIndex,
          nextFile: this.#files.next,
          volumesVersion: volumes.version,
        },
        extras: { mark, volumes: volumes.encode(), gone },
        files: freezeFiles(chunks),
        chunks: () => [...chunks],
        appliedNow: () => index,
      })
    } catch (error) {
      this.#files.putBack(dropped)
      throw error
    }
    const before = this.state.chunks()
    this.state.replace(chunks, volumes, gone, index)
    this.state.mayBeDamaged = true
    this.#mark = mark
    this.#settledIndex = settledIndex
    this.#received++
    const used = new Set<ChunkFile>()
    for (const chunk of chunks) {
      for (const { file, data } of chunk.files()) {
        used.add(file)
        file.keepOnly(data)
      }
    }
    for (const chunk of before) {
      for (const { file } of chunk.files()) if (!used.has(file)) this.#files.fileDropped(file)
    }
    this.#mergeAll()
    const unnamed = [...dropped, ...this.#files.takeDropped()]
    await this.#files.recycle(unnamed.map(({ file }) => file))
  }

  /** Files that never were the state's, unless they are now. */
  #dropStaged(files: readonly ChunkFile[]): void {
    const used = new Set<ChunkFile>()
    for (const chunk of this.state.chunks()) for (const { file } of chunk.files()) used.add(file)
    this.#files.discard(files.filter((file) => !used.has(file)))
  }

  // --- merging of files

  #mergeable(chunk: Chunk): void {
    if (chunk.layers.some(({ files }) => files.length > 1)) this.#host.merger.add(this, chunk)
  }

  #mergeAll(): void {
    for (const chunk of this.state.chunks()) this.#mergeable(chunk)
  }

  /** For the merger: the state is being written down, or put in the place of another. */
  get isHeld(): boolean {
    return this.#installing || this.state.isFrozen
  }

  // --- the end

  /** What is only in memory is left to the log. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#files.close()
    await this.#sink?.abort()
    await this.#publisher.inTurn(async () => {})
    for (const { layers } of this.#leftovers.values()) {
      for (const { files } of layers) for (const { file } of files) file.forgetAll()
    }
    this.state.close()
    await this.#host.closed(this)
  }
}

function checkItems(items: readonly SnapshotItem[]): void {
  const known = new Set<number>()
  for (const { id } of items) {
    if (known.has(id)) throw new LemnisError('CORRUPT', { what: 'list of items', item: id })
    known.add(id)
  }
}
