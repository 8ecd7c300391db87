// Owns deterministic randomness: xoshiro128** (Blackman and Vigna) seeded by splitmix32 over a label.
// A fork by label draws from its own stream, so one more draw in one place shifts no other.
// Only 32-bit integer arithmetic: the same numbers on every engine.

import { assert } from './assert.ts'

function hashLabel(seed: number, label: string): number {
  let hash = (seed ^ 0x811c9dc5) >>> 0
  for (let i = 0; i < label.length; i++) hash = Math.imul(hash ^ label.charCodeAt(i), 0x01000193)
  return hash >>> 0
}

function rotl(x: number, bits: number): number {
  return ((x << bits) | (x >>> (32 - bits))) >>> 0
}

export class Prng {
  readonly #seed: number
  #a: number
  #b: number
  #c: number
  #d: number

  constructor(seed: number) {
    this.#seed = seed >>> 0
    let state = this.#seed
    const split = (): number => {
      state = (state + 0x9e3779b9) >>> 0
      let z = state
      z = Math.imul(z ^ (z >>> 16), 0x21f0aaad)
      z = Math.imul(z ^ (z >>> 15), 0x735a2d97)
      return (z ^ (z >>> 15)) >>> 0
    }
    this.#a = split()
    this.#b = split()
    this.#c = split()
    this.#d = split() | 1
  }

  u32(): number {
    const result = Math.imul(rotl(Math.imul(this.#b, 5), 7), 9) >>> 0
    const t = this.#b << 9
    this.#c ^= this.#a
    this.#d ^= this.#b
    this.#b ^= this.#c
    this.#a ^= this.#d
    this.#c ^= t
    this.#d = rotl(this.#d, 11)
    return result
  }

  below(limit: number): number {
    assert(limit >= 1 && limit <= 0x1_0000_0000, 'prng: limit from 1 to 2^32')
    // Multiply-shift of 32 random bits; the bias for the small limits used here is under 2^-20.
    return Math.floor((this.u32() * limit) / 0x1_0000_0000)
  }

  between(low: number, high: number): number {
    return low + this.below(high - low + 1)
  }

  chance(probability: number): boolean {
    return this.u32() < probability * 0x1_0000_0000
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T
  }

  fork(label: string): Prng {
    return new Prng(hashLabel(this.#seed, label))
  }
}
