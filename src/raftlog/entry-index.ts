// Owns where the entries of one group lie on disk: contiguous indexes, 8 bytes an entry plus a pair
// per run of equal terms and of equal segments. Knows nothing of payloads.

import { assert } from '../base/assert.ts'
import { Runs } from './runs.ts'

const CAPACITY_MIN = 16

export class EntryIndex {
  readonly #terms = new Runs()
  readonly #segments = new Runs()
  /** Pairs of the record's offset in its segment and its payload's bytes. */
  #places = new Uint32Array(2 * CAPACITY_MIN)
  #head = 0
  #first = 1
  #count = 0

  get first(): number {
    return this.#first
  }

  get last(): number {
    return this.#first + this.#count - 1
  }

  get count(): number {
    return this.#count
  }

  /** `index` follows the last, or is any when empty. */
  append(index: number, term: number, segment: number, offset: number, bytes: number): void {
    if (this.#count === 0) this.#first = index
    assert(index === this.#first + this.#count, 'entries without a gap')
    this.#terms.append(index, term)
    this.#segments.append(index, segment)
    if (2 * (this.#head + this.#count) === this.#places.length) this.#makeRoom()
    const slot = 2 * (this.#head + this.#count)
    this.#places[slot] = offset
    this.#places[slot + 1] = bytes
    this.#count++
  }

  term(index: number): number {
    return this.#terms.at(index)
  }

  segment(index: number): number {
    return this.#segments.at(index)
  }

  /** The first index past `index` that lies in another segment, or past the last. */
  segmentEnd(index: number): number {
    return Math.min(this.#segments.endOfRun(index), this.last + 1)
  }

  offset(index: number): number {
    return this.#places[2 * (this.#head + index - this.#first)] as number
  }

  bytes(index: number): number {
    return this.#places[2 * (this.#head + index - this.#first) + 1] as number
  }

  /** Forgets `from` and what follows. */
  truncate(from: number): void {
    if (from <= this.#first) {
      this.clear()
      return
    }
    if (from > this.last) return
    this.#count = from - this.#first
    this.#terms.truncate(from)
    this.#segments.truncate(from)
  }

  /** Forgets what lies before `first`, which is at most one past the last. */
  dropBefore(first: number): void {
    if (first <= this.#first) return
    const dropped = Math.min(first - this.#first, this.#count)
    if (dropped === this.#count) {
      this.clear()
      return
    }
    this.#terms.dropBefore(first)
    this.#segments.dropBefore(first)
    this.#head += dropped
    this.#count -= dropped
    this.#first = first
  }

  clear(): void {
    this.#terms.clear()
    this.#segments.clear()
    this.#head = 0
    this.#count = 0
    if (this.#places.length > 64 * CAPACITY_MIN) this.#places = new Uint32Array(2 * CAPACITY_MIN)
  }

  #makeRoom(): void {
    const live = this.#places.subarray(2 * this.#head, 2 * (this.#head + this.#count))
    if (this.#head >= this.#count) {
      this.#places.copyWithin(0, 2 * this.#head, 2 * (this.#head + this.#count))
    } else {
      const wider = new Uint32Array(4 * Math.max(CAPACITY_MIN, this.#count))
      wider.set(live)
      this.#places = wider
    }
    this.#head = 0
  }
}
