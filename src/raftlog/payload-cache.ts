// Owns how much memory the payloads of all groups of a log take: the newest entries under one
// budget, first in, first out, and windows of older entries that were read back for slow followers.
// Invariant: an entry that is not durable is never evicted (nothing could give it back).

import type { Entry } from '../raft/types.ts'

/**
 * What an entry costs beside its payload: the object, its slot in a group, its slot in the queue.
 */
const ENTRY_OVERHEAD_BYTES = 160

/** A group, as the cache sees it. */
export interface Cached {
  /** Entries held in memory, all at the end of the log. */
  readonly cachedCount: number
  /** Lets go of the oldest one and returns its payload's bytes. */
  evictOldest(): number
  forgetWindow(window: Window): void
}

export interface Window {
  readonly from: number
  readonly entries: readonly Entry[]
  readonly bytes: number
}

interface HeldWindow {
  readonly owner: Cached
  readonly window: Window
}

export class PayloadCache {
  readonly #budgetBytes: number
  readonly #windowBudgetBytes: number
  /** One slot an entry, oldest first from #head: whose it is, and which batch makes it durable. */
  #owners: (Cached | undefined)[] = []
  #batches: number[] = []
  #head = 0
  /**
   * Slots a group has in the queue. More than entries after a truncation: the surplus goes first.
   */
  readonly #slots = new Map<Cached, number>()
  #usedBytes = 0
  #durableBatch = 0
  #windows: HeldWindow[] = []
  #windowBytes = 0

  constructor(budgetBytes: number, windowBudgetBytes: number) {
    this.#budgetBytes = budgetBytes
    this.#windowBudgetBytes = windowBudgetBytes
  }

  get usedBytes(): number {
    return this.#usedBytes + this.#windowBytes
  }

  /** A group has one more entry at its end, which `batch` makes durable. */
  admit(owner: Cached, payloadBytes: number, batch: number): void {
    this.#owners.push(owner)
    this.#batches.push(batch)
    this.#slots.set(owner, (this.#slots.get(owner) ?? 0) + 1)
    this.#usedBytes += payloadBytes + ENTRY_OVERHEAD_BYTES
    if (this.#usedBytes > this.#budgetBytes) this.#evict()
  }

  /** A group let go of entries by itself. */
  released(payloadBytes: number): void {
    this.#usedBytes -= payloadBytes
  }

  /** Batches up to this one are durable. */
  durable(batch: number): void {
    this.#durableBatch = batch
    if (this.#usedBytes > this.#budgetBytes) this.#evict()
  }

  /** Keeps entries that were read back, at the cost of the oldest such. */
  addWindow(owner: Cached, window: Window): void {
    this.#windows.push({ owner, window })
    this.#windowBytes += window.bytes
    while (this.#windowBytes > this.#windowBudgetBytes && this.#windows.length > 1) {
      const oldest = this.#windows[0] as HeldWindow
      oldest.owner.forgetWindow(oldest.window)
      this.dropWindow(oldest.window)
    }
  }

  /** A group let go of a window by itself. */
  dropWindow(window: Window): void {
    const at = this.#windows.findIndex((held) => held.window === window)
    if (at < 0) return
    this.#windows.splice(at, 1)
    this.#windowBytes -= window.bytes
  }

  #evict(): void {
    while (this.#usedBytes > this.#budgetBytes && this.#head < this.#owners.length) {
      if ((this.#batches[this.#head] as number) > this.#durableBatch) break
      const owner = this.#owners[this.#head] as Cached
      this.#owners[this.#head++] = undefined
      this.#usedBytes -= ENTRY_OVERHEAD_BYTES
      const left = (this.#slots.get(owner) as number) - 1
      if (left === 0) this.#slots.delete(owner)
      else this.#slots.set(owner, left)
      if (left < owner.cachedCount) this.#usedBytes -= owner.evictOldest()
    }
    if (this.#head > 1024 && this.#head * 2 > this.#owners.length) {
      this.#owners = this.#owners.slice(this.#head)
      this.#batches = this.#batches.slice(this.#head)
      this.#head = 0
    }
  }
}
