// A disk as the core sees it: one directory tree of one host, in which a crash loses what was not synced.
//
// What an implementation promises, and the simulator takes away as far as it is allowed:
// - write() is durable when it settles if the file was opened `durable`, else only after sync().
// - A crash may lose, keep or tear (at any 512-byte sector) each write that was not durable.
// - Names (create, rename, remove) are durable after syncDirectory() of their directory.
// - After a failed write or sync the file's state is unknown: callers stop using it, never retry.
// Errors are LemnisErrors: DISK_FAILED, NO_SPACE, INVALID_ARGUMENT (detail.errno has the system's name).

export interface OpenOptions {
  /** Make the file when it is not there; without it a missing file is INVALID_ARGUMENT with errno ENOENT. */
  readonly create?: boolean
  /** Fail when the file is there. Only with `create`. */
  readonly exclusive?: boolean
  /**
   * Every write is on stable storage when it settles (O_DSYNC) and by-passes the page cache (O_DIRECT)
   * where the file system can. Offsets and lengths must then be multiples of DISK_BLOCK_BYTES and the
   * memory come from allocate().
   */
  readonly durable?: boolean
}

/** Offsets, lengths and memory of durable files are multiples of this. */
export const DISK_BLOCK_BYTES = 4096

export interface DiskFile {
  readonly path: string
  /** Bytes from `at` into `into`; resolves with how many were there, fewer only at the end of the file. */
  read(into: Uint8Array, at: number): Promise<number>
  /** Borrows `from` until the promise settles. Writes all of it or rejects. */
  write(from: Uint8Array, at: number): Promise<void>
  /** Resolves when all earlier writes are on stable storage. */
  sync(): Promise<void>
  sizeBytes(): Promise<number>
  /** Sets the length; new bytes read as zeros. */
  truncate(bytes: number): Promise<void>
  close(): Promise<void>
}

/** One piece of writeAll(). */
export interface Piece {
  /** A file that was not opened `durable`. */
  readonly file: DiskFile
  readonly at: number
  readonly from: Uint8Array
}

export interface Disk {
  open(path: string, options?: OpenOptions): Promise<DiskFile>
  /** Names in a directory, sorted; empty when the directory is not there. */
  list(directory: string): Promise<string[]>
  makeDirectory(path: string): Promise<void>
  /** Replaces `to` when it is there. */
  rename(from: string, to: string): Promise<void>
  /** Removes a file; a missing one is no error. */
  remove(path: string): Promise<void>
  syncDirectory(path: string): Promise<void>
  freeBytes(): Promise<number>
  /**
   * Writes many small pieces of any files of this disk as cheaply as it can, in their order (calls that
   * overlap in time have none), away from the thread that decides; durable after a sync() of each file that begins when this has settled. Takes
   * the bytes before it returns, so callers bound what they have under way by waiting. A misuse (a
   * closed, durable or foreign file) is told before anything is written; after any other rejection any
   * of the pieces may be written, in part or whole. close() of a file waits for the batches that use it.
   */
  writeAll(pieces: readonly Piece[]): Promise<void>
  /** Zeroed memory that durable files accept: page-aligned, `bytes` rounded up to DISK_BLOCK_BYTES. */
  allocate(bytes: number): Uint8Array
}

/** Makes it if it is not there; its name is durable when this settles. */
export async function makeNamedDirectory(disk: Disk, directory: string): Promise<void> {
  await disk.makeDirectory(directory)
  const slash = directory.lastIndexOf('/')
  await disk.syncDirectory(slash < 0 ? '.' : directory.slice(0, slash + 1))
}
