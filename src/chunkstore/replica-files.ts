// Owns the chunk files of one replica from their making to their end. A file that no chunk has any more
// waits until a manifest does not name it either, then it is used again or removed. That is the next
// checkpoint, or, for the files of chunks that are gone, a manifest without those chunks soon.

import type { Timer } from '../env/clock.ts'
import type { Chunk } from './chunk.ts'
import { ChunkFile } from './chunk-file.ts'
import { replicaName } from './directories.ts'
import type { GoneBy } from './manifest.ts'
import type { StoreParts } from './parts.ts'

/** A file that waits for a manifest without it. */
export interface Dropped {
  readonly file: ChunkFile
  /** The chunk that ended with it, and by which entry; null when the file alone went. */
  readonly gone: { readonly id: number; readonly birth: number; readonly index: number } | null
}

export class ReplicaFiles {
  readonly #parts: StoreParts
  readonly #group: number
  readonly #replica: number
  /** Publishes the newest manifest once more, without what is gone. */
  readonly #prune: (work: (publish: (goneBy: GoneBy) => Promise<void>) => Promise<void>) => void
  #next: number
  #dropped: Dropped[] = []
  #timer: Timer | null = null
  #closed = false

  constructor(
    parts: StoreParts,
    group: number,
    replica: number,
    next: number,
    prune: (work: (publish: (goneBy: GoneBy) => Promise<void>) => Promise<void>) => void,
  ) {
    this.#parts = parts
    this.#group = group
    this.#replica = replica
    this.#next = next
    this.#prune = prune
  }

  /** The id of the next file. */
  get next(): number {
    return this.#next
  }

  /** A file that is not on the disk yet. */
  make(): ChunkFile {
    return this.known(this.#next++, false)
  }

  known(id: number, exists: boolean): ChunkFile {
    const { writeBack, layout, tally } = this.#parts
    const identity = { group: this.#group, replica: this.#replica, id }
    const name = `${replicaName(this.#group, this.#replica)}-${id}.chunk`
    return new ChunkFile(writeBack, identity, tally.nextKey++, `${layout.chunks}/${name}`, exists)
  }

  fileDropped(file: ChunkFile): void {
    this.#forget(file)
    this.#dropped.push({ file, gone: null })
  }

  chunkDropped(chunk: Chunk, index: number): void {
    const { id, birth } = chunk
    for (const { file } of chunk.files()) {
      this.#forget(file)
      this.#dropped.push({ file, gone: { id, birth, index } })
    }
    this.#dropSoon()
  }

  #dropSoon(): void {
    if (this.#timer !== null || this.#closed) return
    this.#timer = this.#parts.env.clock.after(this.#parts.config.dropAfterMs, () => {
      this.#timer = null
      this.#prune((publish) => this.#dropNow(publish))
    })
  }

  #forget(file: ChunkFile): void {
    file.dropped = true
    file.forgetAll()
    this.#parts.tables.drop(file)
  }

  async #dropNow(publish: (goneBy: GoneBy) => Promise<void>): Promise<void> {
    const ready = this.#dropped.filter(({ file, gone }) => gone !== null && file.exists)
    if (ready.length === 0 || this.#closed) return
    // Taken out first: a checkpoint asked for meanwhile must not take them too.
    const files = new Set(ready.map(({ file }) => file))
    this.#dropped = this.#dropped.filter(({ file }) => !files.has(file))
    try {
      await publish((id, birth) => {
        const found = ready.find(({ gone }) => gone?.id === id && gone.birth === birth)
        return found?.gone?.index ?? 0
      })
    } catch (error) {
      this.putBack(ready)
      // A full disk may have room for a manifest later; a failed one is not tried again.
      if (this.#parts.health.failed === null) this.#dropSoon()
      throw error
    }
    await this.recycle(files)
  }

  /** For a manifest that will not name them; the caller recycles them then, or puts them back. */
  takeDropped(): Dropped[] {
    const dropped = this.#dropped
    this.#dropped = []
    return dropped
  }

  putBack(dropped: readonly Dropped[]): void {
    this.#dropped.push(...dropped)
  }

  /** Files that no manifest names. */
  async recycle(files: Iterable<ChunkFile>): Promise<void> {
    const { writeBack, pool, health } = this.#parts
    const all = [...files]
    if (all.length === 0) return
    try {
      await writeBack.inTurn(async () => {
        for (const file of all) await pool.recycle(file, !health.full)
      })
    } catch (error) {
      throw health.changeFailed(error)
    }
  }

  /** Files that no manifest ever named. */
  discard(files: readonly ChunkFile[]): void {
    for (const file of files) this.#forget(file)
    // Its error is the health's matter.
    void this.recycle(files).catch(() => {})
  }

  close(): void {
    this.#closed = true
    this.#timer?.cancel()
  }
}
