// What a Raft snapshot is made of: the contract between whoever carries a state to a replica whose place
// in the log is gone, and the state machines that give and take it.

/** One piece of a state machine's state: a chunk, a bucket of keys. */
export interface SnapshotItem {
  readonly id: number
  /** The log index of the last entry that changed it; equal versions mean equal bytes. */
  readonly version: number
  readonly bytes: number
}

/** What read() gave of an item. May be empty, as when nothing differs up to `next`. */
export interface SnapshotPiece {
  readonly bytes: Uint8Array
  /** The cursor of the next piece; TRANSFER_END after the last. */
  readonly next: number
}

/** The cursor behind the last piece of an item. */
export const TRANSFER_END = -1
/** What a sink may say of what it holds of one item. */
export const HAVE_BYTES_MAX = 1024 * 1024

/**
 * A machine's state at one index, frozen for one transfer. Copies nothing: items are read while later
 * entries go on being applied, so an item may be newer than its listed version; the receiver replays
 * the log from `index` on, and applying an entry twice must do no harm to an item already past it.
 * A cursor is the machine's own count of how far an item is; 0 is its beginning.
 */
export interface SnapshotSource {
  readonly index: number
  readonly items: readonly SnapshotItem[]
  /**
   * The piece at `cursor`, of at most about `bytesMax` bytes, of what differs from `have` (the sink's
   * word on the item). Returned memory is the caller's. An empty piece goes on to a further cursor.
   */
  read(id: number, cursor: number, bytesMax: number, have: Uint8Array): Promise<SnapshotPiece>
  close(): void
}

/** Takes in a snapshot. Nothing of it is visible before finish(); a crash in between leaves it resumable. */
export interface SnapshotSink {
  /** Items of the source that this replica lacks or holds at another version. */
  readonly wanted: readonly SnapshotItem[]
  /** The cursor where an interrupted transfer of the item goes on; TRANSFER_END if all of it is here. */
  resumeAt(id: number): number
  /**
   * What is held of a wanted item already, in the machine's own form and at most HAVE_BYTES_MAX: the
   * source sends only what differs. Asked once before the item's first piece.
   */
  have(id: number): Promise<Uint8Array>
  /**
   * Takes the piece that lies from `cursor` up to `next`. Pieces of an item come in order, the next
   * one perhaps before the last has settled.
   */
  write(id: number, cursor: number, bytes: Uint8Array, next: number): Promise<void>
  /**
   * Makes the new state and `mark` the machine's, durably, in one step. When it fails the old state
   * stands as it was; only after DISK_FAILED nobody knows what is on the disk.
   */
  finish(mark: Uint8Array): Promise<void>
  abort(): Promise<void>
}
