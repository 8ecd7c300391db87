// Owns where a byte of a volume lies: segment, chunk of the segment, offset in the chunk. Pure.
// A segment's chunks form stripe sets of `stripeCount` neighbours (the last set has what is left of the
// 64); consecutive units of `stripeUnitBytes` rotate over the chunks of a set, and the set is full
// before the next one begins. Without striping a set is one chunk and the unit is the chunk.
// Invariant: the mapping is a bijection of a segment onto its chunks, and a range of a volume is a
// contiguous range of each chunk that it touches within one set.

import { assert } from '../base/assert.ts'
import { CHUNK_BYTES, SEGMENT_BYTES, SEGMENT_CHUNKS } from '../format/chunk-request.ts'

/** A contiguous range of one chunk. */
export interface Piece {
  readonly segment: number
  /** From 0 to 63. */
  readonly chunkIndex: number
  readonly chunkOffset: number
  readonly length: number
}

/** What is common to a piece and a buffer: `length` bytes at `at` of the piece and of the buffer. */
export type SpanVisitor = (pieceAt: number, bufferAt: number, length: number) => void

export class Layout {
  readonly unitBytes: number
  readonly #count: number

  /** A unit of 0 or a count of 1 says not striped. */
  constructor(stripeUnitBytes: number, stripeCount: number) {
    const isStriped = stripeUnitBytes > 0 && stripeCount > 1
    this.unitBytes = isStriped ? stripeUnitBytes : CHUNK_BYTES
    this.#count = isStriped ? stripeCount : 1
    assert(CHUNK_BYTES % this.unitBytes === 0, 'a stripe unit divides the chunk')
    assert(this.#count <= SEGMENT_CHUNKS, 'a stripe set lies in one segment')
  }

  get isStriped(): boolean {
    return this.#count > 1
  }

  /** The range as pieces of at most `pieceBytesMax`, by segment, set and chunk. */
  pieces(offset: number, length: number, pieceBytesMax: number): Piece[] {
    const pieces: Piece[] = []
    const setBytes = this.#count * CHUNK_BYTES
    const end = offset + length
    let at = offset
    while (at < end) {
      const segment = Math.floor(at / SEGMENT_BYTES)
      const inSegment = at - segment * SEGMENT_BYTES
      const set = Math.floor(inSegment / setBytes)
      const setStart = segment * SEGMENT_BYTES + set * setBytes
      const width = this.#width(set * this.#count)
      const to = Math.min(end, setStart + width * CHUNK_BYTES)
      const first = { segment, chunkIndex: set * this.#count }
      this.#setPieces(pieces, first, width, at - setStart, to - setStart, pieceBytesMax)
      at = to
    }
    return pieces
  }

  /** What lies at `chunkOffset` of a chunk, as an offset in the volume. */
  offsetOf(segment: number, chunkIndex: number, chunkOffset: number): number {
    const first = chunkIndex - (chunkIndex % this.#count)
    const row = Math.floor(chunkOffset / this.unitBytes)
    const unit = row * this.#width(first) + (chunkIndex - first)
    const inUnit = chunkOffset - row * this.unitBytes
    return segment * SEGMENT_BYTES + first * CHUNK_BYTES + unit * this.unitBytes + inUnit
  }

  /** Where the bytes of `piece` lie in a buffer that holds the volume from `offset` on. */
  spans(piece: Piece, offset: number, visit: SpanVisitor): void {
    let at = 0
    while (at < piece.length) {
      const chunkOffset = piece.chunkOffset + at
      const toUnitEnd = this.unitBytes - (chunkOffset % this.unitBytes)
      const length = Math.min(toUnitEnd, piece.length - at)
      visit(at, this.offsetOf(piece.segment, piece.chunkIndex, chunkOffset) - offset, length)
      at += length
    }
  }

  /** Chunks of the stripe set that begins with chunk `first` of its segment. */
  #width(first: number): number {
    return Math.min(this.#count, SEGMENT_CHUNKS - first)
  }

  /** The pieces of the range `from` to before `to` of one set. */
  #setPieces(
    out: Piece[],
    first: { readonly segment: number; readonly chunkIndex: number },
    width: number,
    from: number,
    to: number,
    pieceBytesMax: number,
  ): void {
    for (let column = 0; column < width; column++) {
      let at = this.#inColumn(column, width, from)
      const end = this.#inColumn(column, width, to)
      const chunkIndex = first.chunkIndex + column
      while (at < end) {
        const length = Math.min(end - at, pieceBytesMax)
        out.push({ segment: first.segment, chunkIndex, chunkOffset: at, length })
        at += length
      }
    }
  }

  /** How many bytes before `at` of a set lie in its chunk `column`. */
  #inColumn(column: number, width: number, at: number): number {
    const unit = Math.floor(at / this.unitBytes)
    const row = Math.floor(unit / width)
    const current = unit - row * width
    if (column < current) return (row + 1) * this.unitBytes
    if (column > current) return row * this.unitBytes
    return row * this.unitBytes + (at - unit * this.unitBytes)
  }
}
