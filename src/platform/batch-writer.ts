// Owns the writing of many small pieces through one worker thread (batch-worker.ts): bytes are copied
// into slots of a shared arena before writeAll() returns, one message a slot goes to the worker, and
// one comes back. What finds no free slot waits in copies of its own.
// Invariants: pieces are written in the order in which they came, also across batches; a target stays
// claimed, and so its descriptor open, until its batch has ended; every batch is answered once.

import { Worker } from 'node:worker_threads'
import { assert, must } from '../base/assert.ts'
import { LemnisError } from '../base/errors.ts'
import {
  BATCH_PROGRAM,
  type BatchAnswer,
  type BatchOrder,
  type BatchSetup,
  ROW_BYTES,
  ROW_NUMBERS,
} from './batch-worker.ts'
import { diskError } from './disk-errors.ts'

/** A file whose descriptor the worker may use between claim() and release(). */
export interface BatchTarget {
  readonly path: string
  claim(): number
  release(): void
}

export interface BatchPiece {
  readonly target: BatchTarget
  readonly at: number
  readonly from: Uint8Array
}

const SLOT_COUNT = 8
const SLOT_BYTES = 1024 * 1024
const ROWS_BYTES = 16 * 1024
const ROWS_MAX = Math.floor(ROWS_BYTES / ROW_BYTES)
const DATA_BYTES = SLOT_BYTES - ROWS_BYTES

interface Batch {
  pieces: readonly BatchPiece[]
  readonly descriptors: readonly number[]
  /** The first piece that is not, or not wholly, in a slot yet, and how many bytes of it are. */
  next: number
  nextDone: number
  slotsOut: number
  failure: LemnisError | null
  readonly resolve: () => void
  readonly reject: (error: LemnisError) => void
}

interface Slot {
  readonly index: number
  readonly rows: Float64Array
  readonly data: Uint8Array
  batch: Batch | null
  /** Of each row, for messages. */
  readonly paths: string[]
}

export class BatchWriter {
  readonly #slots: readonly Slot[]
  readonly #free: Slot[]
  readonly #worker: Worker
  /** Batches of which a part waits for a slot, oldest first. */
  readonly #waiting: Batch[] = []
  readonly #unended = new Set<Batch>()
  #whenIdle: (() => void) | null = null
  #crash: unknown = null
  /** Why nothing is taken any more. */
  #refusal: LemnisError | null = null

  /** `program` is a parameter so that its end can be tested. */
  constructor(program: string = BATCH_PROGRAM) {
    const arena = new SharedArrayBuffer(SLOT_COUNT * SLOT_BYTES)
    const places = Array.from({ length: SLOT_COUNT }, (_, index) => ({
      rowsAt: index * SLOT_BYTES,
      dataAt: index * SLOT_BYTES + ROWS_BYTES,
    }))
    this.#slots = places.map(({ rowsAt, dataAt }, index) => ({
      index,
      rows: new Float64Array(arena, rowsAt, ROWS_MAX * ROW_NUMBERS),
      data: new Uint8Array(arena, dataAt, DATA_BYTES),
      batch: null,
      paths: [],
    }))
    this.#free = [...this.#slots]
    const workerData: BatchSetup = { arena, slots: places }
    this.#worker = new Worker(program, { eval: true, execArgv: [], workerData })
    this.#worker.on('message', (answer: BatchAnswer) => this.#answered(answer))
    this.#worker.on('error', (error) => {
      this.#crash = error
    })
    this.#worker.on('exit', () => this.#ended())
    this.#worker.unref()
  }

  /** Takes the bytes before it returns. */
  write(pieces: readonly BatchPiece[]): Promise<void> {
    if (this.#refusal !== null) return Promise.reject(this.#refusal)
    if (pieces.length === 0) return Promise.resolve()
    return new Promise((resolve, reject) => {
      const batch: Batch = {
        pieces,
        descriptors: pieces.map(({ target }) => target.claim()),
        next: 0,
        nextDone: 0,
        slotsOut: 0,
        failure: null,
        resolve,
        reject,
      }
      // A thread that works keeps the process alive; one that waits does not.
      if (this.#unended.size === 0) this.#worker.ref()
      this.#unended.add(batch)
      if (this.#waiting.length === 0) this.#pack(batch)
      if (batch.next === pieces.length) return
      // The part of the first piece that is in a slot already is copied again: offsets stay as they are.
      batch.pieces = pieces.map((piece, i) =>
        i < batch.next ? piece : { ...piece, from: piece.from.slice() },
      )
      this.#waiting.push(batch)
    })
  }

  /** Ends the thread when all that was taken is written. */
  async close(): Promise<void> {
    this.#refusal ??= new LemnisError('CLOSED', { what: 'disk' })
    if (this.#unended.size > 0) {
      await new Promise<void>((resolve) => {
        this.#whenIdle = resolve
      })
    }
    await this.#worker.terminate()
  }

  /** Puts as much of the batch as free slots hold into them, each on its way at once. */
  #pack(batch: Batch): void {
    while (batch.next < batch.pieces.length) {
      const slot = this.#free.pop()
      if (slot === undefined) return
      const rowCount = fill(slot, batch)
      slot.batch = batch
      batch.slotsOut++
      const order: BatchOrder = { slot: slot.index, rowCount }
      this.#worker.postMessage(order)
    }
  }

  #answered({ slot: index, failure }: BatchAnswer): void {
    const slot = must(this.#slots[index], 'a slot of the arena')
    const batch = must(slot.batch, 'the batch of an answered slot')
    if (failure !== null) {
      const path = must(slot.paths[failure.row], 'the path of a row')
      batch.failure ??= diskError(failure.errno, path, 'write')
      // What is on its way is written yet; what is not stays unwritten.
      batch.next = batch.pieces.length
    }
    slot.batch = null
    this.#free.push(slot)
    batch.slotsOut--
    this.#packWaiting()
    if (batch.slotsOut === 0 && batch.next === batch.pieces.length) this.#end(batch)
  }

  #packWaiting(): void {
    for (let batch = this.#waiting[0]; batch !== undefined; batch = this.#waiting[0]) {
      this.#pack(batch)
      if (batch.next < batch.pieces.length) return
      this.#waiting.shift()
    }
  }

  #end(batch: Batch): void {
    this.#unended.delete(batch)
    for (const { target } of batch.pieces) target.release()
    if (batch.failure === null) batch.resolve()
    else batch.reject(batch.failure)
    if (this.#unended.size > 0) return
    this.#worker.unref()
    this.#whenIdle?.()
  }

  /** The thread is gone: after close() nothing waits, else what waits was never written as a whole. */
  #ended(): void {
    const ended = new LemnisError('INTERNAL', { what: 'the writing thread ended' }, this.#crash)
    this.#refusal ??= ended
    this.#waiting.length = 0
    for (const batch of [...this.#unended]) {
      batch.failure ??= ended
      this.#end(batch)
    }
  }
}

/** Fills rows and data of a slot from where the batch stands; the number of rows. */
function fill(slot: Slot, batch: Batch): number {
  const { rows, data, paths } = slot
  paths.length = 0
  let dataBytes = 0
  let rowCount = 0
  let rowEnd = -1
  while (batch.next < batch.pieces.length && dataBytes < DATA_BYTES) {
    const { target, at, from } = batch.pieces[batch.next] as BatchPiece
    const descriptor = batch.descriptors[batch.next] as number
    const begin = at + batch.nextDone
    // Pieces that follow each other in one file go in one call.
    const joins =
      rowCount > 0 && rowEnd === begin && rows[(rowCount - 1) * ROW_NUMBERS] === descriptor
    if (!joins && rowCount === ROWS_MAX) break
    const bytes = Math.min(from.byteLength - batch.nextDone, DATA_BYTES - dataBytes)
    data.set(from.subarray(batch.nextDone, batch.nextDone + bytes), dataBytes)
    if (joins) {
      const sizeAt = (rowCount - 1) * ROW_NUMBERS + 1
      rows[sizeAt] = (rows[sizeAt] as number) + bytes
    } else {
      rows[rowCount * ROW_NUMBERS] = descriptor
      rows[rowCount * ROW_NUMBERS + 1] = bytes
      rows[rowCount * ROW_NUMBERS + 2] = begin
      paths.push(target.path)
      rowCount++
    }
    rowEnd = begin + bytes
    dataBytes += bytes
    batch.nextDone += bytes
    if (batch.nextDone === from.byteLength) {
      batch.next++
      batch.nextDone = 0
    }
  }
  assert(rowCount > 0, 'a slot that is sent holds something')
  return rowCount
}
