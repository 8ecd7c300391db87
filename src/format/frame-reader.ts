// Owns the way from a stream's pieces to frames, however they are cut.
// Invariants: nothing of a frame is handed out before its CRCs have been checked; memory is taken
// for a frame only after its header was checked, within the limits, and the sink admitted it; what
// is handed out is the sink's for ever and never the stream's memory.

import { EMPTY } from '../base/bytes.ts'
import type { Crc32c } from '../base/crc32c.ts'
import { Slab } from '../base/slab.ts'
import {
  blankHeader,
  decodeFrameHeader,
  FRAME_HEADER_BYTES,
  FRAME_START_BYTES,
  type FrameFault,
  type FrameHeader,
  faultOfStart,
} from './frame.ts'

export interface FrameLimits {
  readonly bodyBytesMax: number
  readonly payloadBytesMax: number
}

export interface FrameSink {
  /**
   * A checked header, lent. False: the frame's body and payload are skipped and refused() follows.
   */
  admit(header: FrameHeader): boolean
  /** A checked frame. The header is lent; body and payload are the sink's. */
  frame(header: FrameHeader, body: Uint8Array, payload: Uint8Array): void
  refused(header: FrameHeader): void
}

export type StreamFault = FrameFault | 'too-large' | 'bad-body' | 'bad-payload'

/** Who keeps a body or a payload keeps its slab: bodies are kept longer, and so get a small one. */
const BODY_SLAB_BYTES = 16 * 1024
const BODY_SLAB_ITEM_BYTES_MAX = 1024
const PAYLOAD_SLAB_BYTES = 256 * 1024
const PAYLOAD_SLAB_ITEM_BYTES_MAX = 16 * 1024

type Part = 'header' | 'body' | 'payload' | 'skip'

export class FrameReader {
  readonly #crc32c: Crc32c
  readonly #limits: FrameLimits
  readonly #sink: FrameSink
  readonly #header = blankHeader()
  /** A header that came in pieces. */
  readonly #scratch = new Uint8Array(FRAME_HEADER_BYTES)
  readonly #scratchView = new DataView(this.#scratch.buffer)
  #part: Part = 'header'
  /** How much of the present part is there. */
  #have = 0
  #skipBytes = 0
  #body: Uint8Array = EMPTY
  #payload: Uint8Array = EMPTY
  #stopped = false
  #frames = 0
  readonly #bodies = new Slab(BODY_SLAB_BYTES, BODY_SLAB_ITEM_BYTES_MAX)
  readonly #payloads = new Slab(PAYLOAD_SLAB_BYTES, PAYLOAD_SLAB_ITEM_BYTES_MAX)
  // Views of the memory that the stream lends, which is the same one every time on most streams.
  #lent = EMPTY
  #lentView = new DataView(EMPTY.buffer)

  constructor(crc32c: Crc32c, limits: FrameLimits, sink: FrameSink) {
    this.#crc32c = crc32c
    this.#limits = limits
    this.#sink = sink
  }

  /** Frames that have been read to their end so far, refused ones included. */
  get frames(): number {
    return this.#frames
  }

  get isMidFrame(): boolean {
    return this.#part !== 'header' || this.#have > 0
  }

  /** Nothing more is handed out, also not of the bytes being read at this moment. */
  stop(): void {
    this.#stopped = true
  }

  /** Takes the next bytes of the stream, lent. After a fault the stream has no meaning any more. */
  push(bytes: Uint8Array): StreamFault | null {
    if (bytes.buffer !== this.#lent.buffer) {
      this.#lent = new Uint8Array(bytes.buffer)
      this.#lentView = new DataView(bytes.buffer)
    }
    let at = bytes.byteOffset
    const end = at + bytes.byteLength
    while (at < end && !this.#stopped) {
      const taken = this.#part === 'header' ? this.#takeHeader(at, end) : this.#takeRest(at, end)
      if (typeof taken !== 'number') {
        this.#stopped = true
        return taken
      }
      at += taken
    }
    return null
  }

  #takeHeader(at: number, end: number): number | StreamFault {
    let fault: StreamFault | null
    let taken = FRAME_HEADER_BYTES
    if (this.#have === 0 && end - at >= FRAME_HEADER_BYTES) {
      fault = decodeFrameHeader(this.#lent, this.#lentView, at, this.#header)
    } else {
      taken = Math.min(FRAME_HEADER_BYTES - this.#have, end - at)
      this.#scratch.set(this.#lent.subarray(at, at + taken), this.#have)
      this.#have += taken
      if (this.#have < FRAME_HEADER_BYTES) return this.#faultOfStart() ?? taken
      this.#have = 0
      fault = decodeFrameHeader(this.#scratch, this.#scratchView, 0, this.#header)
    }
    return fault ?? this.#headerDone() ?? taken
  }

  #faultOfStart(): StreamFault | null {
    if (this.#have < FRAME_START_BYTES) return null
    return faultOfStart(this.#scratch, this.#scratchView, 0)
  }

  #headerDone(): StreamFault | null {
    const { bodyBytes, payloadBytes } = this.#header
    const limits = this.#limits
    if (bodyBytes > limits.bodyBytesMax || payloadBytes > limits.payloadBytesMax) return 'too-large'
    if (!this.#sink.admit(this.#header)) {
      this.#skipBytes = bodyBytes + payloadBytes
      this.#part = 'skip'
      if (this.#skipBytes === 0) this.#refuse()
      return null
    }
    if (payloadBytes === 0) this.#body = this.#bodies.take(bodyBytes)
    else {
      // One piece for both: what keeps them together, as a log entry does, needs no copy (joined()).
      const piece = this.#payloads.take(bodyBytes + payloadBytes)
      this.#body = piece.subarray(0, bodyBytes)
      this.#payload = piece.subarray(bodyBytes)
    }
    if (bodyBytes > 0) {
      this.#part = 'body'
      return null
    }
    return this.#bodyDone()
  }

  #takeRest(at: number, end: number): number | StreamFault {
    if (this.#part === 'skip') return this.#skip(end - at)
    const into = this.#part === 'body' ? this.#body : this.#payload
    const taken = Math.min(into.byteLength - this.#have, end - at)
    into.set(this.#lent.subarray(at, at + taken), this.#have)
    this.#have += taken
    if (this.#have < into.byteLength) return taken
    this.#have = 0
    return (this.#part === 'body' ? this.#bodyDone() : this.#payloadDone()) ?? taken
  }

  #bodyDone(): StreamFault | null {
    const { bodyCrc, payloadBytes } = this.#header
    if (this.#sum(this.#body) !== bodyCrc) return 'bad-body'
    if (payloadBytes === 0) return this.#payloadDone()
    this.#part = 'payload'
    return null
  }

  #payloadDone(): StreamFault | null {
    if (this.#sum(this.#payload) !== this.#header.payloadCrc) return 'bad-payload'
    const body = this.#body
    const payload = this.#payload
    this.#body = EMPTY
    this.#payload = EMPTY
    this.#part = 'header'
    this.#frames++
    this.#sink.frame(this.#header, body, payload)
    return null
  }

  #skip(bytes: number): number {
    const taken = Math.min(this.#skipBytes, bytes)
    this.#skipBytes -= taken
    if (this.#skipBytes === 0) this.#refuse()
    return taken
  }

  #refuse(): void {
    this.#part = 'header'
    this.#frames++
    if (!this.#stopped) this.#sink.refused(this.#header)
  }

  #sum(bytes: Uint8Array): number {
    return bytes.byteLength === 0 ? 0 : this.#crc32c(bytes)
  }
}
