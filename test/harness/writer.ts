// Owns a workload on one volume that knows what every block must hold: random blocks are written by
// several hands at once, each with a value that was never used before, and now and then read back. It
// keeps the longest time in which nothing was answered.

import type { Volume } from '../../src/client/volume.ts'
import { BLOCK_BYTES } from '../../src/format/chunk-request.ts'
import { check, isEqual, pattern } from './proof.ts'

const HANDS = 8
/** One operation of so many is a read. */
const READ_EVERY = 4

export interface WriterResult {
  readonly writes: number
  readonly reads: number
  /** The longest single operation, and the longest time without any answer. */
  readonly slowestMs: number
  readonly longestStallMs: number
}

export class Writer {
  readonly #volume: Volume
  readonly #blocks: number
  #active: number
  /** Acknowledged value of each block; 0 for never written. */
  readonly #values: Uint32Array
  readonly #busy = new Set<number>()
  #nextValue = 1
  #running: Promise<void>[] = []
  #isStopping = false
  #writes = 0
  #reads = 0
  #slowestMs = 0
  #longestStallMs = 0
  #lastAnswerMs = 0

  /** Writes to the first `bytes` of the volume. */
  constructor(volume: Volume, bytes: number) {
    this.#volume = volume
    this.#blocks = bytes / BLOCK_BYTES
    this.#active = this.#blocks
    this.#values = new Uint32Array(this.#blocks)
  }

  /** Writes every block once. */
  async fill(): Promise<void> {
    const run = 64
    for (let first = 0; first < this.#blocks; first += run) {
      const count = Math.min(run, this.#blocks - first)
      const bytes = new Uint8Array(count * BLOCK_BYTES)
      for (let i = 0; i < count; i++) {
        this.#values[first + i] = this.#nextValue
        bytes.set(pattern(this.#nextValue++, BLOCK_BYTES), i * BLOCK_BYTES)
      }
      await this.#volume.write(first * BLOCK_BYTES, bytes)
    }
  }

  /** Only the first `bytes` are written and read from now on; all are verified. */
  limit(bytes: number): void {
    this.#active = bytes / BLOCK_BYTES
  }

  start(): void {
    this.#isStopping = false
    this.#lastAnswerMs = performance.now()
    this.#writes = 0
    this.#reads = 0
    this.#slowestMs = 0
    this.#longestStallMs = 0
    this.#running = Array.from({ length: HANDS }, () => this.#work())
  }

  /** Rejects with the first error of any operation. */
  async stop(): Promise<WriterResult> {
    this.#isStopping = true
    await Promise.all(this.#running)
    return {
      writes: this.#writes,
      reads: this.#reads,
      slowestMs: this.#slowestMs,
      longestStallMs: this.#longestStallMs,
    }
  }

  async #work(): Promise<void> {
    for (let turn = 0; !this.#isStopping; turn++) {
      const block = Math.floor(Math.random() * this.#active)
      if (this.#busy.has(block)) continue
      this.#busy.add(block)
      const startedMs = performance.now()
      if (turn % READ_EVERY === 0) await this.#read(block)
      else await this.#write(block)
      this.#answered(startedMs)
      this.#busy.delete(block)
    }
  }

  async #write(block: number): Promise<void> {
    const value = this.#nextValue++
    await this.#volume.write(block * BLOCK_BYTES, pattern(value, BLOCK_BYTES))
    this.#values[block] = value
    this.#writes++
  }

  async #read(block: number): Promise<void> {
    const bytes = await this.#volume.read(block * BLOCK_BYTES, BLOCK_BYTES)
    check(isEqual(bytes, this.#bytesOf(block)), `block ${block} reads wrong`)
    this.#reads++
  }

  #bytesOf(block: number): Uint8Array {
    const value = this.#values[block] ?? 0
    return value === 0 ? new Uint8Array(BLOCK_BYTES) : pattern(value, BLOCK_BYTES)
  }

  #answered(startedMs: number): void {
    const nowMs = performance.now()
    this.#slowestMs = Math.max(this.#slowestMs, nowMs - startedMs)
    this.#longestStallMs = Math.max(this.#longestStallMs, nowMs - this.#lastAnswerMs)
    this.#lastAnswerMs = nowMs
  }

  /** Reads everything and compares; how many blocks were written at least once. */
  async verify(): Promise<number> {
    let written = 0
    const run = 256
    for (let first = 0; first < this.#blocks; first += run) {
      const count = Math.min(run, this.#blocks - first)
      const bytes = await this.#volume.read(first * BLOCK_BYTES, count * BLOCK_BYTES)
      for (let i = 0; i < count; i++) {
        const block = bytes.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES)
        check(isEqual(block, this.#bytesOf(first + i)), `block ${first + i} reads wrong`)
        if (this.#values[first + i] !== 0) written++
      }
    }
    return written
  }
}
