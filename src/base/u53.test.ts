import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LemnisError } from './errors.ts'
import { readU53, writeU53 } from './u53.ts'

const u53 = fc.nat({ max: Number.MAX_SAFE_INTEGER })

describe('u53', () => {
  it('writes the same bytes as a 64-bit little-endian integer and reads them back', () => {
    fc.assert(
      fc.property(u53, fc.nat({ max: 9 }), (value, at) => {
        const view = new DataView(new ArrayBuffer(20))
        writeU53(view, at, value)
        expect(view.getBigUint64(at, true)).toBe(BigInt(value))
        expect(readU53(view, at)).toBe(value)
      }),
    )
  })

  it('refuses to write what is no whole number from 0 to 2^53 - 1', () => {
    const view = new DataView(new ArrayBuffer(8))
    for (const value of [-1, 0.5, 2 ** 53, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => writeU53(view, 0, value)).toThrow(LemnisError)
    }
  })

  it('refuses to read every number above 2^53 - 1 as CORRUPT', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 2n ** 53n, max: 2n ** 64n - 1n }), (value) => {
        const view = new DataView(new ArrayBuffer(8))
        view.setBigUint64(0, value, true)
        expect(() => readU53(view, 0)).toThrow(expect.objectContaining({ code: 'CORRUPT' }))
      }),
    )
  })
})
