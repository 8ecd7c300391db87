// Owns what the MDS durably knows of the cluster: pools, chunkservers, copysets and the operators
// under way, in memory as in the ledger. Invariant: memory changes only when the change is durable
// (state.ts), and all records of one step change in one commit.
// Leaves to others what chunkservers say of themselves from moment to moment (reports.ts).

import { must } from '../../base/assert.ts'
import { type HostId, hostOf, incarnationOf, replicaIdOf } from '../../copyset/replica-id.ts'
import type { Env } from '../../env/env.ts'
import type { MetaChange } from '../../env/metastore.ts'
import type { Random } from '../../env/random.ts'
import { decodeRecord, encodeRecord } from '../../format/records/record.ts'
import {
  ChunkserverRecord,
  ClusterRecord,
  CopysetRecord,
  decodeOperator,
  EndedOperatorRecord,
  EndingRecord,
  type IssuedRecord,
  OperatorRecord,
  PoolRecord,
} from '../../format/records/topology.ts'
import type { ReplicaId } from '../../raft/types.ts'
import { type MdsBugs, NO_MDS_BUGS } from '../bugs.ts'
import { idKey } from '../records.ts'
import type { Ledger, Write } from '../state.ts'

export const CLUSTER_KEY = 'cluster'
const POOL_PREFIX = 'pool/'
const CHUNKSERVER_PREFIX = 'chunkserver/'
const COPYSET_PREFIX = 'copyset/'
const OPERATOR_PREFIX = 'operator/'
const ENDED_PREFIX = 'operator-ended/'
/** Operators that are over have so many keys, by the rest of their id: none need be removed. */
const ENDED_SLOTS = 1024
const ENDING_PREFIX = 'ending/'
const ID_WORDS = 4

/** 128 random bits, in hex. */
export function randomId(random: Random): string {
  const words = Array.from({ length: ID_WORDS }, () => random.u32().toString(16).padStart(8, '0'))
  return words.join('')
}

/** The chunkserver that holds a replica. */
export function chunkserverOf(replica: number): number {
  return hostOf(replica as ReplicaId)
}

export class Topology {
  readonly ledger: Ledger
  readonly chunkservers = new Map<number, ChunkserverRecord>()
  readonly pools = new Map<string, PoolRecord>()
  readonly copysets = new Map<number, CopysetRecord>()
  /** Copysets of removed pools of which there may still be replicas. */
  readonly endings = new Map<number, EndingRecord>()
  /** By copyset: one at a time. */
  readonly operators = new Map<number, OperatorRecord>()
  /** Those that are over, by the rest of their id: one each. */
  readonly #ended = new Map<number, EndedOperatorRecord>()
  #cluster: ClusterRecord
  /** Copysets with a voter or learner on a chunkserver. */
  readonly #copysetsOf = new Map<number, Set<number>>()

  private constructor(ledger: Ledger, cluster: ClusterRecord) {
    this.ledger = ledger
    this.#cluster = cluster
  }

  /** Reads everything; on an empty store it makes the cluster. */
  static async load(env: Env, ledger: Ledger, bugs: MdsBugs = NO_MDS_BUGS): Promise<Topology> {
    const item = await ledger.read(CLUSTER_KEY)
    const cluster =
      item === null ? await Topology.#found(env, ledger) : decodeRecord(ClusterRecord, item)
    const topology = new Topology(ledger, cluster)
    await ledger.load(POOL_PREFIX, (found) => {
      const pool = decodeRecord(PoolRecord, found)
      topology.pools.set(pool.name, pool)
    })
    await ledger.load(CHUNKSERVER_PREFIX, (found) => {
      const chunkserver = decodeRecord(ChunkserverRecord, found)
      topology.chunkservers.set(chunkserver.id, chunkserver)
    })
    await ledger.load(COPYSET_PREFIX, (found) => {
      topology.#setCopyset(decodeRecord(CopysetRecord, found))
    })
    await ledger.load(ENDING_PREFIX, (found) => {
      const ending = decodeRecord(EndingRecord, found)
      topology.endings.set(ending.id, ending)
    })
    await ledger.load(OPERATOR_PREFIX, (found) => {
      const operator = decodeOperator(found)
      if (!bugs.has('operators-not-loaded')) topology.operators.set(operator.copyset, operator)
    })
    await ledger.load(ENDED_PREFIX, (found) => {
      const ended = decodeRecord(EndedOperatorRecord, found)
      topology.setEnded(ended)
    })
    return topology
  }

  static #found(env: Env, ledger: Ledger): Promise<ClusterRecord> {
    const cluster: ClusterRecord = {
      clusterId: randomId(env.random),
      nextChunkserver: 1,
      nextCopyset: 1,
      directoryVersion: 1,
      scrubMs: 0,
    }
    const value = encodeRecord(ClusterRecord, cluster)
    return ledger.change(() => ({
      changes: [{ kind: 'put', key: CLUSTER_KEY, value }],
      apply: () => cluster,
    }))
  }

  get cluster(): ClusterRecord {
    return this.#cluster
  }

  copysetsOf(chunkserver: number): ReadonlySet<number> {
    return this.#copysetsOf.get(chunkserver) ?? NO_COPYSETS
  }

  /** The pool that a chunkserver takes part in; '' for none, as in a zone that its pool leaves out. */
  poolOf({ pool, zone }: Pick<ChunkserverRecord, 'pool' | 'zone'>): string {
    const zones = this.pools.get(pool)?.zones
    return zones === undefined || zones.includes(zone) ? pool : ''
  }

  /** Ids of the chunkservers that hold the copyset's voters. */
  votersOf(copyset: CopysetRecord): number[] {
    return copyset.voters.map(chunkserverOf)
  }

  addressOf(chunkserver: number): string {
    return this.chunkservers.get(chunkserver)?.address ?? ''
  }

  /** One that is over; the newest thousand or so are known. */
  endedOperator(id: number): EndedOperatorRecord | undefined {
    const ended = this.#ended.get(id % ENDED_SLOTS)
    return ended?.id === id ? ended : undefined
  }

  endedOperators(): Iterable<EndedOperatorRecord> {
    return this.#ended.values()
  }

  draft(): Draft {
    return new Draft(this)
  }

  // --- for Draft, when a change is durable

  setCluster(cluster: ClusterRecord): void {
    this.#cluster = cluster
  }

  setEnded(ended: EndedOperatorRecord): void {
    this.#ended.set(ended.id % ENDED_SLOTS, ended)
  }

  setCopyset(copyset: CopysetRecord): void {
    this.#setCopyset(copyset)
  }

  removeCopyset(id: number): void {
    const before = this.copysets.get(id)
    if (before === undefined) return
    for (const replica of membersOf(before)) {
      this.#copysetsOf.get(chunkserverOf(replica))?.delete(id)
    }
    this.copysets.delete(id)
  }

  #setCopyset(copyset: CopysetRecord): void {
    this.removeCopyset(copyset.id)
    this.copysets.set(copyset.id, copyset)
    for (const replica of membersOf(copyset)) {
      const chunkserver = chunkserverOf(replica)
      const known = this.#copysetsOf.get(chunkserver)
      if (known === undefined) this.#copysetsOf.set(chunkserver, new Set([copyset.id]))
      else known.add(copyset.id)
    }
  }
}

const NO_COPYSETS: ReadonlySet<number> = new Set()

function membersOf(copyset: CopysetRecord): number[] {
  return [...copyset.voters, ...copyset.learners]
}

/**
 * A replica id that the copyset never had on that chunkserver, and the record that remembers it.
 */
export function issueReplica(
  copyset: Pick<CopysetRecord, 'issued' | 'epoch'>,
  chunkserver: number,
): { replica: ReplicaId; issued: IssuedRecord[] } {
  const before = copyset.issued.find((one) => one.chunkserver === chunkserver)
  const incarnation = (before?.incarnation ?? 0) + 1
  const others = copyset.issued.filter((one) => one !== before)
  const issued = [...others, { chunkserver, incarnation, epoch: copyset.epoch }]
  return { replica: replicaIdOf(chunkserver as HostId, incarnation), issued }
}

/** The copyset's epoch when a replica id was given out; that of its founding for the first ones. */
export function issuedEpoch(copyset: CopysetRecord, replica: number): number {
  const host = chunkserverOf(replica)
  const issued = copyset.issued.find((one) => one.chunkserver === host)
  const isNewest = issued?.incarnation === incarnationOf(replica as ReplicaId)
  return isNewest ? must(issued, 'a record').epoch : 0
}

/** One step's changes of records: what to write, and what memory becomes when that is durable. */
export class Draft {
  readonly #topology: Topology
  /** By key: a store takes one change of each. */
  readonly #changes = new Map<string, MetaChange>()
  readonly #applies: (() => void)[] = []
  #cluster: ClusterRecord | null = null

  constructor(topology: Topology) {
    this.#topology = topology
  }

  get isEmpty(): boolean {
    return this.#changes.size === 0 && this.#cluster === null
  }

  /** As this draft would make it. */
  get cluster(): ClusterRecord {
    return this.#cluster ?? this.#topology.cluster
  }

  patchCluster(replaced: Partial<ClusterRecord>): void {
    this.#cluster = { ...this.cluster, ...replaced }
  }

  /** As patchCluster(), with what is left out taken away. */
  replaceCluster(cluster: ClusterRecord): void {
    this.#cluster = cluster
  }

  putPool(pool: PoolRecord): void {
    this.#put(POOL_PREFIX + pool.name, encodeRecord(PoolRecord, pool), () => {
      this.#topology.pools.set(pool.name, pool)
    })
  }

  removePool(name: string): void {
    this.#remove(POOL_PREFIX + name, () => void this.#topology.pools.delete(name))
  }

  putChunkserver(chunkserver: ChunkserverRecord): void {
    const { id } = chunkserver
    const value = encodeRecord(ChunkserverRecord, chunkserver)
    this.#put(idKey(CHUNKSERVER_PREFIX, id), value, () => {
      this.#topology.chunkservers.set(id, chunkserver)
    })
  }

  putCopyset(copyset: CopysetRecord): void {
    const value = encodeRecord(CopysetRecord, copyset)
    this.#put(idKey(COPYSET_PREFIX, copyset.id), value, () => this.#topology.setCopyset(copyset))
  }

  /** Nobody is told of the copyset any more, and its replicas are ended. */
  endCopyset(ending: EndingRecord): void {
    const { id } = ending
    this.#remove(idKey(COPYSET_PREFIX, id), () => this.#topology.removeCopyset(id))
    this.putEnding(ending)
  }

  putEnding(ending: EndingRecord): void {
    const { id } = ending
    const value = encodeRecord(EndingRecord, ending)
    this.#put(idKey(ENDING_PREFIX, id), value, () => this.#topology.endings.set(id, ending))
  }

  removeEnding(id: number): void {
    this.#remove(idKey(ENDING_PREFIX, id), () => void this.#topology.endings.delete(id))
  }

  putOperator(operator: OperatorRecord): void {
    const { copyset } = operator
    const value = encodeRecord(OperatorRecord, operator)
    this.#put(idKey(OPERATOR_PREFIX, copyset), value, () => {
      this.#topology.operators.set(copyset, operator)
    })
  }

  removeOperator(copyset: number): void {
    const key = idKey(OPERATOR_PREFIX, copyset)
    this.#remove(key, () => void this.#topology.operators.delete(copyset))
  }

  /** Takes it from those under way into those that are over. */
  endOperator(ended: EndedOperatorRecord): void {
    this.removeOperator(ended.copyset)
    const value = encodeRecord(EndedOperatorRecord, ended)
    this.#put(idKey(ENDED_PREFIX, ended.id % ENDED_SLOTS), value, () => {
      this.#topology.setEnded(ended)
    })
  }

  /** Runs when the changes before it are durable and in memory. */
  after(run: () => void): void {
    this.#applies.push(run)
  }

  /** The draft as a mutation of the ledger; `result` runs when memory has it. */
  write<T>(result: () => T): Write<T> {
    const cluster = this.#cluster
    if (cluster !== null) {
      this.#put(CLUSTER_KEY, encodeRecord(ClusterRecord, cluster), () => {
        this.#topology.setCluster(cluster)
      })
    }
    return {
      changes: [...this.#changes.values()],
      apply: () => {
        for (const apply of this.#applies) apply()
        return result()
      },
    }
  }

  #remove(key: string, apply: () => void): void {
    this.#changes.set(key, { kind: 'remove', key })
    this.#applies.push(apply)
  }

  #put(key: string, value: string, apply: () => void): void {
    this.#changes.set(key, { kind: 'put', key, value })
    this.#applies.push(apply)
  }
}
