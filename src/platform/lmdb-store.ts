// Owns the embedded metadata store: one LMDB environment in one directory, for one process. A commit is
// answered after its transaction is on stable storage; those that arrive while one is being written go
// together into the next (docs/formats/metastore.md). Leases live as long as the process: their keys
// are removed when they end, and those that an earlier process left when the store is opened.
// Invariant: after a failed transaction nothing more is acknowledged.

import { mkdirSync } from 'node:fs'
import { type Database, open } from 'lmdb'
import { InvariantError } from '../base/assert.ts'
import { viewOf } from '../base/bytes.ts'
import { asLemnisError, LemnisError } from '../base/errors.ts'
import { readU53, writeU53 } from '../base/u53.ts'
import type { Clock } from '../env/clock.ts'
import {
  checkCommit,
  checkMetaKey,
  checkMetaLeaseMs,
  checkMetaWatch,
  type MetaChange,
  type MetaChanged,
  type MetaCondition,
  type MetaItem,
  type MetaLease,
  type MetaStore,
  type MetaWatch,
  type MetaWatcher,
  metaChangesWithin,
  metaConditionHolds,
} from '../env/metastore.ts'
import { NodeClock } from './clock.ts'
import { LmdbLeases } from './lmdb-leases.ts'

interface Waiting {
  readonly conditions: readonly MetaCondition[]
  /** Of the end of a lease: what is under it when its turn has come. */
  readonly changes: readonly MetaChange[] | MetaLease
  readonly resolve: (revision: number | null) => void
  readonly reject: (error: LemnisError) => void
}

/** An outcome of a commit that is durable: its revision, null, or why it was refused. */
type Outcome = number | null | LemnisError

interface Watch extends MetaWatch {
  readonly from: string
  readonly to: string
  readonly watcher: MetaWatcher
}

const FORMAT = 2
/** Items had no revision of their making. */
const FORMAT_BEFORE = 1
/** Below every key of an item. Its value: format (u32), then the last revision (u53), little endian. */
const HEAD_KEY = new Uint8Array([0])
const HEAD_BYTES = 12
/** Begins the row, without a value, that says of an item's key that it is under a lease. */
const LEASED = 1
/** Before an item's value: revision of its last change, revision of its making. */
const REVISIONS_BYTES = 16
const FIRST_ITEM = new Uint8Array(['!'.charCodeAt(0)])
const WAITING_MAX = 16_384

const ENCODER = new TextEncoder()
const DECODER = new TextDecoder('utf-8', { fatal: true })

export class LmdbStore implements MetaStore {
  readonly #db: Database<Uint8Array, Uint8Array>
  #revision = 0
  #waiting: Waiting[] = []
  #writing: Promise<void> | null = null
  #failure: LemnisError | null = null
  /** Of the last transaction that is durable, and told to watches. */
  #durableRevision = 0
  readonly #clock: Clock = new NodeClock()
  readonly #leases = new LmdbLeases(this.#clock, (lease) => this.#endLease(lease))
  readonly #watches = new Set<Watch>()

  private constructor(db: Database<Uint8Array, Uint8Array>) {
    this.#db = db
  }

  /** `directory` is made when it is not there. One process at a time: the caller holds a lock. */
  static async open(directory: string): Promise<LmdbStore> {
    let db: Database<Uint8Array, Uint8Array>
    try {
      mkdirSync(directory, { recursive: true })
      db = open<Uint8Array, Uint8Array>({
        path: directory,
        noSubdir: false,
        cache: false,
        encoding: 'binary',
        keyEncoding: 'binary',
        // A transaction is synced before its promise resolves, and none begins before that.
        overlappingSync: false,
      })
    } catch (error) {
      throw new LemnisError('DISK_FAILED', { directory, reason: String(error) }, error)
    }
    const store = new LmdbStore(db)
    try {
      await store.#readHead(directory)
    } catch (error) {
      await db.close()
      throw error
    }
    return store
  }

  async #readHead(directory: string): Promise<void> {
    const head = this.#db.get(HEAD_KEY)
    if (head === undefined) {
      const isEmpty = [...this.#db.getKeys({ limit: 1 })].length === 0
      if (!isEmpty) throw new LemnisError('CORRUPT', { directory, what: 'store without a head' })
      await this.#db.childTransaction(() => this.#putHead(0))
      return
    }
    const format = head.byteLength === HEAD_BYTES ? viewOf(head).getUint32(0, true) : 0
    if (format > FORMAT) throw new LemnisError('VERSION_MISMATCH', { directory, format })
    if (format < FORMAT_BEFORE) throw new LemnisError('CORRUPT', { directory, what: 'head' })
    this.#revision = readU53(viewOf(head), 4)
    if (format === FORMAT_BEFORE) await this.#rewriteItems()
    await this.#removeLeased()
    this.#durableRevision = this.#revision
  }

  /** All in one transaction. Nobody asked for the revision of an item's making before. */
  async #rewriteItems(): Promise<void> {
    const rows = [...this.#db.getRange({ start: FIRST_ITEM })]
    await this.#db.childTransaction(() => {
      for (const { key, value } of rows) {
        const revision = value.subarray(0, 8)
        const stored = new Uint8Array(value.byteLength + revision.byteLength)
        stored.set(revision)
        stored.set(value, revision.byteLength)
        void this.#db.put(key, stored)
      }
      this.#putHead(this.#revision)
    })
    this.#db.resetReadTxn()
  }

  /** What was under a lease of a process that is no more. */
  async #removeLeased(): Promise<void> {
    const rows = [...this.#db.getKeys({ start: new Uint8Array([LEASED]), end: FIRST_ITEM })]
    if (rows.length === 0) return
    await this.#db.childTransaction(() => {
      for (const row of rows) {
        void this.#db.remove(row)
        void this.#db.remove(row.subarray(1))
      }
      this.#putHead(++this.#revision)
    })
    this.#db.resetReadTxn()
  }

  async get(key: string): Promise<MetaItem | null> {
    checkMetaKey(key)
    this.#checkOpen()
    return this.#itemOf(key)
  }

  async range(from: string, to: string, limit: number): Promise<MetaItem[]> {
    this.#checkOpen()
    const items: MetaItem[] = []
    if (from >= to || limit < 1) return items
    // The head lies below every item, and an empty bound means before the first of those.
    const start = ENCODER.encode(from === '' ? '!' : from)
    for (const { key, value } of this.#db.getRange({ start, end: ENCODER.encode(to), limit })) {
      items.push(itemOf(DECODER.decode(key), value))
    }
    return items
  }

  async commit(
    conditions: readonly MetaCondition[],
    changes: readonly MetaChange[],
  ): Promise<number | null> {
    checkCommit(conditions, changes)
    this.#checkOpen()
    if (this.#waiting.length >= WAITING_MAX) {
      throw new LemnisError('OVERLOADED', { what: 'metadata store' })
    }
    return this.#enqueue(conditions, changes)
  }

  async grantLease(ttlMs: number): Promise<MetaLease> {
    checkMetaLeaseMs(ttlMs)
    this.#checkOpen()
    return this.#leases.grant(ttlMs)
  }

  async keepLease(lease: MetaLease): Promise<void> {
    this.#checkOpen()
    this.#leases.keep(lease)
  }

  async revokeLease(lease: MetaLease): Promise<void> {
    this.#checkOpen()
    await this.#enqueue([], lease)
  }

  watch(from: string, to: string, watcher: MetaWatcher): MetaWatch {
    checkMetaWatch(from, to)
    this.#checkOpen()
    const close = (): void => void this.#watches.delete(watch)
    const watch: Watch = { from, to, watcher, close }
    this.#watches.add(watch)
    const revision = this.#durableRevision
    this.#tell(watch, () => watcher.onStarted(revision))
    return watch
  }

  async close(): Promise<void> {
    const failure = this.#failure
    this.#failure ??= new LemnisError('CLOSED', { what: 'metadata store' })
    if (failure?.code === 'CLOSED') return
    this.#watches.clear()
    await this.#writing
    this.#leases.close()
    await this.#db.close()
  }

  #enqueue(
    conditions: readonly MetaCondition[],
    changes: readonly MetaChange[] | MetaLease,
  ): Promise<number | null> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ conditions, changes, resolve, reject })
      this.#writing ??= this.#writeAll()
    })
  }

  /** Its time is over: whoever holds it hears of it by its next call. */
  #endLease(lease: MetaLease): void {
    // After a failure the keys stay until the store is opened again.
    if (this.#failure === null) this.#enqueue([], lease).catch(() => {})
  }

  #tell(watch: Watch, fire: () => void): void {
    this.#clock.soon(() => {
      if (this.#watches.has(watch)) fire()
    })
  }

  #checkOpen(): void {
    if (this.#failure !== null) throw this.#failure
  }

  /** One transaction for all that waits, until nothing does. Takes the first ones a turn later. */
  async #writeAll(): Promise<void> {
    await Promise.resolve()
    while (this.#waiting.length > 0) {
      const batch = this.#waiting
      this.#waiting = []
      await this.#write(batch)
    }
    this.#writing = null
  }

  async #write(batch: readonly Waiting[]): Promise<void> {
    const outcomes: Outcome[] = []
    const commits: MetaChanged[][] = []
    try {
      if (this.#failure !== null && this.#failure.code !== 'CLOSED') throw this.#failure
      // A child transaction is undone as a whole when anything in it throws.
      await this.#db.childTransaction(() => {
        for (const waiting of batch) outcomes.push(this.#take(waiting, commits))
        this.#putHead(this.#revision)
      })
    } catch (error) {
      this.#failure = await failureOf(error)
      for (const { reject } of batch) reject(this.#failure)
      return
    }
    // Reads of this turn may have a snapshot from before.
    this.#db.resetReadTxn()
    for (const [i, { resolve, reject }] of batch.entries()) {
      const outcome = outcomes[i] ?? null
      if (outcome instanceof LemnisError) reject(outcome)
      else resolve(outcome)
    }
    for (const changed of commits) this.#tellAll(changed)
  }

  #tellAll(changed: readonly MetaChanged[]): void {
    const revision = ++this.#durableRevision
    for (const watch of this.#watches) {
      const seen = metaChangesWithin(changed, watch.from, watch.to)
      if (seen.length > 0) this.#tell(watch, () => watch.watcher.onChanges(seen, revision))
    }
  }

  /** In a transaction. A commit that changes something is added to `commits`. */
  #take({ conditions, changes }: Waiting, commits: MetaChanged[][]): Outcome {
    if (!conditions.every((one) => metaConditionHolds(one, this.#itemOf(one.key)))) return null
    let asked: readonly MetaChange[]
    try {
      asked = 'id' in changes ? this.#removalOf(changes) : changes
      for (const one of asked) if (one.kind === 'put' && one.lease) this.#leases.check(one.lease)
    } catch (error) {
      return asLemnisError(error)
    }
    // A lease that had no keys, or has ended before, leaves nothing to do.
    if (asked.length === 0) return this.#revision
    const revision = ++this.#revision
    commits.push(asked.flatMap((change) => this.#change(change, revision)))
    return revision
  }

  #removalOf(lease: MetaLease): MetaChange[] {
    return this.#leases.end(lease).map((key) => {
      // It is no longer under the lease in memory; its row goes here.
      void this.#db.remove(leasedKey(key))
      return { kind: 'remove', key }
    })
  }

  #change(change: MetaChange, revision: number): MetaChanged[] {
    const { key } = change
    const before = this.#itemOf(key)
    if (change.kind === 'remove' && before === null) return []
    this.#bind(change)
    if (change.kind === 'remove') {
      void this.#db.remove(ENCODER.encode(key))
      return [{ kind: 'remove', key, revision }]
    }
    const createdRevision = before?.createdRevision ?? revision
    const item = { key, value: change.value, revision, createdRevision }
    void this.#db.put(ENCODER.encode(key), storedOf(item))
    return [{ kind: 'put', item }]
  }

  /** Puts the key under the lease of the change, or under none. */
  #bind(change: MetaChange): void {
    const { key } = change
    if (change.kind === 'put' && change.lease !== undefined) {
      this.#leases.bind(key, change.lease)
      void this.#db.put(leasedKey(key), new Uint8Array(0))
    } else if (this.#leases.isUnder(key)) {
      this.#leases.release(key)
      void this.#db.remove(leasedKey(key))
    }
  }

  #itemOf(key: string): MetaItem | null {
    const stored = this.#db.get(ENCODER.encode(key))
    return stored === undefined ? null : itemOf(key, stored)
  }

  #putHead(revision: number): void {
    const head = new Uint8Array(HEAD_BYTES)
    const view = viewOf(head)
    view.setUint32(0, FORMAT, true)
    writeU53(view, 4, revision)
    void this.#db.put(HEAD_KEY, head)
  }
}

function leasedKey(key: string): Uint8Array {
  const text = ENCODER.encode(key)
  const row = new Uint8Array(1 + text.byteLength)
  row[0] = LEASED
  row.set(text, 1)
  return row
}

/** An item's bytes: its two revisions (u53, little endian), then the value as UTF-8. */
function storedOf({ value, revision, createdRevision }: MetaItem): Uint8Array {
  const text = ENCODER.encode(value)
  const stored = new Uint8Array(REVISIONS_BYTES + text.byteLength)
  const view = viewOf(stored)
  writeU53(view, 0, revision)
  writeU53(view, 8, createdRevision)
  stored.set(text, REVISIONS_BYTES)
  return stored
}

function itemOf(key: string, stored: Uint8Array): MetaItem {
  try {
    const view = viewOf(stored)
    const revision = readU53(view, 0)
    const createdRevision = readU53(view, 8)
    const value = DECODER.decode(stored.subarray(REVISIONS_BYTES))
    return { key, value, revision, createdRevision }
  } catch (error) {
    throw new LemnisError('CORRUPT', { what: 'metadata store', key }, error)
  }
}

async function failureOf(error: unknown): Promise<LemnisError> {
  if (error instanceof LemnisError) return error
  if (error instanceof InvariantError) throw error
  const reason = messageOf(await causeOf(error))
  // MDB_MAP_FULL and a full disk differ in text alone, and mean the same to who reads this.
  return new LemnisError('DISK_FAILED', { what: 'metadata store', reason }, error)
}

/** Of a failed commit the system's reason comes beside it as a promise, which somebody must hear. */
async function causeOf(error: unknown): Promise<unknown> {
  const { commitError } = error as { readonly commitError?: Promise<unknown> }
  try {
    // It has been rejected by now, or nobody knows more.
    await Promise.race([commitError, Promise.resolve()])
  } catch (cause) {
    return cause
  }
  commitError?.catch(() => {})
  return error
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
