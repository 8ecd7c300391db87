// Owns the making of pools and the answers that the namespace needs of them: where new chunks go,
// and where copysets are. A pool and all its copysets become durable in one commit; only then
// replicas are founded, by orders that are repeated until every one was seen, so a crash in between
// costs nothing.

import { LemnisError } from '../base/errors.ts'
import type { Env } from '../env/env.ts'
import { META_CHANGES_MAX } from '../env/metastore.ts'
import type { ReplyOf, RequestOf } from '../format/control/call.ts'
import type { CREATE_POOL } from '../format/control/mds.ts'
import type { CopysetRecord, IssuedRecord } from '../format/records/topology.ts'
import type { Observer } from '../observe/observe.ts'
import { Chooser } from '../placement/choose.ts'
import { copysetCountFor, createCopysets } from '../placement/create.ts'
import { type ChunkserverView, isGone, isUsable, quorumOf } from '../placement/view.ts'
import type { ClusterViews } from './cluster-view.ts'
import type { Courier } from './courier.ts'
import type { Orders } from './orders.ts'
import type { GroupMember, MdsTopology } from './records.ts'
import { issueReplica, type Topology } from './topology.ts'

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
    const { observer, topology, orders, courier } = this.#options
    const { name } = request
    const made = await topology.ledger.change(() => {
      if (topology.pools.has(name)) throw new LemnisError('ALREADY_EXISTS', { pool: name })
      const copysets = this.#lay(request)
      const draft = topology.draft()
      const createdMs = this.#options.env.clock.wallMs()
      draft.putPool({ name, replicas: request.replicas, copysets: copysets.length, createdMs })
      for (const copyset of copysets) draft.putCopyset(copyset)
      draft.patchCluster({ nextCopyset: draft.cluster.nextCopyset + copysets.length })
      return draft.write(() => copysets)
    })
    const { replicas } = request
    observer.emit('mds_pool_created', { pool: name, replicas, copysets: made.length })
    for (const chunkserver of topology.chunkservers.keys()) {
      for (const order of orders.founding(chunkserver)) courier.give(chunkserver, order)
    }
    return { copysets: made.length }
  }

  #lay({ name, replicas, copysets }: RequestOf<typeof CREATE_POOL>): CopysetRecord[] {
    const { env, topology, views } = this.#options
    const usable = views.chunkservers().filter((one) => one.pool === name && isUsable(one))
    const count = copysets === 0 ? copysetCountFor(usable.length, replicas) : copysets
    if (count > COPYSETS_MAX) {
      throw new LemnisError('INVALID_ARGUMENT', { copysets: count, most: COPYSETS_MAX })
    }
    const laid = createCopysets(usable, replicas, count, env.random.fork(`pool/${name}`))
    const first = topology.cluster.nextCopyset
    return laid.map((members, i) => {
      const voters: number[] = []
      let issued: IssuedRecord[] = []
      for (const member of members) {
        const next = issueReplica({ issued, epoch: FOUNDING_EPOCH }, member)
        voters.push(next.replica)
        issued = next.issued
      }
      voters.sort((a, b) => a - b)
      const id = first + i
      return { id, pool: name, epoch: FOUNDING_EPOCH, voters, learners: [], founding: true, issued }
    })
  }

  // --- for the namespace

  poolExists(name: string): boolean {
    return this.#options.topology.pools.has(name)
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
    return chooser.choose(count, (id) => this.#weightOf(topology.copysets.get(id), weights))
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
