// Owns the worker thread's half of writing in batches: takes a slot of the shared arena, writes its
// pieces one after the other with synchronous calls, and answers with one message.
// The thread runs the source text of serveBatches(), so that it is the same program from src/ and from
// dist/; therefore nothing in it may refer to anything outside of it, types excepted.

import type fs from 'node:fs'
import type { MessagePort } from 'node:worker_threads'

/** Where in the arena one slot lies: its rows (see ROW_BYTES), then its data. */
export interface SlotPlace {
  readonly rowsAt: number
  readonly dataAt: number
}

/** Posted to the worker: the first `rowCount` rows of a slot. */
export interface BatchOrder {
  readonly slot: number
  readonly rowCount: number
}

/** The answer: null, or the error of the first row that failed; later rows were not begun. */
export interface BatchAnswer {
  readonly slot: number
  readonly failure: { readonly row: number; readonly errno: string } | null
}

export interface BatchSetup {
  readonly arena: SharedArrayBuffer
  readonly slots: readonly SlotPlace[]
}

/** A row of a slot: descriptor, bytes, offset in the file, each a float64. */
export const ROW_NUMBERS = 3
export const ROW_BYTES = ROW_NUMBERS * 8

function serveBatches(
  writeSync: typeof fs.writeSync,
  port: MessagePort,
  { arena, slots }: BatchSetup,
): void {
  const bytes = new Uint8Array(arena)
  const writeRow = (fd: number, from: number, count: number, at: number): void => {
    let done = 0
    while (done < count) {
      const written = writeSync(fd, bytes, from + done, count - done, at + done)
      if (written === 0) throw Object.assign(new Error('nothing written'), { code: 'EIO' })
      done += written
    }
  }
  port.on('message', ({ slot, rowCount }: BatchOrder) => {
    const { rowsAt, dataAt } = slots[slot] as SlotPlace
    const rows = new Float64Array(arena, rowsAt, rowCount * 3)
    let failure: BatchAnswer['failure'] = null
    let from = dataAt
    for (let row = 0; row < rowCount && failure === null; row++) {
      const count = rows[3 * row + 1] as number
      try {
        writeRow(rows[3 * row] as number, from, count, rows[3 * row + 2] as number)
      } catch (error) {
        const code = (error as { readonly code?: unknown }).code
        failure = { row, errno: typeof code === 'string' ? code : 'unknown' }
      }
      from += count
    }
    const answer: BatchAnswer = { slot, failure }
    port.postMessage(answer)
  })
}

/** The program of the worker, for `new Worker(..., { eval: true })`. */
export const BATCH_PROGRAM = `
const { parentPort, workerData } = require('node:worker_threads')
const { writeSync } = require('node:fs')
;(${serveBatches.toString()})(writeSync, parentPort, workerData)`
