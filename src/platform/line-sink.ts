// Owns the way of lines to a file descriptor: gathered, one asynchronous write at a time.
// Invariant: write() never blocks and never throws, and a descriptor that takes nothing (a full disk, a
// pipe that nobody reads) neither fills the memory nor keeps the process from ending.

import { write, writeSync } from 'node:fs'

/** What became of lines that did not get out. */
export type SinkTrouble = 'line-dropped' | 'write-failed'

/** About 40,000 lines of a log: minutes of a busy server, and no danger to its memory. */
const QUEUED_CHARACTERS_MAX = 8 * 1024 * 1024
/** A full pipe is tried again after this long; its reader needs a turn of its own to empty it. */
const FULL_PIPE_PAUSE_MS = 10
/** At the end a full pipe is waited for this many pauses, a second in all. */
const FULL_PIPE_PAUSES_MAX = 100

export class LineSink {
  readonly #fd: number
  readonly #onTrouble: (trouble: SinkTrouble) => void
  #queued: string[] = []
  #queuedCharacters = 0
  #writing = false

  constructor(fd: number, onTrouble: (trouble: SinkTrouble) => void) {
    this.#fd = fd
    this.#onTrouble = onTrouble
  }

  write(line: string): void {
    if (this.#queuedCharacters + line.length > QUEUED_CHARACTERS_MAX) {
      this.#onTrouble('line-dropped')
      return
    }
    this.#queued.push(line)
    this.#queuedCharacters += line.length
    if (!this.#writing) this.#writeQueued()
  }

  /** Blocks until what is queued was handed to the system or refused. */
  flush(): void {
    let rest: Uint8Array = this.#takeQueued()
    let pauses = 0
    while (rest.byteLength > 0) {
      try {
        rest = rest.subarray(writeSync(this.#fd, rest))
      } catch (error) {
        if (!isFullPipe(error) || ++pauses > FULL_PIPE_PAUSES_MAX) {
          this.#onTrouble('write-failed')
          return
        }
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, FULL_PIPE_PAUSE_MS)
      }
    }
  }

  #takeQueued(): Uint8Array {
    const bytes = Buffer.from(this.#queued.join(''))
    this.#queued = []
    this.#queuedCharacters = 0
    return bytes
  }

  #writeQueued(): void {
    if (this.#queued.length === 0) return
    this.#writing = true
    this.#writeAll(this.#takeQueued())
  }

  #writeAll(bytes: Uint8Array): void {
    write(this.#fd, bytes, (error, written) => {
      if (isFullPipe(error)) {
        setTimeout(() => this.#writeAll(bytes), FULL_PIPE_PAUSE_MS)
        return
      }
      if (error === null && written < bytes.byteLength) {
        this.#writeAll(bytes.subarray(written))
        return
      }
      if (error !== null) this.#onTrouble('write-failed')
      this.#writing = false
      this.#writeQueued()
    })
  }
}

function isFullPipe(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'EAGAIN'
}
