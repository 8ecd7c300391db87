// Owns making a replica's state durable: blocks into their files, changed pages of their tables into
// the slots that do not count, a sync of all of them, then the manifest that makes the new pages count,
// in one step by its rename. Invariant: until then everything that the manifest before names is as it
// was, but for blocks that the log writes again before anybody reads them.

import { must } from '../base/assert.ts'
import { viewOf } from '../base/bytes.ts'
import { LemnisError } from '../base/errors.ts'
import type { Chunk } from './chunk.ts'
import type { BlockEntry, ChunkFile } from './chunk-file.ts'
import { replicaName } from './directories.ts'
import { emptyPage, PAGE_BYTES, pageAt, pageOf, sealPage, setEntry } from './layout.ts'
import {
  encodeManifest,
  type FileTable,
  type GoneBy,
  isSound,
  type ManifestExtras,
  type ManifestHead,
  pruneManifest,
} from './manifest.ts'
import type { StoreParts } from './parts.ts'
import type { Page } from './tables.ts'
import { readWhole, syncWhole, writeWhole } from './whole-file.ts'
import type { BlockWrite, FilePiece } from './write-back.ts'

/** The entries of a file that its table does not have, as they were when the state was frozen. */
export interface FrozenFile {
  readonly file: ChunkFile
  readonly entries: ReadonlyMap<number, BlockEntry>
}

/** What is published. */
export interface Publication {
  readonly head: Omit<ManifestHead, 'generation' | 'group' | 'replica'>
  readonly extras: ManifestExtras
  readonly files: readonly FrozenFile[]
  /** Asked when the manifest is written. */
  chunks(): Chunk[]
  /** The last entry applied to the state from which the files come. */
  appliedNow(): number
}

/** A file's table as the new manifest will name it. */
interface NewTable extends FileTable {
  readonly frozen: FrozenFile
  readonly pages: ReadonlyMap<number, Page>
}

export function freezeFiles(chunks: readonly Chunk[]): FrozenFile[] {
  const frozen: FrozenFile[] = []
  for (const chunk of chunks) {
    for (const { file } of chunk.files()) {
      if (!file.hasChanges) continue
      frozen.push({ file, entries: new Map([...file.written, ...file.dirty]) })
    }
  }
  return frozen
}

export class Publisher {
  readonly #parts: StoreParts
  readonly #group: number
  readonly #replica: number
  readonly #name: string
  #generation: number
  /** Publications follow each other. */
  #last: Promise<void> = Promise.resolve()

  /** `generation`: of the manifest that is there; 0 for none. */
  constructor(parts: StoreParts, group: number, replica: number, generation: number) {
    this.#parts = parts
    this.#group = group
    this.#replica = replica
    this.#name = replicaName(group, replica)
    this.#generation = generation
  }

  inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.#last.then(work)
    // A failure is told to who asked.
    this.#last = done.catch(() => {})
    return done
  }

  /** To be called in turn. NO_SPACE leaves everything as it was; after any other error nobody knows. */
  async publish(publication: Publication): Promise<void> {
    const { health, writeBack, pool } = this.#parts
    health.check()
    const tables = new Map<ChunkFile, NewTable>()
    let { settledIndex } = publication.head
    try {
      await writeBack.flush(dirtyOf(publication.files))
      const files = publication.files.filter(({ file }) => !file.dropped)
      // A file dropped since then is named with the table it had before, until the log drops it again.
      if (files.length < publication.files.length) {
        settledIndex = Math.max(settledIndex, publication.appliedNow())
      }
      for (const frozen of files) tables.set(frozen.file, await this.#foldPages(frozen))
      await this.#writePages([...tables.values()])
      await pool.syncNames()
    } catch (error) {
      throw health.changeFailed(error)
    }
    await this.#syncFiles(publication)
    await this.#writeManifest(publication, tables, settledIndex)
    this.#commit(tables)
    health.foundRoom()
  }

  async #foldPages(frozen: FrozenFile): Promise<NewTable> {
    const { file, entries } = frozen
    const pages = new Map<number, Page>()
    for (const [block, { crc, version }] of entries) {
      const number = pageOf(block)
      let page = pages.get(number)
      if (page === undefined) {
        page = viewOf(emptyPage())
        const { page: old } = await this.#parts.tables.load(file, number)
        bytesOfPage(page).set(bytesOfPage(old))
        pages.set(number, page)
      }
      setEntry(page, block, crc, version)
    }
    const crcs = file.pageCrcs.slice()
    let present = file.pagesPresent
    let slots = file.pageSlots
    for (const [number, page] of pages) {
      const identity = { group: this.#group, replica: this.#replica, file: file.id, page: number }
      const generation = this.#generation + 1
      crcs[number] = sealPage(bytesOfPage(page), identity, generation, this.#parts.env.crc32c)
      if (((present >>> number) & 1) === 1) slots ^= 1 << number
      present |= 1 << number
    }
    return { frozen, pages, present, slots, crcs }
  }

  async #writePages(tables: readonly NewTable[]): Promise<void> {
    const pieces: FilePiece[] = []
    for (const { frozen, pages, slots } of tables) {
      for (const [number, page] of pages) {
        const at = pageAt(number, (slots >>> number) & 1)
        pieces.push({ file: frozen.file, at, from: bytesOfPage(page) })
      }
    }
    const countMax = Math.max(1, Math.floor(this.#parts.config.writeBackBytes / PAGE_BYTES))
    for (let at = 0; at < pieces.length; at += countMax) {
      await this.#parts.writeBack.write(pieces.slice(at, at + countMax))
    }
  }

  async #syncFiles(publication: Publication): Promise<void> {
    const { health, config } = this.#parts
    if (config.bugs?.has('manifest-before-sync') === true) return
    const waiting = new Set<ChunkFile>()
    for (const chunk of publication.chunks()) {
      for (const { file } of chunk.files()) if (file.unsynced && !file.dropped) waiting.add(file)
    }
    try {
      // One after the other: each occupies a thread of the few that the log's appends need too.
      for (const file of waiting) await this.#parts.writeBack.sync(file)
    } catch (error) {
      // What a failed sync has written nobody knows, be it for lack of room (see env/disk.ts).
      throw health.changeFailed(error, false)
    }
  }

  async #writeManifest(
    publication: Publication,
    tables: ReadonlyMap<ChunkFile, FileTable>,
    settledIndex: number,
  ): Promise<void> {
    const { crc32c } = this.#parts.env
    const generation = this.#generation + 1
    const identity = { generation, group: this.#group, replica: this.#replica }
    const head = { ...publication.head, ...identity, settledIndex }
    const tableOf = (file: ChunkFile): FileTable =>
      tables.get(file) ?? { present: file.pagesPresent, slots: file.pageSlots, crcs: file.pageCrcs }
    const { extras } = publication
    const bytes = encodeManifest(head, extras, publication.chunks(), tableOf, crc32c)
    await this.#putManifest(generation, bytes)
  }

  async #putManifest(generation: number, bytes: Uint8Array): Promise<void> {
    const { env, health, layout } = this.#parts
    const { disk } = env
    const path = `${layout.manifests}/${this.#name}.${generation}`
    const draft = `${path}.tmp`
    try {
      await writeWhole(disk, draft, bytes)
    } catch (error) {
      const told = health.changeFailed(error)
      if (told.code === 'NO_SPACE') await disk.remove(draft).catch(() => {})
      throw told
    }
    try {
      await syncWhole(disk, draft)
      await disk.rename(draft, path)
      await disk.syncDirectory(layout.manifests)
      this.#generation = generation
      if (generation > 1) await disk.remove(`${layout.manifests}/${this.#name}.${generation - 1}`)
    } catch (error) {
      throw health.changeFailed(error, false)
    }
  }

  /**
   * Takes chunks that are gone out of the newest manifest, so that their files may go; to be called in
   * turn. When the log comes again, no entry up to the one that ended a chunk makes anything of it.
   */
  async prune(goneBy: GoneBy): Promise<void> {
    const { env, health, layout } = this.#parts
    health.check()
    const path = `${layout.manifests}/${this.#name}.${this.#generation}`
    const old = await readWhole(env.disk, path).catch((error: unknown) => {
      throw health.failedBy(error)
    })
    // What can't be read now would not be read after a start either: the host must know.
    if (!isSound(old, env.crc32c)) throw health.failedBy(new LemnisError('CORRUPT', { path }))
    const generation = this.#generation + 1
    const bytes = pruneManifest(old, generation, goneBy, env.crc32c)
    await this.#putManifest(generation, bytes)
  }

  /** From here on the new pages count. */
  #commit(tables: ReadonlyMap<ChunkFile, NewTable>): void {
    for (const [file, { frozen, pages, present, slots, crcs }] of tables) {
      file.pagesPresent = present
      file.pageSlots = slots
      file.pageCrcs.set(crcs)
      for (const [number, page] of pages) this.#parts.tables.replace(file, number, page)
      for (const [block, entry] of frozen.entries) file.wasPublished(block, entry)
    }
    this.#parts.tally.checkpointsTotal.add(1)
  }
}

function dirtyOf(files: readonly FrozenFile[]): BlockWrite[] {
  const blocks: BlockWrite[] = []
  for (const { file, entries } of files) {
    for (const block of [...entries.keys()].sort((a, b) => a - b)) {
      const entry = must(entries.get(block), 'an entry of each block')
      if (entry.data !== null) blocks.push({ file, block, entry })
    }
  }
  return blocks
}

function bytesOfPage(page: Page): Uint8Array {
  return new Uint8Array(page.buffer, page.byteOffset, page.byteLength)
}
