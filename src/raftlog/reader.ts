// Owns reading old entries back from disk, one read at a time over memory of its own. An entry is
// checked by its record's checksum, which is bound to its place. Replicas that are behind mostly are so
// in many groups at once, whose entries lie side by side: one read answers all who wait for what it
// passes over, or reading would cost as much more as there are groups.

import { must } from '../base/assert.ts'
import { roundUp } from '../base/bytes.ts'
import { LemnisError } from '../base/errors.ts'
import { MIB } from '../base/units.ts'
import { DISK_BLOCK_BYTES } from '../env/disk.ts'
import type { Env } from '../env/env.ts'
import type { Counter, Observer } from '../observe/observe.ts'
import type { Entry } from '../raft/types.ts'
import { decodeRecord, RECORD_HEAD_BYTES } from './format.ts'
import type { GroupLog } from './group-log.ts'
import { entryOf } from './replay.ts'
import type { Segments } from './segments.ts'

/** Most that one read takes, but for the first entry of who waited longest. */
const READ_BYTES = 4 * MIB
/** Most of it that lies before what is wanted first, for others. */
const BEFORE_BYTES = READ_BYTES / 2

/** Where entries lie, as it was when the read began. */
interface Span {
  readonly segment: number
  readonly first: number
  readonly offsets: readonly number[]
  readonly to: number
}

/** Somebody waits for entries. */
interface Wanted {
  readonly log: GroupLog
  readonly from: number
  readonly to: number
  readonly bytesMax: number
  readonly resolve: (entries: Entry[]) => void
  readonly reject: (error: unknown) => void
}

/** A part of one read. */
interface Part {
  readonly wanted: Wanted
  readonly span: Span
}

export class EntryReader {
  readonly #env: Env
  readonly #observer: Observer
  readonly #segments: Segments
  readonly #reads: Counter
  readonly #waiting: Wanted[] = []
  #memory: Uint8Array
  #working: Promise<void> | null = null

  constructor(env: Env, observer: Observer, segments: Segments) {
    this.#env = env
    this.#observer = observer
    this.#segments = segments
    this.#reads = observer.counter('raftlog_reads_total')
    this.#memory = env.disk.allocate(DISK_BLOCK_BYTES)
  }

  read(log: GroupLog, from: number, to: number, bytesMax: number): Promise<Entry[]> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ log, from, to, bytesMax, resolve, reject })
      this.#working ??= this.#work()
    })
  }

  async idle(): Promise<void> {
    await this.#working
  }

  async #work(): Promise<void> {
    // Who asks in the same turn is answered by the same read.
    await Promise.resolve()
    while (this.#waiting.length > 0) {
      const parts = this.#take()
      if (parts.length > 0) await this.#readParts(parts)
    }
    this.#working = null
  }

  /** The one that has waited longest, and all who wait for what lies around it. */
  #take(): Part[] {
    const first = must(this.#waiting[0], 'somebody who waits')
    if (!isOnDisk(first.log, first.from)) {
      this.#waiting.shift()
      first.resolve([])
      return []
    }
    const segment = segmentOf(first)
    const near = this.#waiting.filter((wanted) => {
      const isNear = isOnDisk(wanted.log, wanted.from) && segmentOf(wanted) === segment
      return isNear && startOf(wanted) >= startOf(first) - BEFORE_BYTES
    })
    const end = Math.min(...near.map(startOf)) + READ_BYTES
    const taken = near.filter((wanted) => wanted === first || endOfOne(wanted) <= end)
    for (const wanted of taken) this.#waiting.splice(this.#waiting.indexOf(wanted), 1)
    return taken.map((wanted) => ({ wanted, span: spanOf(wanted, segment, end) }))
  }

  async #readParts(parts: readonly Part[]): Promise<void> {
    const { segment } = (parts[0] as Part).span
    const first = Math.min(...parts.map(({ span }) => span.offsets[0] as number))
    const start = Math.floor(first / DISK_BLOCK_BYTES) * DISK_BLOCK_BYTES
    const end = roundUp(Math.max(...parts.map(({ span }) => span.to)), DISK_BLOCK_BYTES)
    let left = parts
    try {
      const { file } = must(this.#segments.get(segment), 'the segment of a durable entry')
      const into = this.#memoryOf(end - start)
      await file.read(into, start)
      left = this.#answer(left, into, start)
      if (left.length > 0) {
        // A wrong bit may have come from the way, not the disk.
        await file.read(into, start)
        left = this.#answer(left, into, start)
      }
      for (const { wanted, span } of left) wanted.reject(this.#damaged(wanted.log, span))
    } catch (error) {
      // A sector that can't be read is the matter of those whose entries lie in it.
      const isAlone = left.length === 1
      for (const part of left) {
        // While it was read, the log may have let it go.
        const { wanted, span } = part
        const isThere = liesAt(wanted.log, span.first, segment, span.offsets[0] as number)
        if (!isThere) wanted.resolve([])
        else if (isAlone) wanted.reject(error)
        else await this.#readParts([part])
      }
    }
  }

  /** Answers those whose entries are what was written; the others are left. */
  #answer(parts: readonly Part[], bytes: Uint8Array, start: number): Part[] {
    const left: Part[] = []
    for (const part of parts) {
      const entries = this.#decode(part.wanted.log, part.span, bytes, start)
      if (entries === null) left.push(part)
      else {
        this.#reads.add(entries.length)
        part.wanted.resolve(entries)
      }
    }
    return left
  }

  /** Null when an entry that is still wanted is not what was written. */
  #decode(log: GroupLog, span: Span, bytes: Uint8Array, start: number): Entry[] | null {
    const { first, offsets, segment } = span
    const entries: Entry[] = []
    for (const [i, offset] of offsets.entries()) {
      const index = first + i
      // While it was read, the log may have been purged or cut there.
      if (!liesAt(log, index, segment, offset)) break
      const { byteLength } = bytes
      const at = offset - start
      const record = decodeRecord(this.#env.crc32c, bytes, at, byteLength, segment, offset)
      if (record === null || record.group !== log.id || record.index !== index) return null
      if (record.term !== log.term(index)) return null
      entries.push(entryOf(record))
    }
    return entries
  }

  #damaged(log: GroupLog, span: Span): LemnisError {
    const fields = { group: log.id, index: span.first, segment: span.segment }
    this.#observer.emit('raftlog_corrupt', { damage: 'an entry read back', ...fields })
    return new LemnisError('CORRUPT', fields)
  }

  #memoryOf(bytes: number): Uint8Array {
    if (this.#memory.byteLength < bytes) this.#memory = this.#env.disk.allocate(bytes)
    return this.#memory.subarray(0, bytes)
  }
}

/** The log has the entry, and not in memory. */
function isOnDisk(log: GroupLog, index: number): boolean {
  return index >= log.firstIndex() && index < log.cachedFrom()
}

function liesAt(log: GroupLog, index: number, segment: number, offset: number): boolean {
  if (!isOnDisk(log, index)) return false
  return log.segmentOf(index) === segment && log.offsetOf(index) === offset
}

function segmentOf({ log, from }: Wanted): number {
  return log.segmentOf(from)
}

function startOf({ log, from }: Wanted): number {
  return log.offsetOf(from)
}

/** Where the first entry ends. */
function endOfOne(wanted: Wanted): number {
  return startOf(wanted) + RECORD_HEAD_BYTES + wanted.log.bytesOf(wanted.from)
}

/** At least one entry, then as many as lie in the segment, before `end` and within the bounds. */
function spanOf(wanted: Wanted, segment: number, end: number): Span {
  const { log, from: first, bytesMax } = wanted
  const offsets = [startOf(wanted)]
  let to = endOfOne(wanted)
  let bytes = log.bytesOf(first)
  const limit = Math.min(wanted.to, log.cachedFrom(), log.segmentEnd(first))
  for (let index = first + 1; index < limit; index++) {
    const offset = log.offsetOf(index)
    bytes += log.bytesOf(index)
    // Later entries lie behind earlier ones: what replaces an entry drops what followed it.
    const next = offset + RECORD_HEAD_BYTES + log.bytesOf(index)
    if (bytes > bytesMax || next > end) break
    offsets.push(offset)
    to = next
  }
  return { segment, first, offsets, to }
}
