// Owns what is known in memory of one chunk file: which blocks wait to be written to it, which were
// written since the newest manifest, and where the manifest finds the pages of its table.
// Invariant: a block's newest entry is in `dirty`, else in `written`, else in its page.
// Leaves which blocks the file holds at all to the chunk's layers (chunk.ts), and I/O to others.

import { BLOCK_BYTES } from '../format/chunk-request.ts'
import type { BlockSet } from './block-set.ts'
import { PAGES } from './layout.ts'

export interface BlockEntry {
  /** Index of the log entry that wrote the block; 0 when it is not known any more. */
  readonly version: number
  readonly crc: number
  /** Memory that has the block at `at`; shared and never changed. Null once it is in the file. */
  data: Uint8Array | null
  readonly at: number
}

/** Whoever counts the bytes that wait, and writes them. */
export interface DirtyBlocks {
  /** `file` has got `blocks` more (or, negative, fewer) blocks to be written. */
  changed(file: ChunkFile, blocks: number): void
}

const NONE: Map<number, BlockEntry> = new Map()

export class ChunkFile {
  readonly group: number
  readonly replica: number
  /** Never used again in its replica. */
  readonly id: number
  /** Unique in the process. */
  readonly key: number
  readonly path: string
  readonly #counter: DirtyBlocks
  /** By block: not yet in the file. Change through put() and the like only. */
  dirty: ReadonlyMap<number, BlockEntry> = NONE
  /** By block: in the file, and not yet in the table that the newest manifest names. */
  written: ReadonlyMap<number, BlockEntry> = NONE
  /** By page: a bit that says whether the newest manifest has it, one for the slot, and its CRC. */
  pagesPresent = 0
  pageSlots = 0
  readonly pageCrcs = new Uint32Array(PAGES)
  /** The name is on the disk. */
  exists: boolean
  /** Something was written to it after its last sync. */
  unsynced = false
  /** No chunk of the present state has it. */
  dropped = false
  dirtySinceMs = 0
  /** Blocks that were found bad, so that each is counted once. */
  #bad: Set<number> | null = null

  constructor(
    counter: DirtyBlocks,
    identity: { readonly group: number; readonly replica: number; readonly id: number },
    key: number,
    path: string,
    exists: boolean,
  ) {
    this.#counter = counter
    this.group = identity.group
    this.replica = identity.replica
    this.id = identity.id
    this.key = key
    this.path = path
    this.exists = exists
  }

  /** The newest entry, if it is not in the table. */
  recent(block: number): BlockEntry | undefined {
    return this.dirty.get(block) ?? this.written.get(block)
  }

  get hasChanges(): boolean {
    return this.dirty.size > 0 || this.written.size > 0
  }

  put(block: number, entry: BlockEntry): void {
    if (this.dirty === NONE) this.dirty = new Map()
    const dirty = this.dirty as Map<number, BlockEntry>
    const before = dirty.size
    dirty.set(block, entry)
    this.#bad?.delete(block)
    if (dirty.size !== before) this.#counter.changed(this, 1)
  }

  /** Remembers of a block only what it should be: it will be found bad, and repaired. */
  putLost(block: number, version: number, crc: number): void {
    if (this.written === NONE) this.written = new Map()
    const entry = { version, crc, data: null, at: 0 }
    this.foundBad(block)
    ;(this.written as Map<number, BlockEntry>).set(block, entry)
  }

  /** The file has no such block any more. */
  forget(block: number): void {
    if ((this.dirty as Map<number, BlockEntry>).delete(block)) this.#counter.changed(this, -1)
    ;(this.written as Map<number, BlockEntry>).delete(block)
    this.#bad?.delete(block)
  }

  /** Forgets what is of other blocks. */
  keepOnly(blocks: BlockSet): void {
    for (const block of [...this.dirty.keys(), ...this.written.keys()]) {
      if (!blocks.has(block)) this.forget(block)
    }
  }

  forgetAll(): void {
    this.#counter.changed(this, -this.dirty.size)
    this.dirty = NONE
    this.written = NONE
  }

  /** `entry` has reached the file; if it still counts, its memory is given back. */
  wasWritten(block: number, entry: BlockEntry): void {
    if (this.dirty.get(block) !== entry) return
    ;(this.dirty as Map<number, BlockEntry>).delete(block)
    if (this.dirty.size === 0) this.dirty = NONE
    if (this.written === NONE) this.written = new Map()
    entry.data = null
    ;(this.written as Map<number, BlockEntry>).set(block, entry)
    this.#counter.changed(this, -1)
  }

  /** `entry` is in the table that the newest manifest names. */
  wasPublished(block: number, entry: BlockEntry): void {
    if (this.written.get(block) !== entry) return
    ;(this.written as Map<number, BlockEntry>).delete(block)
    if (this.written.size === 0) this.written = NONE
  }

  /** False when that was known already. */
  foundBad(block: number): boolean {
    this.#bad ??= new Set()
    if (this.#bad.has(block)) return false
    this.#bad.add(block)
    return true
  }

  knownBad(block: number): boolean {
    return this.#bad?.has(block) ?? false
  }

  /** Whether one of these blocks is known to be bad. */
  hasBadOf(blocks: BlockSet): boolean {
    return this.#bad !== null && [...this.#bad].some((block) => blocks.has(block))
  }
}

/** The bytes of a dirty block, as a view. */
export function bytesOf(entry: BlockEntry, data: Uint8Array): Uint8Array {
  return data.subarray(entry.at, entry.at + BLOCK_BYTES)
}
