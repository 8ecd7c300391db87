// Owns reading a replica's blocks for others: ranges of a generation for clients, single blocks of one
// version for peers. Every block from a file has been verified. A block that changed while it was read
// is read again; one that is what it was, and still does not agree with its checksum, is bad: counted,
// told, and left to the caller to have repaired.

import { assert, must } from '../base/assert.ts'
import { EMPTY } from '../base/bytes.ts'
import { LemnisError } from '../base/errors.ts'
import { Slab } from '../base/slab.ts'
import { BLOCK_BYTES, CHUNK_BLOCKS } from '../format/chunk-request.ts'
import { HeldPages, type Located } from './block-reader.ts'
import { type Chunk, holderOf, type Layer } from './chunk.ts'
import type { ChunkFile } from './chunk-file.ts'
import type { StoreParts } from './parts.ts'
import type { ReplicaState } from './replica-state.ts'
import type { BadBlock, BlockRange, ChunkRead, Extent, FoundBlock, FoundBlocks } from './types.ts'

/** What a range is made of; null where a page is missing to say so. */
interface Plan {
  readonly wanted: Located[]
  readonly places: number[]
  readonly crcs: Uint32Array
  readonly missing: BlockRange[]
}

/** A block whose page is not in memory. */
interface Unknown {
  readonly file: ChunkFile
  readonly block: number
}

const ANSWER_SLAB_BYTES = 128 * 1024
const ANSWER_SLAB_ITEM_BYTES_MAX = 16 * 1024

export class Reads {
  readonly #parts: StoreParts
  readonly #group: number
  readonly #replica: number
  readonly #state: ReplicaState
  readonly #answers = new Slab(ANSWER_SLAB_BYTES, ANSWER_SLAB_ITEM_BYTES_MAX)

  constructor(parts: StoreParts, group: number, replica: number, state: ReplicaState) {
    this.#parts = parts
    this.#group = group
    this.#replica = replica
    this.#state = state
  }

  async range(id: number, sn: number, firstBlock: number, count: number): Promise<ChunkRead> {
    checkRange(firstBlock, count)
    const held = new HeldPages()
    for (;;) {
      const chunk = this.#state.chunk(id)
      if (chunk === undefined) return sn === 0 ? zeros() : { status: 'not-found' }
      const place = chunk.placeOf(sn)
      if (place < 0) return { status: 'not-found' }
      const plan = this.#plan(chunk, place, firstBlock, count, held)
      if (!('wanted' in plan)) {
        await this.#parts.reader.load(plan.file, plan.block, held)
        continue
      }
      if (plan.wanted.length === 0 && plan.missing.length === 0) return zeros()
      const bytes = this.#answers.take(count * BLOCK_BYTES)
      const suspects = await this.#parts.reader.read(plan.wanted, plan.places, bytes)
      if (suspects.length > 0) {
        const bad = await this.#judge(
          id,
          suspects.map((i) => plan.wanted[i] as Located),
          held,
        )
        if (bad === null) continue
        return { status: 'bad', blocks: bad }
      }
      if (plan.missing.length === 0) {
        // Their reader checks the answer against these: one who is blind must not be saved by that.
        const crcs = this.#parts.reader.isBlind ? this.#crcsOf(bytes) : plan.crcs
        return { status: 'ok', bytes, crcs }
      }
      const source = must(chunk.source, 'only a clone misses blocks')
      return { status: 'source', bytes, missing: plan.missing, source }
    }
  }

  #crcsOf(bytes: Uint8Array): Uint32Array {
    const { crc32c } = this.#parts.env
    return Uint32Array.from({ length: bytes.length / BLOCK_BYTES }, (_, i) =>
      crc32c(bytes.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES)),
    )
  }

  #plan(
    chunk: Chunk,
    place: number,
    firstBlock: number,
    count: number,
    held: HeldPages,
  ): Plan | Unknown {
    const crcs = new Uint32Array(count).fill(this.#parts.zeroCrc)
    const plan: Plan = { wanted: [], places: [], crcs, missing: [] }
    for (let i = 0; i < count; i++) {
      const block = firstBlock + i
      const file = chunk.fileOf(block, place)
      if (file === null) {
        if (chunk.isMissing(block)) addTo(plan.missing, block)
        continue
      }
      const located = this.#parts.reader.locate(file, block, held)
      if (located === null) return { file, block }
      plan.wanted.push(located)
      plan.places.push(i * BLOCK_BYTES)
      crcs[i] = located.crc
    }
    return plan
  }

  /** Those of `suspects` that are bad, told and counted; null when one has changed meanwhile. */
  async #judge(
    id: number,
    suspects: readonly Located[],
    held: HeldPages,
  ): Promise<BadBlock[] | null> {
    const bad = await this.#unchanged(id, suspects, held)
    if (bad !== null) this.tellBad(id, suspects)
    return bad
  }

  /** Null when one of them is not any more what it was when it was read. */
  async #unchanged(
    id: number,
    suspects: readonly Located[],
    held: HeldPages,
  ): Promise<BadBlock[] | null> {
    const bad: BadBlock[] = []
    for (const suspect of suspects) {
      const chunk = this.#state.chunk(id)
      const sn = chunk === undefined ? 0 : generationOf(chunk, suspect.file, suspect.block)
      if (sn === 0) return null
      const now = await this.#parts.reader.locateLoading(suspect.file, suspect.block, held)
      if (now.version !== suspect.version || now.bytes !== null) return null
      bad.push({ sn, block: suspect.block, version: suspect.version })
    }
    return bad
  }

  tellBad(id: number, blocks: readonly Located[]): void {
    this.#state.mayBeDamaged = true
    const news = blocks.filter(({ file, block }) => file.foundBad(block)).length
    if (news === 0) return
    const { tally, observer } = this.#parts
    tally.badBlocks += news
    tally.badBlocksTotal.add(news)
    const { file, block } = blocks[0] as Located
    observer.emit('chunkstore_bad_blocks', {
      group: this.#group,
      replica: this.#replica,
      chunk: id,
      blocks: news,
      firstBlock: block,
      file: file.path,
    })
  }

  extents(id: number, firstBlock: number, count: number): Extent[] {
    checkRange(firstBlock, count)
    const chunk = this.#state.chunk(id)
    const extents: { firstBlock: number; blockCount: number; kind: Extent['kind'] }[] = []
    for (let block = firstBlock; block < firstBlock + count; block++) {
      let kind: Extent['kind'] = 'zero'
      if (chunk?.isData(block) === true) kind = 'data'
      else if (chunk?.isMissing(block) === true) kind = 'source'
      const last = extents.at(-1)
      if (last?.kind === kind) last.blockCount++
      else extents.push({ firstBlock: block, blockCount: 1, kind })
    }
    return extents
  }

  async blocksFor(
    id: number,
    sn: number,
    wanted: readonly { readonly block: number; readonly version: number }[],
  ): Promise<FoundBlocks> {
    const blocks: FoundBlock[] = []
    const held = new HeldPages()
    for (const { block, version } of wanted) {
      const found = await this.one(id, (chunk) => layerOf(chunk, sn), block, held, true)
      if (found === null || (version !== 0 && found.version !== version)) continue
      blocks.push(found)
    }
    return { chunkVersion: this.#state.chunk(id)?.version ?? 0, blocks }
  }

  /**
   * The block as that layer has it, verified; null when it has none, or a bad one. `tells`: it is called
   * bad then. Not while the log is being applied again: what the file has may just be newer.
   */
  async one(
    id: number,
    layerIn: (chunk: Chunk) => Layer | undefined,
    block: number,
    held: HeldPages,
    tells: boolean,
  ): Promise<FoundBlock | null> {
    for (;;) {
      const chunk = this.#state.chunk(id)
      const layer = chunk === undefined ? undefined : layerIn(chunk)
      const holder = layer === undefined ? null : holderOf(layer, block)
      if (holder === null) return null
      const located = this.#parts.reader.locate(holder.file, block, held)
      if (located === null) {
        await this.#parts.reader.load(holder.file, block, held)
        continue
      }
      const bytes = new Uint8Array(BLOCK_BYTES)
      const suspects = await this.#parts.reader.read([located], [0], bytes)
      if (suspects.length === 0) {
        const { version, crc } = located
        return { block, version, crc, bytes }
      }
      const bad = await this.#unchanged(id, [located], held)
      if (bad === null) continue
      if (tells) this.tellBad(id, [located])
      return null
    }
  }

  /** See ReplicaChunks.repair. */
  async repair(
    id: number,
    sn: number,
    block: number,
    version: number,
    bytes: Uint8Array,
    chunkVersion: number,
  ): Promise<boolean> {
    assert(bytes.byteLength === BLOCK_BYTES, 'a repair brings one block')
    const held = new HeldPages()
    for (;;) {
      const chunk = this.#state.chunk(id)
      const layer = chunk === undefined ? undefined : layerOf(chunk, sn)
      const holder = layer === undefined ? null : holderOf(layer, block)
      if (chunk === undefined || holder === null) return false
      const located = this.#parts.reader.locate(holder.file, block, held)
      if (located === null) {
        await this.#parts.reader.load(holder.file, block, held)
        continue
      }
      const isSame =
        located.version === 0
          ? version > 0 && version <= chunk.version && chunkVersion === chunk.version
          : located.version === version
      if (!isSame) return false
      const crc = this.#parts.env.crc32c(bytes)
      holder.file.put(block, { version, crc, data: bytes.slice(), at: 0 })
      this.#parts.tally.repairedBlocks++
      this.#parts.tally.repairedBlocksTotal.add(1)
      return true
    }
  }
}

function zeros(): ChunkRead {
  return { status: 'ok', bytes: EMPTY, crcs: null }
}

function layerOf(chunk: Chunk, sn: number): Layer | undefined {
  return chunk.layers.find((layer) => layer.sn === sn)
}

/** Of the layer in which `file` has the block; 0 when none has it there any more. */
function generationOf(chunk: Chunk, file: ChunkFile, block: number): number {
  for (const { sn, files } of chunk.layers) {
    if (files.some((holder) => holder.file === file && holder.data.has(block))) return sn
  }
  return 0
}

function addTo(ranges: BlockRange[], block: number): void {
  const last: { firstBlock: number; blockCount: number } | undefined = ranges.at(-1)
  if (last !== undefined && last.firstBlock + last.blockCount === block) last.blockCount++
  else ranges.push({ firstBlock: block, blockCount: 1 })
}

function checkRange(firstBlock: number, count: number): void {
  const isRange =
    Number.isInteger(firstBlock) &&
    Number.isInteger(count) &&
    firstBlock >= 0 &&
    count > 0 &&
    firstBlock + count <= CHUNK_BLOCKS
  if (!isRange) throw new LemnisError('INVALID_ARGUMENT', { firstBlock, count })
}
