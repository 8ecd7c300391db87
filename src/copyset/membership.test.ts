import { describe, expect, it } from 'vitest'
import type { Configuration, ReplicaId } from '../raft/types.ts'
import { type MembershipGoal, nextStep } from './membership.ts'

const id = (n: number): ReplicaId => n as ReplicaId
const ids = (...numbers: number[]): ReplicaId[] => numbers.map(id)

function step(
  config: Partial<Configuration>,
  goal: MembershipGoal,
  options: { created?: number[]; match?: Record<number, number> } = {},
): ReturnType<typeof nextStep> {
  const { created = [], match = {} } = options
  const lastIndex = 5000
  const whole = {
    epoch: 1,
    voters: ids(1, 2, 3),
    outgoing: [],
    learners: [],
    learnersNext: [],
    ...config,
  }
  const progress = Object.entries(match).map(([replica, index]) => ({
    replica: id(Number(replica)),
    match: index,
  }))
  return nextStep(goal, { config: whole, progress, lastIndex }, new Set(created.map(id)), 1000)
}

describe('the exchange of members', () => {
  const goal = { add: ids(4), remove: ids(1) }

  it('makes a new member before anybody knows it', () => {
    expect(step({}, goal)).toEqual({ kind: 'create', replica: 4 })
  })

  it('lets it learn without a vote', () => {
    expect(step({}, goal, { created: [4] })).toEqual({
      kind: 'propose',
      steps: [{ action: 'add-learner', replica: 4 }],
    })
  })

  it.each([
    ['holds nothing', {}],
    ['lags by more than it may', { 4: 3999 }],
  ])('waits while it %s', (_what, match) => {
    const waits = step({ learners: ids(4) }, goal, { created: [4], match })
    expect(waits).toEqual({ kind: 'wait', reason: 'catch-up' })
  })

  it('gives it a vote in the change that removes the old one', () => {
    expect(step({ learners: ids(4) }, goal, { match: { 4: 4000 } })).toEqual({
      kind: 'propose',
      steps: [
        { action: 'add-voter', replica: 4 },
        { action: 'remove', replica: 1 },
      ],
    })
  })

  it('waits out a joint phase, whoever began it', () => {
    const joint = { voters: ids(2, 3, 4), outgoing: ids(1, 2, 3) }
    expect(step(joint, goal)).toEqual({ kind: 'wait', reason: 'joint phase' })
  })

  it('is done when the members are as asked, however often it is asked', () => {
    expect(step({ voters: ids(2, 3, 4) }, goal)).toEqual({ kind: 'done' })
    expect(step({}, { add: ids(3), remove: ids(9) })).toEqual({ kind: 'done' })
  })

  it('removes a learner that never got its vote', () => {
    expect(step({ learners: ids(4) }, { add: [], remove: ids(4) })).toEqual({
      kind: 'propose',
      steps: [{ action: 'remove', replica: 4 }],
    })
  })
})
