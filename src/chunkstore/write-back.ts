// Owns the way of blocks from memory into their files: in the background once there are many or they
// are old, at once for a checkpoint. Batches follow each other, so that what is newer is never
// overtaken. A full disk loses nothing: blocks stay in memory and are tried again.
// Leaves syncing, and what a file's table says, to publish.ts.

import { LemnisError } from '../base/errors.ts'
import type { Clock, Timer } from '../env/clock.ts'
import type { Piece } from '../env/disk.ts'
import type { Env } from '../env/env.ts'
import { BLOCK_BYTES } from '../format/chunk-request.ts'
import type { Counter, Observer } from '../observe/observe.ts'
import { type BlockEntry, bytesOf, type ChunkFile, type DirtyBlocks } from './chunk-file.ts'
import type { ChunkStoreConfig } from './config.ts'
import type { DiskHealth } from './disk-health.ts'
import { blockAt } from './layout.ts'
import type { OpenFiles, Use } from './open-files.ts'
import type { Pool } from './pool.ts'

/** A block as it was when somebody looked. */
export interface BlockWrite {
  readonly file: ChunkFile
  readonly block: number
  readonly entry: BlockEntry
}

export interface FilePiece {
  readonly file: ChunkFile
  readonly at: number
  readonly from: Uint8Array
}

export class WriteBack implements DirtyBlocks {
  readonly #clock: Clock
  readonly #env: Env
  readonly #config: ChunkStoreConfig
  readonly #files: OpenFiles
  readonly #pool: Pool
  readonly #health: DiskHealth
  readonly #writtenBytes: Counter
  /** Those with blocks to write, the longest waiting first. */
  readonly #waiting = new Set<ChunkFile>()
  #dirtyBytes = 0
  /** Batches follow each other. */
  #last: Promise<void> = Promise.resolve()
  /** A run is under way, or asked for. */
  #running = false
  #timer: Timer | null = null
  #roomWaiters: (() => void)[] = []
  #closed = false

  constructor(
    env: Env,
    observer: Observer,
    config: ChunkStoreConfig,
    files: OpenFiles,
    pool: Pool,
    health: DiskHealth,
  ) {
    this.#env = env
    this.#clock = env.clock
    this.#config = config
    this.#files = files
    this.#pool = pool
    this.#health = health
    this.#writtenBytes = observer.counter('chunkstore_written_back_bytes_total')
  }

  get dirtyBytes(): number {
    return this.#dirtyBytes
  }

  changed(file: ChunkFile, blocks: number): void {
    this.#dirtyBytes += blocks * BLOCK_BYTES
    if (file.dirty.size === 0) this.#waiting.delete(file)
    else if (!this.#waiting.has(file)) {
      file.dirtySinceMs = this.#clock.monotonicMs()
      this.#waiting.add(file)
    }
    if (this.#dirtyBytes >= this.#config.dirtyBytesSoft) this.#start()
    else {
      if (blocks > 0 && this.#timer === null && !this.#running) this.#arm(this.#config.dirtyAgeMs)
      if (this.#roomWaiters.length > 0) this.#tellRoom()
    }
  }

  /** Resolves when there is little enough in memory to add to it in the background. */
  async room(): Promise<void> {
    while (this.#dirtyBytes >= this.#config.dirtyBytesSoft && !this.#closed) {
      this.#health.check()
      if (this.#health.full) throw new LemnisError('NO_SPACE')
      await new Promise<void>((resolve) => this.#roomWaiters.push(resolve))
    }
  }

  #tellRoom(): void {
    const waiters = this.#roomWaiters
    this.#roomWaiters = []
    for (const tell of waiters) tell()
  }

  #arm(delayMs: number): void {
    if (this.#timer !== null || this.#closed) return
    this.#timer = this.#clock.after(delayMs, () => {
      this.#timer = null
      this.#start(true)
    })
  }

  #start(isTimed = false): void {
    if (this.#running || this.#closed || this.#health.failed !== null) return
    if (this.#health.full && !isTimed) {
      this.#arm(this.#config.spaceRetryMs)
      return
    }
    this.#running = true
    // At the end of the turn: what one turn brings is gathered.
    this.#clock.soon(() => void this.#run())
  }

  /** Never rejects: an error is the health's matter, and everything not written stays in memory. */
  async #run(): Promise<void> {
    // A full disk is tried again with whatever waits.
    let isDraining = this.#dirtyBytes >= this.#config.dirtyBytesSoft || this.#health.full
    let isFull = false
    try {
      for (;;) {
        const batch = this.#gather(isDraining)
        if (batch.length === 0) break
        await this.inTurn(() => this.#writeBlocks(batch))
        isDraining &&= this.#dirtyBytes > this.#config.dirtyBytesSoft / 2
        isDraining ||= this.#dirtyBytes >= this.#config.dirtyBytesSoft
      }
    } catch (error) {
      isFull = this.#health.changeFailed(error).code === 'NO_SPACE'
    }
    this.#running = false
    this.#tellRoom()
    const [oldest] = this.#waiting
    if (this.#closed || this.#health.failed !== null || oldest === undefined) return
    const ageMs = this.#clock.monotonicMs() - oldest.dirtySinceMs
    const restMs = Math.max(1, this.#config.dirtyAgeMs - ageMs)
    this.#arm(isFull ? this.#config.spaceRetryMs : restMs)
  }

  /** The next batch of those that are due, block by block in each file. */
  #gather(isDraining: boolean): BlockWrite[] {
    const batch: BlockWrite[] = []
    if (this.#closed) return batch
    const nowMs = this.#clock.monotonicMs()
    const dueMs = nowMs - this.#config.dirtyAgeMs
    const countMax = Math.floor(this.#config.writeBackBytes / BLOCK_BYTES)
    const taken: ChunkFile[] = []
    for (const file of this.#waiting) {
      if (batch.length >= countMax || (!isDraining && file.dirtySinceMs > dueMs)) break
      if (addDirty(file, batch, countMax)) taken.push(file)
    }
    for (const file of taken) {
      // What it gets while this is written begins to wait now.
      this.#waiting.delete(file)
      this.#waiting.add(file)
      file.dirtySinceMs = nowMs
    }
    return batch
  }

  /** Writes those of the blocks that still wait then. NO_SPACE leaves the rest waiting. */
  async flush(blocks: readonly BlockWrite[]): Promise<void> {
    const countMax = Math.floor(this.#config.writeBackBytes / BLOCK_BYTES)
    for (let at = 0; at < blocks.length; at += countMax) {
      await this.inTurn(() => this.#writeBlocks(blocks.slice(at, at + countMax)))
    }
  }

  /** Writes anything else into chunk files, in turn with the blocks. */
  write(pieces: readonly FilePiece[]): Promise<void> {
    return this.inTurn(() => this.#writePieces(pieces))
  }

  /** Does something to chunk files between two batches. */
  inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.#last.then(() => {
      this.#health.check()
      return work()
    })
    // A failure is told to who asked; the next in line has blocks of its own.
    this.#last = done.catch(() => {})
    return done
  }

  async #writeBlocks(batch: readonly BlockWrite[]): Promise<void> {
    const current = batch.filter(({ file, block, entry }) => file.dirty.get(block) === entry)
    if (current.length === 0) return
    await this.#writeOrForget(piecesOf(current))
    this.#writtenBytes.add(current.length * BLOCK_BYTES)
    for (const { file, block, entry } of current) file.wasWritten(block, entry)
    this.#health.foundRoom()
  }

  async #writeOrForget(pieces: readonly FilePiece[]): Promise<void> {
    try {
      await this.#writePieces(pieces)
    } catch (error) {
      if (this.#config.bugs?.has('write-back-forgets') !== true) throw error
    }
  }

  async #writePieces(pieces: readonly FilePiece[]): Promise<void> {
    const uses = new Map<ChunkFile, Use>()
    try {
      const ready: Piece[] = []
      for (const { file, at, from } of pieces) {
        let use = uses.get(file)
        if (use === undefined) {
          if (!file.exists) await this.#pool.create(file)
          use = await this.#files.acquire(file.path, true)
          uses.set(file, use)
        }
        ready.push({ file: use.file, at, from })
      }
      for (const file of uses.keys()) file.unsynced = true
      await this.#env.disk.writeAll(ready)
    } finally {
      // Once more: a sync that began while the batch was under way has not waited for it.
      for (const [file, use] of uses) {
        file.unsynced = true
        use.release()
      }
    }
  }

  /** Resolves when the batch that is under way has ended, be it badly. */
  async settled(): Promise<void> {
    await this.#last
  }

  /** Makes what was written to a file durable. */
  async sync(file: ChunkFile): Promise<void> {
    const use = await this.#files.acquire(file.path, true)
    try {
      // Before the sync begins: what comes during it needs another one.
      file.unsynced = false
      await use.file.sync()
    } finally {
      use.release()
    }
  }

  /** Ends after the batch that is under way; what is in memory then is left to the log. */
  async close(): Promise<void> {
    this.#closed = true
    this.#timer?.cancel()
    this.#tellRoom()
    await this.#last
  }
}

/** Adds the file's dirty blocks in order, until `batch` has `countMax`; true when it has them all. */
function addDirty(file: ChunkFile, batch: BlockWrite[], countMax: number): boolean {
  const blocks = [...file.dirty.keys()].sort((a, b) => a - b)
  for (const block of blocks) {
    if (batch.length >= countMax) return false
    batch.push({ file, block, entry: file.dirty.get(block) as BlockEntry })
  }
  return true
}

/** Blocks that follow each other in the file and in memory are one piece. */
function piecesOf(batch: readonly BlockWrite[]): FilePiece[] {
  const pieces: FilePiece[] = []
  for (let i = 0; i < batch.length; ) {
    const { file, block, entry } = batch[i] as BlockWrite
    const data = entry.data as Uint8Array
    let count = 1
    for (; i + count < batch.length; count++) {
      const next = batch[i + count] as BlockWrite
      const follows =
        next.file === file &&
        next.block === block + count &&
        next.entry.data === data &&
        next.entry.at === entry.at + count * BLOCK_BYTES
      if (!follows) break
    }
    const first = bytesOf(entry, data)
    const from = count === 1 ? first : data.subarray(entry.at, entry.at + count * BLOCK_BYTES)
    pieces.push({ file, at: blockAt(block), from })
    i += count
  }
  return pieces
}
