// Owns what a standby knows of the metadata store: all records, in memory, followed by a watch, so that
// taking over needs no reading. Invariant: when a commit was told, everything before it is here. A
// record read and one that is told may arrive in any order; the one of the later revision stands.

import { asLemnisError } from '../../base/errors.ts'
import type { Clock, Timer } from '../../env/clock.ts'
import type { MetaChanged, MetaItem, MetaStore, MetaWatch } from '../../env/metastore.ts'

interface Waiter {
  readonly revision: number
  readonly done: (isReached: boolean) => void
}

const FROM = ''
const TO = '\x7f'
const PAGE_ITEMS = 1024
const RETRY_MS = 500

export class Mirror {
  readonly #store: MetaStore
  readonly #clock: Clock
  readonly #items = new Map<string, MetaItem>()
  /** Keys removed while records are read: what was read before that is older than this. */
  readonly #removed = new Map<string, number>()
  readonly #waiters = new Set<Waiter>()
  #watch: MetaWatch | null = null
  #retry: Timer | null = null
  /** Counts the readings: one that a new start of the watch has overtaken ends. */
  #reading = 0
  #isLoaded = false
  #revision = 0

  constructor(store: MetaStore, clock: Clock) {
    this.#store = store
    this.#clock = clock
  }

  /** Everything was read and is followed. */
  get isLoaded(): boolean {
    return this.#isLoaded
  }

  start(): void {
    this.#watch ??= this.#store.watch(FROM, TO, {
      onStarted: (revision) => this.#restarted(revision),
      onChanges: (changes, revision) => this.#changed(changes, revision),
    })
  }

  /** Follows no more, and forgets. */
  stop(): void {
    this.#watch?.close()
    this.#watch = null
    this.#forget()
    for (const waiter of [...this.#waiters]) this.#answer(waiter, false)
  }

  get(key: string): MetaItem | null {
    return this.#items.get(key) ?? null
  }

  /** From `from` to before `to`, in the order of their keys. */
  items(from: string, to: string): MetaItem[] {
    const found: MetaItem[] = []
    for (const item of this.#items.values()) {
      if (item.key >= from && item.key < to) found.push(item)
    }
    return found.sort((a, b) => (a.key < b.key ? -1 : 1))
  }

  /** Whether, within `limitMs`, everything up to the commit of that revision is here. */
  reached(revision: number, limitMs: number): Promise<boolean> {
    if (this.#isLoaded && this.#revision >= revision) return Promise.resolve(true)
    if (this.#watch === null) return Promise.resolve(false)
    return new Promise((resolve) => {
      const done = (isReached: boolean): void => {
        timer.cancel()
        resolve(isReached)
      }
      const waiter: Waiter = { revision, done }
      const timer = this.#clock.after(limitMs, () => this.#answer(waiter, false))
      this.#waiters.add(waiter)
    })
  }

  #answer(waiter: Waiter, isReached: boolean): void {
    this.#waiters.delete(waiter)
    waiter.done(isReached)
  }

  #tell(): void {
    if (!this.#isLoaded) return
    for (const waiter of [...this.#waiters]) {
      if (this.#revision >= waiter.revision) this.#answer(waiter, true)
    }
  }

  #forget(): void {
    this.#reading++
    this.#retry?.cancel()
    this.#isLoaded = false
    this.#items.clear()
    this.#removed.clear()
  }

  #restarted(revision: number): void {
    this.#forget()
    this.#revision = revision
    void this.#read(this.#reading)
  }

  async #read(reading: number): Promise<void> {
    try {
      for (let from = FROM, isDone = false; !isDone; ) {
        const page = await this.#store.range(from, TO, PAGE_ITEMS)
        if (reading !== this.#reading) return
        for (const item of page) this.#put(item)
        isDone = page.length < PAGE_ITEMS
        from = `${page.at(-1)?.key ?? ''}!`
      }
    } catch (thrown) {
      // Whatever it was: a standby without a mirror takes over by reading, only later.
      asLemnisError(thrown)
      if (reading !== this.#reading) return
      this.#retry = this.#clock.after(RETRY_MS, () => void this.#read(reading))
      return
    }
    this.#removed.clear()
    this.#isLoaded = true
    this.#tell()
  }

  #put(item: MetaItem): void {
    const knownRevision = this.#items.get(item.key)?.revision ?? this.#removed.get(item.key) ?? 0
    if (item.revision > knownRevision) this.#items.set(item.key, item)
  }

  #changed(changes: readonly MetaChanged[], revision: number): void {
    for (const change of changes) {
      if (change.kind === 'put') this.#put(change.item)
      else this.#remove(change.key, change.revision)
    }
    this.#revision = revision
    this.#tell()
  }

  #remove(key: string, revision: number): void {
    const item = this.#items.get(key)
    if (item !== undefined && item.revision < revision) this.#items.delete(key)
    if (!this.#isLoaded) this.#removed.set(key, revision)
  }
}
