import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { concat } from '../base/bytes.ts'
import { crc32cPure } from '../base/crc32c.ts'
import { BLOCK_BYTES } from '../format/chunk-request.ts'
import { blockCrcs, crcOfBlocks } from './block-crc.ts'

const blocks = fc
  .array(fc.tuple(fc.integer(), fc.nat(BLOCK_BYTES - 1)), { minLength: 1, maxLength: 6 })
  .map((seeds) =>
    concat(
      seeds.map(([seed, at]) => {
        const block = new Uint8Array(BLOCK_BYTES).fill(seed)
        block[at] = seed >>> 8
        return block
      }),
    ),
  )

describe('checksums of blocks', () => {
  it('are one for each block, and make the one of the whole', () => {
    fc.assert(
      fc.property(blocks, (bytes) => {
        const crcs = blockCrcs(crc32cPure, bytes)
        expect(crcs).toEqual(
          Array.from({ length: bytes.byteLength / BLOCK_BYTES }, (_, i) =>
            crc32cPure(bytes.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES)),
          ),
        )
        expect(crcOfBlocks(crcs)).toBe(crc32cPure(bytes))
      }),
    )
  })

  it('of nothing is the one of nothing', () => {
    expect(crcOfBlocks([])).toBe(crc32cPure(new Uint8Array(0)))
  })
})
