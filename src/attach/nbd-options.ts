// Owns the layouts of NBD's negotiation: the greeting, the options' data and their replies.
// Bytes that a client sent are untrusted: what is malformed is null, and the option is refused.

import { viewOf } from '../base/bytes.ts'
import { NBD_PAYLOAD_BYTES_MAX } from './config.ts'
import {
  BASE_ALLOCATION,
  FLAG_FIXED_NEWSTYLE,
  FLAG_NO_ZEROES,
  INFO_BLOCK_SIZE,
  INFO_EXPORT,
  NBD_MAGIC,
  OPTION_MAGIC,
  OPTION_REPLY_MAGIC,
  STRING_BYTES_MAX,
} from './nbd-protocol.ts'

const GREETING_BYTES = 18
const REPLY_HEADER_BYTES = 20
const RESERVED_BYTES = 124

export interface GoOption {
  readonly name: string
  readonly wantsBlockSize: boolean
}

export interface MetaOption {
  readonly name: string
  readonly queries: readonly string[]
}

export function encodeGreeting(): Uint8Array {
  const out = new Uint8Array(GREETING_BYTES)
  const view = viewOf(out)
  view.setUint32(0, NBD_MAGIC[0])
  view.setUint32(4, NBD_MAGIC[1])
  view.setUint32(8, OPTION_MAGIC[0])
  view.setUint32(12, OPTION_MAGIC[1])
  view.setUint16(16, FLAG_FIXED_NEWSTYLE | FLAG_NO_ZEROES)
  return out
}

export function encodeOptionReply(option: number, type: number, data: Uint8Array): Uint8Array {
  const out = new Uint8Array(REPLY_HEADER_BYTES + data.byteLength)
  const view = viewOf(out)
  view.setUint32(0, OPTION_REPLY_MAGIC[0])
  view.setUint32(4, OPTION_REPLY_MAGIC[1])
  view.setUint32(8, option)
  view.setUint32(12, type)
  view.setUint32(16, data.byteLength)
  out.set(data, REPLY_HEADER_BYTES)
  return out
}

/** The reply to NBD_OPT_EXPORT_NAME, the one option whose reply has no header. */
export function encodeExportName(sizeBytes: number, flags: number, noZeroes: boolean): Uint8Array {
  const out = new Uint8Array(10 + (noZeroes ? 0 : RESERVED_BYTES))
  writeU64(viewOf(out), 0, sizeBytes)
  viewOf(out).setUint16(8, flags)
  return out
}

export function encodeExportInfo(sizeBytes: number, flags: number): Uint8Array {
  const out = new Uint8Array(12)
  const view = viewOf(out)
  view.setUint16(0, INFO_EXPORT)
  writeU64(view, 2, sizeBytes)
  view.setUint16(10, flags)
  return out
}

/** Any byte may be addressed; a block is what is cheap. */
export function encodeBlockSizeInfo(blockBytes: number): Uint8Array {
  const out = new Uint8Array(14)
  const view = viewOf(out)
  view.setUint16(0, INFO_BLOCK_SIZE)
  view.setUint32(2, 1)
  view.setUint32(6, blockBytes)
  view.setUint32(10, NBD_PAYLOAD_BYTES_MAX)
  return out
}

/** The data of NBD_REP_SERVER. */
export function encodeExportListing(name: string): Uint8Array {
  return prefixed(new TextEncoder().encode(name), (view, bytes) => view.setUint32(0, bytes))
}

/** The data of NBD_REP_META_CONTEXT. */
export function encodeContext(id: number): Uint8Array {
  return prefixed(new TextEncoder().encode(BASE_ALLOCATION), (view) => view.setUint32(0, id))
}

function prefixed(text: Uint8Array, prefix: (view: DataView, bytes: number) => void): Uint8Array {
  const out = new Uint8Array(4 + text.byteLength)
  prefix(viewOf(out), text.byteLength)
  out.set(text, 4)
  return out
}

function writeU64(view: DataView, at: number, value: number): void {
  view.setUint32(at, Math.floor(value / 0x1_0000_0000))
  view.setUint32(at + 4, value >>> 0)
}

/** The whole of `data` as a name; null when it is none. */
export function decodeName(data: Uint8Array): string | null {
  if (data.byteLength > STRING_BYTES_MAX) return null
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(data)
  } catch {
    return null
  }
}

export function decodeGo(data: Uint8Array): GoOption | null {
  const cursor = new Cursor(data)
  const name = cursor.string()
  const count = cursor.u16()
  if (name === null || count === null || cursor.left !== 2 * count) return null
  let wantsBlockSize = false
  for (let i = 0; i < count; i++) wantsBlockSize ||= cursor.u16() === INFO_BLOCK_SIZE
  return { name, wantsBlockSize }
}

export function decodeMeta(data: Uint8Array): MetaOption | null {
  const cursor = new Cursor(data)
  const name = cursor.string()
  const count = cursor.u32()
  // Each query has at least its length, so that a count is bounded by what was sent.
  if (name === null || count === null || cursor.left < 4 * count) return null
  const queries: string[] = []
  for (let i = 0; i < count; i++) {
    const query = cursor.string()
    if (query === null) return null
    queries.push(query)
  }
  return cursor.left === 0 ? { name, queries } : null
}

class Cursor {
  readonly #data: Uint8Array
  readonly #view: DataView
  #at = 0

  constructor(data: Uint8Array) {
    this.#data = data
    this.#view = viewOf(data)
  }

  get left(): number {
    return this.#data.byteLength - this.#at
  }

  u16(): number | null {
    if (this.left < 2) return null
    this.#at += 2
    return this.#view.getUint16(this.#at - 2)
  }

  u32(): number | null {
    if (this.left < 4) return null
    this.#at += 4
    return this.#view.getUint32(this.#at - 4)
  }

  /** A length of 32 bits and that many bytes. */
  string(): string | null {
    const length = this.u32()
    if (length === null || length > this.left) return null
    this.#at += length
    return decodeName(this.#data.subarray(this.#at - length, this.#at))
  }
}
