// What a copyset replicates: the contract between the host and a state machine. Chunks and file-system
// metadata are state machines; the host knows nothing of either.

import type { SnapshotItem, SnapshotSink, SnapshotSource } from '../raft/snapshot.ts'
import type { Entry } from '../raft/types.ts'

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
  /** CRC32C of the whole state as it is at this call, for comparing replicas at one applied index. */
  digest(): Promise<number>
  close(): Promise<void>
}

/** Where the host gets state machines from: one for each replica, by its group and id. */
export interface Machines {
  /** With what its newest checkpoint holds; empty the first time. CORRUPT when that is damaged. */
  open(group: number, replica: number): Promise<StateMachine>
  /** Removes what a closed, or damaged, machine left on the disk; nothing there is no error. */
  remove(group: number, replica: number): Promise<void>
}
