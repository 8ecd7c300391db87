// Owns the workload that measures a block device: so many operations under way at once, sequential or
// random, reads or writes, for so long; and the figures of it. Writes carry bytes that do not compress.
// Overwrites what is there: a device that is measured by writing has no other use.

import { LemnisError } from '../base/errors.ts'
import { Histogram } from '../base/histogram.ts'
import type { Env } from '../env/env.ts'
import type { BlockDevice } from './device.ts'

export type Workload = 'read' | 'write' | 'randread' | 'randwrite' | 'randrw'

export const WORKLOADS: readonly Workload[] = ['read', 'write', 'randread', 'randwrite', 'randrw']

export interface BenchOptions {
  readonly workload: Workload
  /** Bytes of one operation. */
  readonly opBytes: number
  /** Operations under way at once. */
  readonly depth: number
  readonly seconds: number
  /** Addresses below this are used; the whole device without. */
  readonly spanBytes?: number
  /** Called about every second with the figures of that second. */
  readonly onProgress?: (result: BenchResult) => void
}

export interface BenchSide {
  readonly ops: number
  readonly iops: number
  readonly bytesPerSecond: number
  readonly p50Us: number
  readonly p95Us: number
  readonly p99Us: number
  readonly p999Us: number
  readonly maxUs: number
}

export interface BenchResult {
  readonly seconds: number
  readonly reads: BenchSide
  readonly writes: BenchSide
}

const PROGRESS_MS = 1000
/** In the mix every second operation reads, by chance. */
const READ_CHANCE = 0.5

/** Latencies of one kind of operation in a stretch of time. */
class Side {
  #latencyUs = new Histogram()

  record(tookMs: number): void {
    this.#latencyUs.record(tookMs * 1000)
  }

  figures(opBytes: number, seconds: number): BenchSide {
    const { count, max } = this.#latencyUs
    const percentile = (quantile: number): number => this.#latencyUs.percentile(quantile)
    return {
      ops: count,
      iops: seconds > 0 ? count / seconds : 0,
      bytesPerSecond: seconds > 0 ? (count * opBytes) / seconds : 0,
      p50Us: percentile(0.5),
      p95Us: percentile(0.95),
      p99Us: percentile(0.99),
      p999Us: percentile(0.999),
      maxUs: max,
    }
  }
}

class Stretch {
  readonly startedMs: number
  readonly reads = new Side()
  readonly writes = new Side()

  constructor(startedMs: number) {
    this.startedMs = startedMs
  }

  result(opBytes: number, nowMs: number): BenchResult {
    const seconds = (nowMs - this.startedMs) / 1000
    return {
      seconds,
      reads: this.reads.figures(opBytes, seconds),
      writes: this.writes.figures(opBytes, seconds),
    }
  }
}

/** Runs a workload to its end; the first error of the device ends it. */
export async function runBench(
  env: Env,
  device: BlockDevice,
  options: BenchOptions,
): Promise<BenchResult> {
  const run = new BenchRun(env, device, options)
  return run.run()
}

class BenchRun {
  readonly #env: Env
  readonly #device: BlockDevice
  readonly #options: BenchOptions
  readonly #slots: number
  readonly #payload: Uint8Array
  readonly #all: Stretch
  #second: Stretch
  #next = 0
  #isOver = false

  constructor(env: Env, device: BlockDevice, options: BenchOptions) {
    const { opBytes, depth, spanBytes } = options
    const bytes = Math.min(device.sizeBytes, spanBytes ?? device.sizeBytes)
    if (!(opBytes > 0 && depth > 0 && options.seconds > 0) || bytes < opBytes) {
      const reason = 'an operation of at least one byte that fits the device, and a depth above 0'
      throw new LemnisError('INVALID_ARGUMENT', { reason, opBytes, depth, bytes })
    }
    this.#env = env
    this.#device = device
    this.#options = options
    this.#slots = Math.floor(bytes / opBytes)
    this.#payload = randomBytes(env, opBytes)
    this.#all = new Stretch(env.clock.monotonicMs())
    this.#second = new Stretch(this.#all.startedMs)
  }

  async run(): Promise<BenchResult> {
    const { clock } = this.#env
    const end = clock.after(this.#options.seconds * 1000, () => {
      this.#isOver = true
    })
    this.#report()
    const workers = Array.from({ length: this.#options.depth }, () => this.#work())
    try {
      await Promise.all(workers)
    } finally {
      this.#isOver = true
      end.cancel()
    }
    return this.#all.result(this.#options.opBytes, clock.monotonicMs())
  }

  async #work(): Promise<void> {
    const { clock } = this.#env
    const { opBytes } = this.#options
    while (!this.#isOver) {
      const offset = this.#slot() * opBytes
      const isRead = this.#isRead()
      const startedMs = clock.monotonicMs()
      if (isRead) await this.#device.read(offset, opBytes)
      else await this.#device.write(offset, this.#payload)
      const tookMs = clock.monotonicMs() - startedMs
      for (const stretch of [this.#all, this.#second]) {
        const side = isRead ? stretch.reads : stretch.writes
        side.record(tookMs)
      }
    }
  }

  #slot(): number {
    const { workload } = this.#options
    if (workload === 'read' || workload === 'write') return this.#next++ % this.#slots
    return this.#env.random.below(Math.min(this.#slots, 0x1_0000_0000))
  }

  #isRead(): boolean {
    const { workload } = this.#options
    if (workload === 'randrw') return this.#env.random.chance(READ_CHANCE)
    return workload === 'read' || workload === 'randread'
  }

  #report(): void {
    const { onProgress, opBytes } = this.#options
    if (onProgress === undefined) return
    this.#env.clock.after(PROGRESS_MS, () => {
      if (this.#isOver) return
      const nowMs = this.#env.clock.monotonicMs()
      const result = this.#second.result(opBytes, nowMs)
      this.#second = new Stretch(nowMs)
      onProgress(result)
      this.#report()
    })
  }
}

function randomBytes(env: Env, length: number): Uint8Array {
  const bytes = new Uint8Array(length)
  for (let i = 0; i < length; i++) bytes[i] = env.random.below(256)
  return bytes
}
