// Owns reading old entries back from disk, one read at a time over memory of its own. An entry is
// checked by its record's checksum, which is bound to its place.

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

/** Most that one read takes, a larger entry excepted: neighbours of other groups come along. */
const SPAN_BYTES = 2 * MIB

/** Where entries lie, as it was when the read began. */
interface Span {
  readonly segment: number
  readonly first: number
  readonly offsets: readonly number[]
  readonly to: number
}

export class EntryReader {
  readonly #env: Env
  readonly #observer: Observer
  readonly #segments: Segments
  readonly #reads: Counter
  #memory: Uint8Array
  #last: Promise<unknown> = Promise.resolve()

  constructor(env: Env, observer: Observer, segments: Segments) {
    this.#env = env
    this.#observer = observer
    this.#segments = segments
    this.#reads = observer.counter('raftlog_reads_total')
    this.#memory = env.disk.allocate(DISK_BLOCK_BYTES)
  }

  read(log: GroupLog, from: number, to: number, bytesMax: number): Promise<Entry[]> {
    const reading = this.#last.then(() => this.#readNow(log, from, to, bytesMax))
    this.#last = reading.catch(() => {})
    return reading
  }

  async idle(): Promise<void> {
    await this.#last
  }

  async #readNow(log: GroupLog, from: number, to: number, bytesMax: number): Promise<Entry[]> {
    if (from < log.firstIndex() || from >= log.cachedFrom()) return []
    const span = spanOf(log, from, Math.min(to, log.cachedFrom()), bytesMax)
    const { file } = must(this.#segments.get(span.segment), 'the segment of a durable entry')
    const start = Math.floor((span.offsets[0] as number) / DISK_BLOCK_BYTES) * DISK_BLOCK_BYTES
    const into = this.#memoryOf(roundUp(span.to - start, DISK_BLOCK_BYTES))
    await file.read(into, start)
    let entries = this.#decode(log, span, into, start)
    if (entries === null) {
      // A wrong bit may have come from the way, not the disk.
      await file.read(into, start)
      entries = this.#decode(log, span, into, start)
    }
    if (entries === null) throw this.#damaged(log, span)
    this.#reads.add(entries.length)
    return entries
  }

  /** Null when an entry that is still wanted is not what was written. */
  #decode(log: GroupLog, span: Span, bytes: Uint8Array, start: number): Entry[] | null {
    const { first, offsets, segment } = span
    const entries: Entry[] = []
    for (const [i, offset] of offsets.entries()) {
      const index = first + i
      // While it was read, the log may have been purged or cut there.
      if (index < log.firstIndex() || index >= log.cachedFrom()) break
      if (log.segmentOf(index) !== segment || log.offsetOf(index) !== offset) break
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

/** At least one entry, then as many as lie in the same segment and within the bounds. */
function spanOf(log: GroupLog, first: number, to: number, bytesMax: number): Span {
  const segment = log.segmentOf(first)
  const start = log.offsetOf(first)
  const offsets = [start]
  let end = start + RECORD_HEAD_BYTES + log.bytesOf(first)
  let bytes = log.bytesOf(first)
  const limit = Math.min(to, log.segmentEnd(first))
  for (let index = first + 1; index < limit; index++) {
    const offset = log.offsetOf(index)
    bytes += log.bytesOf(index)
    // Later entries lie behind earlier ones: what replaces an entry drops what followed it.
    const next = offset + RECORD_HEAD_BYTES + log.bytesOf(index)
    if (bytes > bytesMax || next - start > SPAN_BYTES) break
    offsets.push(offset)
    end = next
  }
  return { segment, first, offsets, to: end }
}
