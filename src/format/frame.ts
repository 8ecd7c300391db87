// Owns the header of a frame: everything between two processes of a cluster travels in frames of
// header, body and payload (docs/formats/rpc.md). Invariant: the header is under its own CRC, so a
// length is never believed before it has been checked. Bodies are frame-bodies.ts's, the stream of
// bytes is frame-reader.ts's.

import { crc32cPure } from '../base/crc32c.ts'
import { readU53, writeU53 } from '../base/u53.ts'
import { FRAME_VERSION } from './version.ts'

// Header, 40 bytes, little endian:
//  0 'L' 'E' 'M' | 3 frame version u8 | 4 kind u8 | 5 flags u8 | 6 method u16 | 8 call id u53
// 16 budget ms u32 | 20 body bytes u32 | 24 payload bytes u32 | 28 payload CRC u32 | 32 body CRC u32
// 36 CRC of bytes 0 to 35 u32
export const FRAME_HEADER_BYTES = 40

const MAGIC_AND_VERSION = (0x4c | (0x45 << 8) | (0x4d << 16) | (FRAME_VERSION << 24)) >>> 0
const CRC_AT = 36

/** Magic and version. */
export const FRAME_START_BYTES = 4

export const FRAME_KINDS = {
  hello: 1,
  'hello-reply': 2,
  request: 3,
  reply: 4,
  error: 5,
  notify: 6,
  ping: 7,
  pong: 8,
  goodbye: 9,
} as const

export type FrameKind = keyof typeof FRAME_KINDS

const KIND_OF_NUMBER: readonly (FrameKind | undefined)[] = makeKindTable()

function makeKindTable(): (FrameKind | undefined)[] {
  const table: (FrameKind | undefined)[] = []
  for (const [kind, number] of Object.entries(FRAME_KINDS)) table[number] = kind as FrameKind
  return table
}

/** One object may be filled again for every frame of a stream. */
export interface FrameHeader {
  kind: FrameKind
  /** No bit has a meaning yet; a receiver ignores the ones it does not know. */
  flags: number
  method: number
  callId: number
  /** Time left for the call when it was sent; 0 for without limit. */
  budgetMs: number
  bodyBytes: number
  payloadBytes: number
  payloadCrc: number
  bodyCrc: number
}

export function blankHeader(): FrameHeader {
  return {
    kind: 'ping',
    flags: 0,
    method: 0,
    callId: 0,
    budgetMs: 0,
    bodyBytes: 0,
    payloadBytes: 0,
    payloadCrc: 0,
    bodyCrc: 0,
  }
}

/** Why bytes are no frame of ours. */
export type FrameFault = 'bad-magic' | 'bad-version' | 'bad-header' | 'bad-kind'

/** Writes a header; `bytes` and `view` look at the same memory, `at` is where the header starts. */
export function encodeFrameHeader(
  header: FrameHeader,
  bytes: Uint8Array,
  view: DataView,
  at: number,
): void {
  view.setUint32(at, MAGIC_AND_VERSION, true)
  view.setUint8(at + 4, FRAME_KINDS[header.kind])
  view.setUint8(at + 5, header.flags)
  view.setUint16(at + 6, header.method, true)
  writeU53(view, at + 8, header.callId)
  view.setUint32(at + 16, header.budgetMs, true)
  view.setUint32(at + 20, header.bodyBytes, true)
  view.setUint32(at + 24, header.payloadBytes, true)
  view.setUint32(at + 28, header.payloadCrc, true)
  view.setUint32(at + 32, header.bodyCrc, true)
  view.setUint32(at + CRC_AT, crc32cPure(bytes.subarray(at, at + CRC_AT)), true)
}

/** Reads the header at `at`, all FRAME_HEADER_BYTES of which are there, into `out`. */
export function decodeFrameHeader(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  out: FrameHeader,
): FrameFault | null {
  const fault = faultOfStart(bytes, view, at)
  if (fault !== null) return fault
  const crc = view.getUint32(at + CRC_AT, true)
  if (crc32cPure(bytes.subarray(at, at + CRC_AT)) !== crc) return 'bad-header'
  const kind = KIND_OF_NUMBER[view.getUint8(at + 4)]
  if (kind === undefined) return 'bad-kind'
  // A sender that counts beyond 2^53 is no sender of ours, however right its CRC.
  if (view.getUint32(at + 12, true) > 0x1f_ffff) return 'bad-header'
  out.kind = kind
  out.flags = view.getUint8(at + 5)
  out.method = view.getUint16(at + 6, true)
  out.callId = readU53(view, at + 8)
  out.budgetMs = view.getUint32(at + 16, true)
  out.bodyBytes = view.getUint32(at + 20, true)
  out.payloadBytes = view.getUint32(at + 24, true)
  out.payloadCrc = view.getUint32(at + 28, true)
  out.bodyCrc = view.getUint32(at + 32, true)
  return null
}

/**
 * Whether the FRAME_START_BYTES at `at` can begin a frame: a stranger is known before its header is
 * whole.
 */
export function faultOfStart(bytes: Uint8Array, view: DataView, at: number): FrameFault | null {
  if (view.getUint32(at, true) === MAGIC_AND_VERSION) return null
  const isOurs = bytes[at] === 0x4c && bytes[at + 1] === 0x45 && bytes[at + 2] === 0x4d
  return isOurs ? 'bad-version' : 'bad-magic'
}
