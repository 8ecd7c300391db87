// Owns the count of copysets that two chunkservers have in common, for all pairs at once, and the
// scatter widths that follow from it: on how many others the copysets of one have their other
// replicas. A matrix over positions 0 to n - 1, so that asking for a pair costs one look; 1,200
// chunkservers take 6 MB.

import { assert, must } from '../base/assert.ts'

export class Pairs {
  readonly #size: number
  readonly #shared: Uint32Array
  readonly #widths: Uint32Array

  constructor(size: number) {
    this.#size = size
    this.#shared = new Uint32Array(size * size)
    this.#widths = new Uint32Array(size)
  }

  /** Copysets that the chunkservers at two positions have in common. */
  shared(a: number, b: number): number {
    return this.#shared[a * this.#size + b] as number
  }

  /** Counts a copyset with members at these positions. */
  add(members: ArrayLike<number>): void {
    for (let i = 0; i < members.length; i++) {
      for (let k = 0; k < i; k++) this.#join(members[i] as number, members[k] as number)
    }
  }

  /** A copyset with members at `stay` gets another one. */
  join(member: number, stay: ArrayLike<number>): void {
    for (let i = 0; i < stay.length; i++) this.#join(member, stay[i] as number)
  }

  /** A copyset keeps only its members at `stay`. */
  leave(member: number, stay: ArrayLike<number>): void {
    for (let i = 0; i < stay.length; i++) this.#part(member, stay[i] as number)
  }

  /** On how many others the copysets of one have their other replicas. */
  width(of: number): number {
    return must(this.#widths[of], 'position of a chunkserver')
  }

  #join(a: number, b: number): void {
    const shared = this.shared(a, b)
    if (shared === 0) this.#widen(a, b, 1)
    this.#shared[a * this.#size + b] = shared + 1
    this.#shared[b * this.#size + a] = shared + 1
  }

  #part(a: number, b: number): void {
    const shared = this.shared(a, b)
    assert(shared > 0, 'a pair that parts had something in common')
    if (shared === 1) this.#widen(a, b, -1)
    this.#shared[a * this.#size + b] = shared - 1
    this.#shared[b * this.#size + a] = shared - 1
  }

  #widen(a: number, b: number, by: number): void {
    this.#widths[a] = this.width(a) + by
    this.#widths[b] = this.width(b) + by
  }
}
