import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { jointVotes, majorityValue, majorityVotes, type VoteResult } from './quorum.ts'
import type { ReplicaId } from './types.ts'

/** Every subset that is more than half, tried one by one. */
function naiveValue(values: readonly number[]): number {
  if (values.length === 0) return Number.POSITIVE_INFINITY
  let best = Number.NEGATIVE_INFINITY
  for (let set = 1; set < 1 << values.length; set++) {
    const members = values.filter((_, i) => (set >> i) & 1)
    if (2 * members.length > values.length) best = Math.max(best, Math.min(...members))
  }
  return best
}

/** Every way in which the open votes may still be cast, tried one by one. */
function naiveVotes(halves: readonly (readonly ReplicaId[])[], cast: Votes): VoteResult {
  const open = [...new Set(halves.flat())].filter((voter) => !cast.has(voter))
  const outcomes = new Set<boolean>()
  for (let set = 0; set < 1 << open.length; set++) {
    const all = new Map(cast)
    open.forEach((voter, i) => {
      all.set(voter, ((set >> i) & 1) === 1)
    })
    outcomes.add(
      halves.every((half) => {
        const yes = half.filter((voter) => all.get(voter) === true).length
        return half.length === 0 || 2 * yes > half.length
      }),
    )
  }
  return outcomes.size === 2 ? 'pending' : outcomes.has(true) ? 'won' : 'lost'
}

type Votes = ReadonlyMap<ReplicaId, boolean>

const voters = fc.uniqueArray(fc.integer({ min: 1, max: 8 }), { maxLength: 7 })
const votes = fc
  .uniqueArray(fc.tuple(fc.integer({ min: 1, max: 9 }), fc.boolean()), { selector: ([id]) => id })
  .map((pairs) => new Map(pairs) as unknown as Votes)

describe('majorities', () => {
  it('reach the value that the best majority has', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 20 }), { maxLength: 9 }), (values) => {
        expect(majorityValue([...values])).toBe(naiveValue(values))
      }),
      { numRuns: 3000 },
    )
  })

  it('take a leader that is always there as infinity', () => {
    expect(majorityValue([Number.POSITIVE_INFINITY])).toBe(Number.POSITIVE_INFINITY)
    expect(majorityValue([3, Number.POSITIVE_INFINITY])).toBe(3)
    expect(majorityValue([3, Number.POSITIVE_INFINITY, 5])).toBe(5)
  })

  it('count votes as every possible end of the election says', () => {
    fc.assert(
      fc.property(voters, votes, (ids, cast) => {
        const half = ids as ReplicaId[]
        expect(majorityVotes(half, cast)).toBe(naiveVotes([half], cast))
      }),
      { numRuns: 3000 },
    )
  })

  // Halves are judged apart, so a result that only their overlap decides may still be called
  // pending.
  it('count joint votes as both halves together', () => {
    fc.assert(
      fc.property(voters, voters, votes, (a, b, cast) => {
        const result = jointVotes(a as ReplicaId[], b as ReplicaId[], cast)
        const exact = naiveVotes([a as ReplicaId[], b as ReplicaId[]], cast)
        if (result === 'pending') expect(['pending', 'lost']).toContain(exact)
        else expect(result).toBe(exact)
      }),
      { numRuns: 3000 },
    )
  })

  it('of two configurations that follow each other share a member', () => {
    fc.assert(
      fc.property(voters, voters, votes, votes, (a, b, first, second) => {
        fc.pre(a.length > 0 && b.length > 0)
        // One candidate wins by the joint configuration, another by either half alone.
        const joint = jointVotes(a as ReplicaId[], b as ReplicaId[], first)
        const alone = majorityVotes(a as ReplicaId[], second)
        if (joint !== 'won' || alone !== 'won') return
        const both = a.filter(
          (id) => first.get(id as ReplicaId) === true && second.get(id as ReplicaId) === true,
        )
        expect(both.length).toBeGreaterThan(0)
      }),
      { numRuns: 5000 },
    )
  })
})
