// Owns what must be true of the control plane of a block cluster, read from its metadata store commit by
// commit: who is not the leader changes nothing; an operator ends once and is not forgotten; none begins
// while people work on the cluster, while the guard of its MDS forbids it, or where a copyset has lost
// its quorum. Invariant: what is found where nothing can be thrown is thrown at the next check().

import { hostOf } from '../copyset/replica-id.ts'
import type { MetaChanged, MetaItem } from '../env/metastore.ts'
import { CandidateRecord } from '../format/records/candidate.ts'
import { decodeRecord } from '../format/records/record.ts'
import {
  ClusterRecord,
  CopysetRecord,
  decodeOperator,
  EndedOperatorRecord,
  type OperatorRecord,
} from '../format/records/topology.ts'
import type { Field } from '../observe/observe.ts'
import { quorumOf } from '../placement/view.ts'
import type { ReplicaId } from '../raft/types.ts'
import type { SimEtcd } from './etcd.ts'
import type { SimHost } from './host.ts'
import { type Checker, Verdict } from './verdict.ts'
import type { World } from './world.ts'

const CLUSTER_KEY = 'cluster'
const COPYSET_PREFIX = 'copyset/'
const OPERATOR_PREFIX = 'operator/'
const ENDED_PREFIX = 'operator-ended/'
const ELECTION_PREFIX = 'election/'

/** Shorter maintenance may end at any moment: the date jumps by hours here. */
const LONG_MAINTENANCE_MS = 24 * 60 * 60 * 1000
/** A commit that was asked for right before the guard may take effect so much later. */
const GUARD_US = 2_500_000
/** What has been dead for so long is known to be silent, whatever is still on its way. */
const DEAD_US = 9_000_000

export interface ControlCheckerOptions {
  readonly world: World
  /** Since when no process has served for that chunkserver; null while one does. */
  readonly deadSinceUs: (chunkserver: number) => number | null
}

export class ControlChecker {
  readonly #options: ControlCheckerOptions
  readonly #active = new Map<number, OperatorRecord>()
  readonly #copysets = new Map<number, CopysetRecord>()
  /** By host: since when the MDS there says that nothing may move. */
  readonly #guardedUs = new Map<string, number>()
  #cluster: ClusterRecord | null = null
  #lastId = 0
  #breach: Verdict | null = null

  constructor(options: ControlCheckerOptions) {
    this.#options = options
  }

  /** Operators that began; ids are given one after the other. */
  get begun(): number {
    return this.#lastId
  }
  /** Operators on record that have not ended. */
  get active(): number {
    return this.#active.size
  }

  check(): void {
    if (this.#breach !== null) throw this.#breach
  }

  #broken(checker: Checker, what: string): void {
    this.#breach ??= new Verdict(checker, what)
  }

  // --- the store

  /** The host's commit, of records, has just taken effect. */
  committed(etcd: SimEtcd, by: SimHost): void {
    const candidates = etcd.records.range(ELECTION_PREFIX, `${ELECTION_PREFIX}\x7f`, 100)
    let first: MetaItem | undefined
    for (const item of candidates) {
      if (first === undefined || item.createdRevision < first.createdRevision) first = item
    }
    // That commit may have made the key: then it stands behind the one that leads.
    const own = candidates.some(({ createdRevision }) => createdRevision === etcd.records.revision)
    if (own) return
    const leader = first === undefined ? 'nobody' : decodeRecord(CandidateRecord, first).name
    if (leader !== by.name) this.#broken('leaders', `${by.name} wrote while ${leader} led`)
  }

  /** All changes of one commit. */
  changed(changes: readonly MetaChanged[]): void {
    const ended = new Set<number>()
    const put = new Map<number, OperatorRecord | null>()
    for (const change of changes) {
      const key = change.kind === 'put' ? change.item.key : change.key
      if (key.startsWith(OPERATOR_PREFIX)) {
        const copyset = Number(key.slice(OPERATOR_PREFIX.length))
        put.set(copyset, change.kind === 'put' ? decodeOperator(change.item) : null)
      } else if (change.kind === 'put') this.#takeIn(change.item, ended)
      else if (key.startsWith(COPYSET_PREFIX)) {
        this.#copysets.delete(Number(key.slice(COPYSET_PREFIX.length)))
      }
    }
    for (const [copyset, operator] of put) this.#replace(copyset, operator, ended)
    for (const id of ended) this.#broken('operators', `operator ${id} ended without being there`)
  }

  #takeIn(item: MetaItem, ended: Set<number>): void {
    if (item.key === CLUSTER_KEY) this.#cluster = decodeRecord(ClusterRecord, item)
    else if (item.key.startsWith(COPYSET_PREFIX)) {
      const copyset = decodeRecord(CopysetRecord, item)
      this.#copysets.set(copyset.id, copyset)
    } else if (item.key.startsWith(ENDED_PREFIX)) {
      ended.add(decodeRecord(EndedOperatorRecord, item).id)
    }
  }

  #replace(copyset: number, operator: OperatorRecord | null, ended: Set<number>): void {
    const before = this.#active.get(copyset)
    if (operator !== null && before?.id === operator.id) return
    if (before !== undefined && !ended.delete(before.id)) {
      const how = operator === null ? 'was removed' : `gave way to operator ${operator.id}`
      this.#broken('operators', `operator ${before.id} of copyset ${copyset} ${how} without end`)
    }
    if (operator === null) this.#active.delete(copyset)
    else {
      this.#active.set(copyset, operator)
      this.#began(operator)
    }
  }

  #began(operator: OperatorRecord): void {
    const { id, kind, copyset, why } = operator
    const what = `operator ${id} (${kind} in copyset ${copyset} as ${why}) began`
    if (id <= this.#lastId) this.#broken('operators', `${what}, after operator ${this.#lastId}`)
    this.#lastId = id
    const { maintenance } = this.#cluster ?? {}
    if (maintenance !== undefined) {
      const isLong = maintenance.untilMs - maintenance.sinceMs > LONG_MAINTENANCE_MS
      if (isLong) this.#broken('operators', `${what} in maintenance`)
    }
    const voters = this.#copysets.get(copyset)?.voters ?? []
    const dead = voters.filter((voter) => this.#isDead(hostOf(voter as ReplicaId)))
    if (voters.length - dead.length < quorumOf(voters.length)) {
      this.#broken('operators', `${what} without a quorum: ${dead.join(' ')} are dead`)
    }
  }

  #isDead(chunkserver: number): boolean {
    const sinceUs = this.#options.deadSinceUs(chunkserver)
    return sinceUs !== null && this.#options.world.nowUs - sinceUs > DEAD_US
  }

  // --- what the MDS say

  /** An event of the MDS on that host. */
  heard(host: SimHost, name: string, fields: Readonly<Record<string, Field>>): void {
    const { world } = this.#options
    // A new one has looked at nothing yet.
    if (name === 'mds_started') this.#guardedUs.delete(host.name)
    else if (name === 'mds_guard_lifted') this.#guardedUs.delete(host.name)
    else if (name === 'mds_guard_changed' || name === 'mds_young') {
      if (!this.#guardedUs.has(host.name)) this.#guardedUs.set(host.name, world.nowUs)
    } else if (name === 'mds_operator_begun') {
      const sinceUs = this.#guardedUs.get(host.name) ?? world.nowUs
      if (world.nowUs - sinceUs <= GUARD_US) return
      const what = `${host.name} began operator ${fields['id']} for a copyset`
      this.#broken('operators', `${what} ${world.nowUs - sinceUs} us after its guard forbade it`)
    }
  }
}
