import { describe, expect, it } from 'vitest'
import { ByteBudget } from '../base/budget.ts'
import { EMPTY } from '../base/bytes.ts'
import { Waiters } from './waiters.ts'

interface Made {
  readonly waiters: Waiters
  readonly budget: ByteBudget
  readonly heard: string[]
  readonly commitMs: number[]
}

function make(): Made {
  const budget = new ByteBudget(1000)
  const commitMs: number[] = []
  return {
    commitMs,
    waiters: new Waiters(
      budget,
      { monotonicMs: () => 100 },
      { record: (s) => commitMs.push(s * 1000) },
    ),
    budget,
    heard: [],
  }
}

describe('Waiters', () => {
  it('answers a proposal with the result of its own entry only', () => {
    const { waiters, budget, heard, commitMs } = make()
    for (const index of [5, 6]) {
      expect(budget.tryClaim(100)).toBe(true)
      waiters.addProposal(index, {
        term: 2,
        bytes: 100,
        sinceMs: 40 + index,
        done: (error, result) => heard.push(`${index} ${error?.code ?? `ok ${result[0]}`}`),
      })
    }
    expect(waiters.oldestSinceMs()).toBe(45)
    waiters.applied(4, 2, EMPTY)
    waiters.applied(5, 2, Uint8Array.of(9))
    // Another leader's entry took the place.
    waiters.applied(6, 3, Uint8Array.of(8))
    expect(heard).toEqual(['5 ok 9', '6 PROPOSAL_DROPPED'])
    expect(commitMs).toEqual([55])
    expect(budget.claimedBytes).toBe(0)
    expect(waiters.oldestSinceMs()).toBe(Number.POSITIVE_INFINITY)
  })

  it('lets a read go when it is confirmed and its index is applied', () => {
    const { waiters, heard } = make()
    const first = waiters.addUnconfirmed((error) => heard.push(`first ${error?.code ?? 'ok'}`))
    const second = waiters.addUnconfirmed((error) => heard.push(`second ${error?.code ?? 'ok'}`))
    waiters.confirmed(first, 10, 8)
    waiters.confirmed(second, 8, 8)
    waiters.confirmed(second, 8, 8)
    expect(heard).toEqual(['second ok'])
    waiters.releaseReads(9)
    expect(heard).toEqual(['second ok'])
    waiters.releaseReads(10)
    expect(heard).toEqual(['second ok', 'first ok'])
  })

  it('ends every waiter once', () => {
    const { waiters, budget, heard } = make()
    budget.tryClaim(7)
    waiters.addProposal(1, {
      term: 1,
      bytes: 7,
      sinceMs: 0,
      done: (e) => heard.push(`p ${e?.code}`),
    })
    waiters.addUnconfirmed((e) => heard.push(`u ${e?.code}`))
    waiters.addUnapplied(9, 3, (e) => heard.push(`a ${e?.code}`))
    const dropped = waiters.addUnconfirmed((e) => heard.push(`d ${e?.code}`))
    waiters.readDropped(dropped)
    expect(waiters.count).toBe(3)
    waiters.failAll('CLOSED')
    waiters.failAll('CLOSED')
    waiters.readDropped(dropped)
    expect(heard).toEqual(['d NOT_LEADER', 'p CLOSED', 'u CLOSED', 'a CLOSED'])
    expect(budget.claimedBytes).toBe(0)
    expect(waiters.count).toBe(0)
  })
})
