import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { InvariantError } from './assert.ts'
import { bytesEqual, bytesOfHex, concat, hexOf, roundUp, viewOf } from './bytes.ts'

const bytes = fc.uint8Array({ maxLength: 40 })

describe('bytes', () => {
  it('hex and back, as Node writes it', () => {
    fc.assert(
      fc.property(bytes, (some) => {
        expect(hexOf(some)).toBe(Buffer.from(some).toString('hex'))
        expect(bytesOfHex(hexOf(some))).toEqual(some)
      }),
    )
  })

  it('skips white space between hex digits and refuses everything else', () => {
    expect(bytesOfHex(' 00 fF\n10 ')).toEqual(Uint8Array.of(0, 255, 16))
    for (const bad of ['0', '0g', 'abc', '0x10', '-1']) {
      expect(() => bytesOfHex(bad), bad).toThrow(InvariantError)
    }
  })

  it('concat joins parts in order into memory of its own', () => {
    fc.assert(
      fc.property(fc.array(bytes, { maxLength: 6 }), (parts) => {
        const joined = concat(parts)
        expect([...joined]).toEqual(parts.flatMap((part) => [...part]))
        if (parts.length === 1) expect(joined.buffer).not.toBe(parts[0]?.buffer)
      }),
    )
  })

  it('bytesEqual sees every difference', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 40 }), fc.nat(), (some, pick) => {
        expect(bytesEqual(some, some.slice())).toBe(true)
        const other = some.slice()
        const at = pick % other.length
        other[at] = (other[at] as number) ^ 0x10
        expect(bytesEqual(some, other)).toBe(false)
        expect(bytesEqual(some, some.subarray(1))).toBe(false)
      }),
    )
  })

  it('viewOf sees the part of the buffer that the array sees', () => {
    const part = Uint8Array.of(1, 2, 3, 4, 5).subarray(1, 4)
    const view = viewOf(part)
    expect(view.byteLength).toBe(3)
    expect(view.getUint8(0)).toBe(2)
    view.setUint8(2, 9)
    expect(part[2]).toBe(9)
  })

  it('roundUp gives the least multiple that is not smaller', () => {
    fc.assert(
      fc.property(fc.nat(2 ** 40), fc.integer({ min: 0, max: 20 }), (size, power) => {
        const unit = 2 ** power
        const rounded = roundUp(size, unit)
        expect(rounded % unit).toBe(0)
        expect(rounded >= size && rounded - size < unit).toBe(true)
      }),
    )
  })
})
