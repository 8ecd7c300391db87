// Owns CRC32C at the speed of the machine: the processor's instruction through a native module, and
// the tables of base/ where the module cannot load or the call costs more than the sum.

import { createRequire } from 'node:module'
import { type Crc32c, crc32cPure } from '../base/crc32c.ts'

/**
 * Up to here the tables are faster. Measured with Node 20.20: 64 bytes 59 ns against 122 ns native,
 * 192 bytes 146 against 150, 256 bytes 189 against 163, 4096 bytes 2722 against 786.
 */
const PURE_BYTES_MAX = 192

/** The check value of the polynomial (RFC 3720 and every catalogue of CRCs). */
const CHECK_INPUT = Uint8Array.from('123456789', (digit) => digit.charCodeAt(0))
const CHECK_CRC = 0xe3069283

/** `load` gives the native function; it is a parameter so that its failure can be tested. */
export function nodeCrc32c(load: () => Crc32c = loadNative): Crc32c {
  const native = tryNative(load)
  if (native === null) return crc32cPure
  return (bytes, seed = 0) =>
    bytes.byteLength <= PURE_BYTES_MAX ? crc32cPure(bytes, seed) : native(bytes, seed)
}

function loadNative(): Crc32c {
  const require = createRequire(import.meta.url)
  return (require('@node-rs/crc32') as { crc32c: Crc32c }).crc32c
}

/**
 * No prebuilt binary for this system, or one that computes something else, is no reason to stop.
 */
function tryNative(load: () => Crc32c): Crc32c | null {
  try {
    const native = load()
    return native(CHECK_INPUT, 0) === CHECK_CRC ? native : null
  } catch {
    return null
  }
}
