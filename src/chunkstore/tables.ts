// Owns the pages of block tables in memory: read when somebody needs one, verified, kept for the next,
// the longest unused dropped past a limit. A page in here is never changed; a newer one replaces it.

import { viewOf } from '../base/bytes.ts'
import { asLemnisError } from '../base/errors.ts'
import type { Env } from '../env/env.ts'
import type { ChunkFile } from './chunk-file.ts'
import { emptyPage, isPage, PAGE_BYTES, PAGES, pageAt } from './layout.ts'
import type { OpenFiles } from './open-files.ts'

export type Page = DataView

export interface LoadedPage {
  readonly page: Page
  /** By which the manifest of that time knew it. */
  readonly crc: number
}

export class Tables {
  readonly #env: Env
  readonly #files: OpenFiles
  readonly #countMax: number
  /** By file and number of the page, the longest unused first. */
  readonly #pages = new Map<number, Page>()
  /** Stands for a page that the file never had: every entry is unknown. */
  readonly nothing: Page = viewOf(emptyPage())

  constructor(env: Env, files: OpenFiles, bytesMax: number) {
    this.#env = env
    this.#files = files
    this.#countMax = Math.max(PAGES, Math.floor(bytesMax / PAGE_BYTES))
  }

  /** The page that the newest manifest names, if it is in memory. */
  cached(file: ChunkFile, page: number): Page | undefined {
    if (((file.pagesPresent >>> page) & 1) === 0) return this.nothing
    const key = file.key * PAGES + page
    const found = this.#pages.get(key)
    if (found === undefined) return undefined
    this.#pages.delete(key)
    this.#pages.set(key, found)
    return found
  }

  /**
   * The page that the newest manifest names. One that can't be read, or is not what it should be, is
   * as if it knew nothing: its blocks are bad then.
   */
  async load(file: ChunkFile, page: number): Promise<LoadedPage> {
    for (;;) {
      const crc = file.pageCrcs[page] as number
      const known = this.cached(file, page)
      if (known !== undefined) return { page: known, crc }
      const slot = (file.pageSlots >>> page) & 1
      const found = await this.read(file, page, slot, crc)
      const isNewest = file.pageCrcs[page] === crc && ((file.pageSlots >>> page) & 1) === slot
      if (!isNewest) continue
      // A damaged page is not kept: perhaps only the reading failed.
      if (found === null) return { page: this.nothing, crc }
      this.replace(file, page, found)
      return { page: found, crc }
    }
  }

  /** Page `page` from that slot, if it has that CRC. */
  async read(file: ChunkFile, page: number, slot: number, crc: number): Promise<Page | null> {
    const bytes = new Uint8Array(PAGE_BYTES)
    try {
      const use = await this.#files.acquire(file.path, false)
      try {
        await use.file.read(bytes, pageAt(page, slot))
      } finally {
        use.release()
      }
    } catch (error) {
      // A broken invariant goes on; an error of the disk is a damaged page.
      asLemnisError(error)
      return null
    }
    const identity = { group: file.group, replica: file.replica, file: file.id, page }
    return isPage(bytes, identity, crc, this.#env.crc32c) ? viewOf(bytes) : null
  }

  replace(file: ChunkFile, page: number, bytes: Page): void {
    const key = file.key * PAGES + page
    this.#pages.delete(key)
    this.#pages.set(key, bytes)
    for (const oldest of this.#pages.keys()) {
      if (this.#pages.size <= this.#countMax) break
      this.#pages.delete(oldest)
    }
  }

  drop(file: ChunkFile): void {
    for (let page = 0; page < PAGES; page++) this.#pages.delete(file.key * PAGES + page)
  }
}
