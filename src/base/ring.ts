// Owns a bounded first-in first-out queue over a circular array. Its capacity is required: past it
// tryPush says no, and the caller decides what that means.

import { assert } from './assert.ts'

export class Ring<T> {
  readonly capacity: number
  readonly #slots: (T | undefined)[]
  #head = 0
  #count = 0

  constructor(capacity: number) {
    assert(Number.isSafeInteger(capacity) && capacity > 0, 'ring capacity')
    this.capacity = capacity
    this.#slots = new Array<T | undefined>(capacity)
  }

  get count(): number {
    return this.#count
  }

  tryPush(item: T): boolean {
    if (this.#count === this.capacity) return false
    this.#slots[(this.#head + this.#count) % this.capacity] = item
    this.#count++
    return true
  }

  peek(): T | undefined {
    return this.#count === 0 ? undefined : this.#slots[this.#head]
  }

  shift(): T | undefined {
    if (this.#count === 0) return undefined
    const item = this.#slots[this.#head]
    this.#slots[this.#head] = undefined
    this.#head = (this.#head + 1) % this.capacity
    this.#count--
    return item
  }
}
