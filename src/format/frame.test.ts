import { describe, expect, it } from 'vitest'
import { vectorsOf } from '../../test/vectors.ts'
import { bytesOfHex, hexOf, viewOf } from '../base/bytes.ts'
import { crc32cPure } from '../base/crc32c.ts'
import {
  blankHeader,
  decodeFrameHeader,
  encodeFrameHeader,
  FRAME_HEADER_BYTES,
  FRAME_KINDS,
  type FrameFault,
  type FrameHeader,
  type FrameKind,
} from './frame.ts'

interface FrameFields {
  readonly kind: FrameKind
  readonly method: number
  readonly callId: number
  readonly budgetMs: number
  readonly body: string
  readonly payload: string
}

function headerOf(fields: FrameFields): FrameHeader {
  const body = bytesOfHex(fields.body)
  const payload = bytesOfHex(fields.payload)
  return {
    ...blankHeader(),
    kind: fields.kind,
    method: fields.method,
    callId: fields.callId,
    budgetMs: fields.budgetMs,
    bodyBytes: body.byteLength,
    payloadBytes: payload.byteLength,
    bodyCrc: crc32cPure(body),
    payloadCrc: crc32cPure(payload),
  }
}

function decode(bytes: Uint8Array): FrameHeader | FrameFault {
  const out = blankHeader()
  return decodeFrameHeader(bytes, viewOf(bytes), 0, out) ?? out
}

/** With a CRC that is right again. */
function mended(bytes: Uint8Array): Uint8Array {
  const copy = bytes.slice()
  viewOf(copy).setUint32(36, crc32cPure(copy.subarray(0, 36)), true)
  return copy
}

const VECTORS = vectorsOf<FrameFields>('frame.txt', 'frame')

describe('the frame header', () => {
  it('is written and read as the vectors say', () => {
    expect(VECTORS.length).toBeGreaterThan(6)
    for (const { fields, bytes } of VECTORS) {
      const out = new Uint8Array(FRAME_HEADER_BYTES + 3)
      encodeFrameHeader(headerOf(fields), out, viewOf(out), 3)
      expect(hexOf(out.subarray(3))).toBe(hexOf(bytes.subarray(0, FRAME_HEADER_BYTES)))
      expect(decode(bytes)).toEqual(headerOf(fields))
    }
  })

  it('is refused with any one bit turned', () => {
    const bytes = (VECTORS[3] as { bytes: Uint8Array }).bytes.slice(0, FRAME_HEADER_BYTES)
    for (let bit = 0; bit < 8 * FRAME_HEADER_BYTES; bit++) {
      const damaged = bytes.slice()
      damaged[bit >> 3] = (damaged[bit >> 3] as number) ^ (1 << (bit & 7))
      const wanted = bit < 24 ? 'bad-magic' : bit < 32 ? 'bad-version' : 'bad-header'
      expect(decode(damaged), `bit ${bit}`).toBe(wanted)
    }
  })

  it('is refused with a kind that is none, and with a call id above 2^53', () => {
    const bytes = (VECTORS[3] as { bytes: Uint8Array }).bytes.slice(0, FRAME_HEADER_BYTES)
    for (const kind of [0, 10, 255]) {
      bytes[4] = kind
      expect(decode(mended(bytes))).toBe('bad-kind')
    }
    bytes[4] = FRAME_KINDS.request
    bytes[14] = 0x20
    expect(decode(mended(bytes))).toBe('bad-header')
  })

  it('may have flags that this version does not know', () => {
    const bytes = (VECTORS[3] as { bytes: Uint8Array }).bytes.slice(0, FRAME_HEADER_BYTES)
    bytes[5] = 0xff
    expect(decode(mended(bytes))).toMatchObject({ kind: 'request', flags: 255 })
  })

  it('keeps its numbers of kinds', () => {
    expect(FRAME_KINDS).toEqual({
      hello: 1,
      'hello-reply': 2,
      request: 3,
      reply: 4,
      error: 5,
      notify: 6,
      ping: 7,
      pong: 8,
      goodbye: 9,
    })
  })
})
