// Owns giving a replica's state to another one. The volumes are as they were at the index; a chunk is
// as its row was when its first piece was asked, and a block as it is when its turn comes. A block that
// was written since is sent as it is then, or not at all: the receiver applies that write too. So the
// receiver's sets are exact from the start, and only contents may run ahead (`settledIndex`). They may
// do so in the files here too, when the replica was loaded after a crash and has not applied its log
// again: what does not fit its entry is left out without being called bad, and the log brings it.

import { LemnisError } from '../base/errors.ts'
import { BLOCK_BYTES, CHUNK_BLOCKS } from '../format/chunk-request.ts'
import {
  type SnapshotItem,
  type SnapshotPiece,
  type SnapshotSource,
  TRANSFER_END,
} from '../raft/snapshot.ts'
import { HeldPages, type Located } from './block-reader.ts'
import type { BlockSet } from './block-set.ts'
import { type Chunk, holderOf, type Layer, layerData } from './chunk.ts'
import type { StoreParts } from './parts.ts'
import type { Reads } from './reads.ts'
import type { ReplicaState } from './replica-state.ts'
import {
  type BlockRecord,
  blocksInPiece,
  type Candidate,
  candidatesOf,
  decodeHave,
  encodePiece,
} from './transfer-codec.ts'
import type { FoundBlock } from './types.ts'

/** The item of the volumes; chunks have ids from 1 on. */
export const VOLUMES_ITEM = 0

/** Blocks looked at for one piece when nothing of them differs. */
const SCAN_BLOCKS_MAX = 4 * CHUNK_BLOCKS

const LOST = { version: 0, crc: 0 }

/** A block that goes into a piece, and where it is; null for one that was dropped. */
interface Picked {
  readonly layer: number
  readonly block: number
  readonly located: Located | null
}

interface Outgoing {
  readonly chunk: Chunk
  readonly data: readonly BlockSet[]
  /** What the receiver has, for each layer. */
  readonly candidates: readonly (readonly Candidate[])[]
}

export class TransferSource implements SnapshotSource {
  readonly index: number
  readonly items: readonly SnapshotItem[]
  readonly #parts: StoreParts
  readonly #state: ReplicaState
  readonly #reads: Reads
  #volumes: Uint8Array
  readonly #outgoing = new Map<number, Outgoing>()

  constructor(parts: StoreParts, state: ReplicaState, reads: Reads) {
    this.#parts = parts
    this.#state = state
    this.#reads = reads
    this.index = state.appliedIndex
    this.#volumes = state.volumes.encode()
    const { version } = state.volumes
    const items: SnapshotItem[] = [{ id: VOLUMES_ITEM, version, bytes: this.#volumes.byteLength }]
    for (const chunk of state.chunks()) {
      items.push({ id: chunk.id, version: chunk.version, bytes: chunk.usedBytes })
    }
    this.items = items
  }

  async read(
    id: number,
    cursor: number,
    bytesMax: number,
    have: Uint8Array,
  ): Promise<SnapshotPiece> {
    if (id === VOLUMES_ITEM) return this.#readVolumes(cursor, bytesMax)
    if (cursor === 0) {
      const chunk = this.#state.chunk(id)
      if (chunk === undefined) {
        const bytes = encodePiece(null, this.#state.appliedIndex, [])
        return { bytes, next: TRANSFER_END }
      }
      this.#outgoing.set(id, begin(chunk, have))
    }
    const outgoing = this.#outgoing.get(id)
    if (outgoing === undefined) throw new LemnisError('INVALID_ARGUMENT', { item: id, cursor })
    const row = cursor === 0 ? outgoing.chunk : null
    const { records, next } = await this.#pick(outgoing, Math.max(0, cursor - 1), bytesMax)
    if (next === TRANSFER_END) this.#outgoing.delete(id)
    return { bytes: encodePiece(row, 0, records), next }
  }

  #readVolumes(cursor: number, bytesMax: number): SnapshotPiece {
    const end = Math.min(this.#volumes.byteLength, cursor + Math.max(1, bytesMax))
    const isLast = end === this.#volumes.byteLength
    return { bytes: this.#volumes.slice(cursor, end), next: isLast ? TRANSFER_END : end }
  }

  /** Blocks from place `from` on (layer by layer) that the receiver lacks. */
  async #pick(
    outgoing: Outgoing,
    from: number,
    bytesMax: number,
  ): Promise<{ readonly records: BlockRecord[]; readonly next: number }> {
    const countMax = blocksInPiece(bytesMax)
    const picked: Picked[] = []
    const held = new HeldPages()
    let place = from
    const placeEnd = outgoing.data.length * CHUNK_BLOCKS
    for (let scanned = 0; place < placeEnd; scanned++) {
      if (picked.length === countMax || scanned === SCAN_BLOCKS_MAX) break
      const layer = Math.floor(place / CHUNK_BLOCKS)
      const block = (outgoing.data[layer] as BlockSet).next(place % CHUNK_BLOCKS)
      place = layer * CHUNK_BLOCKS + block
      // Behind the last block of the layer: the next layer's first.
      if (block === CHUNK_BLOCKS) continue
      const located = await this.#locate(outgoing, layer, block, held)
      const known = versionIn(outgoing.candidates[layer], block)
      const isKnown = located !== null && located.version !== 0 && located.version === known
      if (!isKnown) picked.push({ layer, block, located })
      place++
    }
    const records = await this.#take(outgoing, picked, held)
    return { records, next: place < placeEnd ? place + 1 : TRANSFER_END }
  }

  /** Reads what was picked; a block that changes just then is looked for once more by itself. */
  async #take(
    outgoing: Outgoing,
    picked: readonly Picked[],
    held: HeldPages,
  ): Promise<BlockRecord[]> {
    const there = picked.filter(({ located }) => located !== null)
    const wanted = there.map(({ located }) => located as Located)
    const into = new Uint8Array(wanted.length * BLOCK_BYTES)
    const places = wanted.map((_, i) => i * BLOCK_BYTES)
    const suspects = await this.#parts.reader.read(wanted, places, into)
    const bytesOf = new Map<Picked, Uint8Array | null>()
    for (const [i, one] of there.entries()) {
      bytesOf.set(one, into.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES))
    }
    for (const i of suspects) bytesOf.set(there[i] as Picked, null)
    const records: BlockRecord[] = []
    for (const one of picked) {
      const { layer, block, located } = one
      // Dropped meanwhile: the receiver will drop it too.
      const { version, crc } = located ?? LOST
      const bytes = bytesOf.get(one) ?? null
      const again =
        located === null || bytes !== null ? null : await this.#again(outgoing, one, held)
      records.push({ layer, block, ...(again ?? { version, crc, bytes }) })
    }
    return records
  }

  #again(outgoing: Outgoing, picked: Picked, held: HeldPages): Promise<FoundBlock | null> {
    const { chunk } = outgoing
    const { sn } = chunk.layers[picked.layer] as Layer
    const layerIn = (now: Chunk): Layer | undefined => layerNow(now, chunk, sn)
    return this.#reads.one(chunk.id, layerIn, picked.block, held, false)
  }

  /** Null when that generation has no such block any more. */
  async #locate(
    outgoing: Outgoing,
    layer: number,
    block: number,
    held: HeldPages,
  ): Promise<Located | null> {
    const { chunk } = outgoing
    const { sn } = chunk.layers[layer] as Layer
    for (;;) {
      const now = this.#state.chunk(chunk.id)
      const layerThen = now === undefined ? undefined : layerNow(now, chunk, sn)
      const holder = layerThen === undefined ? null : holderOf(layerThen, block)
      if (holder === null) return null
      const located = this.#parts.reader.locate(holder.file, block, held)
      if (located !== null) return located
      await this.#parts.reader.load(holder.file, block, held)
    }
  }

  close(): void {
    this.#outgoing.clear()
    this.#volumes = new Uint8Array(0)
  }
}

function begin(chunk: Chunk, have: Uint8Array): Outgoing {
  const frozen = chunk.clone()
  const { birth, candidates } = decodeHave(have)
  const sns = frozen.layers.map(({ sn }) => sn)
  return {
    chunk: frozen,
    data: frozen.layers.map(layerData),
    candidates: candidatesOf(sns, birth === frozen.birth ? candidates : []),
  }
}

/** Where generation `sn` of the chunk has gone: the oldest layer that is not older. */
function layerNow(now: Chunk, then: Chunk, sn: number): Layer | undefined {
  if (now.birth !== then.birth) return undefined
  return now.layers.findLast((layer) => layer.sn >= sn)
}

function versionIn(candidates: readonly Candidate[] | undefined, block: number): number {
  for (const { data, versions } of candidates ?? []) {
    if (data.has(block)) return versions[block] as number
  }
  return 0
}
