// Owns how topology and reports together look to placement, and to people: presence, losses and
// health. Values only, made when somebody asks.

import type { CopysetRecord } from '../format/records/topology.ts'
import {
  type ChunkserverView,
  type ClusterView,
  type CopysetView,
  isGone,
  quorumOf,
} from '../placement/view.ts'
import type { Reports } from './reports.ts'
import { chunkserverOf, type Topology } from './topology.ts'

export type CopysetHealth = 'ok' | 'degraded' | 'broken' | 'moving' | 'unknown'

const PERCENT = 100

export class ClusterViews {
  readonly #topology: Topology
  readonly #reports: Reports
  readonly #fullPercent: number

  constructor(topology: Topology, reports: Reports, fullPercent: number) {
    this.#topology = topology
    this.#reports = reports
    this.#fullPercent = fullPercent
  }

  /** `isHeld` names copysets that are to be left alone for now. */
  cluster(isHeld: (copyset: number) => boolean): ClusterView {
    const { copysets, operators } = this.#topology
    return {
      chunkservers: this.chunkservers(),
      copysets: Array.from(copysets.values(), (copyset) => this.#copyset(copyset, isHeld)),
      moves: Array.from(operators.values(), ({ copyset, from, to }) => ({
        copyset,
        from: chunkserverOf(from),
        to: chunkserverOf(to),
      })),
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
      pool: record.pool,
      zone: record.zone,
      server: record.server,
      presence: this.#reports.presenceOf(id),
      isLost: record.replacedBy !== undefined || this.#reports.hasFailed(id),
      isFull: disk?.state === 'full' || usedBytes * PERCENT > capacityBytes * this.#fullPercent,
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
    let sound = 0
    let unknown = 0
    for (const voter of copyset.voters) {
      const state = this.#voterState(copyset.id, voter)
      if (state === 'sound') sound++
      else if (state === 'unknown') unknown++
    }
    const quorum = quorumOf(copyset.voters.length)
    if (sound + unknown < quorum) return 'broken'
    const leader = this.#reports.leaderOf(copyset)
    if (sound < quorum || leader === null) return 'unknown'
    const isMoving =
      this.#topology.operators.has(copyset.id) ||
      leader.report.epoch !== copyset.epoch ||
      leader.report.learners.length > 0
    if (isMoving) return 'moving'
    return sound === copyset.voters.length ? 'ok' : 'degraded'
  }

  #voterState(group: number, voter: number): 'sound' | 'unknown' | 'away' {
    const id = chunkserverOf(voter)
    const chunkserver = this.chunkserver(id)
    if (chunkserver === undefined || isGone(chunkserver)) return 'away'
    if (this.#reports.isAwaited(id)) return 'unknown'
    if (chunkserver.presence !== 'online' || this.#reports.isDamaged(group, voter)) return 'away'
    return this.#reports.replica(group, voter) === undefined ? 'unknown' : 'sound'
  }
}
