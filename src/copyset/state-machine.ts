// What a copyset replicates: the contract between the host and a state machine. Chunks and file-system
// metadata are state machines; the host knows nothing of either.

import type { Entry } from '../raft/types.ts'

/** One piece of a state machine's state: a chunk, a bucket of keys. */
export interface SnapshotItem {
  readonly id: number
  /** The log index of the last entry that changed it; equal versions mean equal bytes. */
  readonly version: number
  readonly bytes: number
}

/**
 * A machine's state at one index, frozen for one transfer. Copies nothing: items are read while later
 * entries go on being applied, so an item may be newer than its listed version; the receiver replays
 * the log from `index` on, and applying an entry twice must do no harm to an item already past it.
 */
export interface SnapshotSource {
  readonly index: number
  readonly items: readonly SnapshotItem[]
  /** Bytes of an item from `at`; fewer than asked only at its end. Returned memory is the caller's. */
  read(id: number, at: number, bytes: number): Promise<Uint8Array>
  close(): void
}

/** Takes in a snapshot. Nothing of it is visible before finish(); a crash in between leaves it resumable. */
export interface SnapshotSink {
  /** Items of the source that this replica lacks or holds at another version. */
  readonly wanted: readonly SnapshotItem[]
  /** Where an interrupted transfer of the item goes on. */
  resumeAt(id: number): number
  write(id: number, at: number, bytes: Uint8Array): Promise<void>
  /**
   * Makes the new state and `mark` the machine's, durably, in one step. When it fails the old state
   * stands as it was; only after DISK_FAILED nobody knows what is on the disk.
   */
  finish(mark: Uint8Array): Promise<void>
  abort(): Promise<void>
}

export interface StateMachine {
  /** The last index that apply() has seen. After a start: the checkpoint's. */
  readonly appliedIndex: number
  /** What the host gave with the newest durable checkpoint or finish(); empty before the first. */
  readonly mark: Uint8Array
  /**
   * Applies one committed 'data' entry at once and in memory; the result goes to the proposer.
   * Deterministic: equal entries give equal results on every replica. Entries come in order; noop and
   * config entries arrive as skip().
   */
  apply(entry: Entry): Uint8Array
  skip(index: number): void
  /**
   * Makes exactly what is applied at this call durable, together with `mark` (the host's note of the
   * index, its term and the configuration), in one step: after a crash both are there or neither.
   * Entries applied while it runs belong to the next checkpoint.
   */
  checkpoint(mark: Uint8Array): Promise<void>
  snapshot(): SnapshotSource
  /** Begins to replace this replica's state by a peer's. */
  receive(index: number, items: readonly SnapshotItem[]): Promise<SnapshotSink>
  /** CRC32C of the whole state, for comparing replicas at one applied index. */
  digest(): number
  close(): Promise<void>
}

/** Where the host gets state machines from: one for each replica, by its group and id. */
export interface Machines {
  /** With what its newest checkpoint holds; empty the first time. CORRUPT when that is damaged. */
  open(group: number, replica: number): Promise<StateMachine>
  /** Removes what a closed, or damaged, machine left on the disk; nothing there is no error. */
  remove(group: number, replica: number): Promise<void>
}
