// Owns the memory by which the thread that reads /dev/fuse hands requests to the thread that serves
// them: a ring of bytes, each request in one piece, and three numbers beside it.
// Invariants: the reader writes only between `produced` and `consumed` plus the ring's size; both
// grow for ever, in units of 8 bytes modulo 2^32; a request never wraps, the rest of the ring is
// skipped by both sides alike when the largest one would not fit any more.

import { FUSE_REQUEST_BYTES_MAX } from '../attach/fuse-protocol.ts'
import { MIB } from '../base/units.ts'

/** Holds seven of the largest requests or 2000 small ones: more than a loop device has in flight. */
const RING_BYTES = 8 * MIB
const UNIT_BYTES = 8
/** A power of two, so that positions modulo 2^32 keep their place in the ring. */
const RING_UNITS = RING_BYTES / UNIT_BYTES

const PRODUCED = 0
const CONSUMED = 1
/** 1 while the server has been told that there is something. */
const TOLD = 2

export interface RingMemory {
  readonly bytes: SharedArrayBuffer
  readonly numbers: SharedArrayBuffer
}

export function makeRing(): RingMemory {
  return { bytes: new SharedArrayBuffer(RING_BYTES), numbers: new SharedArrayBuffer(16) }
}

/** Where a request begins whose turn is at `position`, after what has to be skipped. */
function startOf(position: number): number {
  const unit = position & (RING_UNITS - 1)
  const fits = unit * UNIT_BYTES + FUSE_REQUEST_BYTES_MAX <= RING_BYTES
  return fits ? position : (position + RING_UNITS - unit) | 0
}

const byteOf = (position: number): number => (position & (RING_UNITS - 1)) * UNIT_BYTES

/** The reader's side; it blocks its thread. */
export class RingProducer {
  readonly bytes: Uint8Array
  readonly #numbers: Int32Array
  #position = 0

  constructor(memory: RingMemory) {
    this.bytes = new Uint8Array(memory.bytes)
    this.#numbers = new Int32Array(memory.numbers)
  }

  /** Waits for room for the largest request, and says where it goes. */
  claim(): number {
    this.#position = startOf(this.#position)
    for (;;) {
      const consumed = Atomics.load(this.#numbers, CONSUMED)
      const usedBytes = ((this.#position - consumed) | 0) * UNIT_BYTES
      if (usedBytes + FUSE_REQUEST_BYTES_MAX <= RING_BYTES) return byteOf(this.#position)
      Atomics.wait(this.#numbers, CONSUMED, consumed)
    }
  }

  /** A request of so many bytes is there. True when the server has to be told. */
  publish(bytes: number): boolean {
    this.#position = (this.#position + Math.ceil(bytes / UNIT_BYTES)) | 0
    Atomics.store(this.#numbers, PRODUCED, this.#position)
    return Atomics.exchange(this.#numbers, TOLD, 1) === 0
  }
}

/** The server's side; it never waits. */
export class RingConsumer {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  readonly #numbers: Int32Array
  #position = 0

  constructor(memory: RingMemory) {
    this.#bytes = new Uint8Array(memory.bytes)
    this.#view = new DataView(memory.bytes)
    this.#numbers = new Int32Array(memory.numbers)
  }

  /** From here on the server is told again when something comes. Look for requests after it. */
  listen(): void {
    Atomics.store(this.#numbers, TOLD, 0)
  }

  /** The next request, lent until free(), or null. */
  next(): Uint8Array | null {
    if (this.#position === Atomics.load(this.#numbers, PRODUCED)) return null
    this.#position = startOf(this.#position)
    const at = byteOf(this.#position)
    // Every request begins with its length.
    return this.#bytes.subarray(at, at + this.#view.getUint32(at, true))
  }

  /** Gives back the memory of the request that next() lent. */
  free(request: Uint8Array): void {
    this.#position = (this.#position + Math.ceil(request.byteLength / UNIT_BYTES)) | 0
    Atomics.store(this.#numbers, CONSUMED, this.#position)
    Atomics.notify(this.#numbers, CONSUMED)
  }
}
