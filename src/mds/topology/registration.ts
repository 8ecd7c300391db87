// Owns how a chunkserver becomes known: one disk is one chunkserver, with one id that is never
// given again. The same disk gets the same answer however often it asks; another disk at the
// address of a known chunkserver means that its disk was replaced or wiped, and what it held is
// rebuilt elsewhere.

import { LemnisError } from '../../base/errors.ts'
import { without } from '../../base/without.ts'
import type { Env } from '../../env/env.ts'
import type { ReplyOf, RequestOf } from '../../format/control/call.ts'
import type { REGISTER_CHUNKSERVER } from '../../format/control/chunkserver.ts'
import type { ChunkserverRecord } from '../../format/records/topology.ts'
import type { Observer } from '../../observe/observe.ts'
import { type Draft, randomId, type Topology } from './topology.ts'

type Request = RequestOf<typeof REGISTER_CHUNKSERVER>
type Reply = ReplyOf<typeof REGISTER_CHUNKSERVER>

/** Replica ids of it must stay safe integers (copyset/replica-id.ts). */
const CHUNKSERVER_ID_LIMIT = 2 ** 40

export class Registration {
  readonly #env: Env
  readonly #observer: Observer
  readonly #topology: Topology

  constructor(env: Env, observer: Observer, topology: Topology) {
    this.#env = env
    this.#observer = observer
    this.#topology = topology
  }

  register(request: Request): Promise<Reply> {
    return this.#topology.ledger.change(() => {
      this.#refuseStrangers(request)
      const draft = this.#topology.draft()
      const known = this.#ofDisk(request.diskId)
      const record =
        known === undefined ? this.#admit(draft, request) : this.#update(draft, known, request)
      const { clusterId } = this.#topology.cluster
      return draft.write(() => ({ id: record.id, clusterId, token: record.token }))
    })
  }

  #ofDisk(diskId: string): ChunkserverRecord | undefined {
    for (const record of this.#topology.chunkservers.values()) {
      if (record.diskId === diskId) return record
    }
    return undefined
  }

  #refuseStrangers(request: Request): void {
    const { clusterId } = this.#topology.cluster
    if (request.clusterId !== '' && request.clusterId !== clusterId) {
      throw new LemnisError('WRONG_CLUSTER', { disk: request.clusterId, cluster: clusterId })
    }
    const known = this.#ofDisk(request.diskId)
    if (known?.retiredMs !== undefined) throw new LemnisError('RETIRED', { chunkserver: known.id })
    if (request.id === 0) return
    if (known === undefined || known.id !== request.id || known.token !== request.token) {
      const reason = 'disk, id and token do not belong together'
      throw new LemnisError('WRONG_DISK', { chunkserver: request.id, reason })
    }
  }

  #admit(draft: Draft, request: Request): ChunkserverRecord {
    const id = draft.cluster.nextChunkserver
    if (id >= CHUNKSERVER_ID_LIMIT) throw new LemnisError('UNPLACEABLE', { chunkserver: id })
    const record: ChunkserverRecord = {
      ...placeOf(request),
      id,
      diskId: request.diskId,
      token: randomId(this.#env.random),
      registeredMs: this.#env.clock.wallMs(),
    }
    for (const other of this.#topology.chunkservers.values()) {
      const isSameSeat = other.address === request.address && other.retiredMs === undefined
      if (!isSameSeat || other.replacedBy !== undefined) continue
      draft.putChunkserver({ ...other, replacedBy: id })
      const { id: chunkserver, address } = other
      draft.after(() => {
        this.#observer.emit('mds_chunkserver_replaced', { chunkserver, by: id, address })
      })
    }
    draft.putChunkserver(record)
    draft.patchCluster({
      nextChunkserver: id + 1,
      directoryVersion: draft.cluster.directoryVersion + 1,
    })
    draft.after(() => this.#say('mds_chunkserver_registered', record))
    return record
  }

  /** Whoever answers for its disk is not replaced, whatever was thought. */
  #update(draft: Draft, known: ChunkserverRecord, request: Request): ChunkserverRecord {
    const kept = without(known, 'replacedBy')
    const record = { ...kept, ...placeOf(request), pool: this.#poolFor(draft, known, request) }
    const fields = ['address', 'httpAddress', 'pool', 'zone', 'server', 'version'] as const
    const isSame =
      known.replacedBy === undefined &&
      known.capacityBytes === record.capacityBytes &&
      fields.every((field) => known[field] === record[field])
    if (isSame) return known
    draft.putChunkserver(record)
    if (known.address !== record.address || known.replacedBy !== undefined) {
      draft.patchCluster({ directoryVersion: draft.cluster.directoryVersion + 1 })
    }
    const hasMoved = (['address', 'pool', 'zone', 'server'] as const).some(
      (field) => known[field] !== record[field],
    )
    if (hasMoved) draft.after(() => this.#say('mds_chunkserver_moved', record))
    return record
  }

  /** What it holds belongs to a pool: one that is not empty stays in it, whatever its flags say. */
  #poolFor(draft: Draft, { id, pool }: ChunkserverRecord, { pool: wished }: Request): string {
    if (pool === wished || this.#topology.copysetsOf(id).size === 0) return wished
    draft.after(() => {
      this.#observer.emit('mds_chunkserver_keeps_pool', { chunkserver: id, pool, wished })
    })
    return pool
  }

  #say(
    event: 'mds_chunkserver_registered' | 'mds_chunkserver_moved',
    record: ChunkserverRecord,
  ): void {
    const { id, address, pool, zone, server } = record
    this.#observer.emit(event, { chunkserver: id, address, pool, zone, server })
  }
}

function placeOf(
  request: Request,
): Pick<
  ChunkserverRecord,
  'address' | 'httpAddress' | 'pool' | 'zone' | 'server' | 'capacityBytes' | 'version'
> {
  const { address, httpAddress, pool, zone, server, capacityBytes, version } = request
  return { address, httpAddress, pool, zone, server, capacityBytes, version }
}
