// Owns the bodies of the frames that the RPC itself speaks: the two hellos and errors. Bodies of
// requests and replies belong to whoever owns the method.
// Invariant: what is too short or too long is CORRUPT; bytes behind the known fields are ignored,
// so that a newer version may add some.

import { viewOf } from '../base/bytes.ts'
import { ERRORS, type ErrorDetail, errorCodeOfWire, LemnisError } from '../base/errors.ts'
import type { VersionRange } from './version.ts'

/** What each side says first. The reply's range is the one version agreed on. */
export interface Hello {
  readonly versions: VersionRange
  /** What the sender takes in one frame. */
  readonly bodyBytesMax: number
  readonly payloadBytesMax: number
  /** Who the sender is, for people. */
  readonly name: string
  /** The cluster the sender belongs to; empty when it does not know or does not care. */
  readonly clusterId: string
}

// Hello: oldest version u16 | newest version u16 | body bytes max u32 | payload bytes max u32 |
//        name bytes u8 | cluster id bytes u8 | name UTF-8 | cluster id UTF-8
const HELLO_FIXED_BYTES = 14
const HELLO_TEXT_BYTES_MAX = 255

/** Longest body of a frame of this file, with room for fields of later versions. */
export const SMALL_BODY_BYTES_MAX = 4096

export function encodeHello(hello: Hello): Uint8Array {
  const name = shortText(hello.name, 'name')
  const clusterId = shortText(hello.clusterId, 'clusterId')
  const out = new Uint8Array(HELLO_FIXED_BYTES + name.byteLength + clusterId.byteLength)
  const view = viewOf(out)
  view.setUint16(0, hello.versions.oldest, true)
  view.setUint16(2, hello.versions.newest, true)
  view.setUint32(4, hello.bodyBytesMax, true)
  view.setUint32(8, hello.payloadBytesMax, true)
  view.setUint8(12, name.byteLength)
  view.setUint8(13, clusterId.byteLength)
  out.set(name, HELLO_FIXED_BYTES)
  out.set(clusterId, HELLO_FIXED_BYTES + name.byteLength)
  return out
}

export function decodeHello(body: Uint8Array): Hello {
  if (body.byteLength < HELLO_FIXED_BYTES) throw new LemnisError('CORRUPT', { field: 'hello' })
  const view = viewOf(body)
  const nameEnd = HELLO_FIXED_BYTES + view.getUint8(12)
  const clusterEnd = nameEnd + view.getUint8(13)
  if (body.byteLength < clusterEnd) throw new LemnisError('CORRUPT', { field: 'hello' })
  return {
    versions: { oldest: view.getUint16(0, true), newest: view.getUint16(2, true) },
    bodyBytesMax: view.getUint32(4, true),
    payloadBytesMax: view.getUint32(8, true),
    name: textOf(body.subarray(HELLO_FIXED_BYTES, nameEnd)),
    clusterId: textOf(body.subarray(nameEnd, clusterEnd)),
  }
}

/** An error as it travels. `detail` keeps its fields, so that a caller may use what is in them. */
export interface WireError {
  readonly error: LemnisError
  /** When a retry may make sense; 0 for no opinion. */
  readonly hintMs: number
}

// Error: code u16 | detail bytes u16 | hint ms u32 | detail as a JSON object, UTF-8
const ERROR_FIXED_BYTES = 8

/**
 * A longer detail travels without its fields: it is for people, and an error must never be refused.
 */
export const ERROR_DETAIL_BYTES_MAX = 2048

export function encodeError(error: LemnisError, hintMs: number): Uint8Array {
  let detail = new TextEncoder().encode(JSON.stringify(error.detail))
  if (detail.byteLength > ERROR_DETAIL_BYTES_MAX) detail = new TextEncoder().encode('{}')
  const out = new Uint8Array(ERROR_FIXED_BYTES + detail.byteLength)
  const view = viewOf(out)
  view.setUint16(0, ERRORS[error.code].wire, true)
  view.setUint16(2, detail.byteLength, true)
  view.setUint32(4, Math.min(Math.ceil(hintMs), 0xffff_ffff), true)
  out.set(detail, ERROR_FIXED_BYTES)
  return out
}

export function decodeError(body: Uint8Array): WireError {
  if (body.byteLength < ERROR_FIXED_BYTES) throw new LemnisError('CORRUPT', { field: 'error' })
  const view = viewOf(body)
  const end = ERROR_FIXED_BYTES + view.getUint16(2, true)
  if (body.byteLength < end) throw new LemnisError('CORRUPT', { field: 'error' })
  const detail = detailOf(textOf(body.subarray(ERROR_FIXED_BYTES, end)))
  const code = errorCodeOfWire(view.getUint16(0, true))
  return { error: new LemnisError(code, detail), hintMs: view.getUint32(4, true) }
}

function detailOf(text: string): ErrorDetail {
  const fields = parsedObject(text)
  const detail: Record<string, string | number | boolean> = {}
  for (const [key, value] of Object.entries(fields)) {
    if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') {
      detail[key] = value
    }
  }
  return detail
}

function parsedObject(text: string): object {
  try {
    const parsed: unknown = JSON.parse(text)
    if (typeof parsed === 'object' && parsed !== null) return parsed
  } catch {
    // Handled below with every other text that is no object.
  }
  throw new LemnisError('CORRUPT', { field: 'error detail' })
}

function shortText(text: string, field: string): Uint8Array {
  const bytes = new TextEncoder().encode(text)
  if (bytes.byteLength > HELLO_TEXT_BYTES_MAX) {
    throw new LemnisError('INVALID_ARGUMENT', { field, bytesMax: HELLO_TEXT_BYTES_MAX })
  }
  return bytes
}

function textOf(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw new LemnisError('CORRUPT', { field: 'text' })
  }
}
