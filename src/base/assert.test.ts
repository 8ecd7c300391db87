import { describe, expect, it } from 'vitest'
import { assert, InvariantError, must, unreachable } from './assert.ts'

describe('assert', () => {
  it('throws what it was told, and nothing when the condition holds', () => {
    expect(() => assert(true, 'fine')).not.toThrow()
    expect(() => assert(false, 'apply past commit')).toThrow(
      new InvariantError('apply past commit'),
    )
  })

  it('must gives the value that is there, falsy ones too', () => {
    expect(must(0, 'zero')).toBe(0)
    expect(must('', 'empty')).toBe('')
    expect(() => must(null, 'gone')).toThrow(InvariantError)
    expect(() => must(undefined, 'gone')).toThrow('gone')
  })

  it('unreachable names the value that arrived', () => {
    expect(() => unreachable('third' as never)).toThrow('unreachable: third')
  })
})
