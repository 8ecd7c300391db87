import { describe, expect, it } from 'vitest'
import { membersOf } from '../raft/configuration.ts'
import type { Configuration, ReplicaId } from '../raft/types.ts'
import { Removal } from './removal.ts'
import type { Replica } from './replica.ts'

const id = (n: number): ReplicaId => n as ReplicaId

/** As much of a replica as a removal looks at. */
function replica(own: number, epoch: number, voters: number[], outgoing: number[] = []): Replica {
  const membership: Configuration = {
    epoch,
    voters: voters.map(id),
    outgoing: outgoing.map(id),
    learners: [],
    learnersNext: [],
  }
  const members = membersOf(membership)
  const isRemoved = epoch > 0 && !members.includes(id(own))
  const knows = (other: ReplicaId): boolean => members.includes(other)
  const view = { id: id(own), term: 4, epoch, createdEpoch: 0, membership, isRemoved, knows }
  return view as unknown as Replica
}

function word(from: number, epoch: number, voterCount = 3): Parameters<Removal['mayEnd']>[1] {
  return { kind: 'not-member', from: id(from), to: id(1), term: 4, epoch, voterCount }
}

describe('the end of a removed replica', () => {
  it('comes when a majority of the voters have said so, each counted once', () => {
    const removal = new Removal(1000)
    const old = replica(1, 1, [1, 2, 3])
    expect(removal.mayEnd(old, word(2, 3))).toBe(false)
    expect(removal.mayEnd(old, word(2, 3))).toBe(false)
    expect(removal.mayEnd(old, word(4, 3))).toBe(true)
  })

  it('does not come by words of different configurations, or of ones that it is newer than', () => {
    const removal = new Removal(1000)
    const old = replica(1, 3, [1, 2, 3])
    expect(removal.mayEnd(old, word(2, 3))).toBe(false)
    expect(removal.mayEnd(old, word(4, 2))).toBe(false)
    expect(removal.mayEnd(old, word(2, 5))).toBe(false)
    expect(removal.mayEnd(old, word(3, 7))).toBe(false)
    expect(removal.mayEnd(old, word(2, 5))).toBe(false)
    removal.forget(old)
    expect(removal.mayEnd(old, word(3, 7))).toBe(false)
    expect(removal.mayEnd(old, word(2, 7))).toBe(true)
  })

  it('is asked for by a replica that has applied its own removal, now and then', () => {
    const removal = new Removal(1000)
    const gone = replica(1, 5, [2, 3, 4])
    expect(removal.ownQuestions(gone, 0).map((note) => note.to)).toEqual([2, 3, 4])
    expect(removal.ownQuestions(gone, 999)).toEqual([])
    expect(removal.ownQuestions(gone, 1000)).toHaveLength(3)
    expect(removal.ownQuestions(replica(1, 5, [1, 2, 3]), 5000)).toEqual([])
    expect(removal.mayEnd(gone, word(2, 5))).toBe(false)
    expect(removal.mayEnd(gone, word(3, 5))).toBe(true)
  })

  it('is confirmed by voters whose own configuration is settled and without the stranger', () => {
    const removal = new Removal(1000)
    const stranger = id(1)
    expect(removal.answer(replica(2, 5, [2, 3, 4]), stranger)).toMatchObject({
      kind: 'not-member',
      to: 1,
      epoch: 5,
      voterCount: 3,
    })
    expect(removal.answer(replica(2, 4, [2, 3, 4], [1, 2, 3]), stranger)).toBe(null)
    expect(removal.answer(replica(2, 5, [1, 2, 3]), stranger)).toBe(null)
    expect(removal.answer(replica(9, 5, [2, 3, 4]), stranger)).toBe(null)
    expect(removal.answer(replica(2, 0, []), stranger)).toBe(null)
  })
})
