// Owns CRC32C (Castagnoli, polynomial 0x1EDC6F41 reflected; RFC 3720 B.4) in plain TypeScript by
// eight tables (Kounavis and Berry, "slicing-by-8"): the fallback, and the faster one for headers of
// 64 bytes and less, where a native call costs more than the sum. Longer data goes to Env.crc32c.

/** The CRC32C of `bytes`; `seed` is the CRC of what came before them (0 at the start). */
export type Crc32c = (bytes: Uint8Array, seed?: number) => number

const POLYNOMIAL = 0x82f63b78
const T0 = Uint32Array.from({ length: 256 }, (_, byte) => shiftedByOneByte(byte))
const T1 = shiftedOnce(T0)
const T2 = shiftedOnce(T1)
const T3 = shiftedOnce(T2)
const T4 = shiftedOnce(T3)
const T5 = shiftedOnce(T4)
const T6 = shiftedOnce(T5)
const T7 = shiftedOnce(T6)

function shiftedByOneByte(byte: number): number {
  let crc = byte
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1
  return crc >>> 0
}

/** The table of a byte that stands one place further from the end than the one of `table`. */
function shiftedOnce(table: Uint32Array): Uint32Array {
  return table.map((crc) => (crc >>> 8) ^ T0[crc & 0xff]!)
}

export const crc32cPure: Crc32c = (bytes, seed = 0) => {
  let crc = ~seed
  let at = 0
  const end = bytes.byteLength
  for (; at + 8 <= end; at += 8) {
    const b0 = bytes[at]! ^ (crc & 0xff)
    const b1 = bytes[at + 1]! ^ ((crc >>> 8) & 0xff)
    const b2 = bytes[at + 2]! ^ ((crc >>> 16) & 0xff)
    const b3 = bytes[at + 3]! ^ (crc >>> 24)
    const low = T7[b0]! ^ T6[b1]! ^ T5[b2]! ^ T4[b3]!
    const high =
      T3[bytes[at + 4]!]! ^ T2[bytes[at + 5]!]! ^ T1[bytes[at + 6]!]! ^ T0[bytes[at + 7]!]!
    crc = low ^ high
  }
  for (; at < end; at++) crc = T0[(crc ^ bytes[at]!) & 0xff]! ^ (crc >>> 8)
  return ~crc >>> 0
}
