import { describe, expect, it } from 'vitest'
import { InvariantError } from './assert.ts'
import { Scope } from './scope.ts'

function recorder(closed: string[]): (name: string, fails?: boolean) => { close(): Promise<void> } {
  return (name, fails = false) => ({
    async close() {
      await Promise.resolve()
      closed.push(name)
      if (fails) throw new Error(`${name} failed`)
    },
  })
}

describe('Scope', () => {
  it('closes in reverse order at the end of its block, one after the other', async () => {
    const closed: string[] = []
    const make = recorder(closed)
    {
      await using scope = new Scope()
      const log = scope.own(make('log'))
      scope.own(make('listener'))
      expect(log).toBeDefined()
      expect(closed).toEqual([])
    }
    expect(closed).toEqual(['listener', 'log'])
  })

  it('closes everything though some fail, then throws the first failure', async () => {
    const closed: string[] = []
    const make = recorder(closed)
    const scope = new Scope()
    scope.own(make('a', true))
    scope.own(make('b'))
    scope.own(make('c', true))
    await expect(scope.close()).rejects.toThrow('c failed')
    expect(closed).toEqual(['c', 'b', 'a'])
  })

  it('closes once: a second close waits for the first, and nothing is owned after it', async () => {
    const closed: string[] = []
    const scope = new Scope()
    scope.own(recorder(closed)('only'))
    const first = scope.close()
    await scope.close()
    expect(closed).toEqual(['only'])
    await first
    expect(() => scope.own({ close: () => {} })).toThrow(InvariantError)
  })
})
