// Owns the state of one bucket: its keys, and what it remembers of its clients against repetition.
// A bucket that was frozen (for a checkpoint or a snapshot) is never changed again: the machine goes
// on with a copy of its tables, which share keys and values.
// As bytes, the same for equal states, so that replicas may finish each other's transfers:
//   magic u32 | bucketCount u32 | bucket u32 | itemCount u32 | sessionCount u32 | bytes u32 | version u53
//   item:    keyBytes u16 | zero u16 | valueBytes u32 | index u53 | key | value      (sorted by key)
//   session: client u53 | sequence u53 | index u53 | status u32     (least recently used first)
//   CRC32C u32 of all that

import { viewOf } from '../../base/bytes.ts'
import type { Crc32c } from '../../base/crc32c.ts'
import { LemnisError } from '../../base/errors.ts'
import { readU53, writeU53 } from '../../base/u53.ts'
import { type KvStatus, statusCode, statusOfCode } from './kv-codec.ts'

const MAGIC = 0x3142564b // 'KVB1'
export const BUCKET_HEADER_BYTES = 32
const ITEM_HEADER_BYTES = 16
const SESSION_BYTES = 28

/** Clients a bucket remembers; the least recently seen goes. */
const SESSIONS_MAX = 1024

export interface KvItem {
  readonly value: Uint8Array
  /** Of the entry that wrote it. */
  readonly index: number
  /** Its part of the digest; -1 until somebody asks. */
  digest: number
}

export interface KvSession {
  readonly sequence: number
  readonly index: number
  readonly status: KvStatus
}

/** Bytes as text of one character a byte: what a Map can look up. */
export function textOfKey(key: Uint8Array): string {
  let text = ''
  for (let i = 0; i < key.byteLength; i++) text += String.fromCharCode(key[i] as number)
  return text
}

export class KvBucket {
  readonly items: Map<string, KvItem>
  readonly sessions: Map<number, KvSession>
  /** The index of the last entry that changed anything here; 0 for an untouched bucket. */
  version: number
  /** Of encode(). */
  bytes: number
  frozen = false

  constructor(from?: KvBucket) {
    this.items = new Map(from?.items)
    this.sessions = new Map(from?.sessions)
    this.version = from?.version ?? 0
    this.bytes = from?.bytes ?? BUCKET_HEADER_BYTES + 4
  }

  set(key: string, value: Uint8Array, index: number): void {
    const old = this.items.get(key)
    if (old === undefined) this.bytes += ITEM_HEADER_BYTES + key.length
    else this.bytes -= old.value.byteLength
    this.bytes += value.byteLength
    this.items.set(key, { value, index, digest: -1 })
  }

  delete(key: string): void {
    const old = this.items.get(key)
    if (old === undefined) return
    this.bytes -= ITEM_HEADER_BYTES + key.length + old.value.byteLength
    this.items.delete(key)
  }

  remember(client: number, session: KvSession): void {
    if (this.sessions.delete(client)) this.bytes -= SESSION_BYTES
    if (this.sessions.size >= SESSIONS_MAX) {
      for (const oldest of this.sessions.keys()) {
        this.sessions.delete(oldest)
        this.bytes -= SESSION_BYTES
        break
      }
    }
    this.sessions.set(client, session)
    this.bytes += SESSION_BYTES
  }

  /** A number of everything in it, whatever the order in which it came. */
  digest(crc32c: Crc32c): number {
    let sum = this.version >>> 0
    for (const [key, item] of this.items) {
      if (item.digest < 0) item.digest = digestOfItem(key, item, crc32c)
      sum = (sum + item.digest) >>> 0
    }
    for (const [client, session] of this.sessions) {
      const mixed =
        client * 31 + session.sequence * 17 + session.index * 7 + statusCode(session.status)
      sum = (sum + Math.imul(mixed % 0x1_0000_0000, 0x9e3779b1)) >>> 0
    }
    return sum
  }

  encode(bucket: number, bucketCount: number, crc32c: Crc32c): Uint8Array {
    const out = new Uint8Array(this.bytes)
    const view = viewOf(out)
    const header = [MAGIC, bucketCount, bucket, this.items.size, this.sessions.size, this.bytes]
    for (const [i, word] of header.entries()) view.setUint32(4 * i, word, true)
    writeU53(view, 24, this.version)
    let at = BUCKET_HEADER_BYTES
    for (const key of [...this.items.keys()].sort()) {
      const item = this.items.get(key) as KvItem
      view.setUint16(at, key.length, true)
      view.setUint32(at + 4, item.value.byteLength, true)
      writeU53(view, at + 8, item.index)
      at += ITEM_HEADER_BYTES
      for (let i = 0; i < key.length; i++) out[at + i] = key.charCodeAt(i)
      out.set(item.value, at + key.length)
      at += key.length + item.value.byteLength
    }
    for (const [client, session] of this.sessions) {
      writeU53(view, at, client)
      writeU53(view, at + 8, session.sequence)
      writeU53(view, at + 16, session.index)
      view.setUint32(at + 24, statusCode(session.status), true)
      at += SESSION_BYTES
    }
    view.setUint32(at, crc32c(out.subarray(0, at)), true)
    return out
  }
}

function digestOfItem(key: string, item: KvItem, crc32c: Crc32c): number {
  const head = new Uint8Array(8 + key.length)
  writeU53(viewOf(head), 0, item.index)
  for (let i = 0; i < key.length; i++) head[8 + i] = key.charCodeAt(i)
  return crc32c(item.value, crc32c(head))
}

/** A bucket whose values lie in `bytes`; CORRUPT when they are not exactly one bucket. */
export function decodeBucket(
  bytes: Uint8Array,
  bucket: number,
  bucketCount: number,
  crc32c: Crc32c,
): KvBucket {
  const view = viewOf(bytes)
  const end = bytes.byteLength - 4
  const corrupt = (reason: string): LemnisError =>
    new LemnisError('CORRUPT', { what: 'bucket', bucket, reason })
  if (end < BUCKET_HEADER_BYTES || view.getUint32(20, true) !== bytes.byteLength)
    throw corrupt('length')
  if (crc32c(bytes.subarray(0, end)) !== view.getUint32(end, true)) throw corrupt('checksum')
  const isThis = view.getUint32(4, true) === bucketCount && view.getUint32(8, true) === bucket
  if (view.getUint32(0, true) !== MAGIC || !isThis) throw corrupt('another bucket')
  const state = new KvBucket()
  state.version = readU53(view, 24)
  let at = BUCKET_HEADER_BYTES
  for (let left = view.getUint32(12, true); left > 0; left--) {
    if (at + ITEM_HEADER_BYTES > end) throw corrupt('item')
    const keyEnd = at + ITEM_HEADER_BYTES + view.getUint16(at, true)
    const valueEnd = keyEnd + view.getUint32(at + 4, true)
    if (valueEnd > end) throw corrupt('item')
    const key = textOfKey(bytes.subarray(at + ITEM_HEADER_BYTES, keyEnd))
    state.set(key, bytes.subarray(keyEnd, valueEnd), readU53(view, at + 8))
    at = valueEnd
  }
  for (let left = view.getUint32(16, true); left > 0; left--, at += SESSION_BYTES) {
    const status =
      at + SESSION_BYTES > end ? undefined : statusOfCode(view.getUint32(at + 24, true))
    if (status === undefined) throw corrupt('session')
    const session = { sequence: readU53(view, at + 8), index: readU53(view, at + 16), status }
    state.remember(readU53(view, at), session)
  }
  if (at !== end || state.bytes !== bytes.byteLength) throw corrupt('rest')
  return state
}
