import { describe, expect, it } from 'vitest'
import { InvariantError } from './assert.ts'
import { asLemnisError, ERRORS, type ErrorCode, errorCodeOfWire, LemnisError } from './errors.ts'

const CODES = Object.keys(ERRORS) as ErrorCode[]

describe('the error table', () => {
  // Written out once more on purpose: a number that changes breaks version N-1.
  it('keeps the numbers that are on the wire', () => {
    const first = {
      INTERNAL: 1,
      INVALID_ARGUMENT: 2,
      NOT_LEADER: 3,
      NO_SUCH_GROUP: 4,
      OVERLOADED: 5,
      DEADLINE_EXCEEDED: 6,
      DISCONNECTED: 7,
      CLOSED: 8,
      CORRUPT: 9,
      DISK_FAILED: 10,
      NO_SPACE: 11,
      PROPOSAL_DROPPED: 12,
      VERSION_MISMATCH: 13,
      MEMBERSHIP_BUSY: 14,
      UNKNOWN_METHOD: 15,
    }
    const wires = Object.fromEntries(CODES.map((code) => [code, ERRORS[code].wire]))
    expect(wires).toMatchObject(first)
  })

  it('gives every code a number of its own, from 1 to what 16 bits hold', () => {
    const wires = CODES.map((code) => ERRORS[code].wire)
    expect(new Set(wires).size).toBe(wires.length)
    for (const wire of wires) expect(wire > 0 && wire < 0x1_0000).toBe(true)
  })

  it('reads every number back, and one of a newer version as INTERNAL', () => {
    for (const code of CODES) expect(errorCodeOfWire(ERRORS[code].wire)).toBe(code)
    expect(errorCodeOfWire(0)).toBe('INTERNAL')
    expect(errorCodeOfWire(65_535)).toBe('INTERNAL')
  })

  it('says what happened and what to do, in sentences', () => {
    for (const code of CODES) {
      expect(ERRORS[code].says, code).toMatch(/^[A-Z].*\.$/)
      expect(ERRORS[code].cure, code).toMatch(/^[A-Z].*\.$/)
      expect(ERRORS[code].errno, code).toMatch(/^E[A-Z]+$/)
    }
  })
})

describe('LemnisError', () => {
  it('has code, retry, detail, cause and a readable message', () => {
    const cause = new Error('inner')
    const error = new LemnisError('NO_SPACE', { path: '/d', freeBytes: 0 }, cause)
    expect(error.code).toBe('NO_SPACE')
    expect(error.retry).toBe('later')
    expect(error.detail['freeBytes']).toBe(0)
    expect(error.cause).toBe(cause)
    expect(error.message).toBe(`NO_SPACE: ${ERRORS.NO_SPACE.says} (path=/d, freeBytes=0)`)
    expect(new LemnisError('CLOSED').message).toBe(`CLOSED: ${ERRORS.CLOSED.says}`)
    expect('cause' in new LemnisError('CLOSED')).toBe(false)
  })

  it('wraps what is none of ours as INTERNAL and leaves ours alone', () => {
    const ours = new LemnisError('CORRUPT')
    expect(asLemnisError(ours)).toBe(ours)
    const bug = new TypeError('x is undefined')
    const wrapped = asLemnisError(bug)
    expect(wrapped.code).toBe('INTERNAL')
    expect(wrapped.cause).toBe(bug)
    expect(wrapped.message).toContain('x is undefined')
    expect(asLemnisError('text').code).toBe('INTERNAL')
  })

  it('never hides a broken invariant', () => {
    const broken = new InvariantError('commit went back')
    expect(() => asLemnisError(broken)).toThrow(broken)
  })
})
