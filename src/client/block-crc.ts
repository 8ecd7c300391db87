// Owns the checksums of what is written: one CRC32C for each block, computed once, from which the one
// of the whole payload follows without looking at the data again. Appending a block to what came before
// is a shift of the CRC by the block's length, which is linear over GF(2), so that tables do it (as
// zlib's crc32_combine does by matrices; here the length is always a block's).

import { type Crc32c, crc32cPure } from '../base/crc32c.ts'
import { BLOCK_BYTES } from '../format/chunk-request.ts'

const ZEROS = new Uint8Array(BLOCK_BYTES)
const T0 = shiftTable(0)
const T1 = shiftTable(8)
const T2 = shiftTable(16)
const T3 = shiftTable(24)

/** What a block of zeros makes of a CRC register, by the byte at `bits` of the register. */
function shiftTable(bits: number): Uint32Array {
  const columns = Array.from({ length: 8 }, (_, bit) => shiftedByBlock(1 << (bits + bit)))
  return Uint32Array.from({ length: 256 }, (_, byte) => {
    let out = 0
    for (let bit = 0; bit < 8; bit++) if (byte & (1 << bit)) out ^= columns[bit] as number
    return out
  })
}

function shiftedByBlock(register: number): number {
  return ~crc32cPure(ZEROS, ~register >>> 0) >>> 0
}

/** The CRC of blocks whose CRCs are these, in order, as if they were summed in one go. */
export function crcOfBlocks(crcs: readonly number[]): number {
  let crc = crcs.length === 0 ? 0 : (crcs[0] as number)
  for (let i = 1; i < crcs.length; i++) {
    const shifted =
      (T0[crc & 0xff] as number) ^
      (T1[(crc >>> 8) & 0xff] as number) ^
      (T2[(crc >>> 16) & 0xff] as number) ^
      (T3[crc >>> 24] as number)
    crc = (shifted ^ (crcs[i] as number)) >>> 0
  }
  return crc
}

/** One CRC for each block of `bytes`, which are whole blocks. */
export function blockCrcs(crc32c: Crc32c, bytes: Uint8Array): number[] {
  const count = bytes.byteLength / BLOCK_BYTES
  if (count === 1) return [crc32c(bytes)]
  const crcs: number[] = []
  for (let i = 0; i < count; i++) {
    crcs.push(crc32c(bytes.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES)))
  }
  return crcs
}
