import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { vectorsOf } from '../../test/vectors.ts'
import { concat, hexOf } from '../base/bytes.ts'
import { ERRORS, type ErrorCode, type ErrorDetail, LemnisError } from '../base/errors.ts'
import { decodeError, decodeHello, encodeError, encodeHello, type Hello } from './frame-bodies.ts'

interface HelloFields extends Omit<Hello, 'versions'> {
  readonly oldest: number
  readonly newest: number
}
interface ErrorFields {
  readonly code: ErrorCode
  readonly hintMs: number
  readonly detail: ErrorDetail
}

function helloOf({ oldest, newest, ...rest }: HelloFields): Hello {
  return { versions: { oldest, newest }, ...rest }
}

function codeOf(act: () => unknown): string {
  try {
    act()
  } catch (error) {
    if (error instanceof LemnisError) return error.code
    throw error
  }
  return 'no error'
}

const MORE = Uint8Array.of(1, 2, 3)

describe('hello', () => {
  const vectors = vectorsOf<HelloFields>('frame.txt', 'hello')

  it('is written and read as the vectors say', () => {
    expect(vectors.length).toBeGreaterThan(1)
    for (const { fields, bytes } of vectors) {
      expect(hexOf(encodeHello(helloOf(fields)))).toBe(hexOf(bytes))
      expect(decodeHello(bytes)).toEqual(helloOf(fields))
    }
  })

  it('is CORRUPT when cut anywhere, and may be longer', () => {
    for (const { fields, bytes } of vectors) {
      for (let cut = 0; cut < bytes.byteLength; cut++) {
        expect(codeOf(() => decodeHello(bytes.subarray(0, cut)))).toBe('CORRUPT')
      }
      expect(decodeHello(concat([bytes, MORE]))).toEqual(helloOf(fields))
    }
  })

  it('takes no name beyond 255 bytes', () => {
    const hello = helloOf((vectors[0] as { fields: HelloFields }).fields)
    const longest = { ...hello, name: 'n'.repeat(255) }
    expect(decodeHello(encodeHello(longest))).toEqual(longest)
    expect(codeOf(() => encodeHello({ ...hello, name: 'ü'.repeat(128) }))).toBe('INVALID_ARGUMENT')
  })

  it('is a hello or CORRUPT, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        expect(['no error', 'CORRUPT']).toContain(codeOf(() => decodeHello(bytes)))
      }),
    )
  })
})

describe('errors', () => {
  const vectors = vectorsOf<ErrorFields>('frame.txt', 'error')

  it('are written and read as the vectors say', () => {
    expect(vectors.length).toBeGreaterThan(2)
    for (const { fields, bytes } of vectors) {
      const { code, hintMs, detail } = fields
      expect(hexOf(encodeError(new LemnisError(code, detail), hintMs))).toBe(hexOf(bytes))
      const decoded = decodeError(bytes)
      expect(decoded.error.code).toBe(code)
      expect(decoded.error.detail).toEqual(detail)
      expect(decoded.hintMs).toBe(hintMs)
    }
  })

  it('are CORRUPT when cut anywhere, and may be longer', () => {
    for (const { fields, bytes } of vectors) {
      for (let cut = 0; cut < bytes.byteLength; cut++) {
        expect(codeOf(() => decodeError(bytes.subarray(0, cut)))).toBe('CORRUPT')
      }
      expect(decodeError(concat([bytes, MORE])).error.code).toBe(fields.code)
    }
  })

  it('keep every code of the table', () => {
    for (const code of Object.keys(ERRORS) as ErrorCode[]) {
      expect(decodeError(encodeError(new LemnisError(code), 0)).error.code).toBe(code)
    }
  })

  it('of a newer version are INTERNAL', () => {
    const bytes = encodeError(new LemnisError('CLOSED'), 0)
    bytes[0] = 0xff
    bytes[1] = 0xff
    expect(decodeError(bytes).error.code).toBe('INTERNAL')
  })

  it('lose a detail that is too long, not their code', () => {
    const decoded = decodeError(
      encodeError(new LemnisError('NO_SPACE', { a: 'x'.repeat(3000) }), 5),
    )
    expect(decoded.error.code).toBe('NO_SPACE')
    expect(decoded.error.detail).toEqual({})
    expect(decoded.hintMs).toBe(5)
  })

  it('keep the fields of a detail that are words, numbers or truths, and drop others', () => {
    const { bytes } = vectors[0] as { bytes: Uint8Array }
    const text = new TextEncoder().encode(
      '{"a":1,"b":null,"c":[1],"d":{"e":1},"__proto__":{"f":1}}',
    )
    const head = bytes.slice(0, 8)
    head[2] = text.byteLength
    const { detail } = decodeError(concat([head, text])).error
    expect(detail).toEqual({ a: 1 })
    expect(({} as Record<string, unknown>)['f']).toBeUndefined()
  })

  it('with a detail that is no object or no UTF-8 are CORRUPT', () => {
    const { bytes } = vectors[0] as { bytes: Uint8Array }
    for (const detail of ['12', 'null', '{"a"', '']) {
      const text = new TextEncoder().encode(detail)
      const head = bytes.slice(0, 8)
      head[2] = text.byteLength
      expect(codeOf(() => decodeError(concat([head, text])))).toBe('CORRUPT')
    }
    const head = bytes.slice(0, 8)
    expect(codeOf(() => decodeError(concat([head, Uint8Array.of(0xc3, 0x28)])))).toBe('CORRUPT')
  })
})
