// Owns a naive twin of a replica's chunks: each generation of a chunk is a whole image of numbers, one
// a block, copied when a new one begins. Says what every read, outcome and extent must be. Shares no
// code with what it checks.

import type { ChunkRequest } from '../../format/chunk-request.ts'

export const BLOCKS = 4096
/** In an image: never written in a clone. */
export const MISSING = -1

interface Generation {
  sn: number
  readonly image: Int32Array
}

export interface TwinChunk {
  correctedSn: number
  source: string | null
  /** Newest first. */
  readonly generations: Generation[]
}

export interface TwinOutcome {
  readonly code: string | null
  readonly epoch: number
  readonly sn: number
}

export class Twin {
  readonly chunks = new Map<number, TwinChunk>()
  readonly fences = new Map<number, { epoch: number; sn: number }>()
  readonly gone = new Set<number>()
  appliedIndex = 0

  clone(): Twin {
    const copy = new Twin()
    copy.appliedIndex = this.appliedIndex
    for (const [volume, fence] of this.fences) copy.fences.set(volume, { ...fence })
    for (const volume of this.gone) copy.gone.add(volume)
    for (const [id, chunk] of this.chunks) {
      copy.chunks.set(id, {
        ...chunk,
        generations: chunk.generations.map(({ sn, image }) => ({ sn, image: image.slice() })),
      })
    }
    return copy
  }

  /** `fill`: what the blocks of a write come to, one number each. */
  apply(index: number, request: ChunkRequest, fills: readonly number[], source = ''): TwinOutcome {
    this.appliedIndex = index
    const code = this.#judge(request, fills, source)
    const fence = this.fenceOf(request.volume)
    const chunk = this.chunks.get(request.chunk)
    const newest = chunk?.generations[0]?.sn ?? 0
    return {
      code,
      epoch: fence.epoch,
      sn: Math.max(fence.sn, newest, chunk?.correctedSn ?? 0),
    }
  }

  fenceOf(volume: number): { epoch: number; sn: number } {
    if (this.gone.has(volume)) return { epoch: Number.MAX_SAFE_INTEGER, sn: 0 }
    return this.fences.get(volume) ?? { epoch: 0, sn: 0 }
  }

  #judge(request: ChunkRequest, fills: readonly number[], source: string): string | null {
    const { op, volume, epoch, sn, chunk: id } = request
    if (this.gone.has(volume) && op !== 'delete' && op !== 'end-volume') return 'FENCED'
    const fence = this.gone.has(volume) ? { epoch, sn: 0 } : this.fenceOf(volume)
    if (epoch < fence.epoch) return 'FENCED'
    const fencedSn = op === 'fence' ? Math.max(fence.sn, sn) : fence.sn
    if (epoch > fence.epoch || fencedSn > fence.sn) {
      fence.epoch = epoch
      fence.sn = fencedSn
      this.fences.set(volume, fence)
    }
    if (op === 'fence') return null
    if (op === 'forget') {
      this.fences.delete(volume)
      return null
    }
    if (op === 'end-volume') {
      for (let ended = id; ended <= sn; ended++) {
        this.gone.add(ended)
        this.fences.delete(ended)
      }
      return null
    }
    const chunk = this.chunks.get(id)
    if (op === 'write' || op === 'zero') return this.#write(request, fills, chunk, fence.sn)
    if (op === 'delete') {
      if (chunk === undefined) return null
      if (sn < (chunk.generations[0]?.sn ?? 0)) return 'STALE_SEQUENCE'
      this.chunks.delete(id)
      return null
    }
    if (op === 'create-clone') {
      if (sn === 0 || source === '')
        return sn !== 0 && sn < fence.sn ? 'STALE_SEQUENCE' : 'INVALID_ARGUMENT'
      if (sn < fence.sn) return 'STALE_SEQUENCE'
      if (chunk !== undefined) {
        const isSame =
          chunk.source === source && chunk.generations[0]?.sn === sn && chunk.correctedSn === 0
        return isSame ? null : 'CONFLICT'
      }
      const image = new Int32Array(BLOCKS).fill(MISSING)
      this.chunks.set(id, { correctedSn: 0, source, generations: [{ sn, image }] })
      return null
    }
    if (op === 'paste') {
      if (chunk === undefined) return 'NOT_FOUND'
      if (chunk.source === null) return null
      const { image } = chunk.generations[0] as Generation
      for (const [i, fill] of fills.entries()) {
        const block = request.firstBlock + i
        if (image[block] === MISSING) image[block] = fill
      }
      this.#settle(id, chunk)
      return null
    }
    return this.#deleteSnapshot(sn, id, chunk)
  }

  #write(
    request: ChunkRequest,
    fills: readonly number[],
    chunk: TwinChunk | undefined,
    fencedSn: number,
  ): string | null {
    const { op, sn, chunk: id, firstBlock, blockCount } = request
    if (blockCount === 0) return 'INVALID_ARGUMENT'
    if (sn === 0) return 'INVALID_ARGUMENT'
    if (sn < fencedSn) return 'STALE_SEQUENCE'
    let target = chunk
    if (target === undefined) {
      if (op === 'zero') return null
      target = {
        correctedSn: 0,
        source: null,
        generations: [{ sn, image: new Int32Array(BLOCKS) }],
      }
      this.chunks.set(id, target)
    }
    const newest = target.generations[0] as Generation
    if (sn < newest.sn || sn < target.correctedSn) return 'STALE_SEQUENCE'
    const begins = sn > newest.sn && sn > target.correctedSn
    if (begins && target.source !== null) return 'CONFLICT'
    if (op === 'zero') {
      const range = newest.image.subarray(firstBlock, firstBlock + blockCount)
      if (range.every((fill) => fill === 0)) return null
    }
    if (begins) target.generations.unshift({ sn, image: newest.image.slice() })
    const present = target.generations[0] as Generation
    present.sn = sn
    for (let i = 0; i < blockCount; i++) present.image[firstBlock + i] = fills[i] ?? 0
    this.#settle(id, target)
    return null
  }

  #deleteSnapshot(sn: number, id: number, chunk: TwinChunk | undefined): string | null {
    if (sn === 0) return 'INVALID_ARGUMENT'
    if (chunk === undefined) return null
    if (chunk.source !== null) return 'CONFLICT'
    if (sn < chunk.correctedSn) return 'STALE_SEQUENCE'
    const { generations } = chunk
    if (sn > (generations[0] as Generation).sn) chunk.correctedSn = Math.max(chunk.correctedSn, sn)
    // Generation `sn` is the newest that is not newer; everything older than that goes.
    const at = generations.findIndex((generation) => generation.sn <= sn)
    if (at >= 0) generations.splice(at + 1)
    this.#settle(id, chunk)
    return null
  }

  #settle(id: number, chunk: TwinChunk): void {
    const newest = chunk.generations[0] as Generation
    if (chunk.source !== null && !newest.image.includes(MISSING)) chunk.source = null
    if (chunk.source !== null) return
    if (chunk.generations.every(({ image }) => image.every((fill) => fill === 0))) {
      this.chunks.delete(id)
    }
  }

  /** The image that generation `sn` reads, 0 for the present; null for none. */
  image(id: number, sn: number): Int32Array | null {
    const chunk = this.chunks.get(id)
    if (chunk === undefined) return sn === 0 ? new Int32Array(BLOCKS) : null
    if (sn === 0) return (chunk.generations[0] as Generation).image
    return chunk.generations.find((generation) => generation.sn <= sn)?.image ?? null
  }
}
