// Owns the making of many small pieces of memory from few large ones. A piece costs a view instead of a
// buffer of its own, which the collector would have to count and free: that was a quarter of the time of
// a process that moves 4 KiB blocks. Memory is never used twice; it goes when its last piece goes, so
// pieces of one slab should live about equally long.

import { EMPTY } from './bytes.ts'

export class Slab {
  readonly #slabBytes: number
  readonly #itemBytesMax: number
  #memory = EMPTY
  #used = 0

  /** Pieces above `itemBytesMax` get memory of their own. */
  constructor(slabBytes: number, itemBytesMax: number) {
    this.#slabBytes = slabBytes
    this.#itemBytesMax = itemBytesMax
  }

  /** Zeroed memory, at a multiple of 8 bytes. */
  take(bytes: number): Uint8Array {
    if (bytes === 0) return EMPTY
    if (bytes > this.#itemBytesMax) return new Uint8Array(bytes)
    if (this.#used + bytes > this.#memory.byteLength) {
      this.#memory = new Uint8Array(this.#slabBytes)
      this.#used = 0
    }
    const piece = this.#memory.subarray(this.#used, this.#used + bytes)
    this.#used += (bytes + 7) & ~7
    return piece
  }
}
