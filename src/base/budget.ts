// Owns a bound on bytes that several parties share: what is claimed must be released, and past the
// limit the answer is no.

import { assert } from './assert.ts'

export class ByteBudget {
  readonly limitBytes: number
  #claimedBytes = 0

  constructor(limitBytes: number) {
    this.limitBytes = limitBytes
  }

  get claimedBytes(): number {
    return this.#claimedBytes
  }

  tryClaim(bytes: number): boolean {
    if (this.#claimedBytes + bytes > this.limitBytes) return false
    this.#claimedBytes += bytes
    return true
  }

  release(bytes: number): void {
    this.#claimedBytes -= bytes
    assert(this.#claimedBytes >= 0, 'released more than was claimed')
  }
}
