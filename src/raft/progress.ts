// Owns what a leader knows of one follower: how far its log matches, what is on the way to it, and
// in which of three states replication is. Probe: where the logs part is being searched, one append
// at a time. Replicate: appends stream within a window of bytes and messages. Snapshot: the log
// that the follower needs is gone and a state is on its way. Invariant: match < next, and match
// only grows. Every transition is in NEXT_STATE.

import { assert } from '../base/assert.ts'
import type { ReplicaId } from './types.ts'

export type ProgressState = 'probe' | 'replicate' | 'snapshot'

export type ProgressEvent =
  /** The follower's log matches up to an index that the leader's log follows on from. */
  | 'accepted'
  /** It matches, but the leader's log after that index is gone. */
  | 'accepted-behind-log'
  /** It does not match where the leader thought. */
  | 'rejected'
  /** The leader's log no longer has what comes next. */
  | 'log-gone'
  /** The transfer of a state ended, well or badly. */
  | 'snapshot-ended'
  /** The network says that messages were lost. */
  | 'unreachable'

export const NEXT_STATE: Readonly<
  Record<ProgressState, Readonly<Record<ProgressEvent, ProgressState>>>
> = {
  probe: {
    accepted: 'replicate',
    'accepted-behind-log': 'probe',
    rejected: 'probe',
    'log-gone': 'snapshot',
    'snapshot-ended': 'probe',
    unreachable: 'probe',
  },
  replicate: {
    accepted: 'replicate',
    // What follows is on the way already; if it is lost, the rejection leads to 'log-gone'.
    'accepted-behind-log': 'replicate',
    rejected: 'probe',
    'log-gone': 'snapshot',
    'snapshot-ended': 'replicate',
    unreachable: 'probe',
  },
  snapshot: {
    accepted: 'replicate',
    'accepted-behind-log': 'snapshot',
    rejected: 'snapshot',
    'log-gone': 'snapshot',
    'snapshot-ended': 'probe',
    // The host moves the state by its own calls and says how that ended.
    unreachable: 'snapshot',
  },
}

/** The appends on their way to one follower, oldest first, bounded by bytes and by count. */
export class Inflight {
  readonly #bytesMax: number
  readonly #lastIndexes: number[]
  readonly #sizes: number[]
  #head = 0
  #count = 0
  #bytes = 0

  constructor(messagesMax: number, bytesMax: number) {
    assert(messagesMax > 0 && bytesMax > 0, 'window of appends in flight')
    this.#bytesMax = bytesMax
    this.#lastIndexes = new Array<number>(messagesMax).fill(0)
    this.#sizes = new Array<number>(messagesMax).fill(0)
  }

  get count(): number {
    return this.#count
  }

  get bytes(): number {
    return this.#bytes
  }

  /** One append may go past the bound of bytes, so that an entry larger than it is sent at all. */
  get full(): boolean {
    return this.#count === this.#sizes.length || this.#bytes >= this.#bytesMax
  }

  add(lastIndex: number, bytes: number): void {
    assert(!this.full, 'room in the window')
    const at = (this.#head + this.#count) % this.#sizes.length
    this.#lastIndexes[at] = lastIndex
    this.#sizes[at] = bytes
    this.#count++
    this.#bytes += bytes
  }

  /** Everything up to `index` has arrived. */
  freeTo(index: number): void {
    while (this.#count > 0 && (this.#lastIndexes[this.#head] as number) <= index) {
      this.#bytes -= this.#sizes[this.#head] as number
      this.#head = (this.#head + 1) % this.#sizes.length
      this.#count--
    }
  }

  clear(): void {
    this.#head = 0
    this.#count = 0
    this.#bytes = 0
  }
}

export class Progress {
  readonly replica: ReplicaId
  readonly inflight: Inflight
  match = 0
  next: number
  state: ProgressState = 'probe'
  /** Probe: one append is out and nothing more is sent until an answer. */
  probing = false
  /** An append leaves even if it carries no entry: to probe, or to tell the commit index. */
  mustSend = true
  /** The log reads entries from disk for it. */
  fetching = false
  /** Snapshot: the index of the state on its way. */
  snapshotIndex = 0
  /** The last heartbeat round that it answered. */
  ackedRound = 0
  /** Since when nothing was heard about what is on its way. */
  waitingFromMs: number
  /** When it was last heard of. */
  activeMs: number

  constructor(replica: ReplicaId, inflight: Inflight, next: number, nowMs: number) {
    this.replica = replica
    this.inflight = inflight
    this.next = next
    this.activeMs = nowMs
    this.waitingFromMs = nowMs
  }

  /** The follower's log matches up to `index`. True if that is news. */
  accepted(index: number, firstIndex: number, nowMs: number): boolean {
    const isNews = index > this.match || (this.state === 'probe' && index === this.match)
    if (!isNews) return false
    this.match = index
    this.waitingFromMs = nowMs
    const event = index + 1 >= firstIndex ? 'accepted' : 'accepted-behind-log'
    const state = NEXT_STATE[this.state][event]
    if (state !== this.state) this.#become(state, this.match + 1)
    this.inflight.freeTo(index)
    this.probing = false
    if (this.next <= index) this.next = index + 1
    return true
  }

  /**
   * It has no match at `index`; `probe` is where the leader's log might match. False if that is
   * old.
   */
  rejected(index: number, probe: number): boolean {
    if (index <= this.match) return false
    const state = NEXT_STATE[this.state].rejected
    if (this.state === 'snapshot') return false
    if (this.state === 'replicate') {
      this.#become(state, this.match + 1)
      return true
    }
    if (this.next - 1 !== index) return false
    this.next = Math.max(Math.min(index, probe + 1), this.match + 1)
    this.probing = false
    this.mustSend = true
    return true
  }

  /** A state at `index` is on its way instead of the log. */
  needsSnapshot(index: number): void {
    this.#become(NEXT_STATE[this.state]['log-gone'], this.next)
    this.snapshotIndex = index
  }

  /** The transfer ended; `index` is where the follower's state stands, or null when it failed. */
  snapshotEnded(index: number | null): void {
    if (this.state !== 'snapshot') return
    const reached = index ?? this.match
    this.#become(NEXT_STATE[this.state]['snapshot-ended'], Math.max(this.match, reached) + 1)
    // After a failure the next answer to a heartbeat, not the next turn, starts another try.
    this.probing = index === null
  }

  /** The first entry that it has yet to get, as far as the leader knows. */
  get neededFrom(): number {
    if (this.state === 'probe') return this.next
    return Math.max(this.match, this.snapshotIndex) + 1
  }

  unreachable(): void {
    const state = NEXT_STATE[this.state].unreachable
    if (state !== this.state) this.#become(state, this.match + 1)
  }

  /**
   * It hears the leader. If nothing has come of what is on its way for `patienceMs`, an append
   * after all of that goes out: refused, it shows that some was lost. True if so.
   */
  heardOf(lastIndex: number, patienceMs: number, nowMs: number): boolean {
    this.activeMs = nowMs
    const isBehind = this.match < lastIndex || this.state === 'probe'
    if (!isBehind || nowMs - this.waitingFromMs < patienceMs) return false
    this.probing = false
    this.mustSend = true
    return true
  }

  /** An append with entries up to `lastIndex` has left. */
  sent(lastIndex: number, bytes: number, nowMs: number): void {
    if (this.mustSend || this.inflight.count === 0) this.waitingFromMs = nowMs
    this.mustSend = false
    if (this.state === 'probe') {
      this.probing = true
      return
    }
    if (lastIndex < this.next) return
    this.next = lastIndex + 1
    this.inflight.add(lastIndex, bytes)
  }

  #become(state: ProgressState, next: number): void {
    this.state = state
    this.next = next
    this.probing = false
    this.mustSend = state === 'probe'
    this.snapshotIndex = 0
    this.inflight.clear()
  }
}
