// Owns the metadata store on etcd, which several MDS share: what each call is in etcd's API
// (docs/formats/metastore.md). Reads are linearizable, and repeated at another member when one does not
// answer; commits are done once (etcd-commits.ts); watches go on by themselves (etcd-watch.ts).

import { randomInt } from 'node:crypto'
import { asLemnisError, LemnisError } from '../base/errors.ts'
import {
  checkCommit,
  checkMetaKey,
  checkMetaLeaseMs,
  checkMetaWatch,
  type MetaChange,
  type MetaCondition,
  type MetaItem,
  type MetaLease,
  type MetaStore,
  type MetaWatch,
  type MetaWatcher,
} from '../env/metastore.ts'
import { type Observer, SILENT } from '../observe/observe.ts'
import { checkEtcdOperations } from './etcd-check.ts'
import { EtcdCommits } from './etcd-commits.ts'
import { type EtcdConfig, etcdConfig } from './etcd-config.ts'
import { EtcdKeys } from './etcd-keys.ts'
import { keepAlive } from './etcd-leases.ts'
import { EtcdMembers } from './etcd-members.ts'
import { LEASE_GRANT, LEASE_REVOKE, RANGE } from './etcd-schema.ts'
import { EtcdWatch } from './etcd-watch.ts'

export class EtcdStore implements MetaStore {
  readonly #config: EtcdConfig
  readonly #members: EtcdMembers
  readonly #keys: EtcdKeys
  readonly #commits: EtcdCommits
  readonly #watches = new Set<EtcdWatch>()
  #closing: Promise<void> | null = null

  private constructor(members: EtcdMembers, config: EtcdConfig) {
    this.#config = config
    this.#members = members
    this.#keys = new EtcdKeys(config.prefix)
    this.#commits = new EtcdCommits(members, this.#keys, config)
  }

  /**
   * `endpoints` are host:port of the members, some or all. Resolves when one of them has answered;
   * one that takes no large commits is refused.
   */
  static async open(
    endpoints: readonly string[],
    replaced: Partial<EtcdConfig> = {},
    observer: Observer = SILENT,
  ): Promise<EtcdStore> {
    const config = etcdConfig(replaced)
    const members = new EtcdMembers(endpoints, config, observer)
    const store = new EtcdStore(members, config)
    try {
      await checkEtcdOperations(members, config)
    } catch (error) {
      members.close()
      throw error
    }
    return store
  }

  async get(key: string): Promise<MetaItem | null> {
    checkMetaKey(key)
    this.#checkOpen()
    const { kvs } = await this.#members.ask(RANGE, { key: this.#keys.bytesOf(key) })
    return kvs[0] === undefined ? null : this.#keys.itemOf(kvs[0])
  }

  async range(from: string, to: string, limit: number): Promise<MetaItem[]> {
    this.#checkOpen()
    if (from >= to || limit < 1) return []
    const key = this.#keys.startOf(from)
    const rangeEnd = this.#keys.bytesOf(to)
    const { kvs } = await this.#members.ask(RANGE, { key, rangeEnd, limit })
    return kvs.map((stored) => this.#keys.itemOf(stored))
  }

  async commit(
    conditions: readonly MetaCondition[],
    changes: readonly MetaChange[],
  ): Promise<number | null> {
    checkCommit(conditions, changes)
    this.#checkOpen()
    return this.#commits.commit(conditions, changes)
  }

  async grantLease(ttlMs: number): Promise<MetaLease> {
    checkMetaLeaseMs(ttlMs)
    this.#checkOpen()
    const id = randomInt(1, 2 ** 48 - 1)
    const ttlSeconds = Math.ceil(ttlMs / 1000)
    try {
      const granted = await this.#members.ask(LEASE_GRANT, { id, ttlSeconds })
      return { id: String(id), ttlMs: granted.ttlSeconds * 1000 }
    } catch (error) {
      // Granted by an attempt whose answer was lost; for how long at least is known.
      if (asLemnisError(error).code !== 'ALREADY_EXISTS') throw error
      return { id: String(id), ttlMs: ttlSeconds * 1000 }
    }
  }

  async keepLease(lease: MetaLease): Promise<void> {
    this.#checkOpen()
    const id = Number(lease.id)
    const leftSeconds = await this.#members.untilAnswered((member, timeoutMs) =>
      keepAlive(this.#members, member, id, timeoutMs),
    )
    if (leftSeconds <= 0) throw new LemnisError('NOT_FOUND', { what: 'lease', id })
  }

  async revokeLease(lease: MetaLease): Promise<void> {
    this.#checkOpen()
    try {
      await this.#members.ask(LEASE_REVOKE, { id: Number(lease.id) })
    } catch (error) {
      if (asLemnisError(error).code !== 'NOT_FOUND') throw error
    }
  }

  watch(from: string, to: string, watcher: MetaWatcher): MetaWatch {
    checkMetaWatch(from, to)
    this.#checkOpen()
    const onClosed = (): void => void this.#watches.delete(watch)
    const range = { from, to }
    const watch = new EtcdWatch(this.#members, this.#keys, this.#config, range, watcher, onClosed)
    this.#watches.add(watch)
    return watch
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    for (const watch of [...this.#watches]) watch.close()
    await this.#commits.close()
    this.#members.close()
  }

  #checkOpen(): void {
    if (this.#closing !== null) throw new LemnisError('CLOSED', { what: 'metadata store' })
  }
}
