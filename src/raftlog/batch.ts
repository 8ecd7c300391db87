// Owns one write to the log while it fills: records are encoded where they will lie, straight into
// memory that the disk takes. Its place is fixed when it is begun, so that the index of what it
// holds is known before it is written. Leaves to raftlog.ts when it goes.

import { assert } from '../base/assert.ts'
import { roundUp, viewOf } from '../base/bytes.ts'
import type { Crc32c } from '../base/crc32c.ts'
import type { LemnisError } from '../base/errors.ts'
import { DISK_BLOCK_BYTES } from '../env/disk.ts'
import {
  addRecordCrc,
  BATCH_HEADER_BYTES,
  encodeBatchHeader,
  RECORD_HEAD_BYTES,
  type RecordHead,
  sealRecord,
} from './format.ts'

export type OnDurable = (error: LemnisError | null) => void

export class Batch {
  readonly number: number
  readonly sequence: number
  readonly position: number
  readonly memory: Uint8Array
  readonly #view: DataView
  readonly #limit: number
  readonly #crc32c: Crc32c
  #bytes = BATCH_HEADER_BYTES
  #recordCount = 0
  #recordsCrc = 0
  /** Whom to tell, in order, and when they asked. */
  readonly waiting: OnDurable[] = []
  readonly askedMs: number[] = []
  /** Segments before this one may go when the batch is durable. */
  boundary = 0

  constructor(
    crc32c: Crc32c,
    memory: Uint8Array,
    number: number,
    sequence: number,
    position: number,
    bytesMax: number,
  ) {
    this.#crc32c = crc32c
    this.memory = memory
    this.#view = viewOf(memory)
    this.number = number
    this.sequence = sequence
    this.position = position
    this.#limit = Math.min(memory.byteLength, bytesMax)
  }

  get recordCount(): number {
    return this.#recordCount
  }

  /** Bytes on disk. */
  get paddedBytes(): number {
    return roundUp(this.#bytes, DISK_BLOCK_BYTES)
  }

  fits(bytes: number): boolean {
    return this.#bytes + bytes <= this.#limit
  }

  /** Adds a record and returns its offset in the segment. */
  add(head: RecordHead, payload: Uint8Array): number {
    assert(this.fits(RECORD_HEAD_BYTES + payload.byteLength), 'room in the batch')
    this.memory.set(payload, this.#bytes + RECORD_HEAD_BYTES)
    return this.#seal(head, payload.byteLength)
  }

  /** As add(); `write` puts a payload of `bytes`. */
  addWith(head: RecordHead, bytes: number, write: (view: DataView, at: number) => void): number {
    assert(this.fits(RECORD_HEAD_BYTES + bytes), 'room in the batch')
    write(this.#view, this.#bytes + RECORD_HEAD_BYTES)
    return this.#seal(head, bytes)
  }

  #seal(head: RecordHead, payloadBytes: number): number {
    const at = this.#bytes
    const { memory, sequence } = this
    const offset = this.position + at
    sealRecord(this.#crc32c, memory, this.#view, at, head, payloadBytes, sequence, offset)
    this.#recordsCrc = addRecordCrc(this.#recordsCrc, memory, at)
    this.#bytes = at + RECORD_HEAD_BYTES + payloadBytes
    this.#recordCount++
    return offset
  }

  /** Completes the batch; returns its crc, for the next one. */
  seal(logId: number, previousCrc: number): number {
    this.memory.fill(0, this.#bytes, this.paddedBytes)
    return encodeBatchHeader(
      {
        logId,
        sequence: this.sequence,
        position: this.position,
        recordBytes: this.#bytes - BATCH_HEADER_BYTES,
        number: this.number,
        boundary: this.boundary,
        recordCount: this.#recordCount,
        previousCrc,
        recordsCrc: this.#recordsCrc,
      },
      this.memory,
    )
  }
}
