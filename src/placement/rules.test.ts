import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { must } from '../base/assert.ts'
import type { PlannedOperator } from './operator.ts'
import type { PlanLimits } from './pass.ts'
import { planAll } from './testing/all.ts'
import {
  applied,
  changed,
  chunkserver,
  cluster,
  joined,
  LIMITS,
  OFFLINE,
} from './testing/clusters.ts'
import { type ChunkserverView, type ClusterView, isGone, isUsable, quorumOf } from './view.ts'

const someIds = fc.array(fc.integer({ min: 1, max: 30 }), { maxLength: 4 })

const cases = fc.record({
  chunkservers: fc.integer({ min: 5, max: 30 }),
  zones: fc.integer({ min: 3, max: 6 }),
  added: fc.integer({ min: 0, max: 4 }),
  replicasAsked: fc.integer({ min: 2, max: 4 }),
  offline: someIds,
  unstable: someIds,
  lost: someIds,
  full: someIds,
  draining: someIds,
  slow: someIds,
  damaged: fc.array(fc.integer({ min: 1, max: 60 }), { maxLength: 5 }),
  busy: fc.array(fc.integer({ min: 1, max: 60 }), { maxLength: 20 }),
  movesMax: fc.integer({ min: 1, max: 40 }),
  movesPerChunkserverMax: fc.integer({ min: 1, max: 5 }),
  handoversMax: fc.integer({ min: 1, max: 40 }),
  handoversPerChunkserverMax: fc.integer({ min: 1, max: 5 }),
  seed: fc.nat(),
})

type Case = typeof cases extends fc.Arbitrary<infer T> ? T : never

function viewOf(given: Case): ClusterView {
  let view = cluster(given.chunkservers, given.zones, 60, given.seed)
  const first = given.chunkservers + 1
  const added = Array.from({ length: given.added }, (_, i) => chunkserver(first + i, given.zones))
  view = joined(view, added)
  view = changed(view, given.unstable, { presence: 'unstable' })
  view = changed(view, given.offline, OFFLINE)
  view = changed(view, given.lost, { isLost: true })
  view = changed(view, given.full, { isFull: true })
  view = changed(view, given.draining, { isDraining: true })
  view = changed(view, given.slow, { isSlow: true })
  return {
    ...view,
    pools: [{ name: 'default', replicas: given.replicasAsked }],
    copysets: view.copysets.map((copyset) => ({
      ...copyset,
      isBusy: given.busy.includes(copyset.id),
      damaged: given.damaged.includes(copyset.id) ? copyset.members.slice(0, 1) : [],
    })),
  }
}

describe('every round of planners', () => {
  it('breaks no rule, whatever the cluster is like and whatever is under way', () => {
    fc.assert(
      fc.property(cases, fc.nat(), (given, cut) => {
        const view = viewOf(given)
        const limits = { ...LIMITS, ...given }
        const first = planAll(view, limits)
        checkRules(view, first, limits)
        // Some of them under way, the others done: nothing new may break the rules either.
        const done = first.filter((_, i) => (i + cut) % 3 === 0)
        const underWay = first.filter((_, i) => (i + cut) % 3 === 1)
        const then = { ...applied(view, done), operators: underWay }
        checkRules(then, planAll(then, limits), limits)
      }),
      { numRuns: 400 },
    )
  })

  it('is the same for the same cluster', () => {
    fc.assert(
      fc.property(cases, (given) => {
        const limits = { ...LIMITS, ...given }
        expect(planAll(viewOf(given), limits)).toEqual(planAll(viewOf(given), limits))
      }),
      { numRuns: 50 },
    )
  })

  it('comes to an end: all that can be mended is mended, and then nothing moves', () => {
    fc.assert(
      fc.property(cases, (given) => {
        let view = viewOf({ ...given, unstable: [], busy: [] })
        const limits = { ...LIMITS, ...given }
        for (let round = 0; ; round++) {
          expect(round).toBeLessThan(1000)
          const operators = planAll(view, limits)
          if (operators.length === 0) break
          view = applied(view, operators)
        }
      }),
      { numRuns: 100 },
    )
  })
})

/** The rules, said again in the simplest way. */
function checkRules(
  view: ClusterView,
  planned: readonly PlannedOperator[],
  limits: PlanLimits,
): void {
  const all = [...view.operators, ...planned]
  expect(new Set(all.map(({ copyset }) => copyset)).size).toBe(all.length)
  for (const operator of planned) checkOperator(view, operator)
  const load = loadsOf(view, all)
  const before = loadsOf(view, view.operators)
  expect(load.moves).toBeLessThanOrEqual(Math.max(before.moves, limits.movesMax))
  expect(load.handovers).toBeLessThanOrEqual(Math.max(before.handovers, limits.handoversMax))
  for (const [id, count] of load.movesOf) {
    const allowed = Math.max(before.movesOf.get(id) ?? 0, limits.movesPerChunkserverMax)
    expect(count).toBeLessThanOrEqual(allowed)
  }
  for (const [id, count] of load.takesOf) {
    const allowed = Math.max(before.takesOf.get(id) ?? 0, limits.handoversPerChunkserverMax)
    expect(count).toBeLessThanOrEqual(allowed)
  }
}

function at(view: ClusterView, id: number): ChunkserverView {
  return must(
    view.chunkservers.find((one) => one.id === id),
    'a chunkserver',
  )
}

function checkOperator(view: ClusterView, operator: PlannedOperator): void {
  const copyset = must(
    view.copysets.find(({ id }) => id === operator.copyset),
    'a copyset',
  )
  const { members, damaged, isBusy } = copyset
  expect(isBusy).toBe(false)
  const isSound = (id: number): boolean => !isGone(at(view, id)) && !damaged.includes(id)
  const sound = members.filter(isSound)
  expect(sound.length).toBeGreaterThanOrEqual(
    operator.kind === 'lead' ? 1 : quorumOf(members.length),
  )
  if (operator.kind === 'lead') {
    const to = at(view, operator.to)
    expect(operator.from).toBe(copyset.leader)
    expect(members).toContain(operator.to)
    expect(sound).toContain(operator.to)
    expect({ presence: to.presence, isSlow: to.isSlow }).toEqual({
      presence: 'online',
      isSlow: false,
    })
    expect(to.isDraining).toBe(false)
    return
  }
  const leaving = operator.kind === 'add' ? [] : [operator.from]
  for (const id of leaving) expect(members).toContain(id)
  const stay = members.filter((id) => !leaving.includes(id))
  if (operator.kind === 'remove') {
    const left = sound.filter((id) => id !== operator.from)
    expect(left.length).toBeGreaterThanOrEqual(quorumOf(stay.length))
    return
  }
  if (operator.kind === 'move' && operator.from === operator.to) {
    expect(isSound(operator.from)).toBe(false)
    return
  }
  expect(members).not.toContain(operator.to)
  expect(isUsable(at(view, operator.to))).toBe(true)
  expect(stay.map((id) => at(view, id).zone)).not.toContain(at(view, operator.to).zone)
}

interface Loads {
  moves: number
  handovers: number
  readonly movesOf: Map<number, number>
  readonly takesOf: Map<number, number>
}

function loadsOf(view: ClusterView, operators: readonly PlannedOperator[]): Loads {
  const loads: Loads = { moves: 0, handovers: 0, movesOf: new Map(), takesOf: new Map() }
  for (const operator of operators) {
    if (operator.kind === 'lead') {
      loads.handovers++
      bump(loads.takesOf, operator.to)
      continue
    }
    loads.moves++
    const leader = view.copysets.find(({ id }) => id === operator.copyset)?.leader ?? 0
    const to = operator.kind === 'remove' ? leader : operator.to
    for (const id of new Set([leader, to])) bump(loads.movesOf, id)
  }
  return loads
}

function bump(counts: Map<number, number>, id: number): void {
  counts.set(id, (counts.get(id) ?? 0) + 1)
}
