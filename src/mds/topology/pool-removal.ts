// Owns the end of a pool: first it takes no volumes any more, then its copysets leave the records that
// everybody looks at, a batch a commit, and then their replicas are ended one by one (orders.ts), until
// no chunkserver can have one. Each step is durable and is gone on with after a start.
// Invariant: the record of a copyset stays until every chunkserver that may hold a replica has said
// several times that it does not, or is retired: a disk that comes back late is cleaned too.

import { LemnisError } from '../../base/errors.ts'
import type { Env } from '../../env/env.ts'
import type { ReplyOf, RequestOf } from '../../format/control/call.ts'
import type { REMOVE_POOL } from '../../format/control/topology.ts'
import type { CopysetRecord, EndingRecord, PoolRecord } from '../../format/records/topology.ts'
import type { Observer } from '../../observe/observe.ts'
import type { Operators } from '../operators/operators.ts'
import type { Heartbeat } from '../reports.ts'
import type { Pools } from './pools.ts'
import { chunkserverOf, type Draft, type Topology } from './topology.ts'

/** In one commit, of at most four changes each. */
const BATCH = 1000
/**
 * Complete heartbeats in a row without a replica that was to end; an order to found one may have
 * been on its way before them.
 */
const QUIET_MIN = 3

export interface PoolRemovalOptions {
  readonly env: Env
  readonly observer: Observer
  readonly topology: Topology
  readonly pools: Pools
  readonly operators: Operators
  /** Volumes of a pool, whatever their state. */
  readonly volumesIn: (pool: string) => number
}

export class PoolRemoval {
  readonly #options: PoolRemovalOptions
  /** Complete heartbeats in a row of a chunkserver without a replica that is to end. */
  readonly #quiet = new Map<number, number>()

  constructor(options: PoolRemovalOptions) {
    this.#options = options
  }

  async remove({ name }: RequestOf<typeof REMOVE_POOL>): Promise<ReplyOf<typeof REMOVE_POOL>> {
    const { env, observer, topology } = this.#options
    const pool = await topology.ledger.change(() => {
      const found = topology.pools.get(name)
      if (found === undefined) throw new LemnisError('NOT_FOUND', { pool: name })
      this.#refuseUsed(name)
      const removing: PoolRecord = { ...found, removingMs: found.removingMs ?? env.clock.wallMs() }
      const draft = topology.draft()
      draft.putPool(removing)
      return draft.write(() => removing)
    })
    await this.#end(pool.name)
    observer.emit('mds_pool_removed', { pool: name, copysets: pool.copysets })
    return { copysets: pool.copysets }
  }

  #refuseUsed(pool: string): void {
    const volumes = this.#options.volumesIn(pool)
    if (volumes === 0) return
    const reason =
      'volumes are in it: delete them, and empty the trash (`lemnis trash empty`), first'
    throw new LemnisError('CONFLICT', { pool, volumes, reason })
  }

  /** Goes on with what an earlier life of the MDS began. */
  async resume(): Promise<void> {
    for (const { name, removingMs } of [...this.#options.topology.pools.values()]) {
      if (removingMs !== undefined) await this.#end(name)
    }
  }

  async #end(pool: string): Promise<void> {
    const { topology } = this.#options
    for (let left = 1; left > 0; ) {
      left = await topology.ledger.change(() => {
        const all = [...topology.copysets.values()].filter((one) => one.pool === pool)
        const draft = topology.draft()
        for (const copyset of all.slice(0, BATCH)) this.#draftEnd(draft, copyset)
        if (all.length <= BATCH && topology.pools.has(pool)) draft.removePool(pool)
        return draft.write(() => {
          this.#quiet.clear()
          return Math.max(0, all.length - BATCH)
        })
      })
    }
  }

  #draftEnd(draft: Draft, copyset: CopysetRecord): void {
    const { id, pool, voters, learners, issued } = copyset
    const members = [...voters, ...learners].map(chunkserverOf)
    const holders = new Set([...members, ...issued.map(({ chunkserver }) => chunkserver)])
    draft.endCopyset({ id, pool, chunkservers: [...holders].sort((a, b) => a - b) })
    this.#options.operators.noteRemoved(draft, id)
  }

  /** What a heartbeat says of replicas that are to end. */
  async heard({ id, complete, replicas }: Heartbeat): Promise<void> {
    const { endings, ledger } = this.#options.topology
    if (endings.size === 0) return
    const isQuiet = complete && !replicas.some(({ group }) => endings.has(group))
    const quiet = isQuiet ? (this.#quiet.get(id) ?? 0) + 1 : 0
    this.#quiet.set(id, quiet)
    if (quiet < QUIET_MIN) return
    if (!this.#draftGone(id).isEmpty) await ledger.change(() => this.#draftGone(id).write(() => {}))
  }

  /** Nothing is left on that chunkserver, nor on those that are retired. */
  #draftGone(chunkserver: number): Draft {
    const { topology } = this.#options
    const draft = topology.draft()
    let changes = 0
    for (const ending of topology.endings.values()) {
      if (changes === BATCH) break
      const left = ending.chunkservers.filter((id) => id !== chunkserver && !this.#isRetired(id))
      if (left.length === ending.chunkservers.length) continue
      this.#draftLeft(draft, ending, left)
      changes++
    }
    return draft
  }

  #draftLeft(draft: Draft, ending: EndingRecord, left: number[]): void {
    if (left.length === 0) draft.removeEnding(ending.id)
    else draft.putEnding({ ...ending, chunkservers: left })
  }

  #isRetired(chunkserver: number): boolean {
    const record = this.#options.topology.chunkservers.get(chunkserver)
    return record === undefined || record.retiredMs !== undefined
  }
}
