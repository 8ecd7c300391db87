// Owns the interface by which front ends (NBD, FUSE, the workload runner) use a volume: a block device
// of bytes that may be addressed at any offset. Every operation may be repeated without harm.
// Errors are LemnisErrors: FENCED and CLOSED are for ever, INVALID_ARGUMENT says out of range.

/** A piece of a device's addresses, in bytes. 'zero' reads as zeros and takes no space. */
export interface Extent {
  readonly offset: number
  readonly length: number
  readonly kind: 'data' | 'zero'
}

export interface WriteOptions {
  /** Durable when it resolves. A volume's writes always are, so that it costs nothing there. */
  readonly fua?: boolean
}

export interface BlockDevice {
  /** May grow while the device is open. */
  readonly sizeBytes: number
  /** Reads and writes at multiples of this are the cheap ones; others work too. */
  readonly blockBytes: number
  /** Every change is refused with INVALID_ARGUMENT. */
  readonly readOnly: boolean
  /** The caller owns what it gets. */
  read(offset: number, length: number): Promise<Uint8Array>
  /** Borrows `bytes` until the promise settles. Atomic per block against other changes. */
  write(offset: number, bytes: Uint8Array, options?: WriteOptions): Promise<void>
  /** Resolves when every change issued before is durable. */
  flush(): Promise<void>
  /** Whole blocks in the range read as zeros and give their space back; parts of blocks are zeroed. */
  discard(offset: number, length: number): Promise<void>
  /** The range reads as zeros. */
  writeZeroes(offset: number, length: number): Promise<void>
  /** The whole range in order, without gaps; neighbours differ in kind. */
  extents(offset: number, length: number): Promise<Extent[]>
  /** Lets what is under way finish; everything after it is CLOSED. */
  close(): Promise<void>
}
