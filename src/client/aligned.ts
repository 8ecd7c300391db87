// Owns byte addresses over whole blocks: what is not aligned is read, changed and written back. Owns
// therefore also the order of changes that touch the same block.
// Invariant: of two changes that overlap in a block, the one that was asked for first is over, with an
// outcome that is known, before anything of the second is sent. Reads wait for nobody.

import { asLemnisError, type LemnisError } from '../base/errors.ts'
import { type RangeLock, RangeLocks } from './range-locks.ts'

export type Done = (error: LemnisError | null) => void
/** The bytes are the receiver's; empty with an error. */
export type ReadDone = (error: LemnisError | null, bytes: Uint8Array) => void

/** Whole blocks: offsets and lengths are multiples of `blockBytes` and in range. */
export interface BlockIo {
  readonly blockBytes: number
  readBlocks(offset: number, length: number, done: ReadDone): void
  writeBlocks(offset: number, bytes: Uint8Array, done: Done): void
  zeroBlocks(offset: number, length: number, done: Done): void
}

export class AlignedIo {
  readonly #io: BlockIo
  readonly #locks = new RangeLocks()

  constructor(io: BlockIo) {
    this.#io = io
  }

  /** Changes that wait for others which overlap. */
  get waitingCount(): number {
    return this.#locks.waitingCount
  }

  read(offset: number, length: number, done: ReadDone): void {
    const { blockBytes } = this.#io
    const head = offset % blockBytes
    if (head === 0 && length % blockBytes === 0) {
      this.#io.readBlocks(offset, length, done)
      return
    }
    const whole = Math.ceil((head + length) / blockBytes) * blockBytes
    this.#io.readBlocks(offset - head, whole, (error, bytes) => {
      done(error, error === null ? bytes.slice(head, head + length) : bytes)
    })
  }

  write(offset: number, bytes: Uint8Array, done: Done): void {
    this.#locks.lock(new Change(this.#io, this.#locks, offset, bytes.byteLength, bytes, done))
  }

  /** The range reads as zeros afterwards. */
  zero(offset: number, length: number, done: Done): void {
    this.#locks.lock(new Change(this.#io, this.#locks, offset, length, null, done))
  }
}

/** One write, or one zeroing where `#bytes` is null. */
class Change implements RangeLock {
  readonly from: number
  readonly to: number
  readonly #io: BlockIo
  readonly #locks: RangeLocks
  readonly #offset: number
  readonly #length: number
  readonly #bytes: Uint8Array | null
  readonly #done: Done

  constructor(
    io: BlockIo,
    locks: RangeLocks,
    offset: number,
    length: number,
    bytes: Uint8Array | null,
    done: Done,
  ) {
    this.#io = io
    this.#locks = locks
    this.#offset = offset
    this.#length = length
    this.#bytes = bytes
    this.#done = done
    this.from = Math.floor(offset / io.blockBytes)
    this.to = Math.ceil((offset + length) / io.blockBytes)
  }

  granted(): void {
    const { blockBytes } = this.#io
    const isAligned = this.#offset % blockBytes === 0 && this.#length % blockBytes === 0
    const over = (error: LemnisError | null): void => this.#over(error)
    if (!isAligned) {
      const work = this.#bytes === null ? this.#zeroUnaligned() : this.#writeUnaligned(this.#bytes)
      work.then(
        () => over(null),
        (error: unknown) => over(asLemnisError(error)),
      )
    } else if (this.#bytes === null) {
      this.#io.zeroBlocks(this.#offset, this.#length, over)
    } else {
      this.#io.writeBlocks(this.#offset, this.#bytes, over)
    }
  }

  #over(error: LemnisError | null): void {
    this.#locks.unlock(this)
    this.#done(error)
  }

  /** The blocks touched with their old bytes at both ends, as one write. */
  async #writeUnaligned(bytes: Uint8Array): Promise<void> {
    const { blockBytes } = this.#io
    const start = this.from * blockBytes
    const whole = new Uint8Array((this.to - this.from) * blockBytes)
    const end = this.#offset + this.#length
    const last = (this.to - 1) * blockBytes
    const headIsPart = this.#offset > start || (start === last && end < start + blockBytes)
    const tailIsPart = end < last + blockBytes && last > start
    await Promise.all([
      headIsPart ? this.#readInto(whole, start, start) : null,
      tailIsPart ? this.#readInto(whole, start, last) : null,
    ])
    whole.set(bytes, this.#offset - start)
    await this.#written(start, whole)
  }

  async #zeroUnaligned(): Promise<void> {
    const { blockBytes } = this.#io
    const end = this.#offset + this.#length
    const firstWhole = Math.ceil(this.#offset / blockBytes) * blockBytes
    const endWhole = Math.floor(end / blockBytes) * blockBytes
    if (firstWhole > endWhole) {
      await this.#zeroPart(this.#offset, end)
      return
    }
    if (this.#offset < firstWhole) await this.#zeroPart(this.#offset, firstWhole)
    if (endWhole < end) await this.#zeroPart(endWhole, end)
    if (firstWhole < endWhole) await this.#zeroed(firstWhole, endWhole - firstWhole)
  }

  /** Zeroes a part of one block. */
  async #zeroPart(from: number, to: number): Promise<void> {
    const start = Math.floor(from / this.#io.blockBytes) * this.#io.blockBytes
    const block = new Uint8Array(this.#io.blockBytes)
    await this.#readInto(block, start, start)
    block.fill(0, from - start, to - start)
    await this.#written(start, block)
  }

  /** Reads the block at `at` to its place in a buffer that begins at `start`. */
  #readInto(into: Uint8Array, start: number, at: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#io.readBlocks(at, this.#io.blockBytes, (error, bytes) => {
        if (error !== null) {
          reject(error)
          return
        }
        into.set(bytes, at - start)
        resolve()
      })
    })
  }

  #written(at: number, bytes: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#io.writeBlocks(at, bytes, (error) => (error === null ? resolve() : reject(error)))
    })
  }

  #zeroed(at: number, length: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#io.zeroBlocks(at, length, (error) => (error === null ? resolve() : reject(error)))
    })
  }
}
