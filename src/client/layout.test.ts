import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { BLOCK_BYTES, CHUNK_BYTES, SEGMENT_BYTES } from '../format/chunk-request.ts'
import { Layout, type Piece } from './layout.ts'

const MIB = 1024 * 1024

const layouts = fc
  .record({ unitShift: fc.integer({ min: 12, max: 24 }), count: fc.integer({ min: 1, max: 64 }) })
  .map(({ unitShift, count }) => new Layout(2 ** unitShift, count))

const ranges = fc.record({
  offset: fc.oneof(
    fc.nat(3 * SEGMENT_BYTES),
    // Around the ends of chunks and segments.
    fc
      .record({ chunk: fc.nat(200), by: fc.integer({ min: -MIB, max: MIB }) })
      .map(({ chunk, by }) => Math.max(0, chunk * CHUNK_BYTES + by)),
  ),
  length: fc.oneof(fc.integer({ min: 1, max: 64 * MIB }), fc.integer({ min: 1, max: 8192 })),
})

const pieceMaxima = fc.constantFrom(MIB, CHUNK_BYTES, 64 * BLOCK_BYTES)

function spansOf(layout: Layout, piece: Piece, offset: number): [number, number, number][] {
  const spans: [number, number, number][] = []
  layout.spans(piece, offset, (at, bufferAt, length) => spans.push([at, bufferAt, length]))
  return spans
}

describe('the layout of a volume', () => {
  it('without striping puts chunk after chunk', () => {
    const layout = new Layout(0, 1)
    expect(layout.pieces(CHUNK_BYTES - 10, 30, MIB)).toEqual([
      { segment: 0, chunkIndex: 0, chunkOffset: CHUNK_BYTES - 10, length: 10 },
      { segment: 0, chunkIndex: 1, chunkOffset: 0, length: 20 },
    ])
    expect(layout.pieces(SEGMENT_BYTES, 1, MIB)).toEqual([
      { segment: 1, chunkIndex: 0, chunkOffset: 0, length: 1 },
    ])
  })

  it('rotates units over the chunks of a set, and gathers those of one chunk', () => {
    const unit = 65_536
    const layout = new Layout(unit, 4)
    expect(layout.pieces(0, 6 * unit, MIB)).toEqual([
      { segment: 0, chunkIndex: 0, chunkOffset: 0, length: 2 * unit },
      { segment: 0, chunkIndex: 1, chunkOffset: 0, length: 2 * unit },
      { segment: 0, chunkIndex: 2, chunkOffset: 0, length: unit },
      { segment: 0, chunkIndex: 3, chunkOffset: 0, length: unit },
    ])
    const [second] = layout.pieces(5 * unit + 100, 50, MIB)
    expect(second).toEqual({ segment: 0, chunkIndex: 1, chunkOffset: unit + 100, length: 50 })
    // The next set begins when all four are full.
    expect(layout.pieces(4 * CHUNK_BYTES, 1, MIB)[0]?.chunkIndex).toBe(4)
  })

  it('lets the last set have what is left of the segment', () => {
    const layout = new Layout(CHUNK_BYTES / 2, 5)
    // 12 sets of 5 and one of 4.
    const start = 60 * CHUNK_BYTES
    const chunks = [0, 1, 2, 3, 4].map((unit) => {
      const [piece] = layout.pieces(start + (unit * CHUNK_BYTES) / 2, 1, MIB)
      return [piece?.chunkIndex, piece?.chunkOffset]
    })
    expect(chunks).toEqual([
      [60, 0],
      [61, 0],
      [62, 0],
      [63, 0],
      [60, CHUNK_BYTES / 2],
    ])
  })

  it('covers every byte of a range exactly once, by pieces that are not too large', () => {
    fc.assert(
      fc.property(layouts, ranges, pieceMaxima, (layout, { offset, length }, max) => {
        const pieces = layout.pieces(offset, length, max)
        const spans = pieces.flatMap((piece) => {
          expect(piece.length).toBeGreaterThan(0)
          expect(piece.length).toBeLessThanOrEqual(max)
          expect(piece.chunkOffset + piece.length).toBeLessThanOrEqual(CHUNK_BYTES)
          const parts = spansOf(layout, piece, offset)
          expect(parts.reduce((sum, [, , bytes]) => sum + bytes, 0)).toBe(piece.length)
          return parts
        })
        let at = 0
        for (const [, bufferAt, bytes] of spans.sort((a, b) => a[1] - b[1])) {
          expect(bufferAt).toBe(at)
          at += bytes
        }
        expect(at).toBe(length)
      }),
      { numRuns: 300 },
    )
  })

  it('is a bijection: where a byte lies says which byte it is', () => {
    fc.assert(
      fc.property(layouts, fc.nat(5 * SEGMENT_BYTES), (layout, offset) => {
        const [piece] = layout.pieces(offset, 1, MIB)
        const { segment, chunkIndex, chunkOffset } = piece as Piece
        expect(chunkIndex).toBeLessThan(64)
        expect(chunkOffset).toBeLessThan(CHUNK_BYTES)
        expect(layout.offsetOf(segment, chunkIndex, chunkOffset)).toBe(offset)
      }),
      { numRuns: 1000 },
    )
    const places = fc.record({
      segment: fc.nat(4),
      chunkIndex: fc.nat(63),
      chunkOffset: fc.nat(CHUNK_BYTES - 1),
    })
    fc.assert(
      fc.property(layouts, places, (layout, place) => {
        const offset = layout.offsetOf(place.segment, place.chunkIndex, place.chunkOffset)
        expect(layout.pieces(offset, 1, MIB)).toEqual([{ ...place, length: 1 }])
      }),
      { numRuns: 1000 },
    )
  })
})
