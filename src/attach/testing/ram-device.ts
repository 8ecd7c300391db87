// Owns a block device in memory for tests and measurements of front ends: it counts what is asked of
// it, knows which blocks were never written, and can be told to fail or to wait.

import { LemnisError } from '../../base/errors.ts'
import type { BlockDevice, Extent, WriteOptions } from '../../client/device.ts'

const BLOCK_BYTES = 4096

export class RamDevice implements BlockDevice {
  sizeBytes: number
  readonly blockBytes = BLOCK_BYTES
  readonly readOnly: boolean
  readonly bytes: Uint8Array
  readonly calls = { read: 0, write: 0, fua: 0, flush: 0, discard: 0, writeZeroes: 0, extents: 0 }
  discardedBytes = 0
  isClosed = false
  /** Thrown by every operation while it is set. */
  failure: LemnisError | null = null
  /** Every operation waits for it. */
  gate: Promise<void> | null = null
  readonly #isData: Uint8Array

  /** `roomBytes` is how far the device may grow by setting sizeBytes. */
  constructor(sizeBytes: number, readOnly = false, roomBytes = sizeBytes) {
    this.sizeBytes = sizeBytes
    this.readOnly = readOnly
    this.bytes = new Uint8Array(roomBytes)
    this.#isData = new Uint8Array(Math.ceil(roomBytes / BLOCK_BYTES))
  }

  read(offset: number, length: number): Promise<Uint8Array> {
    this.calls.read++
    // The short way for measurements: no more than one promise.
    if (this.gate === null && this.failure === null && offset + length <= this.sizeBytes) {
      return Promise.resolve(this.bytes.slice(offset, offset + length))
    }
    return this.#enter(offset, length).then(() => this.bytes.slice(offset, offset + length))
  }

  async write(offset: number, bytes: Uint8Array, options: WriteOptions = {}): Promise<void> {
    this.calls.write++
    if (options.fua === true) this.calls.fua++
    await this.#enter(offset, bytes.byteLength)
    this.#change()
    this.bytes.set(bytes, offset)
    this.#mark(offset, bytes.byteLength, 1)
  }

  async flush(): Promise<void> {
    this.calls.flush++
    await this.#enter(0, 0)
  }

  async discard(offset: number, length: number): Promise<void> {
    this.calls.discard++
    this.discardedBytes += length
    await this.#clear(offset, length)
  }

  async writeZeroes(offset: number, length: number): Promise<void> {
    this.calls.writeZeroes++
    await this.#clear(offset, length)
  }

  async extents(offset: number, length: number): Promise<Extent[]> {
    this.calls.extents++
    await this.#enter(offset, length)
    const out: { offset: number; length: number; kind: 'data' | 'zero' }[] = []
    const end = offset + length
    for (let at = offset; at < end; ) {
      const block = Math.floor(at / BLOCK_BYTES)
      const next = Math.min(end, (block + 1) * BLOCK_BYTES)
      const kind = this.#isData[block] === 1 ? 'data' : 'zero'
      const last = out.at(-1)
      if (last?.kind === kind) last.length += next - at
      else out.push({ offset: at, length: next - at, kind })
      at = next
    }
    return out
  }

  async close(): Promise<void> {
    await Promise.resolve()
    this.isClosed = true
  }

  async #clear(offset: number, length: number): Promise<void> {
    await this.#enter(offset, length)
    this.#change()
    this.bytes.fill(0, offset, offset + length)
    const first = Math.ceil(offset / BLOCK_BYTES) * BLOCK_BYTES
    const end = Math.floor((offset + length) / BLOCK_BYTES) * BLOCK_BYTES
    if (end > first) this.#mark(first, end - first, 0)
  }

  async #enter(offset: number, length: number): Promise<void> {
    if (this.gate !== null) await this.gate
    if (this.isClosed) throw new LemnisError('CLOSED')
    if (this.failure !== null) throw this.failure
    if (offset + length > this.sizeBytes)
      throw new LemnisError('INVALID_ARGUMENT', { offset, length })
  }

  #change(): void {
    if (this.readOnly) throw new LemnisError('INVALID_ARGUMENT', { reason: 'read-only' })
  }

  #mark(offset: number, length: number, isData: 0 | 1): void {
    if (length === 0) return
    const first = Math.floor(offset / BLOCK_BYTES)
    this.#isData.fill(isData, first, Math.ceil((offset + length) / BLOCK_BYTES))
  }
}
