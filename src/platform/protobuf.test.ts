import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LemnisError } from '../base/errors.ts'
import { decodeMessage, encodeMessage, many, one } from './protobuf.ts'

const INNER = { number: one(1, 'u53'), words: many(2, 'text') }
const OUTER = {
  number: one(1, 'u53'),
  text: one(2, 'text'),
  inner: one(3, INNER),
  flag: one(4, 'flag'),
  bytes: one(5, 'bytes'),
  inners: many(16, INNER),
}
const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const ofHex = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex, 'hex'))

describe('protocol buffers', () => {
  it('have the bytes that their documentation shows', () => {
    expect(hexOf(encodeMessage(OUTER, { number: 150 }))).toBe('089601')
    expect(hexOf(encodeMessage(OUTER, { text: 'testing' }))).toBe('120774657374696e67')
    expect(hexOf(encodeMessage(OUTER, { inner: { number: 150 } }))).toBe('1a03089601')
    expect(hexOf(encodeMessage(OUTER, { number: 0, inners: [{}, { words: ['a', ''] }] }))).toBe(
      '0800820100820105120161' + '1200',
    )
  })

  it('read what they wrote', () => {
    const inner = fc.record({ number: fc.maxSafeNat(), words: fc.array(fc.string()) })
    const given = fc.record({
      number: fc.maxSafeNat(),
      text: fc.string({ unit: 'binary' }),
      inner,
      flag: fc.boolean(),
      bytes: fc.uint8Array(),
      inners: fc.array(inner),
    })
    fc.assert(
      fc.property(given, (message) => {
        expect(decodeMessage(OUTER, encodeMessage(OUTER, message))).toEqual(message)
      }),
    )
  })

  it('give what was not sent its default, and skip what is not known', () => {
    const nothing = {
      number: 0,
      text: '',
      inner: null,
      flag: false,
      bytes: new Uint8Array(0),
      inners: [],
    }
    expect(decodeMessage(OUTER, new Uint8Array(0))).toEqual(nothing)
    // Fields 6 to 9: a varint, 64 bits, a block, 32 bits.
    const unknown = ofHex(`3001${'41'}${'00'.repeat(8)}4a020102${'55'}${'00'.repeat(4)}0807`)
    expect(decodeMessage(OUTER, unknown)).toEqual({ ...nothing, number: 7 })
  })

  it('read numbers of 64 bits', () => {
    const read = (hex: string): number => decodeMessage(OUTER, ofHex(hex)).number
    expect(read('08ffffffffffffff0f')).toBe(Number.MAX_SAFE_INTEGER)
    expect(read('08ffffffffffffffffff01')).toBe(-1)
    expect(read('088180808080ffffffff01')).toBe(-(2 ** 35) + 1)
    expect(() => read('0880808080808080' + '10')).toThrow('CORRUPT')
    expect(() => read('08ffffffffffffffffff02')).toThrow('CORRUPT')
    expect(() => read('08ffffffffffffffffffff01')).toThrow('CORRUPT')
    const ids = { id: one(1, 'id') }
    expect(decodeMessage(ids, ofHex('08ffffffffffffffffff01')).id).toBe('ffffffffffffffff')
    expect(decodeMessage(ids, ofHex('088080808010')).id).toBe('100000000')
    expect(decodeMessage(ids, ofHex('082a')).id).toBe('2a')
  })

  it('refuse what ends early or is no message, and never anything else', () => {
    const whole = encodeMessage(OUTER, { text: 'abc', inner: { number: 1 << 20, words: ['x'] } })
    for (let length = 1; length < whole.byteLength; length++) {
      const read = (): unknown => decodeMessage(OUTER, whole.subarray(0, length))
      // The first field alone is a message too.
      if (length === 5) expect(read()).toMatchObject({ text: 'abc' })
      else expect(read).toThrow('CORRUPT')
    }
    for (const hex of ['0a0161', '1001', '0b', '1201ff']) {
      expect(() => decodeMessage(OUTER, ofHex(hex))).toThrow('CORRUPT')
    }
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        try {
          decodeMessage(OUTER, bytes)
        } catch (error) {
          expect(error).toBeInstanceOf(LemnisError)
        }
      }),
    )
  })
})
