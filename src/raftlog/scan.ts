// Owns the reading of one segment: which batches follow each other soundly, where that ends, and
// whether something lies beyond the end that proves that more had been written. Judges nothing:
// recovery.ts does.

import type { Crc32c } from '../base/crc32c.ts'
import { DISK_BLOCK_BYTES, type DiskFile } from '../env/disk.ts'
import {
  addRecordCrc,
  BATCH_HEADER_BYTES,
  type BatchHeader,
  type DecodedRecord,
  decodeBatchHeader,
  decodeRecord,
  RECORD_HEAD_BYTES,
  SEGMENT_BODY_AT,
} from './format.ts'

/** Pieces of a segment that are read at once. */
const READS_AT_ONCE = 4

/** The place in the chain of batches: what the next one must say. Null when any will do. */
export interface Expected {
  readonly number: number
  readonly previousCrc: number
}

export interface ScannedBatch {
  readonly header: BatchHeader
  readonly records: readonly DecodedRecord[]
  /** Of each record, in the segment. */
  readonly offsets: readonly number[]
}

export interface SegmentScan {
  readonly batchCount: number
  /** Where the next batch would begin. */
  readonly end: number
  readonly expected: Expected | null
  /** What follows the end is not all zeros, as far as one batch may reach. */
  readonly tailDirty: boolean
  /** The header of the very batch that was expected at the end is there: it was torn. */
  readonly torn: boolean
  /** Beyond the end lies what can't be there unless the batch at the end had been complete once. */
  readonly later: boolean
}

export class SegmentScanner {
  readonly #crc32c: Crc32c
  readonly #logId: number
  readonly #memory: Uint8Array
  readonly #batchBytesMax: number

  constructor(crc32c: Crc32c, logId: number, memory: Uint8Array, batchBytesMax: number) {
    this.#crc32c = crc32c
    this.#logId = logId
    this.#memory = memory
    this.#batchBytesMax = batchBytesMax
  }

  /** Reads a whole segment into memory; what the file lacks counts as zeros. */
  async load(file: DiskFile): Promise<void> {
    const { byteLength } = this.#memory
    const piece = Math.ceil(byteLength / READS_AT_ONCE / DISK_BLOCK_BYTES) * DISK_BLOCK_BYTES
    const reads: Promise<void>[] = []
    for (let at = 0; at < byteLength; at += piece) {
      reads.push(this.#read(file, at, Math.min(byteLength, at + piece)))
    }
    await Promise.all(reads)
  }

  async #read(file: DiskFile, from: number, to: number): Promise<void> {
    const bytes = await file.read(this.#memory.subarray(from, to), from)
    this.#memory.fill(0, from + bytes, to)
  }

  /** Gives each sound batch to `take`, in order; its views are good until the next load(). */
  async scan(
    file: DiskFile,
    sequence: number,
    first: Expected | null,
    take: (batch: ScannedBatch) => void,
  ): Promise<SegmentScan> {
    await this.load(file)
    let expected = first
    let at = SEGMENT_BODY_AT
    let batchCount = 0
    let readAgainAt = -1
    while (at < this.#memory.byteLength) {
      const found = this.#batchAt(at, sequence, expected)
      if (found === null) {
        if (readAgainAt === at || !this.#dirty(at)) break
        // A wrong bit may have come from the way, not the disk: look once more before judging.
        readAgainAt = at
        await this.#read(file, at, this.#windowEnd(at))
        continue
      }
      take(found.batch)
      batchCount++
      expected = { number: found.batch.header.number + 1, previousCrc: found.crc }
      at += found.paddedBytes
    }
    const end = Math.min(at, this.#memory.byteLength)
    return {
      batchCount,
      end,
      expected,
      tailDirty: this.#dirty(end),
      torn: expected !== null && this.#headerAt(end, sequence)?.header.number === expected.number,
      later: this.#laterThan(end, sequence, expected),
    }
  }

  /** Whether any block of the loaded segment is the header of a batch, of `sequence` or later. */
  hasBatches(sequence: number, ofAnyLog: boolean): boolean {
    for (let at = 0; at < this.#memory.byteLength; at += DISK_BLOCK_BYTES) {
      const found = decodeBatchHeader(this.#memory.subarray(at, at + BATCH_HEADER_BYTES))
      if (found === null) continue
      if (ofAnyLog) return true
      if (found.header.logId === this.#logId && found.header.sequence >= sequence) return true
    }
    return false
  }

  #windowEnd(at: number): number {
    return Math.min(this.#memory.byteLength, at + this.#batchBytesMax)
  }

  #dirty(at: number): boolean {
    const end = this.#windowEnd(at)
    for (let i = at; i < end; i++) if (this.#memory[i] !== 0) return true
    return false
  }

  #headerAt(
    at: number,
    sequence: number,
  ): { readonly header: BatchHeader; readonly crc: number } | null {
    const found = decodeBatchHeader(this.#memory.subarray(at, at + BATCH_HEADER_BYTES))
    if (found === null || found.header.logId !== this.#logId) return null
    return found.header.sequence === sequence ? found : null
  }

  #batchAt(
    at: number,
    sequence: number,
    expected: Expected | null,
  ): { readonly batch: ScannedBatch; readonly crc: number; readonly paddedBytes: number } | null {
    const found = this.#headerAt(at, sequence)
    if (found === null || found.header.position !== at) return null
    const { header, crc } = found
    const chained =
      expected === null ||
      (header.number === expected.number && header.previousCrc === expected.previousCrc)
    const end = at + BATCH_HEADER_BYTES + header.recordBytes
    if (!chained || end > this.#memory.byteLength) return null
    if (header.recordCount * RECORD_HEAD_BYTES > header.recordBytes) return null
    const records: DecodedRecord[] = []
    const offsets: number[] = []
    let next = at + BATCH_HEADER_BYTES
    let recordsCrc = 0
    for (let i = 0; i < header.recordCount; i++) {
      const record = decodeRecord(this.#crc32c, this.#memory, next, end, sequence, next)
      if (record === null) return null
      recordsCrc = addRecordCrc(recordsCrc, this.#memory, next)
      records.push(record)
      offsets.push(next)
      next = record.end
    }
    if (next !== end || recordsCrc !== header.recordsCrc) return null
    const paddedBytes = Math.ceil((end - at) / DISK_BLOCK_BYTES) * DISK_BLOCK_BYTES
    return { batch: { header, records, offsets }, crc, paddedBytes }
  }

  /**
   * One write is in flight at a time. So a header of the segment with a later number, or with this
   * number in another place, says that the write at `end` had ended, or went astray. A header in
   * its own place that does not continue the chain says the same of the batch before.
   */
  #laterThan(end: number, sequence: number, expected: Expected | null): boolean {
    for (let at = end; at < this.#memory.byteLength; at += DISK_BLOCK_BYTES) {
      const header = this.#headerAt(at, sequence)?.header
      if (header === undefined) continue
      if (expected === null || header.number > expected.number) return true
      if (header.number < expected.number) continue
      if (at !== end || header.position !== end) return true
      if (header.previousCrc !== expected.previousCrc) return true
    }
    return false
  }
}
