// Owns how topology and reports together look to placement, and to people: presence, losses and
// health. Values only, made when somebody asks.

import type { CopysetRecord, OperatorRecord } from '../format/records/topology.ts'
import type { PlannedOperator } from '../placement/operator.ts'
import {
  type ChunkserverView,
  type ClusterView,
  type CopysetView,
  isGone,
  quorumOf,
} from '../placement/view.ts'
import type { LeaderReport, Reports } from './reports.ts'
import { chunkserverOf, type Topology } from './topology/topology.ts'

export type CopysetHealth = 'ok' | 'degraded' | 'broken' | 'moving' | 'unknown'

/** What a chunkserver's replicas are, as far as it is the chunkserver's doing. */
type Standing = 'serving' | 'unknown' | 'away'
type Standings = Map<number, Standing>

export interface Survey {
  readonly counts: Readonly<Record<CopysetHealth, number>>
  /** Copysets that are whole but for a replica that is behind, and how far the hindmost is. */
  readonly lagging: { readonly copysets: number; readonly entries: number }
}

const PERCENT = 100

export interface ViewLimits {
  /** A disk used this far takes nothing new. */
  readonly fullPercent: number
  /** A replica further behind than this does not count as whole. */
  readonly lagEntriesMax: number
}

export class ClusterViews {
  readonly #topology: Topology
  readonly #reports: Reports
  readonly #limits: ViewLimits

  constructor(topology: Topology, reports: Reports, limits: ViewLimits) {
    this.#topology = topology
    this.#reports = reports
    this.#limits = limits
  }

  /**
   * `isHeld` names copysets that are to be left alone for now, `avoidedBy` where they could not be built.
   */
  cluster(
    isHeld: (copyset: number) => boolean,
    avoidedBy: (copyset: number) => readonly number[] = () => [],
  ): ClusterView {
    const { copysets, operators, pools } = this.#topology
    return {
      chunkservers: this.chunkservers(),
      copysets: Array.from(copysets.values(), (copyset) => {
        const avoided = avoidedBy(copyset.id)
        const view = this.#copyset(copyset, isHeld)
        return avoided.length === 0 ? view : { ...view, avoided }
      }),
      pools: Array.from(pools.values(), ({ name, replicas }) => ({ name, replicas })),
      operators: Array.from(operators.values(), plannedOf),
    }
  }

  /** All that are not retired. */
  chunkservers(): ChunkserverView[] {
    const found: ChunkserverView[] = []
    for (const id of this.#topology.chunkservers.keys()) {
      const view = this.chunkserver(id)
      if (view !== undefined) found.push(view)
    }
    return found
  }

  chunkserver(id: number): ChunkserverView | undefined {
    const record = this.#topology.chunkservers.get(id)
    if (record === undefined || record.retiredMs !== undefined) return undefined
    const disk = this.#reports.of(id)?.last.disk
    const capacityBytes = disk?.capacityBytes ?? record.capacityBytes
    const usedBytes = disk?.usedBytes ?? 0
    return {
      id,
      pool: this.#topology.poolOf(record),
      zone: record.zone,
      server: record.server,
      presence: this.#reports.presenceOf(id),
      isLost: record.replacedBy !== undefined || this.#reports.hasFailed(id),
      isFull:
        disk?.state === 'full' || usedBytes * PERCENT > capacityBytes * this.#limits.fullPercent,
      isDraining: record.draining !== undefined,
      isSlow: record.slow !== undefined,
      upMs: this.#reports.upMs(id),
      capacityBytes,
      freeBytes: Math.max(0, capacityBytes - usedBytes),
    }
  }

  #copyset(copyset: CopysetRecord, isHeld: (copyset: number) => boolean): CopysetView {
    const leader = this.#reports.leaderOf(copyset)
    const isSettled =
      leader !== null &&
      leader.report.epoch === copyset.epoch &&
      leader.report.learners.length === 0 &&
      leader.report.changing === undefined
    return {
      id: copyset.id,
      pool: copyset.pool,
      members: this.#topology.votersOf(copyset),
      leader: leader?.chunkserver ?? 0,
      isBusy: !isSettled || isHeld(copyset.id),
      damaged: copyset.voters
        .filter((voter) => this.#reports.isDamaged(copyset.id, voter))
        .map(chunkserverOf),
    }
  }

  healthOf(copyset: CopysetRecord): CopysetHealth {
    return this.#examine(copyset, new Map()).health
  }

  /** All copysets by their health, and those that only lag. */
  survey(): Survey {
    const counts = { ok: 0, degraded: 0, broken: 0, moving: 0, unknown: 0 }
    const lagging = { copysets: 0, entries: 0 }
    const standings = new Map<number, Standing>()
    for (const copyset of this.#topology.copysets.values()) {
      const { health, lag } = this.#examine(copyset, standings)
      counts[health]++
      if (lag === 0) continue
      lagging.copysets++
      lagging.entries = Math.max(lagging.entries, lag)
    }
    return { counts, lagging }
  }

  /** `lag` is above 0 where nothing else is wrong. */
  #examine(copyset: CopysetRecord, standings: Standings): { health: CopysetHealth; lag: number } {
    let sound = 0
    let unknown = 0
    for (const voter of copyset.voters) {
      const state = this.#voterState(copyset.id, voter, standings)
      if (state === 'sound') sound++
      else if (state === 'unknown') unknown++
    }
    const quorum = quorumOf(copyset.voters.length)
    if (sound + unknown < quorum) return { health: 'broken', lag: 0 }
    const leader = this.#reports.leaderOf(copyset)
    if (sound < quorum || leader === null) return { health: 'unknown', lag: 0 }
    const operator = this.#topology.operators.get(copyset.id)
    // A handover of its leadership changes nothing of what it holds.
    const isMoving =
      (operator !== undefined && operator.kind !== 'lead') ||
      leader.report.epoch !== copyset.epoch ||
      leader.report.learners.length > 0
    if (isMoving) return { health: 'moving', lag: 0 }
    if (sound < copyset.voters.length) return { health: 'degraded', lag: 0 }
    const lag = this.#lagBehind(copyset, leader)
    return { health: lag === 0 ? 'ok' : 'degraded', lag }
  }

  /** By how many entries its hindmost voter is behind; 0 when that is not worth a word. */
  lagOf(copyset: CopysetRecord): number {
    const leader = this.#reports.leaderOf(copyset)
    return leader === null ? 0 : this.#lagBehind(copyset, leader)
  }

  #lagBehind(copyset: CopysetRecord, leader: LeaderReport): number {
    let most = 0
    for (const voter of copyset.voters) {
      most = Math.max(most, this.#reports.lagOf(copyset, voter, leader))
    }
    return most > this.#limits.lagEntriesMax ? most : 0
  }

  #voterState(group: number, voter: number, standings: Standings): 'sound' | 'unknown' | 'away' {
    const id = chunkserverOf(voter)
    let standing = standings.get(id)
    if (standing === undefined) {
      standing = this.#standingOf(id)
      standings.set(id, standing)
    }
    if (standing !== 'serving') return standing
    if (this.#reports.isDamaged(group, voter)) return 'away'
    return this.#reports.replica(group, voter) === undefined ? 'unknown' : 'sound'
  }

  #standingOf(id: number): Standing {
    const chunkserver = this.chunkserver(id)
    if (chunkserver === undefined || isGone(chunkserver)) return 'away'
    if (this.#reports.isAwaited(id)) return 'unknown'
    return chunkserver.presence === 'online' ? 'serving' : 'away'
  }
}

/** As placement sees it: chunkservers instead of replicas. */
export function plannedOf(operator: OperatorRecord): PlannedOperator {
  const { copyset, why, priority, kind } = operator
  const common = { copyset, why, priority }
  const from = operator.from === undefined ? 0 : chunkserverOf(operator.from)
  const to = operator.to === undefined ? 0 : chunkserverOf(operator.to)
  switch (kind) {
    case 'add':
      return { ...common, kind, to }
    case 'remove':
      return { ...common, kind, from }
    default:
      return { ...common, kind, from, to }
  }
}
