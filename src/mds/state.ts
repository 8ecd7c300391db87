// Owns the writing of the MDS's durable state: one mutation after the other, each computed from
// memory, committed, and only then made in memory, so that memory never shows what a crash could take.
// Every commit holds only while this is the ledger that was opened last and, where MDS are elected,
// while its MDS has not lost the leadership: a paused or forgotten older one changes nothing. After a
// commit whose outcome is not known nothing more is written; who opens anew reads what is there.

import { must } from '../base/assert.ts'
import { asLemnisError, type ErrorCode, LemnisError } from '../base/errors.ts'
import type { MetaChange, MetaCondition, MetaItem, MetaStore } from '../env/metastore.ts'
import { OwnerRecord, RECORDS_FORMAT } from '../format/records/owner.ts'
import { decodeRecord, encodeRecord } from '../format/records/record.ts'
import type { Observer } from '../observe/observe.ts'
import { type MdsBugs, NO_MDS_BUGS } from './bugs.ts'
import type { Mirror } from './leading/mirror.ts'

/** What a mutation wants written, and what it does to memory once that is durable. */
export interface Write<T> {
  readonly changes: readonly MetaChange[]
  readonly apply: () => T
}

interface Queued {
  readonly run: () => Promise<void>
  readonly fail: (error: unknown) => void
}

const OWNER_KEY = 'owner'
/** What waits for its turn; at 5 ms a commit that is half a minute of work. */
const QUEUED_MAX = 8192
const PAGE_ITEMS = 1024
/** The store did not take the commit: nothing is unknown. */
const REFUSED: ReadonlySet<ErrorCode> = new Set(['INVALID_ARGUMENT', 'NO_SPACE'])
/** A watch tells of a commit a round trip later; past this everything is read instead. */
const MIRROR_LIMIT_MS = 500

/** Where an MDS that is elected finds its right to write, and its records at hand. */
export interface Elected {
  /** Holds while nobody else can have been elected. */
  readonly condition: MetaCondition
  readonly mirror: Mirror
}

export class Ledger {
  /** Called once, when nothing can be written any more. */
  onFailed: ((error: LemnisError) => void) | null = null
  readonly #store: MetaStore
  readonly #conditions: readonly MetaCondition[]
  /** Has all records of the store until the first change of this ledger. */
  readonly #mirror: Mirror | null
  readonly #observer: Observer
  readonly #queue: Queued[] = []
  #isRunning = false
  #failure: LemnisError | null = null

  private constructor(
    store: MetaStore,
    observer: Observer,
    conditions: readonly MetaCondition[],
    mirror: Mirror | null,
  ) {
    this.#store = store
    this.#observer = observer
    this.#conditions = conditions
    this.#mirror = mirror
  }

  /**
   * Makes this ledger the one that writes to the store. `name` says to people who it is. NOT_LEADER
   * when another one came first.
   */
  static async open(
    store: MetaStore,
    observer: Observer,
    name: string,
    wallMs: number,
    elected: Elected | null = null,
    bugs: MdsBugs = NO_MDS_BUGS,
  ): Promise<Ledger> {
    const before = await store.get(OWNER_KEY)
    let condition: MetaCondition = { kind: 'absent', key: OWNER_KEY }
    let life = 1
    if (before !== null) {
      const owner = decodeRecord(OwnerRecord, before)
      if (owner.format > RECORDS_FORMAT) {
        throw new LemnisError('VERSION_MISMATCH', {
          what: 'metadata store',
          format: owner.format,
          known: RECORDS_FORMAT,
        })
      }
      condition = { kind: 'revision', key: OWNER_KEY, revision: before.revision }
      life = owner.life + 1
    }
    const value = encodeRecord(OwnerRecord, { format: RECORDS_FORMAT, life, name, sinceMs: wallMs })
    const isBound = elected !== null && !bugs.has('unfenced-writes')
    const leads = isBound ? [elected.condition] : []
    const put: MetaChange = { kind: 'put', key: OWNER_KEY, value }
    const revision = await store.commit([condition, ...leads], [put])
    if (revision === null) throw takenOver()
    const owns: MetaCondition = { kind: 'revision', key: OWNER_KEY, revision }
    // From here on nobody else writes: what was told up to here is all there is.
    const needed = bugs.has('stale-mirror') ? 0 : revision
    const isWarm = elected !== null && (await elected.mirror.reached(needed, MIRROR_LIMIT_MS))
    return new Ledger(store, observer, [owns, ...leads], isWarm ? elected.mirror : null)
  }

  /** The records were at hand, and none is read from the store. */
  get isWarm(): boolean {
    return this.#mirror !== null
  }

  /** Why nothing is written any more, or null. */
  get failure(): LemnisError | null {
    return this.#failure
  }

  /** All records whose keys begin with `prefix`, in the order of their keys; before any change. */
  async load(prefix: string, visit: (item: MetaItem) => void): Promise<void> {
    const end = `${prefix}\x7f`
    const atHand = this.#atHand()
    if (atHand !== null) {
      for (const item of atHand.items(prefix, end)) visit(item)
      return
    }
    for (let from = prefix; ; ) {
      const page = await this.#store.range(from, end, PAGE_ITEMS)
      for (const item of page) visit(item)
      if (page.length < PAGE_ITEMS) return
      from = `${must(page.at(-1), 'a full page').key}!`
    }
  }

  /** Before any change. */
  async read(key: string): Promise<MetaItem | null> {
    const atHand = this.#atHand()
    return atHand === null ? this.#store.get(key) : atHand.get(key)
  }

  /** Null when the store is read. A mirror that began anew meanwhile has nothing, not no records. */
  #atHand(): Mirror | null {
    if (this.#mirror?.isLoaded !== false) return this.#mirror
    throw new LemnisError('DISCONNECTED', {
      what: 'metadata store',
      reason: 'the watch began anew',
    })
  }

  /**
   * Calls `plan` when all earlier mutations are done; it looks at memory and says what to write, or
   * throws to refuse. Resolves with what `apply` gives, which runs when the changes are durable;
   * without changes it runs at once.
   */
  change<T>(plan: () => Write<T>): Promise<T> {
    if (this.#failure !== null) return Promise.reject(this.#failure)
    if (this.#queue.length >= QUEUED_MAX) {
      return Promise.reject(new LemnisError('OVERLOADED', { what: 'metadata writes' }))
    }
    return new Promise<T>((resolve, reject) => {
      const run = async (): Promise<void> => {
        const { changes, apply } = plan()
        if (changes.length > 0) await this.#commit(changes)
        resolve(apply())
      }
      this.#queue.push({ run, fail: reject })
      if (!this.#isRunning) void this.#runAll()
    })
  }

  /** Writes no more and refuses what waits. The store stays open: who opened it closes it. */
  close(): void {
    this.#failure ??= new LemnisError('CLOSED', { what: 'metadata ledger' })
  }

  async #runAll(): Promise<void> {
    this.#isRunning = true
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
      try {
        if (this.#failure !== null) throw this.#failure
        await next.run()
      } catch (error) {
        next.fail(error)
      }
    }
    this.#isRunning = false
  }

  async #commit(changes: readonly MetaChange[]): Promise<void> {
    let revision: number | null
    try {
      revision = await this.#store.commit(this.#conditions, changes)
    } catch (error) {
      const known = asLemnisError(error)
      throw REFUSED.has(known.code) ? known : this.#failed(known)
    }
    if (revision === null) throw this.#failed(takenOver())
    // What was asked to stop meanwhile has not seen this change, and must not answer from it.
    if (this.#failure !== null) throw this.#failure
  }

  #failed(error: LemnisError): LemnisError {
    if (this.#failure !== null) return this.#failure
    this.#failure = error
    this.#observer.emit('mds_store_failed', { code: error.code, reason: error.message })
    this.onFailed?.(error)
    return error
  }
}

function takenOver(): LemnisError {
  return new LemnisError('NOT_LEADER', { reason: 'another MDS has opened the metadata store' })
}
