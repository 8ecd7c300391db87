// Owns a disk as its chunkserver feels it: any disk, with the durable writes timed, which are those
// that acknowledgements wait for. A write that is still under way counts by its age, so that a disk
// that hangs is seen while it does. Everything else passes through untouched.

import { KIB } from '../base/units.ts'
import type { Clock } from '../env/clock.ts'
import type { Disk, DiskFile, OpenOptions, Piece } from '../env/disk.ts'
import type { DiskWindow } from '../format/control/parts.ts'

const US_PER_MS = 1000
/** Larger writes take long on any disk, and say nothing beside those of others. */
const TIMED_BYTES_MAX = 128 * KIB

interface Timed {
  readonly sinceMs: number
}

export class TimedDisk implements Disk {
  readonly #disk: Disk
  readonly #clock: Clock
  readonly #flying = new Set<Timed>()
  #writes = 0
  #sumMs = 0
  #maxMs = 0

  constructor(disk: Disk, clock: Clock) {
    this.#disk = disk
    this.#clock = clock
  }

  /** What was written since the last call; null when nothing was, and nothing is under way for long. */
  takeWindow(afterMs: number): DiskWindow | null {
    const nowMs = this.#clock.monotonicMs()
    for (const { sinceMs } of this.#flying) {
      if (nowMs - sinceMs >= afterMs) this.#note(nowMs - sinceMs)
    }
    const writes = this.#writes
    if (writes === 0) return null
    const meanUs = Math.round((this.#sumMs * US_PER_MS) / writes)
    const maxUs = Math.round(this.#maxMs * US_PER_MS)
    this.#writes = 0
    this.#sumMs = 0
    this.#maxMs = 0
    return { writes, meanUs, maxUs }
  }

  #note(tookMs: number): void {
    this.#writes++
    this.#sumMs += tookMs
    this.#maxMs = Math.max(this.#maxMs, tookMs)
  }

  async #time(writing: Promise<void>): Promise<void> {
    const timed = { sinceMs: this.#clock.monotonicMs() }
    this.#flying.add(timed)
    try {
      await writing
    } finally {
      this.#flying.delete(timed)
      this.#note(this.#clock.monotonicMs() - timed.sinceMs)
    }
  }

  async open(path: string, options?: OpenOptions): Promise<DiskFile> {
    const file = await this.#disk.open(path, options)
    // Others go to writeAll() as they are, and are not waited for by clients.
    if (options?.durable !== true) return file
    return {
      path: file.path,
      read: (into, at) => file.read(into, at),
      write: (from, at) => {
        const writing = file.write(from, at)
        return from.byteLength > TIMED_BYTES_MAX ? writing : this.#time(writing)
      },
      sync: () => file.sync(),
      sizeBytes: () => file.sizeBytes(),
      truncate: (bytes) => file.truncate(bytes),
      close: () => file.close(),
    }
  }

  list(directory: string): Promise<string[]> {
    return this.#disk.list(directory)
  }

  makeDirectory(path: string): Promise<void> {
    return this.#disk.makeDirectory(path)
  }

  rename(from: string, to: string): Promise<void> {
    return this.#disk.rename(from, to)
  }

  remove(path: string): Promise<void> {
    return this.#disk.remove(path)
  }

  syncDirectory(path: string): Promise<void> {
    return this.#disk.syncDirectory(path)
  }

  freeBytes(): Promise<number> {
    return this.#disk.freeBytes()
  }

  writeAll(pieces: readonly Piece[]): Promise<void> {
    return this.#disk.writeAll(pieces)
  }

  allocate(bytes: number): Uint8Array {
    return this.#disk.allocate(bytes)
  }
}
