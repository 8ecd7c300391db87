// Owns how frames become memory to send: headers and small bodies and payloads are copied behind
// each other into a slab, large ones go as they are, so that a turn's frames are few parts of one
// gathered write. Invariant: memory handed out by take() is not written to again.

import type { Crc32c } from '../base/crc32c.ts'
import { blankHeader, encodeFrameHeader, FRAME_HEADER_BYTES, type FrameKind } from './frame.ts'

/** What a frame carries: one piece of memory, or several that are sent as if they were one. */
export type Payload = Uint8Array | readonly Uint8Array[]

export function payloadBytesOf(payload: Payload): number {
  if (payload instanceof Uint8Array) return payload.byteLength
  let bytes = 0
  for (const part of payload) bytes += part.byteLength
  return bytes
}

const SLAB_BYTES = 64 * 1024

/** Up to here a copy is cheaper than one more part of a gathered write. */
const COPY_BYTES_MAX = 1024

export class FrameWriter {
  readonly #crc32c: Crc32c
  readonly #header = blankHeader()
  #slab = new Uint8Array(SLAB_BYTES)
  #view = new DataView(this.#slab.buffer)
  /** What lies in the slab from here to #at is not in #parts yet. */
  #from = 0
  #at = 0
  #parts: Uint8Array[] = []
  #pendingBytes = 0
  #frames = 0

  constructor(crc32c: Crc32c) {
    this.#crc32c = crc32c
  }

  /** Bytes added and not yet taken. */
  get pendingBytes(): number {
    return this.#pendingBytes
  }

  /** Frames added and not yet taken. */
  get frames(): number {
    return this.#frames
  }

  /** Adds a frame; borrows `body` and `payload` until they are sent. `payloadCrc` is believed. */
  add(
    kind: FrameKind,
    method: number,
    callId: number,
    budgetMs: number,
    body: Uint8Array,
    payload: Payload,
    payloadCrc: number,
  ): void {
    const payloadBytes = payloadBytesOf(payload)
    const header = this.#header
    header.kind = kind
    header.method = method
    header.callId = callId
    header.budgetMs = budgetMs
    header.bodyBytes = body.byteLength
    header.payloadBytes = payloadBytes
    header.payloadCrc = payloadCrc
    header.bodyCrc = body.byteLength === 0 ? 0 : this.#crc32c(body)
    if (this.#at + FRAME_HEADER_BYTES > SLAB_BYTES) this.#nextSlab()
    encodeFrameHeader(header, this.#slab, this.#view, this.#at)
    this.#at += FRAME_HEADER_BYTES
    if (body.byteLength > 0) this.#append(body)
    if (!(payload instanceof Uint8Array)) for (const part of payload) this.#append(part)
    else if (payloadBytes > 0) this.#append(payload)
    this.#pendingBytes += FRAME_HEADER_BYTES + body.byteLength + payloadBytes
    this.#frames++
  }

  /** Everything added since the last take(), as one gathered write. */
  take(): Uint8Array[] {
    this.#closeRun()
    const parts = this.#parts
    this.#parts = []
    this.#pendingBytes = 0
    this.#frames = 0
    return parts
  }

  #append(bytes: Uint8Array): void {
    if (bytes.byteLength > COPY_BYTES_MAX) {
      this.#closeRun()
      this.#parts.push(bytes)
      return
    }
    if (this.#at + bytes.byteLength > SLAB_BYTES) this.#nextSlab()
    this.#slab.set(bytes, this.#at)
    this.#at += bytes.byteLength
  }

  #closeRun(): void {
    if (this.#at > this.#from) this.#parts.push(this.#slab.subarray(this.#from, this.#at))
    this.#from = this.#at
  }

  #nextSlab(): void {
    this.#closeRun()
    this.#slab = new Uint8Array(SLAB_BYTES)
    this.#view = new DataView(this.#slab.buffer)
    this.#from = 0
    this.#at = 0
  }
}
