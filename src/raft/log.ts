// Owns the log as consensus sees it: the durable LogStore with the entries on top that are not yet
// durable, the commit index, and how far entries were handed out to persist and to apply.
// Invariant: what is committed is never cut off. Entries from `offset` on live in the tail, below
// it in the store; a snapshot that is not yet durable hides the store until it is.

import { assert, must } from '../base/assert.ts'
import type { Entry, LogStore, SnapshotMark } from './types.ts'

/**
 * What an entry costs beyond its data in a frame and in the log, roughly; keeps empty ones from
 * being free.
 */
const ENTRY_OVERHEAD_BYTES = 32

const NO_ENTRIES: readonly Entry[] = []

export function entryBytes(entry: Entry): number {
  return entry.data.byteLength + ENTRY_OVERHEAD_BYTES
}

export function entriesBytes(entries: readonly Entry[]): number {
  let bytes = 0
  for (let i = 0; i < entries.length; i++) bytes += entryBytes(entries[i] as Entry)
  return bytes
}

export class LogView {
  readonly #store: LogStore
  #tail: Entry[] = []
  #offset: number
  /** The next index to hand out for persistence. */
  #persistNext: number
  /** Counts cuts, so that a write of entries that were cut since does not count as durable. */
  #cuts = 0
  #base: SnapshotMark | null = null
  #commit: number
  /** Handed out to apply. */
  #handed: number
  #applied: number
  #configWaits = false
  /** What is handed out next replaces entries that were handed out before. */
  #isReplacing = false

  constructor(store: LogStore, commit: number, applied: number) {
    this.#store = store
    const last = store.lastIndex()
    assert(applied <= last, 'a checkpoint is durable only after the entries that it covers')
    assert(applied >= store.firstIndex() - 1, 'the log starts after what was applied')
    this.#offset = last + 1
    this.#persistNext = last + 1
    // A torn write may have kept the hard state and lost the entries that came with it.
    this.#commit = Math.max(applied, Math.min(commit, last))
    this.#handed = applied
    this.#applied = applied
  }

  get commit(): number {
    return this.#commit
  }

  get applied(): number {
    return this.#applied
  }

  get handed(): number {
    return this.#handed
  }

  /** Everything up to here is durable. */
  get stable(): number {
    return this.#offset - 1
  }

  /** Stays the same while the log only grows. */
  get cuts(): number {
    return this.#cuts
  }

  get firstIndex(): number {
    return this.#base === null ? this.#store.firstIndex() : this.#base.index + 1
  }

  get lastIndex(): number {
    return this.#offset + this.#tail.length - 1
  }

  get lastTerm(): number {
    return must(this.term(this.lastIndex), 'the last term is known')
  }

  /** The term at `index`, from firstIndex - 1 to lastIndex; undefined outside of it. */
  term(index: number): number | undefined {
    if (index >= this.#offset) return this.#tail[index - this.#offset]?.term
    if (this.#base !== null) return index === this.#base.index ? this.#base.term : undefined
    return this.#store.term(index)
  }

  /** The largest index up to `from` whose term is at most `term`, or the end of what is known. */
  lastIndexUpToTerm(from: number, term: number): number {
    let low = this.firstIndex - 1
    let high = Math.min(from, this.lastIndex)
    if (high < low) return Math.max(high, 0)
    // Terms never fall along a log, so halving finds the place.
    while (low < high) {
      const middle = Math.ceil((low + high) / 2)
      if ((this.term(middle) ?? 0) <= term) low = middle
      else high = middle - 1
    }
    return low
  }

  /** As LogStore.entries; may end early where the durable part ends. */
  entries(from: number, to: number, bytesMax: number): readonly Entry[] | 'not-in-memory' {
    assert(from >= this.firstIndex && to <= this.lastIndex + 1 && from < to, 'entries in the log')
    if (from < this.#offset) return this.#store.entries(from, Math.min(to, this.#offset), bytesMax)
    const start = from - this.#offset
    const end = to - this.#offset
    let bytes = 0
    let at = start
    while (at < end) {
      bytes += entryBytes(this.#tail[at] as Entry)
      if (bytes > bytesMax && at > start) break
      at++
    }
    return this.#tail.slice(start, at)
  }

  /** A leader's own entry, at the end. */
  push(entry: Entry): void {
    assert(entry.index === this.lastIndex + 1, 'a leader only appends')
    this.#tail.push(entry)
    if (entry.kind === 'config') this.#configWaits = true
  }

  /** Takes in a leader's entries after a place that matches; what conflicts is cut off first. */
  merge(entries: readonly Entry[]): void {
    let from = 0
    while (from < entries.length) {
      const entry = entries[from] as Entry
      if (this.term(entry.index) !== entry.term) break
      from++
    }
    if (from === entries.length) return
    const first = entries[from] as Entry
    if (first.index <= this.lastIndex) this.#cut(first.index)
    for (let i = from; i < entries.length; i++) this.push(entries[i] as Entry)
  }

  #cut(from: number): void {
    assert(from > this.#commit, 'committed entries are never cut off')
    this.#cuts++
    if (from >= this.#offset) {
      this.#tail.length = from - this.#offset
    } else {
      this.#tail = []
      this.#offset = from
    }
    if (from >= this.#persistNext) return
    this.#isReplacing = true
    this.#persistNext = from
  }

  commitTo(index: number): void {
    assert(index <= this.lastIndex, 'commit within the log')
    if (index > this.#commit) this.#commit = index
  }

  /** Starts the log anew after a state that replaces it. */
  restart(mark: SnapshotMark): void {
    this.#base = mark
    this.#tail = []
    this.#offset = mark.index + 1
    this.#persistNext = mark.index + 1
    this.#cuts++
    this.#commit = mark.index
    this.#handed = mark.index
    this.#applied = mark.index
    this.#configWaits = false
    this.#isReplacing = false
  }

  get hasUnpersisted(): boolean {
    return this.#persistNext <= this.lastIndex
  }

  /** Whether a 'config' entry is among those to be handed out next. */
  get configWaits(): boolean {
    return this.#configWaits
  }

  /**
   * The commit index to write before the next entries. A crash may leave it without them; then it
   * must not speak of the entries that they were to replace.
   */
  get commitToPersist(): number {
    return this.#isReplacing ? Math.min(this.#commit, this.#persistNext - 1) : this.#commit
  }

  /** The last index handed out to persist. */
  get persistLast(): number {
    return this.#persistNext - 1
  }

  /**
   * The next entries to persist; all there are, except that those which replace others end before a
   * 'config' entry: that one leaves next, with a commit index that is no longer held back.
   */
  takeUnpersisted(): readonly Entry[] {
    if (!this.hasUnpersisted) return NO_ENTRIES
    const start = this.#persistNext - this.#offset
    let end = this.#tail.length
    if (this.#isReplacing && this.#configWaits) end = Math.max(this.#configFrom(start), start + 1)
    this.#persistNext = this.#offset + end
    this.#isReplacing = false
    this.#configWaits = this.#configWaits && this.#configFrom(end) < this.#tail.length
    return this.#tail.slice(start, end)
  }

  /**
   * Where in the tail, from `start` on, the first 'config' entry is; its length if there is none.
   */
  #configFrom(start: number): number {
    const at = this.#tail.findIndex((entry, i) => i >= start && entry.kind === 'config')
    return at < 0 ? this.#tail.length : at
  }

  /** What was handed out up to `last`, when the log had seen `cuts` cuts, is durable. */
  persisted(last: number, cuts: number): void {
    if (cuts !== this.#cuts) return
    this.#base = null
    const count = last + 1 - this.#offset
    if (count <= 0) return
    if (count === this.#tail.length) this.#tail = []
    else this.#tail.splice(0, count)
    this.#offset += count
  }

  /** The next committed entries, never twice. */
  takeCommitted(bytesMax: number): readonly Entry[] | 'not-in-memory' {
    if (this.#handed >= this.#commit) return NO_ENTRIES
    const entries = this.entries(this.#handed + 1, this.#commit + 1, bytesMax)
    if (entries !== 'not-in-memory') this.#handed += entries.length
    return entries
  }

  appliedTo(index: number): void {
    assert(index <= this.#handed, 'applied only what was handed out')
    if (index > this.#applied) this.#applied = index
  }
}
