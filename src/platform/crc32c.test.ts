import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { crc32cPure } from '../base/crc32c.ts'
import { nodeCrc32c } from './crc32c.ts'

describe('nodeCrc32c', () => {
  it('equals the tables at every length around the switch and with every seed', () => {
    const crc32c = nodeCrc32c()
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), fc.nat(), (bytes, seed) => {
        expect(crc32c(bytes, seed)).toBe(crc32cPure(bytes, seed))
      }),
    )
    expect(crc32c(new Uint8Array(0))).toBe(0)
  })

  it('goes on from the sum of what came before', () => {
    const crc32c = nodeCrc32c()
    const bytes = Uint8Array.from({ length: 5000 }, (_, i) => i * 7)
    for (const cut of [0, 1, 64, 192, 193, 2500, 5000]) {
      expect(crc32c(bytes.subarray(cut), crc32c(bytes.subarray(0, cut)))).toBe(crc32c(bytes))
    }
  })

  it('falls back to the tables when the native module cannot load or computes wrongly', () => {
    const broken = (): never => {
      throw new Error('no prebuilt binary')
    }
    expect(nodeCrc32c(broken)).toBe(crc32cPure)
    expect(nodeCrc32c(() => () => 42)).toBe(crc32cPure)
    expect(nodeCrc32c()).not.toBe(crc32cPure)
  })
})
