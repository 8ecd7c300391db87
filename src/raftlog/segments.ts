// Owns the segment files of one log: made in full before they are used (an append then changes no
// metadata), reused oldest first, so that the sequences on disk never have a gap. One file
// operation at a time, in the background; the next segment is ready before the current one is full.
// Leaves to raftlog.ts what is in them and when they may go.

import { must } from '../base/assert.ts'
import { asLemnisError, type LemnisError } from '../base/errors.ts'
import { MIB } from '../base/units.ts'
import type { Timer } from '../env/clock.ts'
import { DISK_BLOCK_BYTES, type DiskFile } from '../env/disk.ts'
import type { Env } from '../env/env.ts'
import type { RaftLogConfig } from './config.ts'
import { encodeSegmentHeader } from './format.ts'

export const SEGMENT_SUFFIX = '.log'
/** A segment that is being written for the first time. */
export const UNFINISHED_SUFFIX = '.new'
const FILL_BYTES = MIB

export interface SegmentFile {
  readonly name: string
  readonly file: DiskFile
}

export interface SegmentEvents {
  /** A segment that was wanted is there. */
  onReady(): void
  /** A segment that was wanted can't be made for want of space; it is tried again. */
  onFull(): void
  onPurged(sequence: number): void
  /** The disk failed; full is not failed. */
  onFailed(error: LemnisError): void
}

export class Segments {
  readonly logId: number
  readonly #env: Env
  readonly #directory: string
  readonly #config: RaftLogConfig
  readonly #events: SegmentEvents
  readonly #used: Map<number, SegmentFile>
  /** Oldest first. */
  readonly #free: SegmentFile[]
  /** On the disk: those in use, the spare ones, and one that is being made or removed. */
  #files: number
  #newest: number
  #nextName: number
  #wanted = 0
  #working: Promise<void> | null = null
  #retry: Timer | null = null
  #full: LemnisError | null = null
  #failed = false
  #closed = false

  constructor(
    env: Env,
    directory: string,
    config: RaftLogConfig,
    logId: number,
    used: Map<number, SegmentFile>,
    free: SegmentFile[],
    events: SegmentEvents,
  ) {
    this.#env = env
    this.#directory = directory
    this.#config = config
    this.logId = logId
    this.#used = used
    this.#free = free
    this.#events = events
    this.#files = used.size + free.length
    this.#newest = Math.max(0, ...used.keys())
    const numbers = [...used.values(), ...free].map(({ name }) => Number.parseInt(name, 10))
    this.#nextName = Math.max(0, ...numbers) + 1
  }

  /** Files in use, spare ones not counted. */
  get count(): number {
    return this.#used.size
  }

  get fileBytes(): number {
    return this.#files * this.#config.segmentBytes
  }

  /** Why no further segment can be made at the moment. */
  get full(): LemnisError | null {
    return this.#full
  }

  /** Of those in use. */
  countBefore(sequence: number): number {
    let count = 0
    for (const used of this.#used.keys()) if (used < sequence) count++
    return count
  }

  get(sequence: number): SegmentFile | undefined {
    return this.#used.get(sequence)
  }

  /** Sees to it that segments up to `sequence` get ready. */
  want(sequence: number): void {
    this.#wanted = Math.max(this.#wanted, sequence)
    this.#work()
  }

  /** Nothing before `sequence` is needed any more. */
  release(sequence: number): void {
    if (this.countBefore(sequence) === 0) return
    for (const [old, segment] of [...this.#used].sort(([a], [b]) => a - b)) {
      if (old >= sequence) break
      this.#used.delete(old)
      this.#free.push(segment)
      this.#events.onPurged(old)
    }
    this.#full = null
    this.#work()
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#retry?.cancel()
    await this.#working
    for (const { file } of [...this.#used.values(), ...this.#free]) await file.close()
  }

  #work(): void {
    if (this.#working !== null || this.#closed || this.#failed || this.#full !== null) return
    const missing = this.#newest < this.#wanted
    if (!missing && this.#free.length <= this.#config.segmentsSpare) return
    const step = missing ? this.#prepare(this.#newest + 1) : this.#removeOldest()
    this.#working = step.then(
      () => this.#worked(),
      (thrown: unknown) => this.#failedWith(asLemnisError(thrown)),
    )
  }

  #worked(): void {
    this.#working = null
    if (this.#closed) return
    this.#events.onReady()
    this.#work()
  }

  #failedWith(error: LemnisError): void {
    this.#working = null
    if (this.#closed) return
    if (error.code !== 'NO_SPACE') {
      this.#failed = true
      this.#events.onFailed(error)
      return
    }
    this.#full = error
    this.#retry?.cancel()
    this.#retry = this.#env.clock.after(this.#config.spaceRetryMs, () => {
      this.#full = null
      this.#work()
    })
    this.#events.onFull()
  }

  async #prepare(sequence: number): Promise<void> {
    const header = this.#env.disk.allocate(DISK_BLOCK_BYTES)
    const { segmentBytes, batchBytesMax } = this.#config
    encodeSegmentHeader({ logId: this.logId, sequence, segmentBytes, batchBytesMax }, header)
    const reused = this.#free[0]
    if (reused === undefined) {
      this.#used.set(sequence, await this.#make(header))
    } else {
      await reused.file.write(header, 0)
      this.#free.shift()
      this.#used.set(sequence, reused)
    }
    this.#newest = sequence
  }

  /** A file of full length, all written, under its name, durably. */
  async #make(header: Uint8Array): Promise<SegmentFile> {
    const { disk } = this.#env
    const name = `${String(this.#nextName).padStart(8, '0')}${SEGMENT_SUFFIX}`
    const path = `${this.#directory}/${name}`
    const unfinished = `${path}${UNFINISHED_SUFFIX}`
    await disk.remove(unfinished)
    const file = await disk.open(unfinished, { create: true, durable: true })
    this.#files++
    try {
      const { segmentBytes } = this.#config
      const zeros = disk.allocate(Math.min(FILL_BYTES, segmentBytes))
      for (let at = 0; at < segmentBytes; at += zeros.byteLength) {
        const piece = zeros.subarray(0, Math.min(zeros.byteLength, segmentBytes - at))
        await file.write(piece, at)
      }
      await file.write(header, 0)
    } catch (error) {
      await file.close()
      await disk.remove(unfinished)
      this.#files--
      throw error
    }
    await disk.rename(unfinished, path)
    await disk.syncDirectory(this.#directory)
    this.#nextName++
    return { name, file }
  }

  async #removeOldest(): Promise<void> {
    const { name, file } = must(this.#free.shift(), 'a spare segment')
    await file.close()
    await this.#env.disk.remove(`${this.#directory}/${name}`)
    this.#files--
    // Before the next older one is reused or removed: the sequences on disk must have no gap.
    await this.#env.disk.syncDirectory(this.#directory)
  }
}
