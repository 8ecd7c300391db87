// Owns which copysets new chunks go to: round and round over a pool's copysets in a shuffled order,
// each taken as often as its free space is of the largest one's. So consecutive chunks are on
// different copysets, one lap spreads over all disks, and fuller disks fill more slowly. Where a
// lap stands is memory only: after a restart it begins somewhere else, which does no harm.

import { LemnisError } from '../base/errors.ts'
import type { Random } from '../env/random.ts'

/** How much a copyset should get, in bytes free for it; 0 to get nothing. */
export type WeightOf = (copyset: number) => number

export class Chooser {
  readonly #ring: number[]
  /** What each place of the ring has coming: it is taken at 1. */
  readonly #credit: Float64Array
  #at = 0

  constructor(copysets: readonly number[], random: Random) {
    this.#ring = [...copysets].sort((a, b) => a - b)
    for (let i = this.#ring.length - 1; i > 0; i--) {
      const k = random.below(i + 1)
      const id = this.#ring[i] as number
      this.#ring[i] = this.#ring[k] as number
      this.#ring[k] = id
    }
    this.#credit = new Float64Array(this.#ring.length)
  }

  /** UNPLACEABLE when no copyset has a weight. */
  choose(count: number, weightOf: WeightOf): number[] {
    const weights = this.#ring.map(weightOf)
    let weightMax = 0
    let usable = 0
    for (const weight of weights) {
      weightMax = Math.max(weightMax, weight)
      if (weight > 0) usable++
    }
    if (weightMax === 0) {
      throw new LemnisError('UNPLACEABLE', {
        copysets: this.#ring.length,
        usable,
        reason: 'every copyset of the pool is full or without quorum',
      })
    }
    const chosen: number[] = []
    while (chosen.length < count) {
      const at = this.#at
      this.#at = (at + 1) % this.#ring.length
      const weight = weights[at] as number
      if (weight === 0) continue
      const credit = (this.#credit[at] as number) + weight / weightMax
      const isTaken = credit >= 1
      this.#credit[at] = isTaken ? credit - 1 : credit
      if (isTaken) chosen.push(this.#ring[at] as number)
    }
    return chosen
  }
}
