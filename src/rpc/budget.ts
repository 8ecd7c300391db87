// Owns a limit on bytes in flight. Past it a claim is refused, and nothing waits: the caller answers
// OVERLOADED. What was claimed is released exactly once.

import { assert } from '../base/assert.ts'

export class ByteBudget {
  readonly #bytesMax: number
  #bytes = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  get bytes(): number {
    return this.#bytes
  }

  tryClaim(bytes: number): boolean {
    if (this.#bytes + bytes > this.#bytesMax) return false
    this.#bytes += bytes
    return true
  }

  release(bytes: number): void {
    assert(bytes <= this.#bytes, 'more bytes released than claimed')
    this.#bytes -= bytes
  }
}
