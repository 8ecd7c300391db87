// Owns how chunkservers leave: a person marks them, they empty themselves (placement/drain.ts), and
// one that holds nothing is retired. Invariant: nobody is retired by a call while a replica is, or is
// about to be, on it.

import { LemnisError } from '../../base/errors.ts'
import { formatBytes } from '../../base/units.ts'
import type { Env } from '../../env/env.ts'
import type { ReplyOf, RequestOf } from '../../format/control/call.ts'
import type { DRAIN, REMOVE_SERVER, REMOVE_ZONE } from '../../format/control/topology.ts'
import type { ChunkserverRecord, PoolRecord } from '../../format/records/topology.ts'
import type { Observer } from '../../observe/observe.ts'
import { type ChunkserverView, isUsable } from '../../placement/view.ts'
import type { ClusterViews } from '../cluster-view.ts'
import type { Reports } from '../reports.ts'
import { chunkserverOf, type Draft, type Topology } from './topology.ts'

export interface DeparturesOptions {
  readonly env: Env
  readonly observer: Observer
  readonly topology: Topology
  readonly reports: Reports
  readonly views: ClusterViews
}

export class Departures {
  readonly #options: DeparturesOptions

  constructor(options: DeparturesOptions) {
    this.#options = options
  }

  async drain(request: RequestOf<typeof DRAIN>): Promise<ReplyOf<typeof DRAIN>> {
    const { topology } = this.#options
    const ids = await topology.ledger.change(() => {
      const records = this.#named(request)
      const draft = topology.draft()
      for (const record of records) this.#draftMark(draft, record, request.on)
      return draft.write(() => records.map(({ id }) => id))
    })
    const copysets = ids.reduce((sum, id) => sum + topology.copysetsOf(id).size, 0)
    const warning = request.on ? this.#warningFor(ids) : null
    const reply = { chunkservers: ids, copysets }
    return warning === null ? reply : { ...reply, warning }
  }

  #named(request: RequestOf<typeof DRAIN>): ChunkserverRecord[] {
    if (request.what === 'chunkserver') return [this.#present(request.chunkserver)]
    return this.#placedIn(request.zone, request.what === 'server' ? request.server : undefined)
  }

  #draftMark(draft: Draft, record: ChunkserverRecord, on: boolean): void {
    const { env, observer } = this.#options
    const { draining, ...rest } = record
    const chunkserver = record.id
    if (on && draining?.why !== 'asked') {
      draft.putChunkserver({ ...rest, draining: { sinceMs: env.clock.wallMs(), why: 'asked' } })
      draft.after(() => observer.emit('mds_drain_begun', { chunkserver, why: 'asked' }))
    } else if (!on && draining !== undefined) {
      draft.putChunkserver(rest)
      draft.after(() => observer.emit('mds_drain_ended', { chunkserver, why: 'asked' }))
    }
  }

  #present(id: number): ChunkserverRecord {
    const record = this.#options.topology.chunkservers.get(id)
    if (record === undefined) throw new LemnisError('NOT_FOUND', { chunkserver: id })
    if (record.retiredMs === undefined) return record
    throw new LemnisError('CONFLICT', { chunkserver: id, reason: 'it has retired already' })
  }

  /** On one server of the zone, or on all. */
  #placedIn(zone: string, server?: string): ChunkserverRecord[] {
    const all = [...this.#options.topology.chunkservers.values()]
    const inZone = all.filter((one) => one.zone === zone && one.retiredMs === undefined)
    const found = inZone.filter((one) => server === undefined || one.server === server)
    if (found.length === 0) {
      throw new LemnisError('NOT_FOUND', server === undefined ? { zone } : { zone, server })
    }
    return found.sort((a, b) => a.id - b.id)
  }

  // --- whether it can end

  /** Why what is marked can't be emptied as things are, or null. */
  #warningFor(ids: readonly number[]): string | null {
    const { topology, views } = this.#options
    const leaving = new Set(ids)
    const pools = new Set(ids.map((id) => topology.chunkservers.get(id)?.pool))
    const all = views.chunkservers()
    for (const pool of topology.pools.values()) {
      if (!pools.has(pool.name)) continue
      const members = all.filter((one) => one.pool === pool.name)
      const leavers = members.filter(({ id }) => leaving.has(id))
      const held = leavers.some(({ id }) => topology.copysetsOf(id).size > 0)
      const left = members.filter((one) => isUsable(one) && !leaving.has(one.id))
      const warning = held ? warningOf(pool, leavers, left) : null
      if (warning !== null) return warning
    }
    return null
  }

  // --- the end

  async removeChunkserver(id: number): Promise<void> {
    await this.#retire(() => [this.#present(id)])
  }

  async removeServer({
    zone,
    server,
  }: RequestOf<typeof REMOVE_SERVER>): Promise<ReplyOf<typeof REMOVE_SERVER>> {
    return { chunkservers: await this.#retire(() => this.#placedIn(zone, server)) }
  }

  async removeZone({ zone }: RequestOf<typeof REMOVE_ZONE>): Promise<ReplyOf<typeof REMOVE_ZONE>> {
    return { chunkservers: await this.#retire(() => this.#placedIn(zone)) }
  }

  #retire(named: () => ChunkserverRecord[]): Promise<number[]> {
    const { env, observer, topology } = this.#options
    return topology.ledger.change(() => {
      const records = named()
      for (const { id } of records) this.#refuseHolder(id)
      const draft = topology.draft()
      for (const record of records) {
        draft.putChunkserver({ ...record, retiredMs: env.clock.wallMs() })
        draft.after(() => observer.emit('mds_chunkserver_retired', { chunkserver: record.id }))
      }
      // The others need not know its address any more.
      draft.patchCluster({ directoryVersion: draft.cluster.directoryVersion + 1 })
      return draft.write(() => records.map(({ id }) => id))
    })
  }

  #refuseHolder(chunkserver: number): void {
    const { topology, reports } = this.#options
    const copysets = topology.copysetsOf(chunkserver).size
    if (copysets > 0) {
      const reason = `it holds replicas: \`lemnis chunkserver drain ${chunkserver}\` moves them first`
      throw new LemnisError('CONFLICT', { chunkserver, copysets, reason })
    }
    for (const { copyset, to } of topology.operators.values()) {
      if (to === undefined || chunkserverOf(to) !== chunkserver) continue
      const reason = 'a replica is on its way to it: drain it first'
      throw new LemnisError('CONFLICT', { chunkserver, copyset, reason })
    }
    const ending = reports.of(chunkserver)?.replicas.size ?? 0
    if (ending > 0 && reports.presenceOf(chunkserver) === 'online') {
      const reason = 'it is ending its last replicas: ask again in some seconds'
      throw new LemnisError('CONFLICT', { chunkserver, replicas: ending, reason })
    }
  }
}

function warningOf(
  { name, replicas }: PoolRecord,
  leavers: readonly ChunkserverView[],
  left: readonly ChunkserverView[],
): string | null {
  const zones = new Set(left.map(({ zone }) => zone)).size
  if (zones < replicas) {
    const has = `Pool ${name} would be left with chunkservers in ${zones} of the ${replicas} zones`
    return `${has} that its replicas need: what is drained stays until others are added.`
  }
  const heldBytes = leavers.reduce((sum, one) => sum + one.capacityBytes - one.freeBytes, 0)
  const freeBytes = left.reduce((sum, one) => sum + one.freeBytes, 0)
  if (heldBytes <= freeBytes) return null
  const room = `${formatBytes(freeBytes)} are free in pool ${name}`
  return `${room}, and ${formatBytes(heldBytes)} have to move: add chunkservers first.`
}
