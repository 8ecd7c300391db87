// Owns what people and clients are told about the cluster: lists of chunkservers and copysets,
// where copysets are, and the state of it all in sentences that say what is, what it means for the
// data, and what helps. Reads only.

import type { ReplyOf, RequestOf } from '../format/control/call.ts'
import type { LIST_CHUNKSERVERS, LIST_COPYSETS, LOCATE_COPYSETS } from '../format/control/mds.ts'
import { type Chunkserver, type Copyset, type Member, NO_SCRUB } from '../format/control/parts.ts'
import type { ChunkserverRecord, CopysetRecord } from '../format/records/topology.ts'
import { Pairs } from '../placement/pairs.ts'
import type { ClusterViews } from './cluster-view.ts'
import { isScrubAsked } from './operators/scrubs.ts'
import type { Reports } from './reports.ts'
import { chunkserverOf, type Topology } from './topology/topology.ts'

/** Copysets in one answer: some 500 bytes each must fit a frame's body. */
const COPYSETS_PAGE = 1500

/** Chunkservers in one answer: some 900 bytes each with long names, and no more than 2 KiB. */
const CHUNKSERVERS_PAGE = 500

const NO_DISK = {
  usedBytes: 0,
  state: 'ok',
  errors: 0,
  badBlocks: 0,
  repairedBlocks: 0,
  writeP99Us: 0,
} as const
const NO_IO = { reads: 0, writes: 0, readBytes: 0, writtenBytes: 0 } as const

export class Answers {
  readonly #topology: Topology
  readonly #reports: Reports
  readonly #views: ClusterViews

  constructor(topology: Topology, reports: Reports, views: ClusterViews) {
    this.#topology = topology
    this.#reports = reports
    this.#views = views
  }

  /** In order of id, a page at a time. */
  chunkserverPage({
    from = 0,
  }: RequestOf<typeof LIST_CHUNKSERVERS>): ReplyOf<typeof LIST_CHUNKSERVERS> {
    const all = this.chunkservers()
      .filter(({ id }) => id >= from)
      .sort((a, b) => a.id - b.id)
    const chunkservers = all.slice(0, CHUNKSERVERS_PAGE)
    const next = all[CHUNKSERVERS_PAGE]?.id
    return next === undefined ? { chunkservers } : { chunkservers, next }
  }

  chunkservers(): Chunkserver[] {
    const records = [...this.#topology.chunkservers.values()]
    const positions = new Map(records.map(({ id }, position) => [id, position]))
    const pairs = new Pairs(records.length)
    for (const copyset of this.#topology.copysets.values()) {
      pairs.add(this.#topology.votersOf(copyset).flatMap((id) => positions.get(id) ?? []))
    }
    const leaders = this.#leaderCounts()
    return records.map((record, position) => ({
      ...this.#chunkserver(record),
      leaders: leaders.get(record.id) ?? 0,
      scatterWidth: pairs.width(position),
    }))
  }

  #chunkserver(record: ChunkserverRecord): Omit<Chunkserver, 'leaders' | 'scatterWidth'> {
    const { id, address, httpAddress, pool, zone, server, version } = record
    const heard = this.#reports.of(id)
    const view = this.#views.chunkserver(id)
    const damaged = heard?.last.replicas.filter((replica) => replica.damage !== undefined) ?? []
    return {
      id,
      address,
      httpAddress,
      pool,
      zone,
      server,
      state: view === undefined ? 'retired' : view.isLost ? 'offline' : view.presence,
      lastHeartbeatMs: heard?.wallMs ?? 0,
      version,
      disk: heard?.last.disk ?? { ...NO_DISK, capacityBytes: record.capacityBytes },
      io: heard?.last.io ?? NO_IO,
      scrub: heard?.last.scrub ?? NO_SCRUB,
      ...(isScrubAsked(record, this.#topology.cluster) ? { scrubAsked: true } : {}),
      copysets: this.#topology.copysetsOf(id).size,
      damaged: damaged.length,
      ...(record.draining === undefined ? {} : { draining: record.draining }),
      ...(record.slow === undefined ? {} : { slow: record.slow }),
      ...(heard?.last.recovery === undefined ? {} : { recovery: heard.last.recovery }),
    }
  }

  #leaderCounts(): Map<number, number> {
    const counts = new Map<number, number>()
    for (const copyset of this.#topology.copysets.values()) {
      const leader = this.#reports.leaderOf(copyset)?.chunkserver
      if (leader !== undefined) counts.set(leader, (counts.get(leader) ?? 0) + 1)
    }
    return counts
  }

  /** Those asked for, unknown ones left out; or all from an id on, a page at a time. */
  copysets({ ids, from = 0 }: RequestOf<typeof LIST_COPYSETS>): ReplyOf<typeof LIST_COPYSETS> {
    const known = this.#topology.copysets
    if (ids.length > 0) {
      const found = ids.slice(0, COPYSETS_PAGE).flatMap((id) => known.get(id) ?? [])
      return { copysets: found.map((copyset) => this.#copyset(copyset)) }
    }
    const all = [...known.values()].filter(({ id }) => id >= from).sort((a, b) => a.id - b.id)
    const copysets = all.slice(0, COPYSETS_PAGE).map((copyset) => this.#copyset(copyset))
    const next = all[COPYSETS_PAGE]?.id
    return next === undefined ? { copysets } : { copysets, next }
  }

  #copyset(copyset: CopysetRecord): Copyset {
    const leader = this.#reports.leaderOf(copyset)
    const behind = this.#views.lagOf(copyset)
    return {
      ...(behind === 0 ? {} : { behind }),
      id: copyset.id,
      pool: copyset.pool,
      epoch: copyset.epoch,
      leader: leader?.chunkserver ?? 0,
      term: leader?.report.term ?? 0,
      members: this.#members(copyset.voters),
      candidates: this.#members(leader?.report.learners ?? []),
      health: this.#views.healthOf(copyset),
      chunks: leader?.report.chunks ?? 0,
      usedBytes: leader?.report.usedBytes ?? 0,
    }
  }

  /** Those on chunkservers that are recorded. */
  #members(replicas: readonly number[]): Member[] {
    return replicas.flatMap((replica) => {
      const chunkserver = chunkserverOf(replica)
      const record = this.#topology.chunkservers.get(chunkserver)
      if (record === undefined) return []
      return [{ replica, chunkserver, address: record.address, zone: record.zone }]
    })
  }

  locate(groups: readonly number[]): ReplyOf<typeof LOCATE_COPYSETS> {
    const copysets = groups.flatMap((group) => {
      const copyset = this.#topology.copysets.get(group)
      if (copyset === undefined) return []
      const members = this.#topology.votersOf(copyset).map((chunkserver) => ({
        chunkserver,
        address: this.#topology.addressOf(chunkserver),
      }))
      return [{ group, leader: this.#reports.leaderOf(copyset)?.chunkserver ?? 0, members }]
    })
    return { copysets }
  }
}
