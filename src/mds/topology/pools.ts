// Owns the making and growing of pools and the answers that the namespace needs of them: where new chunks go,
// and where copysets are. A pool and all its copysets become durable in one commit; only then
// replicas are founded, by orders that are repeated until every one was seen, so a crash in between
// costs nothing.

import { asLemnisError, LemnisError } from '../../base/errors.ts'
import type { Env } from '../../env/env.ts'
import { META_CHANGES_MAX } from '../../env/metastore.ts'
import type { ReplyOf, RequestOf } from '../../format/control/call.ts'
import type { CREATE_POOL } from '../../format/control/mds.ts'
import type { GROW_POOL } from '../../format/control/topology.ts'
import type { CopysetRecord, IssuedRecord, PoolRecord } from '../../format/records/topology.ts'
import type { Observer } from '../../observe/observe.ts'
import { Chooser } from '../../placement/choose.ts'
import { copysetCountFor, createCopysets } from '../../placement/create.ts'
import { chooseFirstLeaders } from '../../placement/leaders.ts'
import { type ChunkserverView, isGone, isUsable, quorumOf } from '../../placement/view.ts'
import type { ClusterViews } from '../cluster-view.ts'
import type { Courier } from '../operators/courier.ts'
import type { Orders } from '../operators/orders.ts'
import type { GroupMember, MdsTopology } from '../records.ts'
import { chunkserverOf, type Draft, issueReplica, type Topology } from './topology.ts'
import { zonesMissing } from './unplaceable.ts'

/** Epoch that every group is founded with (raft/configuration.ts). */
const FOUNDING_EPOCH = 1
/** A pool is made in one commit (env/metastore.ts bounds its changes). */
const COPYSETS_MAX = META_CHANGES_MAX - 2

export interface PoolsOptions {
  readonly env: Env
  readonly observer: Observer
  readonly topology: Topology
  readonly views: ClusterViews
  readonly orders: Orders
  readonly courier: Courier
}

export class Pools implements MdsTopology {
  readonly #options: PoolsOptions
  readonly #choosers = new Map<string, Chooser>()

  constructor(options: PoolsOptions) {
    this.#options = options
  }

  async create(request: RequestOf<typeof CREATE_POOL>): Promise<ReplyOf<typeof CREATE_POOL>> {
    const { observer, topology } = this.#options
    const { name, replicas, zones } = request
    const made = await topology.ledger.change(() => {
      if (topology.pools.has(name)) throw new LemnisError('ALREADY_EXISTS', { pool: name })
      const copysets = this.#lay(request, request.copysets, `pool/${name}`)
      const draft = topology.draft()
      const createdMs = this.#options.env.clock.wallMs()
      const pool = { name, replicas, copysets: copysets.length, createdMs }
      draft.putPool(zones === undefined ? pool : { ...pool, zones })
      this.#draftCopysets(draft, copysets)
      return draft.write(() => {
        // One of that name may have been removed.
        this.#choosers.delete(name)
        return copysets
      })
    })
    observer.emit('mds_pool_created', { pool: name, replicas, copysets: made.length })
    this.#found()
    return { copysets: made.length }
  }

  /** More copysets for a pool, on the chunkservers that it has now. */
  async grow({ name, copysets }: RequestOf<typeof GROW_POOL>): Promise<ReplyOf<typeof GROW_POOL>> {
    const { observer, topology } = this.#options
    const { added, total } = await topology.ledger.change(() => {
      const pool = this.ready(name)
      const usable = this.#usable(pool)
      const wished = copysetCountFor(usable.length, pool.replicas) - pool.copysets
      const more = copysets === 0 ? Math.max(0, wished) : copysets
      const label = `pool/${name}/${pool.copysets}`
      const made = more === 0 ? [] : this.#lay(pool, more, label)
      const draft = topology.draft()
      draft.putPool({ ...pool, copysets: pool.copysets + made.length })
      this.#draftCopysets(draft, made)
      return draft.write(() => {
        this.#choosers.delete(name)
        return { added: made.length, total: pool.copysets + made.length }
      })
    })
    observer.emit('mds_pool_grown', { pool: name, added, copysets: total })
    this.#found()
    return { added, copysets: total }
  }

  /** The record of a pool in service; NOT_FOUND or CONFLICT without one. */
  ready(name: string): PoolRecord {
    const pool = this.#options.topology.pools.get(name)
    if (pool === undefined) throw new LemnisError('NOT_FOUND', { pool: name })
    if (pool.removingMs === undefined) return pool
    throw new LemnisError('CONFLICT', { pool: name, reason: 'the pool is being removed' })
  }

  #draftCopysets(draft: Draft, copysets: readonly CopysetRecord[]): void {
    for (const copyset of copysets) draft.putCopyset(copyset)
    draft.patchCluster({ nextCopyset: draft.cluster.nextCopyset + copysets.length })
  }

  /** Tells everybody at once what else would come with the next heartbeats. */
  #found(): void {
    const { topology, orders, courier } = this.#options
    for (const chunkserver of topology.chunkservers.keys()) {
      for (const order of orders.founding(chunkserver)) courier.give(chunkserver, order)
    }
  }

  #usable({ name, zones }: Pick<PoolRecord, 'name' | 'zones'>): ChunkserverView[] {
    const isIn = ({ pool, zone }: ChunkserverView): boolean =>
      pool === name && (zones === undefined || zones.includes(zone))
    return this.#options.views.chunkservers().filter((one) => isIn(one) && isUsable(one))
  }

  #lay(
    pool: Pick<PoolRecord, 'name' | 'replicas' | 'zones'>,
    copysets: number,
    label: string,
  ): CopysetRecord[] {
    const { env, topology } = this.#options
    const { name, replicas } = pool
    const missing = zonesMissing(pool, this.#options.views.chunkservers())
    if (missing !== null) throw missing
    const usable = this.#usable(pool)
    const count = copysets === 0 ? copysetCountFor(usable.length, replicas) : copysets
    if (count > COPYSETS_MAX) {
      throw new LemnisError('INVALID_ARGUMENT', { copysets: count, most: COPYSETS_MAX })
    }
    const firstId = topology.cluster.nextCopyset
    const laid = createCopysets(usable, replicas, count, env.random.fork(label))
    const view = this.#options.views.cluster(() => false)
    const leaders = chooseFirstLeaders(view, name, laid)
    return laid.map((members, i) => {
      const leader = leaders[i]
      const voters: number[] = []
      let issued: IssuedRecord[] = []
      for (const member of members) {
        const next = issueReplica({ issued, epoch: FOUNDING_EPOCH }, member)
        voters.push(next.replica)
        issued = next.issued
      }
      voters.sort((a, b) => order(a, b, leader))
      const id = firstId + i
      return { id, pool: name, epoch: FOUNDING_EPOCH, voters, learners: [], founding: true, issued }
    })
  }

  // --- for the namespace

  poolExists(name: string): boolean {
    const pool = this.#options.topology.pools.get(name)
    return pool !== undefined && pool.removingMs === undefined
  }

  choose(count: number, pool: string): number[] {
    const { env, topology } = this.#options
    if (!topology.pools.has(pool)) throw new LemnisError('NOT_FOUND', { pool })
    let chooser = this.#choosers.get(pool)
    if (chooser === undefined) {
      const ids = [...topology.copysets.values()].filter((one) => one.pool === pool)
      chooser = new Chooser(
        ids.map(({ id }) => id),
        env.random.fork(`choose/${pool}`),
      )
      this.#choosers.set(pool, chooser)
    }
    const weights = this.#weights()
    try {
      return chooser.choose(count, (id) => this.#weightOf(topology.copysets.get(id), weights))
    } catch (thrown) {
      throw this.#explained(pool, asLemnisError(thrown))
    }
  }

  /** UNPLACEABLE with who is full, so that a person knows where room is missing. */
  #explained(pool: string, error: LemnisError): LemnisError {
    if (error.code !== 'UNPLACEABLE') return error
    const members = this.#options.views.chunkservers().filter((one) => one.pool === pool)
    const full = members.filter(({ isFull }) => isFull)
    const silent = members.filter(({ presence }) => presence !== 'online')
    const helps =
      full.length > 0
        ? 'add chunkservers to the pool, or delete volumes and empty the trash'
        : 'start the chunkservers that are away'
    return new LemnisError('UNPLACEABLE', {
      ...error.detail,
      pool,
      full: namesOf(full),
      away: namesOf(silent),
      helps,
    })
  }

  /** Bytes free for each copyset of a chunkserver; 0 for none; nothing for one that is gone. */
  #weights(): Map<number, number> {
    const weights = new Map<number, number>()
    for (const chunkserver of this.#options.views.chunkservers()) {
      if (isGone(chunkserver)) continue
      weights.set(chunkserver.id, this.#freePerCopyset(chunkserver))
    }
    return weights
  }

  #freePerCopyset({ id, isFull, freeBytes }: ChunkserverView): number {
    if (isFull) return 0
    return freeBytes / Math.max(1, this.#options.topology.copysetsOf(id).size)
  }

  /** What its fullest member has left; 0 when one is full, or when there is no quorum. */
  #weightOf(copyset: CopysetRecord | undefined, weights: ReadonlyMap<number, number>): number {
    if (copyset === undefined) return 0
    let least = Number.POSITIVE_INFINITY
    let there = 0
    for (const id of this.#options.topology.votersOf(copyset)) {
      const weight = weights.get(id)
      if (weight === undefined) continue
      there++
      least = Math.min(least, weight)
    }
    return there >= quorumOf(copyset.voters.length) ? least : 0
  }

  membersOf(group: number): readonly GroupMember[] {
    const { topology } = this.#options
    const copyset = topology.copysets.get(group)
    if (copyset === undefined) return []
    return topology.votersOf(copyset).map((chunkserver) => ({
      chunkserver,
      address: topology.addressOf(chunkserver),
    }))
  }
}

/** By id, but who is to lead comes first. */
function order(a: number, b: number, leader: number | undefined): number {
  const rank = (voter: number): number => (chunkserverOf(voter) === leader ? 0 : 1)
  return rank(a) - rank(b) || a - b
}

/** Ids named in one detail. */
const NAMED_MAX = 8

function namesOf(chunkservers: readonly ChunkserverView[]): string {
  const ids = chunkservers.slice(0, NAMED_MAX).map(({ id }) => id)
  const more = chunkservers.length - ids.length
  return ids.length === 0 ? 'none' : `${ids.join(', ')}${more > 0 ? ` and ${more} more` : ''}`
}
