// Owns what people are told of the shape of the cluster: its pools, zones and servers, each with what
// its chunkservers are and hold. Reads only; retired chunkservers are left out.

import { LemnisError } from '../../base/errors.ts'
import type { PoolFill } from '../../format/control/mds.ts'
import type { Pool, Server, Zone } from '../../format/control/topology.ts'
import type { ChunkserverRecord, PoolRecord } from '../../format/records/topology.ts'
import type { ChunkserverView } from '../../placement/view.ts'
import type { ClusterViews } from '../cluster-view.ts'
import type { Reports } from '../reports.ts'
import type { Topology } from './topology.ts'

export interface ShapeOptions {
  readonly topology: Topology
  readonly reports: Reports
  readonly views: ClusterViews
  readonly fills: () => readonly PoolFill[]
  readonly volumesIn: (pool: string) => number
}

interface Member {
  readonly record: ChunkserverRecord
  readonly view: ChunkserverView
  readonly copysets: number
  readonly leaders: number
}

type Shares = Pick<
  Zone,
  'chunkservers' | 'draining' | 'slow' | 'capacityBytes' | 'usedBytes' | 'copysets' | 'leaders'
>

/** In one answer: some 400 bytes each must fit a frame's body. */
const PAGE = 500

export class Shape {
  readonly #options: ShapeOptions

  constructor(options: ShapeOptions) {
    this.#options = options
  }

  pools(from = ''): { pools: Pool[]; next?: string } {
    const members = groupBy(this.#members(), ({ record }) => this.#poolOf(record))
    const fills = new Map(this.#options.fills().map((fill) => [fill.name, fill]))
    const records = [...this.#options.topology.pools.values()]
    const { page, next } = pageOf(records, ({ name }) => name, from)
    const pools = page.map((pool) =>
      this.#pool(pool, fills.get(pool.name), members.get(pool.name) ?? []),
    )
    return next === undefined ? { pools } : { pools, next }
  }

  pool(name: string): { pool: Pool; zones: Zone[] } {
    const record = this.#options.topology.pools.get(name)
    if (record === undefined) throw new LemnisError('NOT_FOUND', { pool: name })
    const members = this.#members().filter((one) => this.#poolOf(one.record) === name)
    const fill = this.#options.fills().find((one) => one.name === name)
    return { pool: this.#pool(record, fill, members), zones: zonesOf(members) }
  }

  zones(from = ''): { zones: Zone[]; next?: string } {
    const { page, next } = pageOf(zonesOf(this.#members()), ({ name }) => name, from)
    return next === undefined ? { zones: page } : { zones: page, next }
  }

  servers(zone?: string, from = ''): { servers: Server[]; next?: string } {
    const members = this.#members().filter(({ record }) => (zone ?? record.zone) === record.zone)
    const servers = Array.from(groupBy(members, seatOf), ([, here]) => serverOf(here))
    const { page, next } = pageOf(servers, (one) => `${one.zone}/${one.name}`, from)
    return next === undefined ? { servers: page } : { servers: page, next }
  }

  #poolOf(record: ChunkserverRecord): string {
    return this.#options.topology.poolOf(record)
  }

  #pool(record: PoolRecord, fill: PoolFill | undefined, members: readonly Member[]): Pool {
    const { name, replicas, zones = [], createdMs, copysets, removingMs } = record
    return {
      name,
      replicas,
      zones: [...zones],
      createdMs,
      state: removingMs === undefined ? 'ready' : 'removing',
      ...sharesOf(members),
      copysets,
      volumes: this.#options.volumesIn(name),
      level: fill?.level ?? 'ok',
      fullestPercent: fill?.fullestPercent ?? 0,
      ...(fill?.daysLeft === undefined ? {} : { daysLeft: fill.daysLeft }),
    }
  }

  #members(): Member[] {
    const { topology, reports, views } = this.#options
    const leaders = new Map<number, number>()
    for (const copyset of topology.copysets.values()) {
      const leader = reports.leaderOf(copyset)?.chunkserver
      if (leader !== undefined) leaders.set(leader, (leaders.get(leader) ?? 0) + 1)
    }
    const members: Member[] = []
    for (const record of topology.chunkservers.values()) {
      const { id } = record
      const view = views.chunkserver(id)
      if (view === undefined) continue
      const copysets = topology.copysetsOf(id).size
      members.push({ record, view, copysets, leaders: leaders.get(id) ?? 0 })
    }
    return members
  }
}

function seatOf({ record }: Member): string {
  return `${record.zone}/${record.server}`
}

function groupBy(
  members: readonly Member[],
  keyOf: (member: Member) => string,
): Map<string, Member[]> {
  const groups = new Map<string, Member[]>()
  for (const member of members) {
    const key = keyOf(member)
    const known = groups.get(key)
    if (known === undefined) groups.set(key, [member])
    else known.push(member)
  }
  return groups
}

function zonesOf(members: readonly Member[]): Zone[] {
  const zones = Array.from(
    groupBy(members, ({ record }) => record.zone),
    ([name, here]) => ({
      name,
      pools: poolsOf(here),
      servers: new Set(here.map(seatOf)).size,
      ...sharesOf(here),
    }),
  )
  return zones.sort((a, b) => compare(a.name, b.name))
}

function serverOf(members: readonly Member[]): Server {
  const { zone = '', server: name = '' } = members[0]?.record ?? {}
  const ids = members.map(({ record }) => record.id).sort((a, b) => a - b)
  return { zone, name, pools: poolsOf(members), ids, ...sharesOf(members) }
}

function poolsOf(members: readonly Member[]): string[] {
  return [...new Set(members.map(({ record }) => record.pool))].sort()
}

function sharesOf(members: readonly Member[]): Shares {
  const chunkservers = { online: 0, unstable: 0, offline: 0 }
  let draining = 0
  let slow = 0
  let capacityBytes = 0
  let usedBytes = 0
  let copysets = 0
  let leaders = 0
  for (const { record, view, ...held } of members) {
    chunkservers[view.isLost ? 'offline' : view.presence]++
    if (record.draining !== undefined) draining++
    if (record.slow !== undefined) slow++
    capacityBytes += view.capacityBytes
    usedBytes += view.capacityBytes - view.freeBytes
    copysets += held.copysets
    leaders += held.leaders
  }
  return { chunkservers, draining, slow, capacityBytes, usedBytes, copysets, leaders }
}

/** In order of their keys, from `from` on; `next` is where the rest begins. */
function pageOf<T>(
  all: readonly T[],
  keyOf: (one: T) => string,
  from: string,
): { page: T[]; next: string | undefined } {
  const left = all.filter((one) => keyOf(one) >= from)
  left.sort((a, b) => compare(keyOf(a), keyOf(b)))
  const rest = left[PAGE]
  return { page: left.slice(0, PAGE), next: rest === undefined ? undefined : keyOf(rest) }
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
