// Owns reading blocks from memory and from files, each checked against the CRC32C of its entry. What
// does not agree, can't be read, or is of unknown content is not an error here but a block that the
// caller judges: it may simply have been written again meanwhile.

import type { Crc32c } from '../base/crc32c.ts'
import { asLemnisError } from '../base/errors.ts'
import { BLOCK_BYTES } from '../format/chunk-request.ts'
import { bytesOf, type ChunkFile } from './chunk-file.ts'
import { blockAt, entryCrc, entryVersion, pageOf } from './layout.ts'
import type { OpenFiles } from './open-files.ts'
import type { LoadedPage, Page, Tables } from './tables.ts'

/** Where a block is, and what it must be. */
export interface Located {
  readonly file: ChunkFile
  readonly block: number
  /** 0 when nobody knows any more. */
  readonly version: number
  readonly crc: number
  /** In memory; null when it has to be read. */
  readonly bytes: Uint8Array | null
}

/** Pages that one operation has loaded, so that they can't be dropped under it. */
export class HeldPages {
  readonly #pages = new Map<ChunkFile, Map<number, LoadedPage>>()

  hold(file: ChunkFile, number: number, page: LoadedPage): void {
    let pages = this.#pages.get(file)
    if (pages === undefined) {
      pages = new Map()
      this.#pages.set(file, pages)
    }
    pages.set(number, page)
  }

  find(file: ChunkFile, number: number): Page | undefined {
    const held = this.#pages.get(file)?.get(number)
    return held !== undefined && held.crc === file.pageCrcs[number] ? held.page : undefined
  }
}

/** At most this many blocks are read from a file at once. */
const RUN_BLOCKS_MAX = 256

export class BlockReader {
  readonly #files: OpenFiles
  readonly #tables: Tables
  readonly #crc32c: Crc32c
  /** Takes what the disk gives for what it should be. */
  readonly isBlind: boolean

  /** `isBlind`: a planted bug, given by the simulator only. */
  constructor(files: OpenFiles, tables: Tables, crc32c: Crc32c, isBlind = false) {
    this.isBlind = isBlind
    this.#files = files
    this.#tables = tables
    this.#crc32c = crc32c
  }

  /** The block as it is now in `file`; null when a page must be loaded first. */
  locate(file: ChunkFile, block: number, held?: HeldPages): Located | null {
    const recent = file.recent(block)
    if (recent !== undefined) {
      const { version, crc, data } = recent
      return { file, block, version, crc, bytes: data === null ? null : bytesOf(recent, data) }
    }
    const number = pageOf(block)
    const page = this.#tables.cached(file, number) ?? held?.find(file, number)
    if (page === undefined) return null
    const version = entryVersion(page, block)
    return { file, block, version, crc: entryCrc(page, block), bytes: null }
  }

  async load(file: ChunkFile, block: number, held: HeldPages): Promise<void> {
    const number = pageOf(block)
    held.hold(file, number, await this.#tables.load(file, number))
  }

  async locateLoading(file: ChunkFile, block: number, held: HeldPages): Promise<Located> {
    for (;;) {
      const located = this.locate(file, block, held)
      if (located !== null) return located
      await this.load(file, block, held)
    }
  }

  /**
   * Puts block i of `wanted` at `places[i]` of `into`, and answers with the places in `wanted` of
   * those that are not good.
   */
  async read(
    wanted: readonly Located[],
    places: readonly number[],
    into: Uint8Array,
  ): Promise<number[]> {
    const bad: number[] = []
    for (let i = 0; i < wanted.length; ) {
      const first = wanted[i] as Located
      const place = places[i] as number
      if (first.bytes !== null) {
        into.set(first.bytes, place)
        i++
        continue
      }
      if (first.version === 0) {
        bad.push(i++)
        continue
      }
      const count = runFrom(wanted, places, i)
      const run = into.subarray(place, place + count * BLOCK_BYTES)
      const bytes = await this.#readRun(first.file, first.block, run)
      for (let n = 0; n < count; n++) {
        const end = (n + 1) * BLOCK_BYTES
        const isGood =
          end <= bytes &&
          (this.isBlind ||
            this.#crc32c(run.subarray(end - BLOCK_BYTES, end)) === wanted[i + n]?.crc)
        if (!isGood) bad.push(i + n)
      }
      i += count
    }
    return bad
  }

  /** How many bytes were there; 0 when reading failed. */
  async #readRun(file: ChunkFile, firstBlock: number, into: Uint8Array): Promise<number> {
    try {
      const use = await this.#files.acquire(file.path, false)
      try {
        return await use.file.read(into, blockAt(firstBlock))
      } finally {
        use.release()
      }
    } catch (error) {
      // A broken invariant goes on; what the disk did not give is bad.
      asLemnisError(error)
      return 0
    }
  }
}

/** How many of `wanted` from `from` on follow each other in the file and in memory. */
function runFrom(wanted: readonly Located[], places: readonly number[], from: number): number {
  const first = wanted[from] as Located
  const place = places[from] as number
  let count = 1
  for (; from + count < wanted.length && count < RUN_BLOCKS_MAX; count++) {
    const next = wanted[from + count] as Located
    const follows =
      next.file === first.file &&
      next.block === first.block + count &&
      next.bytes === null &&
      next.version !== 0 &&
      places[from + count] === place + count * BLOCK_BYTES
    if (!follows) break
  }
  return count
}
