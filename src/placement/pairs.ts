// Owns the count of copysets that two chunkservers have in common, for all pairs at once: what
// scatter width is made of. A matrix of small numbers over positions 0 to n - 1, so that asking for
// a pair costs one look; 1,200 chunkservers take 3 MB.

import { assert, must } from '../base/assert.ts'

/** A pair has no more copysets in common than this as far as anybody cares. */
const SHARED_MAX = 0xffff

export class Pairs {
  readonly #size: number
  readonly #shared: Uint16Array

  constructor(size: number) {
    this.#size = size
    this.#shared = new Uint16Array(size * size)
  }

  /** Copysets that the chunkservers at two positions have in common. */
  shared(a: number, b: number): number {
    return must(this.#shared[a * this.#size + b], 'positions of a pair')
  }

  /** Counts a copyset with members at these positions. */
  add(members: readonly number[]): void {
    for (const a of members) {
      for (const b of members) if (a !== b) this.#bump(a * this.#size + b)
    }
  }

  #bump(at: number): void {
    const shared = must(this.#shared[at], 'positions of a pair')
    this.#shared[at] = Math.min(SHARED_MAX, shared + 1)
  }

  /** On how many others the copysets of one have their other replicas. */
  width(of: number): number {
    assert(of < this.#size, 'position of a chunkserver')
    let width = 0
    for (let other = 0; other < this.#size; other++) {
      if (this.#shared[of * this.#size + other] !== 0) width++
    }
    return width
  }
}
