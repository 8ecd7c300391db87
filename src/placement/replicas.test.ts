import { describe, expect, it } from 'vitest'
import { Pass } from './pass.ts'
import { planReplicas } from './replicas.ts'
import {
  applied,
  changed,
  cluster,
  countsOf,
  LIMITS,
  OFFLINE,
  spreadOf,
} from './testing/clusters.ts'
import type { ClusterView, CopysetView } from './view.ts'

function asked(view: ClusterView, replicas: number): ClusterView {
  return { ...view, pools: [{ name: 'default', replicas }] }
}

/** One copyset with these members, in a pool of three replicas. */
function single(members: readonly number[], leader: number): ClusterView {
  const view = cluster(12, 4, 0)
  const copyset: CopysetView = {
    id: 1,
    pool: 'default',
    members,
    leader,
    isBusy: false,
    damaged: [],
  }
  return { ...view, copysets: [copyset] }
}

function removedFrom(view: ClusterView): unknown {
  const { operators } = planReplicas(new Pass(view, LIMITS))
  return operators.map((one) => (one.kind === 'remove' ? one.from : one))
}

describe('the number of replicas', () => {
  it('is left alone where it is right', () => {
    expect(planReplicas(new Pass(cluster(12, 4, 60), LIMITS)).operators).toEqual([])
  })

  it('follows the pool up and down, one a copyset at a time, and evenly', () => {
    let view = asked(cluster(12, 4, 60), 4)
    const added = planReplicas(new Pass(view, LIMITS)).operators
    expect(added).toHaveLength(60)
    expect(new Set(added.map(({ kind, why }) => `${kind} ${why}`))).toEqual(
      new Set(['add too-few']),
    )
    view = applied(view, added)
    expect(spreadOf(countsOf(view).copysets)).toBeLessThanOrEqual(1)
    view = asked(view, 2)
    for (let round = 0; round < 2; round++) {
      const removed = planReplicas(new Pass(view, LIMITS)).operators
      expect(removed).toHaveLength(60)
      view = applied(view, removed)
    }
    expect(new Set(view.copysets.map(({ members }) => members.length))).toEqual(new Set([2]))
    expect(spreadOf(countsOf(view).copysets)).toBeLessThanOrEqual(2)
    expect(planReplicas(new Pass(view, LIMITS)).operators).toEqual([])
  })

  it('takes away what is gone, then what is damaged, drained, in a shared zone, slow, or fullest', () => {
    // Zones: 1, 5 and 9 are in one, 2 and 6 in the next, and so on.
    const view = single([1, 2, 3, 4], 1)
    expect(removedFrom(changed(view, [3], OFFLINE))).toEqual([3])
    expect(removedFrom(changed(view, [3], { isLost: true }))).toEqual([3])
    const damaged = view.copysets.map((one) => ({ ...one, damaged: [2] }))
    expect(removedFrom({ ...view, copysets: damaged })).toEqual([2])
    expect(removedFrom(changed(view, [4], { isDraining: true }))).toEqual([4])
    expect(removedFrom(changed(single([1, 2, 3, 5], 1), [3], { isSlow: true }))).toEqual([5])
    expect(removedFrom(changed(view, [3], { isSlow: true }))).toEqual([3])
    const smaller = changed(view, [2], { capacityBytes: 1024 ** 3 })
    expect(removedFrom(smaller)).toEqual([2])
    expect(removedFrom(single([1, 2, 3, 4], 1))).toEqual([2])
  })

  it('never goes below a quorum of sound members', () => {
    const two = changed(single([1, 2, 3, 4], 1), [3, 4], OFFLINE)
    const { operators, waiting } = planReplicas(new Pass(two, LIMITS))
    expect(operators).toEqual([])
    expect(waiting.get('no-quorum')).toBe(1)
    const few = changed(single([1, 2], 1), [2], OFFLINE)
    expect(planReplicas(new Pass(few, LIMITS)).operators).toEqual([])
  })

  it('adds first where fewest are, within the limits', () => {
    const view = single([1, 2], 1)
    const [copyset] = view.copysets as [CopysetView]
    const copysets = [copyset, { ...copyset, id: 2, members: [3], leader: 3 }]
    const { operators, waiting } = planReplicas(
      new Pass({ ...view, copysets }, { ...LIMITS, movesMax: 1 }),
    )
    expect(operators.map(({ copyset: id }) => id)).toEqual([2])
    expect(waiting.get('limit')).toBe(1)
  })
})
