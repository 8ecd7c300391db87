// Owns what a chunk comes to as one number, the same on every replica whatever files its blocks lie
// in: over the numbers, states and checksums of all blocks in all generations. A picture keeps what is
// needed of one moment, so that pages can be read while the state goes on.

import { viewOf } from '../base/bytes.ts'
import type { Crc32c } from '../base/crc32c.ts'
import { writeU53 } from '../base/u53.ts'
import { BLOCK_BYTES, CHUNK_BLOCKS } from '../format/chunk-request.ts'
import type { Located } from './block-reader.ts'
import { HeldPages } from './block-reader.ts'
import { type Chunk, layerData } from './chunk.ts'
import type { BlockEntry, ChunkFile } from './chunk-file.ts'
import { entryCrc, entryVersion, PAGES, pageOf } from './layout.ts'
import type { StoreParts } from './parts.ts'
import type { Reads } from './reads.ts'
import type { Page } from './tables.ts'
import type { BadBlock, ChunkDigest } from './types.ts'

/** A chunk at one moment, with what its files' tables said then. */
export interface ChunkPicture {
  readonly chunk: Chunk
  readonly tables: ReadonlyMap<ChunkFile, TablePicture>
}

interface TablePicture {
  readonly entries: ReadonlyMap<number, BlockEntry>
  readonly present: number
  readonly slots: number
  readonly crcs: Uint32Array
  /** Read so far. */
  readonly pages: (Page | undefined)[]
}

export function takePicture(chunk: Chunk): ChunkPicture {
  const tables = new Map<ChunkFile, TablePicture>()
  for (const { file } of chunk.files()) {
    tables.set(file, {
      entries: new Map([...file.written, ...file.dirty]),
      present: file.pagesPresent,
      slots: file.pageSlots,
      crcs: file.pageCrcs.slice(),
      pages: new Array<Page | undefined>(PAGES),
    })
  }
  return { chunk: chunk.clone(), tables }
}

const UNKNOWN = { version: 0, crc: 0 }

/** A block as the picture has it; both 0 when its page is damaged. */
export function entryIn(
  table: TablePicture,
  block: number,
): { readonly version: number; readonly crc: number } {
  const recent = table.entries.get(block)
  if (recent !== undefined) return recent
  const page = table.pages[pageOf(block)]
  if (page === undefined) return UNKNOWN
  return { version: entryVersion(page, block), crc: entryCrc(page, block) }
}

/**
 * Reads the pages that the picture lacks. False when one of them has been overwritten meanwhile, which
 * takes two checkpoints: the picture is worth nothing then.
 */
export async function loadPages(picture: ChunkPicture, parts: StoreParts): Promise<boolean> {
  for (const { file, data } of picture.chunk.files()) {
    const table = picture.tables.get(file) as TablePicture
    for (let block = data.next(0); block < CHUNK_BLOCKS; block = data.next(block + 1)) {
      const number = pageOf(block)
      const isThere = ((table.present >>> number) & 1) === 1
      if (!isThere || table.pages[number] !== undefined || table.entries.has(block)) continue
      const crc = table.crcs[number] as number
      const slot = (table.slots >>> number) & 1
      const isNewest = file.pageCrcs[number] === crc && ((file.pageSlots >>> number) & 1) === slot
      const cached = isNewest ? parts.tables.cached(file, number) : undefined
      const page = cached ?? (await parts.tables.read(file, number, slot, crc))
      if (page !== null) table.pages[number] = page
      else if (file.pageCrcs[number] !== crc) return false
      else table.pages[number] = parts.tables.nothing
    }
  }
  return true
}

export class Digests {
  readonly #parts: StoreParts
  readonly #reads: Reads
  readonly #find: (id: number) => Chunk | undefined

  constructor(parts: StoreParts, reads: Reads, find: (id: number) => Chunk | undefined) {
    this.#parts = parts
    this.#reads = reads
    this.#find = find
  }

  /** Null when the chunk is gone. */
  async of(id: number, verify: boolean): Promise<ChunkDigest | null> {
    for (;;) {
      const chunk = this.#find(id)
      if (chunk === undefined) return null
      const picture = takePicture(chunk)
      if (!(await loadPages(picture, this.#parts))) continue
      const bad = verify ? await this.#verify(id, picture) : new Map<number, Found>()
      const { crc32c } = this.#parts.env
      const badBlocks = [...bad.values(), ...knownBad(picture, bad)]
      badBlocks.sort((a, b) => b.sn - a.sn || a.block - b.block)
      return {
        chunk: id,
        version: picture.chunk.version,
        digest: digestOf(picture, crc32c, bad),
        usedBytes: picture.chunk.usedBytes,
        badBlocks: badBlocks.map(({ sn, block, version }) => ({ sn, block, version })),
      }
    }
  }

  /** Reads all blocks; what was found of those that are bad, by place(). */
  async #verify(id: number, picture: ChunkPicture): Promise<Map<number, Found>> {
    const bad = new Map<number, Found>()
    const into = new Uint8Array(VERIFY_BLOCKS * BLOCK_BYTES)
    for (const [layer, { sn, files }] of picture.chunk.layers.entries()) {
      for (const { file, data } of files) {
        const table = picture.tables.get(file) as TablePicture
        for (let block = data.next(0); block < CHUNK_BLOCKS; ) {
          const wanted: Located[] = []
          for (; block < CHUNK_BLOCKS && wanted.length < VERIFY_BLOCKS; ) {
            // What waits in memory is good without the disk.
            if (!file.dirty.has(block)) {
              wanted.push({ file, block, ...entryIn(table, block), bytes: null })
            }
            block = data.next(block + 1)
          }
          const places = wanted.map((_, i) => i * BLOCK_BYTES)
          for (const i of await this.#parts.reader.read(wanted, places, into)) {
            const suspect = wanted[i] as Located
            const at = i * BLOCK_BYTES
            const crc = this.#parts.env.crc32c(into.subarray(at, at + BLOCK_BYTES))
            if (!(await this.#isStill(id, suspect))) continue
            this.#reads.tellBad(id, [suspect])
            const { version } = suspect
            bad.set(placeOf(layer, suspect.block), { sn, block: suspect.block, version, crc })
          }
        }
      }
    }
    return bad
  }

  /** Whether the block has not been written, moved or dropped since the picture. */
  async #isStill(id: number, suspect: Located): Promise<boolean> {
    const chunk = this.#find(id)
    if (chunk === undefined) return false
    const { file, block, version } = suspect
    const held = new HeldPages()
    const now = await this.#parts.reader.locateLoading(file, block, held)
    const isHere = [...chunk.files()].some((own) => own.file === file && own.data.has(block))
    return isHere && now.bytes === null && now.version === version
  }
}

/** Read at once by a verification: 1 MiB. */
const VERIFY_BLOCKS = 256

interface Found extends BadBlock {
  readonly crc: number
}

function placeOf(layer: number, block: number): number {
  return layer * CHUNK_BLOCKS + block
}

/** Blocks known to be bad without reading: found so before, or of unknown content. */
function knownBad(picture: ChunkPicture, found: ReadonlyMap<number, Found>): BadBlock[] {
  const bad: BadBlock[] = []
  for (const [layer, { sn, files }] of picture.chunk.layers.entries()) {
    for (const { file, data } of files) {
      const table = picture.tables.get(file) as TablePicture
      for (let block = data.next(0); block < CHUNK_BLOCKS; block = data.next(block + 1)) {
        const { version } = entryIn(table, block)
        const isBad = version === 0 || file.knownBad(block)
        if (isBad && !found.has(placeOf(layer, block))) bad.push({ sn, block, version })
      }
    }
  }
  return bad
}

/** `found`: checksums as read where they differ from what they should be. */
export function digestOf(
  picture: ChunkPicture,
  crc32c: Crc32c,
  found: ReadonlyMap<number, { readonly crc: number }> = new Map(),
): number {
  const { chunk } = picture
  const head = new Uint8Array(24)
  writeU53(viewOf(head), 0, chunk.id)
  writeU53(viewOf(head), 8, chunk.correctedSn)
  viewOf(head).setUint32(16, chunk.layers.length, true)
  let digest = crc32c(head)
  if (chunk.source !== null) digest = crc32c(chunk.source, digest)
  for (const [number, layer] of chunk.layers.entries()) {
    const data = layerData(layer)
    const bytes = new Uint8Array(
      8 + data.encodedBytes() + layer.zeros.encodedBytes() + 4 * data.count,
    )
    const view = viewOf(bytes)
    writeU53(view, 0, layer.sn)
    let at = layer.zeros.encode(view, data.encode(view, 8))
    const crcs = crcsOf(picture, number, found)
    for (let block = data.next(0); block < CHUNK_BLOCKS; block = data.next(block + 1), at += 4) {
      view.setUint32(at, crcs[block] as number, true)
    }
    digest = crc32c(bytes, digest)
  }
  return digest
}

function crcsOf(
  picture: ChunkPicture,
  layer: number,
  found: ReadonlyMap<number, { readonly crc: number }>,
): Uint32Array {
  const crcs = new Uint32Array(CHUNK_BLOCKS)
  for (const { file, data } of picture.chunk.layers[layer]?.files ?? []) {
    const table = picture.tables.get(file) as TablePicture
    for (let block = data.next(0); block < CHUNK_BLOCKS; block = data.next(block + 1)) {
      crcs[block] = found.get(placeOf(layer, block))?.crc ?? entryIn(table, block).crc
    }
  }
  return crcs
}
