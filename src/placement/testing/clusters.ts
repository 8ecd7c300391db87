// Owns clusters for tests of placement: views made from a few numbers, changed, and led on by plans
// as if all operators had been carried out.

import { must } from '../../base/assert.ts'
import { Prng } from '../../base/prng.ts'
import { createCopysets } from '../create.ts'
import type { PlannedOperator } from '../operator.ts'
import type { PlanLimits } from '../pass.ts'
import { type ChunkserverView, type ClusterView, type CopysetView, isGone } from '../view.ts'

const GIB = 1024 ** 3

/** None, as good as. */
export const LIMITS: PlanLimits = {
  movesMax: 100_000,
  movesPerChunkserverMax: 100_000,
  handoversMax: 100_000,
  handoversPerChunkserverMax: 100_000,
  serverSilentMax: 3,
  balancePercent: 5,
  leaderUpMinMs: 60_000,
}

export const OFFLINE = { presence: 'offline' } as const

export function chunkserver(id: number, zones: number): ChunkserverView {
  return {
    id,
    pool: 'default',
    zone: `z${(id - 1) % zones}`,
    server: `s${id - 1}`,
    presence: 'online',
    isLost: false,
    isFull: false,
    isDraining: false,
    isSlow: false,
    upMs: 3_600_000,
    capacityBytes: 100 * GIB,
    freeBytes: 50 * GIB,
  }
}

/** Chunkservers with ids from 1, spread over the zones as they come, with a pool as created. */
export function cluster(
  count: number,
  zones: number,
  copysets: number,
  seed = 1,
  replicas = 3,
): ClusterView {
  const ids = Array.from({ length: count }, (_, i) => i + 1)
  return populated(
    ids.map((id) => chunkserver(id, zones)),
    copysets,
    seed,
    replicas,
  )
}

/** These chunkservers, with a pool as created. */
export function populated(
  chunkservers: readonly ChunkserverView[],
  copysets: number,
  seed = 1,
  replicas = 3,
): ClusterView {
  const made = createCopysets(chunkservers, replicas, copysets, new Prng(seed))
  return {
    chunkservers,
    copysets: made.map(
      (members, i): CopysetView => ({
        id: i + 1,
        pool: 'default',
        members,
        leader: must(members[0], 'a member'),
        isBusy: false,
        damaged: [],
      }),
    ),
    pools: [{ name: 'default', replicas }],
    operators: [],
  }
}

/** With some chunkservers changed, and leaders moved away from those that are gone. */
export function changed(
  view: ClusterView,
  ids: readonly number[],
  replaced: Partial<ChunkserverView>,
): ClusterView {
  const chunkservers = view.chunkservers.map((one) =>
    ids.includes(one.id) ? { ...one, ...replaced } : one,
  )
  const gone = new Set(chunkservers.filter(isGone).map(({ id }) => id))
  const copysets = view.copysets.map((copyset) =>
    gone.has(copyset.leader)
      ? { ...copyset, leader: copyset.members.find((id) => !gone.has(id)) ?? 0 }
      : copyset,
  )
  return { ...view, chunkservers, copysets }
}

export function joined(view: ClusterView, more: readonly ChunkserverView[]): ClusterView {
  return { ...view, chunkservers: [...view.chunkservers, ...more] }
}

/** As if the operators had been carried out. */
export function applied(view: ClusterView, operators: readonly PlannedOperator[]): ClusterView {
  const byCopyset = new Map(operators.map((operator) => [operator.copyset, operator]))
  const copysets = view.copysets.map((copyset) => {
    const operator = byCopyset.get(copyset.id)
    return operator === undefined ? copyset : after(copyset, operator)
  })
  return { ...view, copysets }
}

function after(copyset: CopysetView, operator: PlannedOperator): CopysetView {
  const { members, leader, damaged } = copyset
  switch (operator.kind) {
    case 'lead':
      return { ...copyset, leader: operator.to }
    case 'add':
      return { ...copyset, members: [...members, operator.to] }
    case 'remove': {
      const stay = members.filter((id) => id !== operator.from)
      return { ...copyset, members: stay, leader: led(leader, stay), damaged: [] }
    }
    case 'move': {
      const now = members.map((id) => (id === operator.from ? operator.to : id))
      const still = damaged.filter((id) => id !== operator.from)
      return { ...copyset, members: now, leader: led(leader, now), damaged: still }
    }
  }
}

/** A leader that was removed is followed by another member. */
function led(leader: number, members: readonly number[]): number {
  return members.includes(leader) ? leader : must(members[0], 'a member')
}

/** How many copysets each chunkserver has, or leads, in their order. */
export function countsOf(view: ClusterView): { copysets: number[]; leads: number[] } {
  const copysets = new Map(view.chunkservers.map(({ id }) => [id, 0]))
  const leads = new Map(copysets)
  for (const { members, leader } of view.copysets) {
    for (const id of members) copysets.set(id, (copysets.get(id) ?? 0) + 1)
    leads.set(leader, (leads.get(leader) ?? 0) + 1)
  }
  const inOrder = (counts: ReadonlyMap<number, number>): number[] =>
    view.chunkservers.map(({ id }) => counts.get(id) ?? 0)
  return { copysets: inOrder(copysets), leads: inOrder(leads) }
}

export function spreadOf(counts: readonly number[]): number {
  return Math.max(...counts) - Math.min(...counts)
}
