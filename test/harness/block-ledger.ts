// Owns what each block of a device may hold while it is written, through crashes of what serves it: the
// newest acknowledged value, or one whose fate is unknown. Every value of every block has bytes of its
// own, so that a lost, a foreign, an old and a mixed block are told apart.
// Invariant: what was read once after a crash is what the block holds from then on.

import { check } from './report.ts'

export const BLOCK_BYTES = 4096
/** The value of a block that reads as zeros. */
export const ZEROS = 0
const WORDS = BLOCK_BYTES / 4
/** The golden ratio and a prime of xxHash: odd multipliers that spread their argument over 32 bits. */
const SPREAD_VALUE = 0x9e37_79b1
const SPREAD_BLOCK = 0x85eb_ca77

export class BlockLedger {
  readonly blockCount: number
  acknowledgedBlocks = 0
  readonly #held: Float64Array
  readonly #unknown = new Map<number, number[]>()
  /** Blocks under way: two changes of one block at once have no order. */
  readonly #busy = new Set<number>()
  readonly #scratch = new Uint32Array(WORDS)
  #nextValue = 1

  /** All blocks are zeros. */
  constructor(blockCount: number) {
    this.blockCount = blockCount
    this.#held = new Float64Array(blockCount)
  }

  isFree(first: number, count: number): boolean {
    for (let block = first; block < first + count; block++) {
      if (block >= this.blockCount || this.#busy.has(block)) return false
    }
    return true
  }

  /** Begins a change; `isZero`: to zeros. Its value. */
  begin(first: number, count: number, isZero: boolean): number {
    const value = isZero ? ZEROS : this.#nextValue++
    for (let block = first; block < first + count; block++) {
      this.#busy.add(block)
      const unknown = this.#unknown.get(block)
      if (unknown === undefined) this.#unknown.set(block, [value])
      else unknown.push(value)
    }
    return value
  }

  /** It was acknowledged: nothing older can come back. */
  acknowledge(first: number, count: number, value: number): void {
    for (let block = first; block < first + count; block++) {
      this.#held[block] = value
      this.#unknown.delete(block)
      this.#busy.delete(block)
    }
    this.acknowledgedBlocks += count
  }

  /** Nobody knows whether it took effect, and nobody repeats it. */
  abandon(first: number, count: number): void {
    for (let block = first; block < first + count; block++) this.#busy.delete(block)
  }

  /** The bytes of `count` blocks that all have this value. */
  bytesOf(first: number, count: number, value: number): Uint8Array {
    const words = new Uint32Array(WORDS * count)
    for (let i = 0; i < count; i++) {
      fill(words.subarray(WORDS * i, WORDS * (i + 1)), first + i, value)
    }
    return new Uint8Array(words.buffer)
  }

  /** Throws when a block is not what it may be. Nothing is under way meanwhile. */
  verify(first: number, bytes: Uint8Array): void {
    check(this.#busy.size === 0, 'verified while changes are under way')
    const words = new Uint32Array(bytes.slice().buffer)
    for (let i = 0; i < words.length / WORDS; i++) {
      this.#verifyBlock(first + i, words.subarray(WORDS * i, WORDS * (i + 1)))
    }
  }

  #verifyBlock(block: number, words: Uint32Array): void {
    const held = this.#held[block] as number
    const unknown = this.#unknown.get(block)
    const value = words[1] as number
    const says = `block ${block} holds value ${value}, acknowledged was ${held}`
    const isAllowed = value === held || unknown?.includes(value) === true
    check(isAllowed, `${says}, under way was ${unknown?.join(', ') ?? 'nothing'}`)
    fill(this.#scratch, block, value)
    // A comparison of memory: most blocks are right, and there are many.
    if (Buffer.compare(bytesIn(words), bytesIn(this.#scratch)) !== 0) {
      const wrong = words.findIndex((word, i) => word !== this.#scratch[i])
      check(false, `${says}, and byte ${4 * wrong} of it is not of that value`)
    }
    if (unknown === undefined) return
    this.#held[block] = value
    this.#unknown.delete(block)
  }
}

function bytesIn(words: Uint32Array): Uint8Array {
  return new Uint8Array(words.buffer, words.byteOffset, words.byteLength)
}

/** Every word depends on the block and the value, and the second one is the value. */
function fill(words: Uint32Array, block: number, value: number): void {
  if (value === ZEROS) {
    words.fill(0)
    return
  }
  const seed = Math.imul(value, SPREAD_VALUE) ^ Math.imul(block, SPREAD_BLOCK)
  for (let i = 0; i < WORDS; i++) words[i] = Math.imul(seed + i, SPREAD_VALUE)
  words[1] = value
}
