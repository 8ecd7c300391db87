// Owns a load of writes, zeroings and discards on one device, recorded in a ledger, and the checks of the
// whole device against it. It measures the longest operation and the longest time without any end.

import { MIB } from '../../src/base/units.ts'
import { BLOCK_BYTES, type BlockLedger } from './block-ledger.ts'

/** A volume of the client, or a connection to it. */
export interface LoadDevice {
  read(offset: number, length: number): Promise<Uint8Array>
  write(offset: number, bytes: Uint8Array): Promise<void>
  discard(offset: number, length: number): Promise<void>
  writeZeroes(offset: number, length: number): Promise<void>
}

const BLOCKS_MAX = 16
/** One in so many is of LARGE_BLOCKS, and one in so many is a zeroing or a discard. */
const LARGE_EVERY = 64
const LARGE_BLOCKS = MIB / BLOCK_BYTES
const ZERO_EVERY = 10

export class BlockLoad {
  readonly #device: LoadDevice
  readonly #ledger: BlockLedger
  readonly #live = new Set<Promise<void>>()
  readonly #startsMs = new Map<number, number>()
  #nextOperation = 1
  #isStopping = false
  #longestMs = 0
  #lastEndMs = performance.now()
  #longestGapMs = 0
  operations = 0
  /** What ended operations without an acknowledgement, by message. */
  readonly errors = new Map<string, number>()

  constructor(device: LoadDevice, ledger: BlockLedger, depth: number) {
    this.#device = device
    this.#ledger = ledger
    for (let i = 0; i < depth; i++) {
      this.#live.add(this.#work())
    }
  }

  /** Lets what is under way end. */
  async stop(): Promise<void> {
    this.#isStopping = true
    await Promise.all(this.#live)
  }

  /** The longest operation and the longest gap since the last call, with those that still last. */
  stalls(): { operationMs: number; gapMs: number } {
    const nowMs = performance.now()
    const oldestMs = Math.min(nowMs, ...this.#startsMs.values())
    const operationMs = Math.max(this.#longestMs, nowMs - oldestMs)
    const gapMs = Math.max(this.#longestGapMs, nowMs - this.#lastEndMs)
    this.#longestMs = 0
    this.#longestGapMs = 0
    return { operationMs, gapMs }
  }

  /** A device that is gone ends the worker at its first error. */
  async #work(): Promise<void> {
    while (!this.#isStopping) {
      const { first, count } = this.#choose()
      const isZero = chance(ZERO_EVERY)
      const value = this.#ledger.begin(first, count, isZero)
      const id = this.#nextOperation++
      this.#startsMs.set(id, performance.now())
      try {
        await this.#change(first, count, value, isZero)
        this.#ledger.acknowledge(first, count, value)
        this.#ended(id)
      } catch (error) {
        this.#startsMs.delete(id)
        this.#ledger.abandon(first, count)
        const { message } = error as Error
        this.errors.set(message, (this.errors.get(message) ?? 0) + 1)
        return
      }
    }
  }

  #ended(id: number): void {
    const nowMs = performance.now()
    const startMs = this.#startsMs.get(id) as number
    this.#startsMs.delete(id)
    this.#longestMs = Math.max(this.#longestMs, nowMs - startMs)
    this.#longestGapMs = Math.max(this.#longestGapMs, nowMs - this.#lastEndMs)
    this.#lastEndMs = nowMs
    this.operations++
  }

  #choose(): { first: number; count: number } {
    for (;;) {
      const count = chance(LARGE_EVERY) ? LARGE_BLOCKS : 1 + below(BLOCKS_MAX)
      const first = below(this.#ledger.blockCount - count + 1)
      if (this.#ledger.isFree(first, count)) return { first, count }
    }
  }

  #change(first: number, count: number, value: number, isZero: boolean): Promise<void> {
    const offset = first * BLOCK_BYTES
    if (!isZero) return this.#device.write(offset, this.#ledger.bytesOf(first, count, value))
    const length = count * BLOCK_BYTES
    if (chance(2)) return this.#device.discard(offset, length)
    return this.#device.writeZeroes(offset, length)
  }
}

/** Reads every block and compares it with the ledger. */
export async function verifyAll(device: LoadDevice, ledger: BlockLedger): Promise<void> {
  for (let first = 0; first < ledger.blockCount; first += LARGE_BLOCKS) {
    const count = Math.min(LARGE_BLOCKS, ledger.blockCount - first)
    const bytes = await device.read(first * BLOCK_BYTES, count * BLOCK_BYTES)
    ledger.verify(first, bytes)
  }
}

function below(count: number): number {
  return Math.floor(Math.random() * count)
}

function chance(one: number): boolean {
  return below(one) === 0
}
