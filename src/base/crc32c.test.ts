import { crc32c as crc32cNative } from '@node-rs/crc32'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { bytesOfHex } from './bytes.ts'
import { crc32cPure } from './crc32c.ts'

/** RFC 3720 B.4, the CRC given there byte by byte as a little-endian word. */
const RFC_3720 = [
  { what: '32 zeros', bytes: new Uint8Array(32), crc: 0x8a9136aa },
  { what: '32 ones', bytes: new Uint8Array(32).fill(0xff), crc: 0x62a8ab43 },
  { what: '32 rising', bytes: Uint8Array.from({ length: 32 }, (_, i) => i), crc: 0x46dd794e },
  { what: '32 falling', bytes: Uint8Array.from({ length: 32 }, (_, i) => 31 - i), crc: 0x113fdb5c },
  {
    what: 'an iSCSI SCSI read command',
    bytes: bytesOfHex(`01c00000 00000000 00000000 00000000 14000000 00000400
      00000014 00000018 28000000 00000000 02000000 00000000`),
    crc: 0xd9963a56,
  },
  { what: 'the check word', bytes: new TextEncoder().encode('123456789'), crc: 0xe3069283 },
]

describe('crc32cPure', () => {
  it.each(RFC_3720)('knows $what', ({ bytes, crc }) => {
    expect(crc32cPure(bytes)).toBe(crc)
  })

  it('equals the native one at every length and offset', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat({ max: 9 }), (bytes, from) => {
        const part = bytes.subarray(from)
        expect(crc32cPure(part)).toBe(crc32cNative(part))
      }),
    )
  })

  it('goes on from the CRC of what came before', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 99 }), fc.nat({ max: 99 }), (bytes, cut) => {
        const first = crc32cPure(bytes.subarray(0, cut))
        expect(crc32cPure(bytes.subarray(cut), first)).toBe(crc32cPure(bytes))
      }),
    )
  })
})
