// Owns the way from a client's bytes to options and requests, however the stream is cut.
// Invariants: memory for a payload is taken only after the sink admitted its request; while the sink
// holds the reader nothing further is read, and push() says how far it came; what is handed out is
// the sink's for ever. Lengths and magic numbers are checked here, meanings are the connection's.

import { EMPTY, viewOf } from '../base/bytes.ts'
import { Slab } from '../base/slab.ts'
import { CMD_WRITE, type NbdRequest, OPTION_MAGIC, REQUEST_MAGIC } from './nbd-protocol.ts'

const PAYLOAD_SLAB_BYTES = 256 * 1024
const PAYLOAD_SLAB_ITEM_BYTES_MAX = 16 * 1024

const CLIENT_FLAGS_BYTES = 4
const OPTION_HEADER_BYTES = 16
const REQUEST_HEADER_BYTES = 28
/**
 * Longest data of an option: two strings of 4096 bytes and a few hundred queries. More is a client
 * that means no good.
 */
export const OPTION_BYTES_MAX = 64 * 1024

export type Admission = 'take' | 'skip' | 'wait'

export interface NbdSink {
  clientFlags(flags: number): void
  /** `data` is the sink's. */
  option(option: number, data: Uint8Array): void
  /**
   * Before a payload is read. 'skip': the payload is thrown away and skipped() follows. 'wait': the
   * reader is held until release(), and asks again.
   */
  admit(request: NbdRequest): Admission
  /** `payload` is the sink's; empty for all commands but a write. */
  request(request: NbdRequest, payload: Uint8Array): void
  skipped(request: NbdRequest): void
}

export type NbdFault = 'bad-option-magic' | 'option-too-large' | 'bad-request-magic'

type Part = 'flags' | 'option' | 'option-data' | 'request' | 'admission' | 'payload' | 'skip'

const NO_REQUEST: NbdRequest = {
  command: 0,
  flags: 0,
  cookieHigh: 0,
  cookieLow: 0,
  offset: 0,
  length: 0,
}

export class NbdReader {
  readonly #sink: NbdSink
  /** A header that came in pieces. */
  readonly #payloads = new Slab(PAYLOAD_SLAB_BYTES, PAYLOAD_SLAB_ITEM_BYTES_MAX)
  readonly #scratch = new Uint8Array(REQUEST_HEADER_BYTES)
  readonly #scratchView = viewOf(this.#scratch)
  #part: Part = 'flags'
  /** How much of the present part is there. */
  #have = 0
  #isHeld = false
  #isStopped = false
  #fault: NbdFault | null = null
  #option = 0
  #data: Uint8Array = EMPTY
  #request = NO_REQUEST
  #skipBytes = 0

  constructor(sink: NbdSink) {
    this.#sink = sink
  }

  get isHeld(): boolean {
    return this.#isHeld
  }

  /** Why the stream has no meaning any more. */
  get fault(): NbdFault | null {
    return this.#fault
  }

  /** Reads nothing further until release(). */
  hold(): void {
    this.#isHeld = true
  }

  release(): void {
    this.#isHeld = false
  }

  /** Nothing more is handed out. */
  stop(): void {
    this.#isStopped = true
  }

  /** Options are over: what follows are requests. */
  startTransmission(): void {
    this.#part = 'request'
    this.#have = 0
  }

  /**
   * Takes bytes of the stream, lent, and returns how many: all of them, unless the reader is held or
   * at a fault. The rest is to be pushed again.
   */
  push(bytes: Uint8Array): number {
    const view = viewOf(bytes)
    const end = bytes.byteLength
    let at = 0
    while (!this.#isHeld && !this.#isStopped && this.#fault === null) {
      if (this.#part === 'admission') this.#admit()
      else if (at < end) at += this.#take(bytes, view, at)
      else break
    }
    return at
  }

  #take(bytes: Uint8Array, view: DataView, at: number): number {
    switch (this.#part) {
      case 'flags':
        return this.#takeHeader(CLIENT_FLAGS_BYTES, bytes, view, at)
      case 'option':
        return this.#takeHeader(OPTION_HEADER_BYTES, bytes, view, at)
      case 'request':
        return this.#takeHeader(REQUEST_HEADER_BYTES, bytes, view, at)
      case 'skip':
        return this.#skip(bytes.byteLength - at)
      default:
        return this.#takeData(bytes, at)
    }
  }

  #takeHeader(headerBytes: number, bytes: Uint8Array, view: DataView, at: number): number {
    if (this.#have === 0 && bytes.byteLength - at >= headerBytes) {
      this.#header(view, at)
      return headerBytes
    }
    const taken = Math.min(headerBytes - this.#have, bytes.byteLength - at)
    this.#scratch.set(bytes.subarray(at, at + taken), this.#have)
    this.#have += taken
    if (this.#have < headerBytes) return taken
    this.#have = 0
    this.#header(this.#scratchView, 0)
    return taken
  }

  #header(view: DataView, at: number): void {
    if (this.#part === 'request') this.#requestHeader(view, at)
    else if (this.#part === 'option') this.#optionHeader(view, at)
    else {
      this.#part = 'option'
      this.#sink.clientFlags(view.getUint32(at))
    }
  }

  #optionHeader(view: DataView, at: number): void {
    if (view.getUint32(at) !== OPTION_MAGIC[0] || view.getUint32(at + 4) !== OPTION_MAGIC[1]) {
      this.#fault = 'bad-option-magic'
      return
    }
    const length = view.getUint32(at + 12)
    if (length > OPTION_BYTES_MAX) {
      this.#fault = 'option-too-large'
      return
    }
    this.#option = view.getUint32(at + 8)
    if (length === 0) {
      this.#sink.option(this.#option, EMPTY)
      return
    }
    this.#data = new Uint8Array(length)
    this.#part = 'option-data'
  }

  #requestHeader(view: DataView, at: number): void {
    if (view.getUint32(at) !== REQUEST_MAGIC) {
      this.#fault = 'bad-request-magic'
      return
    }
    this.#request = {
      flags: view.getUint16(at + 4),
      command: view.getUint16(at + 6),
      cookieHigh: view.getUint32(at + 8),
      cookieLow: view.getUint32(at + 12),
      // Beyond 2^53 it is no longer exact, and beyond the end of every volume all the more.
      offset: view.getUint32(at + 16) * 0x1_0000_0000 + view.getUint32(at + 20),
      length: view.getUint32(at + 24),
    }
    this.#part = 'admission'
  }

  #admit(): void {
    const request = this.#request
    const admission = this.#sink.admit(request)
    if (admission === 'wait') {
      this.#isHeld = true
      return
    }
    const payloadBytes = request.command === CMD_WRITE ? request.length : 0
    if (admission === 'skip') {
      this.#skipBytes = payloadBytes
      this.#part = 'skip'
      if (payloadBytes === 0) this.#skip(0)
    } else if (payloadBytes === 0) {
      this.#part = 'request'
      this.#sink.request(request, EMPTY)
    } else {
      this.#data = this.#payloads.take(payloadBytes)
      this.#part = 'payload'
    }
  }

  #takeData(bytes: Uint8Array, at: number): number {
    const data = this.#data
    const taken = Math.min(data.byteLength - this.#have, bytes.byteLength - at)
    data.set(bytes.subarray(at, at + taken), this.#have)
    this.#have += taken
    if (this.#have < data.byteLength) return taken
    this.#have = 0
    this.#data = EMPTY
    if (this.#part === 'payload') {
      this.#part = 'request'
      this.#sink.request(this.#request, data)
    } else {
      this.#part = 'option'
      this.#sink.option(this.#option, data)
    }
    return taken
  }

  #skip(bytes: number): number {
    const taken = Math.min(this.#skipBytes, bytes)
    this.#skipBytes -= taken
    if (this.#skipBytes === 0) {
      this.#part = 'request'
      this.#sink.skipped(this.#request)
    }
    return taken
  }
}
