// Owns 64-bit numbers on the wire and on disk. Indexes, terms, offsets and sizes are safe integers
// (below 2^53), little endian in 8 bytes, and checked when they come in: BigInt costs 20 to 40 times more.

import { LemnisError } from './errors.ts'

const HIGH = 0x1_0000_0000
const HIGH_MAX = 0x1f_ffff

export function readU53(view: DataView, at: number): number {
  const high = view.getUint32(at + 4, true)
  if (high > HIGH_MAX) throw new LemnisError('CORRUPT', { field: 'u53', at })
  return high * HIGH + view.getUint32(at, true)
}

export function writeU53(view: DataView, at: number, value: number): void {
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new LemnisError('INVALID_ARGUMENT', { field: 'u53', value })
  }
  // `>>> 0` is the value modulo 2^32, and three times as fast as % is for large numbers.
  view.setUint32(at, value >>> 0, true)
  view.setUint32(at + 4, (value / HIGH) >>> 0, true)
}
