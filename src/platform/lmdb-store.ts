// Owns the embedded metadata store: one LMDB environment in one directory, for one process. A commit is
// answered after its transaction is on stable storage; those that arrive while one is being written go
// together into the next (docs/formats/metastore.md).
// Invariant: after a failed transaction nothing more is acknowledged.

import { mkdirSync } from 'node:fs'
import { type Database, open } from 'lmdb'
import { InvariantError } from '../base/assert.ts'
import { viewOf } from '../base/bytes.ts'
import { LemnisError } from '../base/errors.ts'
import { readU53, writeU53 } from '../base/u53.ts'
import {
  checkCommit,
  checkMetaKey,
  type MetaChange,
  type MetaCondition,
  type MetaItem,
  type MetaStore,
} from '../env/metastore.ts'

interface Waiting {
  readonly conditions: readonly MetaCondition[]
  readonly changes: readonly MetaChange[]
  readonly resolve: (revision: number | null) => void
  readonly reject: (error: LemnisError) => void
}

const FORMAT = 1
/** Below every key of an item. Its value: format (u32), then the last revision (u53), little endian. */
const HEAD_KEY = new Uint8Array([0])
const HEAD_BYTES = 12
const REVISION_BYTES = 8
const WAITING_MAX = 16_384

const ENCODER = new TextEncoder()
const DECODER = new TextDecoder('utf-8', { fatal: true })

export class LmdbStore implements MetaStore {
  readonly #db: Database<Uint8Array, Uint8Array>
  #revision = 0
  #waiting: Waiting[] = []
  #writing: Promise<void> | null = null
  #failure: LemnisError | null = null

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
    if (format !== FORMAT) throw new LemnisError('CORRUPT', { directory, what: 'head' })
    this.#revision = readU53(viewOf(head), 4)
  }

  async get(key: string): Promise<MetaItem | null> {
    checkMetaKey(key)
    this.#checkOpen()
    const stored = this.#db.get(ENCODER.encode(key))
    return stored === undefined ? null : itemOf(key, stored)
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
    return new Promise((resolve, reject) => {
      this.#waiting.push({ conditions, changes, resolve, reject })
      this.#writing ??= this.#writeAll()
    })
  }

  async close(): Promise<void> {
    const failure = this.#failure
    this.#failure ??= new LemnisError('CLOSED', { what: 'metadata store' })
    if (failure?.code === 'CLOSED') return
    await this.#writing
    await this.#db.close()
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
    const outcomes: (number | null)[] = []
    try {
      if (this.#failure !== null && this.#failure.code !== 'CLOSED') throw this.#failure
      // A child transaction is undone as a whole when anything in it throws.
      await this.#db.childTransaction(() => {
        for (const { conditions, changes } of batch) {
          outcomes.push(conditions.every((c) => this.#holds(c)) ? this.#change(changes) : null)
        }
        this.#putHead(this.#revision)
      })
    } catch (error) {
      this.#failure = await failureOf(error)
      for (const { reject } of batch) reject(this.#failure)
      return
    }
    // Reads of this turn may have a snapshot from before.
    this.#db.resetReadTxn()
    for (const [i, { resolve }] of batch.entries()) resolve(outcomes[i] ?? null)
  }

  #holds(condition: MetaCondition): boolean {
    const stored = this.#db.get(ENCODER.encode(condition.key))
    if (condition.kind === 'absent') return stored === undefined
    return stored !== undefined && readU53(viewOf(stored), 0) === condition.revision
  }

  #change(changes: readonly MetaChange[]): number {
    const revision = ++this.#revision
    for (const change of changes) {
      const key = ENCODER.encode(change.key)
      if (change.kind === 'put') void this.#db.put(key, storedOf(revision, change.value))
      else void this.#db.remove(key)
    }
    return revision
  }

  #putHead(revision: number): void {
    const head = new Uint8Array(HEAD_BYTES)
    const view = viewOf(head)
    view.setUint32(0, FORMAT, true)
    writeU53(view, 4, revision)
    void this.#db.put(HEAD_KEY, head)
  }
}

/** An item's bytes: revision of its last change (u53, little endian), then the value as UTF-8. */
function storedOf(revision: number, value: string): Uint8Array {
  const text = ENCODER.encode(value)
  const stored = new Uint8Array(REVISION_BYTES + text.byteLength)
  writeU53(viewOf(stored), 0, revision)
  stored.set(text, REVISION_BYTES)
  return stored
}

function itemOf(key: string, stored: Uint8Array): MetaItem {
  try {
    const revision = readU53(viewOf(stored), 0)
    return { key, value: DECODER.decode(stored.subarray(REVISION_BYTES)), revision }
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
