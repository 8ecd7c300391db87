import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { vectorsOf } from '../../test/vectors.ts'
import { hexOf, viewOf } from '../base/bytes.ts'
import { ERRORS, LemnisError } from '../base/errors.ts'
import {
  CHUNK_OUTCOME_BYTES,
  type ChunkOutcome,
  decodeChunkOutcome,
  encodeChunkOutcome,
} from './chunk-outcome.ts'
import {
  CHUNK_BLOCKS,
  CHUNK_OPS,
  CHUNK_REQUEST_HEAD_BYTES,
  type ChunkOp,
  type ChunkRequest,
  carriesBlocks,
  chunkRequestBytes,
  decodeChunkRequest,
  encodeChunkRequest,
  REQUEST_BLOCKS_MAX,
} from './chunk-request.ts'

const WRITE: ChunkRequest = {
  op: 'write',
  group: 7,
  volume: 3,
  epoch: 2,
  sn: 1,
  chunk: 12,
  firstBlock: 0,
  blockCount: 1,
  term: 5,
  attempt: 0,
  crcs: [9],
}

/** The error's code, or null where the bytes are taken. */
function codeOf(bytes: Uint8Array): string | null {
  try {
    decodeChunkRequest(bytes)
    return null
  } catch (error) {
    if (error instanceof LemnisError) return error.code
    throw error
  }
}

describe('a chunk request', () => {
  it('has the bytes that it always had', () => {
    const vectors = vectorsOf<ChunkRequest>('chunk-request.txt', 'request')
    expect(new Set(vectors.map(({ fields }) => fields.op)).size).toBe(Object.keys(CHUNK_OPS).length)
    for (const { fields, bytes } of vectors) {
      expect(hexOf(encodeChunkRequest(fields))).toBe(hexOf(bytes))
      expect(decodeChunkRequest(bytes)).toEqual(fields)
      expect(chunkRequestBytes(fields)).toBe(bytes.byteLength)
      for (let n = 0; n < bytes.byteLength; n++) {
        expect(codeOf(bytes.subarray(0, n))).toBe('INVALID_ARGUMENT')
      }
      // Blocks follow it.
      expect(decodeChunkRequest(new Uint8Array([...bytes, 1, 2, 3]))).toEqual(fields)
    }
  })

  it('reads back as it was, whatever it asks', () => {
    const u53 = fc.maxSafeNat()
    const range = fc
      .tuple(fc.nat(CHUNK_BLOCKS - 1), fc.integer({ min: 1, max: REQUEST_BLOCKS_MAX }))
      .map(([firstBlock, count]) => ({
        firstBlock,
        blockCount: Math.min(count, CHUNK_BLOCKS - firstBlock),
      }))
    const op = fc.constantFrom(...(Object.keys(CHUNK_OPS) as ChunkOp[]))
    const numbers = fc.tuple(u53, u53, u53, u53, u53, u53, u53)
    const crc = fc.nat(0xffff_ffff)
    fc.assert(
      fc.property(op, range, numbers, crc, (op, { firstBlock, blockCount }, ids, crc) => {
        const [group, volume, epoch, sn, chunk, term, attempt] = ids
        const count = carriesBlocks(op) ? blockCount : 0
        const crcs = Array.from({ length: count }, (_, i) => (crc ^ i) >>> 0)
        const where = { group, volume, epoch, sn, chunk, firstBlock, blockCount }
        const request = { op, ...where, term, attempt, crcs }
        expect(decodeChunkRequest(encodeChunkRequest(request))).toEqual(request)
      }),
    )
  })

  it('never is any bytes, and never more than an error', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(['INVALID_ARGUMENT', 'CORRUPT', null]).toContain(codeOf(bytes))
      }),
    )
    const good = encodeChunkRequest({ ...WRITE, blockCount: 3, crcs: [1, 2, 3] })
    fc.assert(
      fc.property(fc.nat(good.byteLength - 1), fc.nat(255), (at, byte) => {
        const bad = good.slice()
        bad[at] = byte
        if (codeOf(bad) !== null) return
        const { op, firstBlock, blockCount, crcs } = decodeChunkRequest(bad)
        expect(firstBlock + blockCount).toBeLessThanOrEqual(CHUNK_BLOCKS)
        expect(crcs.length).toBe(carriesBlocks(op) ? blockCount : 0)
      }),
    )
  })

  it('is refused with another version, an unknown kind, and ranges that no chunk has', () => {
    const changed = (change: (view: DataView) => void): string | null => {
      const bytes = encodeChunkRequest(WRITE)
      change(viewOf(bytes))
      return codeOf(bytes)
    }
    const refused = 'INVALID_ARGUMENT'
    expect(changed((view) => view.setUint8(0, 2))).toBe(refused)
    for (const op of [0, 11, 255]) expect(changed((view) => view.setUint8(1, op))).toBe(refused)
    expect(changed((view) => view.setUint16(4, CHUNK_BLOCKS, true))).toBe(refused)
    expect(changed((view) => view.setUint16(6, 2, true))).toBe(refused)
    expect(changed((view) => view.setUint8(1, CHUNK_OPS.zero))).toBe(refused)
    const none = encodeChunkRequest({ ...WRITE, blockCount: 0, crcs: [] })
    expect(codeOf(none)).toBe(refused)
    const many = REQUEST_BLOCKS_MAX + 1
    const crcs = new Array<number>(many).fill(0)
    expect(codeOf(encodeChunkRequest({ ...WRITE, blockCount: many, crcs }))).toBe(refused)
    for (const [firstBlock, blockCount] of [
      [0, CHUNK_BLOCKS + 1],
      [CHUNK_BLOCKS, 1],
      [65_536, 1],
      [-1, 1],
      [Number.NaN, 1],
    ] as const) {
      expect(() => encodeChunkRequest({ ...WRITE, firstBlock, blockCount })).toThrow(refused)
    }
    // A number beyond 2^53 in any of the ids.
    for (let at = 8; at < CHUNK_REQUEST_HEAD_BYTES - 8; at += 8) {
      expect(changed((view) => view.setUint32(at + 4, 0x20_0000, true))).toBe('CORRUPT')
    }
  })
})

describe('the outcome of a chunk entry', () => {
  it('has the bytes that it always had', () => {
    for (const { fields, bytes } of vectorsOf<ChunkOutcome>('chunk-request.txt', 'outcome')) {
      expect(hexOf(encodeChunkOutcome(fields))).toBe(hexOf(bytes))
      expect(decodeChunkOutcome(bytes)).toEqual(fields)
      for (let n = 0; n < CHUNK_OUTCOME_BYTES; n++) {
        expect(() => decodeChunkOutcome(bytes.subarray(0, n))).toThrow('CORRUPT')
      }
    }
  })

  it('tells every error of the table, and takes one that it does not know for one', () => {
    for (const code of Object.keys(ERRORS) as (keyof typeof ERRORS)[]) {
      const outcome = { code, epoch: 1, sn: 2 }
      expect(decodeChunkOutcome(encodeChunkOutcome(outcome))).toEqual(outcome)
    }
    const bytes = encodeChunkOutcome({ code: 'FENCED', epoch: 1, sn: 2 })
    viewOf(bytes).setUint16(0, 65_535, true)
    expect(decodeChunkOutcome(bytes).code).toBe('INTERNAL')
  })
})
