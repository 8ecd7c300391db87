// Owns one group's part of the log in memory: which entries there are, where they lie, the newest
// ones themselves, and the group's small state (identity, hard state, mark). Readers see what was
// appended at once; what is durable is the matter of raftlog.ts. Invariant: base <= mark.index <=
// lastIndex, and an entry past the mark is never dropped.

import { assert } from '../base/assert.ts'
import type { Entry, HardState, LogStore, ReplicaId, SnapshotMark } from '../raft/types.ts'
import { EntryIndex } from './entry-index.ts'
import type { Kept } from './format.ts'
import type { Cached, PayloadCache, Window } from './payload-cache.ts'

const NO_HARD_STATE: HardState = { term: 0, vote: 0, commit: 0 }
const TERM_UNKNOWN = -1

export class GroupLog implements LogStore, Cached {
  readonly id: number
  readonly #cache: PayloadCache
  readonly #index = new EntryIndex()
  /** The newest entries, without a gap up to the last; slots before #tailHead are let go. */
  #tail: (Entry | undefined)[] = []
  #tailHead = 0
  #windows: Window[] = []
  #baseIndex = 0
  #baseTerm = 0
  #hardState = NO_HARD_STATE
  #mark: SnapshotMark | null = null
  #replica: ReplicaId | 0 = 0
  #createdEpoch = 0
  #destroyedEpoch: number | null = null
  /**
   * Segments of the newest records of identity, hard state and mark; Infinity where there is none.
   */
  #identitySegment = Number.POSITIVE_INFINITY
  #hardStateSegment = Number.POSITIVE_INFINITY
  #markSegment = Number.POSITIVE_INFINITY

  constructor(id: number, cache: PayloadCache) {
    this.id = id
    this.#cache = cache
  }

  // --- what readers see

  get hardState(): HardState {
    return this.#hardState
  }

  /** The newest checkpoint or installed snapshot. */
  get mark(): SnapshotMark | null {
    return this.#mark
  }

  /** 0 before the group's creation; stays after its destruction. */
  get replica(): ReplicaId | 0 {
    return this.#replica
  }

  get createdEpoch(): number {
    return this.#createdEpoch
  }

  /** Not null: the replica is gone, and this is its tombstone. */
  get destroyedEpoch(): number | null {
    return this.#destroyedEpoch
  }

  /** Whether the log has anything of this group. */
  get exists(): boolean {
    return this.stateSegment() !== Number.POSITIVE_INFINITY || this.#index.count > 0
  }

  firstIndex(): number {
    return this.#baseIndex + 1
  }

  lastIndex(): number {
    return this.#index.count === 0 ? this.#baseIndex : this.#index.last
  }

  term(index: number): number | undefined {
    if (index === this.#baseIndex) return this.#baseTerm
    if (index < this.#baseIndex || index > this.lastIndex()) return undefined
    return this.#index.term(index)
  }

  entries(from: number, to: number, bytesMax: number): readonly Entry[] | 'not-in-memory' {
    assert(from >= this.firstIndex() && from < to && to <= this.lastIndex() + 1, 'range of entries')
    const tailFirst = this.cachedFrom()
    if (from >= tailFirst) {
      return take(this.#tail as Entry[], this.#tailHead + from - tailFirst, to - from, bytesMax)
    }
    for (let i = this.#windows.length - 1; i >= 0; i--) {
      const window = this.#windows[i] as Window
      const skip = from - window.from
      if (skip >= 0 && skip < window.entries.length) {
        return take(window.entries, skip, to - from, bytesMax)
      }
    }
    return 'not-in-memory'
  }

  // --- what raftlog.ts and recovery.ts write

  create(replica: ReplicaId, epoch: number, segment: number): void {
    this.#reset()
    this.#replica = replica
    this.#createdEpoch = epoch
    this.#destroyedEpoch = null
    this.#identitySegment = segment
  }

  destroy(epoch: number, segment: number): void {
    this.#reset()
    this.#destroyedEpoch = epoch
    this.#identitySegment = segment
  }

  setHardState(hardState: HardState, segment: number): void {
    this.#hardState = hardState
    this.#hardStateSegment = segment
  }

  setMark(mark: SnapshotMark, segment: number): void {
    this.#mark = mark
    this.#markSegment = segment
  }

  /** The mark stands for all there was. */
  restart(mark: SnapshotMark, segment: number): void {
    this.#forgetEntries()
    this.#baseIndex = mark.index
    this.#baseTerm = mark.term
    this.setMark(mark, segment)
  }

  /** What kept() gave, again, in a newer segment. */
  keep(kept: Kept, segment: number): void {
    this.#replica = kept.replica
    this.#createdEpoch = kept.createdEpoch
    this.#destroyedEpoch = kept.destroyedEpoch
    this.#hardState = kept.hardState
    this.#mark = kept.mark
    this.moveState(segment)
  }

  kept(): Kept {
    return {
      replica: this.#replica,
      createdEpoch: this.#createdEpoch,
      destroyedEpoch: this.#destroyedEpoch,
      hardState: this.#hardState,
      mark: this.#mark,
    }
  }

  /** The newest record of all of the small state lies in `segment` now. */
  moveState(segment: number): void {
    this.#identitySegment = segment
    this.#hardStateSegment = segment
    this.#markSegment = segment
  }

  /** An entry at most one past the last; it and what follows replace what was there. */
  append(entry: Entry, segment: number, offset: number, batch: number): void {
    const { index, term, data } = entry
    if (index <= this.lastIndex()) this.#truncate(index)
    this.#index.append(index, term, segment, offset, data.byteLength)
    this.#tail.push(entry)
    this.#cache.admit(this, data.byteLength, batch)
  }

  /**
   * As append(), in recovery: the log may begin anywhere. False where a gap shows that some is
   * lost.
   */
  recover(entry: Entry, segment: number, offset: number): boolean {
    const known = this.#index.count > 0 || this.#baseTerm !== TERM_UNKNOWN
    const startsAfresh = this.#index.count === 0 && this.#baseIndex === 0
    if (entry.index > this.lastIndex() + 1 && !startsAfresh) return false
    if (startsAfresh || !known || entry.index <= this.#baseIndex) {
      this.#forgetEntries()
      this.#baseIndex = entry.index - 1
      this.#baseTerm = entry.index === 1 ? 0 : TERM_UNKNOWN
    }
    this.append(entry, segment, offset, 0)
    return true
  }

  /**
   * After recovery: the purged part gets its end from the mark, or from the first entry, which then
   * counts as purged. Null when all fits together, else what does not.
   */
  settle(): string | null {
    if (this.#baseTerm === TERM_UNKNOWN) {
      const { index } = this.#mark ?? { index: -1 }
      if (index < this.#baseIndex) return 'entries without what came before them'
      if (index === this.#baseIndex) this.#baseTerm = this.#mark?.term ?? 0
      else this.#drop(this.#baseIndex + 1)
    } else if (this.#index.count === 0 && this.#mark !== null) {
      this.#baseIndex = this.#mark.index
      this.#baseTerm = this.#mark.term
    }
    if (this.#mark !== null && this.term(this.#mark.index) !== this.#mark.term) {
      return 'a mark that is not in the log'
    }
    const { commit } = this.#hardState
    // A commit index is a hint; its entries may have been in the batch that was torn.
    if (commit > this.lastIndex()) {
      this.#hardState = { ...this.#hardState, commit: this.lastIndex() }
    }
    return null
  }

  // --- segments

  /** The oldest segment with an entry that no checkpoint covers; Infinity when there is none. */
  pinnedSegment(): number {
    const index = Math.max(this.#mark?.index ?? 0, this.#baseIndex) + 1
    return index > this.lastIndex() ? Number.POSITIVE_INFINITY : this.#index.segment(index)
  }

  /** The oldest segment with a newest record of the group's small state. */
  stateSegment(): number {
    return Math.min(this.#identitySegment, this.#hardStateSegment, this.#markSegment)
  }

  /** Forgets the entries of segments before `segment`; all of them are covered by the mark. */
  dropSegmentsBefore(segment: number): void {
    while (this.#index.count > 0 && this.#index.segment(this.#index.first) < segment) {
      this.#drop(this.#index.segmentEnd(this.#index.first) - 1)
    }
  }

  /** Infinity for an entry that is gone, or not there yet. */
  segmentIfThere(index: number): number {
    const isThere = index >= this.firstIndex() && index <= this.lastIndex()
    return isThere ? this.#index.segment(index) : Number.POSITIVE_INFINITY
  }

  segmentOf(index: number): number {
    return this.#index.segment(index)
  }

  segmentEnd(index: number): number {
    return this.#index.segmentEnd(index)
  }

  offsetOf(index: number): number {
    return this.#index.offset(index)
  }

  bytesOf(index: number): number {
    return this.#index.bytes(index)
  }

  /** Keeps entries that were read back; for entries(). */
  addWindow(entries: readonly Entry[]): void {
    const first = entries[0]
    if (first === undefined) return
    const bytes = entries.reduce((sum, entry) => sum + entry.data.byteLength, 0)
    const window = { from: first.index, entries, bytes }
    this.#windows.push(window)
    this.#cache.addWindow(this, window)
  }

  /** Entries before it must be read back. */
  cachedFrom(): number {
    return this.lastIndex() + 1 - this.cachedCount
  }

  // --- Cached

  get cachedCount(): number {
    return this.#tail.length - this.#tailHead
  }

  evictOldest(): number {
    const entry = this.#tail[this.#tailHead] as Entry
    this.#tail[this.#tailHead++] = undefined
    if (this.#tailHead > 64 && this.#tailHead * 2 > this.#tail.length) {
      this.#tail = this.#tail.slice(this.#tailHead)
      this.#tailHead = 0
    }
    return entry.data.byteLength
  }

  forgetWindow(window: Window): void {
    this.#windows = this.#windows.filter((other) => other !== window)
  }

  #reset(): void {
    this.#forgetEntries()
    this.#baseIndex = 0
    this.#baseTerm = 0
    this.#hardState = NO_HARD_STATE
    this.#mark = null
    this.#hardStateSegment = Number.POSITIVE_INFINITY
    this.#markSegment = Number.POSITIVE_INFINITY
  }

  #forgetEntries(): void {
    while (this.cachedCount > 0) this.#cache.released(this.evictOldest())
    this.#index.clear()
    this.#forgetWindows(() => true)
  }

  #truncate(from: number): void {
    assert(from > this.#baseIndex, 'truncation of what is purged')
    for (let last = this.lastIndex(); last >= from && this.cachedCount > 0; last--) {
      this.#cache.released((this.#tail.pop() as Entry).data.byteLength)
    }
    this.#index.truncate(from)
    this.#forgetWindows((window) => window.from + window.entries.length > from)
  }

  /** Forgets the entries up to `upTo`. */
  #drop(upTo: number): void {
    const tailFirst = this.cachedFrom()
    this.#baseTerm = this.#index.term(upTo)
    for (let index = tailFirst; index <= upTo; index++) this.#cache.released(this.evictOldest())
    this.#baseIndex = upTo
    this.#index.dropBefore(upTo + 1)
    this.#forgetWindows((window) => window.from <= upTo)
  }

  #forgetWindows(gone: (window: Window) => boolean): void {
    for (const window of this.#windows.filter(gone)) {
      this.forgetWindow(window)
      this.#cache.dropWindow(window)
    }
  }
}

/** At least one entry from `at`, then as many of `count` as fit `bytesMax`. */
function take(
  entries: readonly Entry[],
  at: number,
  count: number,
  bytesMax: number,
): readonly Entry[] {
  const end = Math.min(entries.length, at + count)
  let bytes = (entries[at] as Entry).data.byteLength
  let to = at + 1
  for (; to < end; to++) {
    bytes += (entries[to] as Entry).data.byteLength
    if (bytes > bytesMax) break
  }
  return entries.slice(at, to)
}
