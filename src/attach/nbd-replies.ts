// Owns how answers to requests become memory to send: headers and small data are copied behind each
// other into a slab, large data goes as it is, so that a turn's answers are few parts of one gathered
// write. Invariant: memory handed out by take() is not written to again.

import { viewOf } from '../base/bytes.ts'
import type { Extent } from '../client/device.ts'
import {
  BASE_ALLOCATION_ID,
  type NbdRequest,
  REPLY_BLOCK_STATUS,
  REPLY_ERROR,
  REPLY_FLAG_DONE,
  REPLY_NONE,
  REPLY_OFFSET_DATA,
  SIMPLE_REPLY_MAGIC,
  STATE_HOLE,
  STATE_ZERO,
  STRING_BYTES_MAX,
  STRUCTURED_REPLY_MAGIC,
} from './nbd-protocol.ts'

const SIMPLE_BYTES = 16
const STRUCTURED_BYTES = 20
/** Sixteen blocks with their headers: what a turn of a busy connection has. */
const SLAB_BYTES = 72 * 1024
/** Up to here a copy is cheaper than one more part of a gathered write. */
const COPY_BYTES_MAX = 8 * 1024

export class NbdReplies {
  /** Set once structured replies have been agreed on. */
  isStructured = false
  #slab = new Uint8Array(SLAB_BYTES)
  #view = viewOf(this.#slab)
  /** What lies in the slab from here to #at is not in #parts yet. */
  #from = 0
  #at = 0
  #parts: Uint8Array[] = []

  get isEmpty(): boolean {
    return this.#parts.length === 0 && this.#at === this.#from
  }

  /** Success without data, which is shortest as a simple reply in either mode. */
  done(request: NbdRequest): void {
    this.#simple(request, 0)
  }

  error(request: NbdRequest, error: number, message: string): void {
    if (!this.isStructured) {
      this.#simple(request, error)
      return
    }
    const text = shorten(new TextEncoder().encode(message))
    this.#structured(request, REPLY_ERROR, 6 + text.byteLength, 6)
    this.#view.setUint32(this.#at - 6, error)
    this.#view.setUint16(this.#at - 2, text.byteLength)
    this.#append(text)
  }

  /** Borrows `data` until it is sent. */
  data(request: NbdRequest, data: Uint8Array): void {
    if (!this.isStructured) {
      this.#simple(request, 0)
    } else if (data.byteLength === 0) {
      this.#structured(request, REPLY_NONE, 0, 0)
    } else {
      this.#structured(request, REPLY_OFFSET_DATA, 8 + data.byteLength, 8)
      this.#writeU64(this.#at - 8, request.offset)
    }
    this.#append(data)
  }

  blockStatus(request: NbdRequest, extents: readonly Extent[]): void {
    const list = new Uint8Array(8 * extents.length)
    const view = viewOf(list)
    extents.forEach((extent, i) => {
      view.setUint32(8 * i, extent.length)
      view.setUint32(8 * i + 4, extent.kind === 'zero' ? STATE_HOLE | STATE_ZERO : 0)
    })
    this.#structured(request, REPLY_BLOCK_STATUS, 4 + list.byteLength, 4)
    this.#view.setUint32(this.#at - 4, BASE_ALLOCATION_ID)
    this.#append(list)
  }

  /** Bytes of the negotiation, as they are. */
  raw(bytes: Uint8Array): void {
    this.#append(bytes)
  }

  /** Everything added since the last take(), as one gathered write. */
  take(): Uint8Array[] {
    this.#closeRun()
    const parts = this.#parts
    this.#parts = []
    return parts
  }

  #simple(request: NbdRequest, error: number): void {
    const at = this.#claim(SIMPLE_BYTES)
    const view = this.#view
    view.setUint32(at, SIMPLE_REPLY_MAGIC)
    view.setUint32(at + 4, error)
    view.setUint32(at + 8, request.cookieHigh)
    view.setUint32(at + 12, request.cookieLow)
  }

  /** The header of a last chunk; `fixedBytes` of its payload are left behind it to be filled in. */
  #structured(request: NbdRequest, type: number, payloadBytes: number, fixedBytes: number): void {
    const at = this.#claim(STRUCTURED_BYTES + fixedBytes)
    const view = this.#view
    view.setUint32(at, STRUCTURED_REPLY_MAGIC)
    view.setUint16(at + 4, REPLY_FLAG_DONE)
    view.setUint16(at + 6, type)
    view.setUint32(at + 8, request.cookieHigh)
    view.setUint32(at + 12, request.cookieLow)
    view.setUint32(at + 16, payloadBytes)
  }

  #writeU64(at: number, value: number): void {
    this.#view.setUint32(at, Math.floor(value / 0x1_0000_0000))
    this.#view.setUint32(at + 4, value >>> 0)
  }

  #append(bytes: Uint8Array): void {
    if (bytes.byteLength > COPY_BYTES_MAX) {
      this.#closeRun()
      this.#parts.push(bytes)
      return
    }
    const at = this.#claim(bytes.byteLength)
    this.#slab.set(bytes, at)
  }

  #claim(bytes: number): number {
    if (this.#at + bytes > SLAB_BYTES) {
      this.#closeRun()
      this.#slab = new Uint8Array(SLAB_BYTES)
      this.#view = viewOf(this.#slab)
      this.#from = 0
      this.#at = 0
    }
    const at = this.#at
    this.#at += bytes
    return at
  }

  #closeRun(): void {
    if (this.#at > this.#from) this.#parts.push(this.#slab.subarray(this.#from, this.#at))
    this.#from = this.#at
  }
}

/** At most as long as the protocol allows, cut between characters. */
function shorten(text: Uint8Array): Uint8Array {
  if (text.byteLength <= STRING_BYTES_MAX) return text
  let end = STRING_BYTES_MAX
  while (end > 0 && ((text[end] as number) & 0xc0) === 0x80) end--
  return text.subarray(0, end)
}
