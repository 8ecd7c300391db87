// Owns the way from whole blocks of a volume to requests about its chunks: which segments and chunks a
// range touches, one request for each piece, and the answers put together. The common case, one piece
// in a segment that is known, goes without a list of pieces.

import { EMPTY } from '../base/bytes.ts'
import { asLemnisError, LemnisError } from '../base/errors.ts'
import { type DataExtent, decodeExtents } from '../format/chunk-replies.ts'
import {
  BLOCK_BYTES,
  CHUNK_BYTES,
  REQUEST_BLOCKS_MAX,
  SEGMENT_BYTES,
} from '../format/chunk-request.ts'
import type { Segment } from '../format/control/parts.ts'
import type { BlockIo, Done, ReadDone } from './aligned.ts'
import { blockCrcs, crcOfBlocks } from './block-crc.ts'
import type { Extent } from './device.ts'
import type { Layout, Piece } from './layout.ts'
import type { Requests } from './requests.ts'
import type { SegmentDone, Segments } from './segments.ts'

const REQUEST_BYTES_MAX = REQUEST_BLOCKS_MAX * BLOCK_BYTES

type PieceWork = (piece: Piece, done: Done) => void

export class VolumeIo implements BlockIo {
  readonly blockBytes = BLOCK_BYTES
  readonly #layout: Layout
  readonly #requests: Requests
  readonly #segments: Segments

  constructor(layout: Layout, requests: Requests, segments: Segments) {
    this.#layout = layout
    this.#requests = requests
    this.#segments = segments
  }

  readBlocks(offset: number, length: number, done: ReadDone): void {
    if (this.#isOnePiece(offset, length)) {
      this.#readPiece(this.#pieceAt(offset, length), (error, bytes) => {
        // What was never written, or zeroed, travels as nothing.
        if (error === null && bytes.byteLength === 0) done(null, new Uint8Array(length))
        else done(error, bytes)
      })
      return
    }
    const into = new Uint8Array(length)
    const work: PieceWork = (piece, pieceDone) => {
      this.#readPiece(piece, (error, bytes) => {
        if (bytes.byteLength > 0) {
          this.#layout.spans(piece, offset, (from, to, spanBytes) => {
            into.set(bytes.subarray(from, from + spanBytes), to)
          })
        }
        pieceDone(error)
      })
    }
    const pieces = this.#layout.pieces(offset, length, REQUEST_BYTES_MAX)
    this.#each(pieces, work, (error) => done(error, error === null ? into : EMPTY))
  }

  writeBlocks(offset: number, bytes: Uint8Array, done: Done): void {
    const length = bytes.byteLength
    if (this.#isOnePiece(offset, length)) {
      this.#writePiece(this.#pieceAt(offset, length), bytes, done)
      return
    }
    const work: PieceWork = (piece, pieceDone) => {
      this.#writePiece(piece, this.#gathered(piece, offset, bytes), pieceDone)
    }
    this.#each(this.#layout.pieces(offset, length, REQUEST_BYTES_MAX), work, done)
  }

  /** One segment after the other, as the range may be a whole volume. */
  zeroBlocks(offset: number, length: number, done: Done): void {
    const end = offset + length
    const next = (at: number): void => {
      const to = Math.min(end, (Math.floor(at / SEGMENT_BYTES) + 1) * SEGMENT_BYTES)
      this.#zeroInSegment(at, to, (error) => {
        if (error !== null || to === end) done(error)
        else next(to)
      })
    }
    next(offset)
  }

  /** The range in order, neighbours of one kind joined. */
  async extents(offset: number, length: number): Promise<Extent[]> {
    const out: Extent[] = []
    const end = offset + length
    for (let at = offset; at < end; ) {
      const to = Math.min(end, (Math.floor(at / SEGMENT_BYTES) + 1) * SEGMENT_BYTES)
      const data = await this.#dataInSegment(at, to)
      addExtents(out, at, to, data)
      at = to
    }
    return out
  }

  // --- pieces

  #isOnePiece(offset: number, length: number): boolean {
    const { unitBytes } = this.#layout
    return length <= REQUEST_BYTES_MAX && (offset % unitBytes) + length <= unitBytes
  }

  #pieceAt(offset: number, length: number): Piece {
    if (this.#layout.isStriped) {
      return this.#layout.pieces(offset, length, REQUEST_BYTES_MAX)[0] as Piece
    }
    const segment = Math.floor(offset / SEGMENT_BYTES)
    const inSegment = offset - segment * SEGMENT_BYTES
    const chunkIndex = Math.floor(inSegment / CHUNK_BYTES)
    return { segment, chunkIndex, chunkOffset: inSegment - chunkIndex * CHUNK_BYTES, length }
  }

  /** The bytes of `piece` in `bytes`, which begin at `offset` of the volume: copied only if apart. */
  #gathered(piece: Piece, offset: number, bytes: Uint8Array): Uint8Array {
    if (!this.#layout.isStriped) {
      const { segment, chunkIndex, chunkOffset } = piece
      const at = this.#layout.offsetOf(segment, chunkIndex, chunkOffset) - offset
      return bytes.subarray(at, at + piece.length)
    }
    const out = new Uint8Array(piece.length)
    this.#layout.spans(piece, offset, (to, from, spanBytes) => {
      out.set(bytes.subarray(from, from + spanBytes), to)
    })
    return out
  }

  /** Works on all pieces, several at once; the first error ends it when what is under way is over. */
  #each(pieces: readonly Piece[], work: PieceWork, done: Done): void {
    const atOnceMax = this.#requests.config.requestsPerOpMax
    let started = 0
    let underWay = 0
    let failure: LemnisError | null = null
    let isStarting = false
    const start = (): void => {
      isStarting = true
      while (underWay < atOnceMax && started < pieces.length && failure === null) {
        underWay++
        work(pieces[started++] as Piece, over)
      }
      isStarting = false
      if (underWay === 0) done(failure)
    }
    const over = (error: LemnisError | null): void => {
      underWay--
      failure ??= error
      if (!isStarting) start()
    }
    start()
  }

  // --- one piece

  #readPiece(piece: Piece, done: ReadDone): void {
    const segment = this.#segments.known(piece.segment)
    if (segment === undefined) {
      this.#segments.find(
        piece.segment,
        this.#whenFound(done, (found) => {
          if (found === null) done(null, EMPTY)
          else this.#read(piece, found, done)
        }),
      )
    } else if (segment === null) this.#soon(() => done(null, EMPTY))
    else this.#read(piece, segment, done)
  }

  #read(piece: Piece, segment: Segment, done: ReadDone): void {
    const { chunkIndex, chunkOffset, length } = piece
    const group = segment.groups[chunkIndex] as number
    const chunk = segment.firstChunk + chunkIndex
    const firstBlock = chunkOffset / BLOCK_BYTES
    this.#requests.read(group, chunk, firstBlock, length / BLOCK_BYTES, (error, reply) => {
      done(error, reply === null ? EMPTY : reply.payload)
    })
  }

  #writePiece(piece: Piece, bytes: Uint8Array, done: Done): void {
    const segment = this.#segments.known(piece.segment)
    if (segment !== undefined && segment !== null) {
      this.#write(piece, segment, bytes, done)
      return
    }
    this.#segments.allocate(
      piece.segment,
      this.#whenFound(done, (made) => {
        if (made !== null) this.#write(piece, made, bytes, done)
        else done(new LemnisError('INTERNAL', { reason: 'no segment', index: piece.segment }))
      }),
    )
  }

  #write(piece: Piece, segment: Segment, bytes: Uint8Array, done: Done): void {
    const { chunkIndex, chunkOffset } = piece
    const group = segment.groups[chunkIndex] as number
    const chunk = segment.firstChunk + chunkIndex
    const firstBlock = chunkOffset / BLOCK_BYTES
    const crcs = blockCrcs(this.#requests.env.crc32c, bytes)
    this.#requests.write(group, chunk, firstBlock, bytes, crcs, crcOfBlocks(crcs), done)
  }

  #zeroInSegment(from: number, to: number, done: Done): void {
    const index = Math.floor(from / SEGMENT_BYTES)
    const zero = (segment: Segment | null): void => {
      if (segment === null) {
        this.#soon(() => done(null))
        return
      }
      const work: PieceWork = ({ chunkIndex, chunkOffset, length }, over) => {
        const group = segment.groups[chunkIndex] as number
        const chunk = segment.firstChunk + chunkIndex
        const firstBlock = chunkOffset / BLOCK_BYTES
        this.#requests.zero(group, chunk, firstBlock, length / BLOCK_BYTES, over)
      }
      this.#each(this.#layout.pieces(from, to - from, CHUNK_BYTES), work, done)
    }
    const known = this.#segments.known(index)
    if (known === undefined) this.#segments.find(index, this.#whenFound(done, zero))
    else zero(known)
  }

  /** Where there is data between `from` and `to` of one segment, in no order. */
  async #dataInSegment(from: number, to: number): Promise<Extent[]> {
    const index = Math.floor(from / SEGMENT_BYTES)
    const segment = await this.#segmentOf(index)
    const data: Extent[] = []
    if (segment === null) return data
    const work: PieceWork = (piece, done) => this.#dataOf(piece, segment, data, done)
    const pieces = this.#layout.pieces(from, to - from, CHUNK_BYTES)
    await new Promise<void>((resolve, reject) => {
      this.#each(pieces, work, (error) => (error === null ? resolve() : reject(error)))
    })
    return data
  }

  #segmentOf(index: number): Promise<Segment | null> {
    const known = this.#segments.known(index)
    if (known !== undefined) return Promise.resolve(known)
    return new Promise((resolve, reject) => {
      this.#segments.find(index, this.#whenFound(reject, resolve))
    })
  }

  #dataOf(piece: Piece, segment: Segment, out: Extent[], done: Done): void {
    const { chunkIndex, chunkOffset, length } = piece
    const group = segment.groups[chunkIndex] as number
    const chunk = segment.firstChunk + chunkIndex
    const first = chunkOffset / BLOCK_BYTES
    this.#requests.extents(group, chunk, first, length / BLOCK_BYTES, (error, reply) => {
      const extents = reply === null ? [] : extentsIn(reply.body)
      if (extents === null) {
        done(new LemnisError('CORRUPT', { what: 'extents', chunk }))
        return
      }
      for (const { firstBlock, blockCount } of extents) {
        const chunkAt = firstBlock * BLOCK_BYTES
        const found = { ...piece, chunkOffset: chunkAt, length: blockCount * BLOCK_BYTES }
        this.#layout.spans(found, 0, (_, offset, spanBytes) => {
          out.push({ offset, length: spanBytes, kind: 'data' })
        })
      }
      done(error)
    })
  }

  /** What needs nobody's answer still ends in a later turn: a loop of it must not stop the world. */
  #soon(work: () => void): void {
    this.#requests.env.clock.soon(work)
  }

  /** Errors to `failed`, as they are said of a volume that has ended; segments to `found`. */
  #whenFound(
    failed: (error: LemnisError, bytes: Uint8Array) => void,
    found: (segment: Segment | null) => void,
  ): SegmentDone {
    return (error, segment) => {
      const requests = this.#requests
      if (error === null) found(segment)
      else {
        if (error.code === 'FENCED' && !requests.policy.isReader) requests.onFenced(error)
        failed(requests.ended ?? error, EMPTY)
      }
    }
  }
}

function extentsIn(body: Uint8Array): readonly DataExtent[] | null {
  try {
    return decodeExtents(body)
  } catch (error) {
    asLemnisError(error)
    return null
  }
}

/** Appends `from` to `to`, of which `data` has data and the rest is zero. */
function addExtents(out: Extent[], from: number, to: number, data: Extent[]): void {
  data.sort((a, b) => a.offset - b.offset)
  let at = from
  for (const extent of data) {
    const start = Math.max(extent.offset, at)
    const end = Math.min(extent.offset + extent.length, to)
    if (end <= start) continue
    if (start > at) addExtent(out, at, start, 'zero')
    addExtent(out, start, end, 'data')
    at = end
  }
  if (at < to) addExtent(out, at, to, 'zero')
}

function addExtent(out: Extent[], from: number, to: number, kind: Extent['kind']): void {
  const last = out.at(-1)
  if (last !== undefined && last.kind === kind && last.offset + last.length === from) {
    out[out.length - 1] = { ...last, length: last.length + to - from }
  } else {
    out.push({ offset: from, length: to - from, kind })
  }
}
