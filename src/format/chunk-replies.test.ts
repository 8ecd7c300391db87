import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { bytesOfHex, hexOf } from '../base/bytes.ts'
import { LemnisError } from '../base/errors.ts'
import {
  decodeBlocksFound,
  decodeBlocksWanted,
  decodeCopysetLeader,
  decodeExtents,
  decodeGroup,
  encodeBlocksFound,
  encodeBlocksWanted,
  encodeCopysetLeader,
  encodeExtents,
  encodeGroup,
} from './chunk-replies.ts'

const WANTED = {
  group: 7,
  chunk: 0x1_0000_0001,
  sn: 2,
  blocks: [
    { block: 3, version: 9 },
    { block: 4095, version: 0 },
  ],
}
const FOUND = {
  chunkVersion: 17,
  blocks: [{ block: 3, version: 9, crc: 0xdeadbeef }],
}
const EXTENTS = [
  { firstBlock: 0, blockCount: 2 },
  { firstBlock: 4000, blockCount: 96 },
]

/** Each: the value's bytes, and what reads them. */
const VECTORS: readonly [string, Uint8Array, (bytes: Uint8Array) => unknown, unknown, string][] = [
  ['group', encodeGroup(7), decodeGroup, 7, '07000000 00000000'],
  [
    'leader',
    encodeCopysetLeader({ leader: 3, term: 258 }),
    decodeCopysetLeader,
    { leader: 3, term: 258 },
    '03000000 00000000 02010000 00000000',
  ],
  ['extents', encodeExtents(EXTENTS), decodeExtents, EXTENTS, '00000200 a00f6000'],
  [
    'blocks wanted',
    encodeBlocksWanted(WANTED),
    decodeBlocksWanted,
    WANTED,
    `07000000 00000000 01000000 01000000 02000000 00000000 0200
     0300 09000000 00000000 ff0f 00000000 00000000`,
  ],
  [
    'blocks found',
    encodeBlocksFound(FOUND),
    decodeBlocksFound,
    FOUND,
    '11000000 00000000 0300 efbeadde 09000000 00000000',
  ],
]

describe('answers to chunk calls', () => {
  it.each(VECTORS)('%s has these very bytes', (_, bytes, decode, value, hex) => {
    expect(hexOf(bytes)).toBe(hexOf(bytesOfHex(hex)))
    expect(decode(bytes)).toEqual(value)
  })

  it.each(VECTORS)('%s is refused when it is cut, never misread', (name, bytes, decode, value) => {
    for (let length = 0; length < bytes.byteLength; length++) {
      let read: unknown
      try {
        read = decode(bytes.subarray(0, length))
      } catch (error) {
        expect(error).toBeInstanceOf(LemnisError)
        continue
      }
      // Lists without a count may end after any member: the frame has its own length.
      expect(['extents', 'blocks found']).toContain(name)
      expect(read).not.toEqual(value)
    }
  })

  it('is refused or read, whatever the bytes', () => {
    const decoders = VECTORS.map(([, , decode]) => decode)
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 100 }),
        fc.constantFrom(...decoders),
        (bytes, decode) => {
          try {
            decode(bytes)
          } catch (error) {
            expect(error).toBeInstanceOf(LemnisError)
          }
        },
      ),
    )
  })

  it('has no extents that overlap or leave the chunk', () => {
    const bad = ['00000000', 'ff0f0200', '00000500 04000100', '04000100 00000100']
    for (const hex of bad) expect(() => decodeExtents(bytesOfHex(hex))).toThrow(LemnisError)
  })
})
