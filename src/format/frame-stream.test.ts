// The writer and the reader of frames together: whatever is written comes out, however it is cut,
// and nothing else ever does.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { vectorsOf } from '../../test/vectors.ts'
import { bytesEqual, bytesOfHex, concat, EMPTY, hexOf, joined } from '../base/bytes.ts'
import { crc32cPure } from '../base/crc32c.ts'
import { FRAME_HEADER_BYTES, FRAME_KINDS, type FrameHeader, type FrameKind } from './frame.ts'
import { type FrameLimits, FrameReader, type FrameSink, type StreamFault } from './frame-reader.ts'
import { FrameWriter } from './frame-writer.ts'

interface Frame {
  readonly kind: FrameKind
  readonly method: number
  readonly callId: number
  readonly budgetMs: number
  readonly body: Uint8Array
  readonly payload: Uint8Array
}

const LIMITS: FrameLimits = { bodyBytesMax: 10_000, payloadBytesMax: 100_000 }

class Collector implements FrameSink {
  readonly frames: Frame[] = []
  readonly refusedCalls: number[] = []
  admits: (header: FrameHeader) => boolean = () => true
  onFrame: () => void = () => {}

  admit(header: FrameHeader): boolean {
    return this.admits(header)
  }
  frame(header: FrameHeader, body: Uint8Array, payload: Uint8Array): void {
    const { kind, method, callId, budgetMs } = header
    this.frames.push({ kind, method, callId, budgetMs, body, payload })
    this.onFrame()
  }
  refused(header: FrameHeader): void {
    this.refusedCalls.push(header.callId)
  }
}

function write(frames: readonly Frame[]): Uint8Array {
  const writer = new FrameWriter(crc32cPure)
  let pending = 0
  for (const { kind, method, callId, budgetMs, body, payload } of frames) {
    writer.add(kind, method, callId, budgetMs, body, payload, crc32cPure(payload))
    pending += FRAME_HEADER_BYTES + body.byteLength + payload.byteLength
    expect(writer.pendingBytes).toBe(pending)
  }
  expect(writer.frames).toBe(frames.length)
  const bytes = concat(writer.take())
  expect(bytes.byteLength).toBe(pending)
  expect([writer.pendingBytes, writer.frames, writer.take().length]).toEqual([0, 0, 0])
  return bytes
}

/** Pushes pieces as a socket does: in lent memory that is overwritten afterwards. */
function push(reader: FrameReader, bytes: Uint8Array, cuts: readonly number[]): StreamFault | null {
  const lent = new Uint8Array(bytes.byteLength + 16)
  let from = 0
  for (const to of [...cuts.map((c) => c % (bytes.byteLength + 1)).sort((a, b) => a - b), -1]) {
    const end = to === -1 ? bytes.byteLength : to
    lent.set(bytes.subarray(from, end), 5)
    const fault = reader.push(lent.subarray(5, 5 + end - from))
    lent.fill(0xaa)
    if (fault !== null) return fault
    from = end
  }
  return null
}

function readAll(bytes: Uint8Array, cuts: readonly number[], limits = LIMITS): Collector {
  const collector = new Collector()
  expect(push(new FrameReader(crc32cPure, limits, collector), bytes, cuts)).toBeNull()
  return collector
}

function expectSame(read: readonly Frame[], written: readonly Frame[]): void {
  expect(read.length).toBe(written.length)
  for (const [i, frame] of written.entries()) {
    const got = read[i] as Frame
    const { body, payload, ...fields } = frame
    expect(got).toMatchObject(fields)
    expect(bytesEqual(got.body, body) && bytesEqual(got.payload, payload)).toBe(true)
  }
}

const sizes = fc.oneof(
  fc.nat({ max: 40 }),
  fc.constantFrom(1023, 1024, 1025, 4096, 9999),
  fc.nat({ max: 9999 }),
)
const frames: fc.Arbitrary<Frame> = fc
  .record({
    kind: fc.constantFrom(...(Object.keys(FRAME_KINDS) as FrameKind[])),
    method: fc.nat({ max: 0xffff }),
    callId: fc.maxSafeNat(),
    budgetMs: fc.nat({ max: 0xffff_ffff }),
    bodyBytes: sizes,
    payloadBytes: sizes,
    fill: fc.nat({ max: 255 }),
  })
  .map(({ bodyBytes, payloadBytes, fill, ...rest }) => ({
    ...rest,
    body: new Uint8Array(bodyBytes).map((_, i) => i + fill),
    payload: new Uint8Array(payloadBytes).map((_, i) => i * 3 + fill),
  }))

describe('a stream of frames', () => {
  it('comes out as it went in, however it is cut', () => {
    fc.assert(
      fc.property(
        fc.array(frames, { maxLength: 30 }),
        fc.array(fc.nat(), { maxLength: 20 }),
        (written, cuts) => expectSame(readAll(write(written), cuts).frames, written),
      ),
    )
  })

  it('comes out when cut at every byte, and byte by byte', () => {
    const vectors = vectorsOf<{ kind: FrameKind; body: string; payload: string }>(
      'frame.txt',
      'frame',
    )
    const bytes = concat(vectors.map((v) => v.bytes))
    const check = (cuts: number[]): void => {
      const read = readAll(bytes, cuts)
      const shown = read.frames.map((f) => `${f.kind} ${hexOf(f.body)} ${hexOf(f.payload)}`)
      expect(shown).toEqual(vectors.map(({ fields: f }) => `${f.kind} ${f.body} ${f.payload}`))
    }
    for (let cut = 0; cut <= bytes.byteLength; cut++) check([cut])
    check(Array.from({ length: bytes.byteLength }, (_, i) => i))
  })

  it('hands out nothing of a frame that is not whole', () => {
    const [vector] = vectorsOf('frame.txt', 'frame').slice(3)
    const { bytes } = vector as { bytes: Uint8Array }
    for (let cut = 0; cut < bytes.byteLength; cut++) {
      const collector = new Collector()
      const reader = new FrameReader(crc32cPure, LIMITS, collector)
      expect(reader.push(bytes.slice(0, cut))).toBeNull()
      expect(collector.frames.length).toBe(0)
      expect(reader.isMidFrame).toBe(cut > 0)
      expect(reader.frames).toBe(0)
      expect(reader.push(bytes.slice(cut))).toBeNull()
      expect([collector.frames.length, reader.frames, reader.isMidFrame]).toEqual([1, 1, false])
    }
  })

  it('ends in a fault with any one bit turned, and hands out only what came before it', () => {
    const vectors = vectorsOf('frame.txt', 'frame').slice(3, 6)
    const bytes = concat(vectors.map((v) => v.bytes))
    for (let bit = 0; bit < 8 * bytes.byteLength; bit++) {
      const damaged = bytes.slice()
      damaged[bit >> 3] = (damaged[bit >> 3] as number) ^ (1 << (bit & 7))
      const collector = new Collector()
      const fault = push(new FrameReader(crc32cPure, LIMITS, collector), damaged, [bit])
      expect(fault, `bit ${bit}`).not.toBeNull()
      let whole = 0
      let end = 0
      for (const vector of vectors) {
        end += vector.bytes.byteLength
        if (end * 8 <= bit) whole++
      }
      expect(collector.frames.length, `bit ${bit}`).toBe(whole)
    }
  })

  it('names the fault', () => {
    const frame: Frame = {
      kind: 'request',
      method: 1,
      callId: 1,
      budgetMs: 0,
      body: Uint8Array.of(1, 2),
      payload: Uint8Array.of(3, 4),
    }
    const good = write([frame])
    const damage = (at: number): StreamFault | null => {
      const bytes = good.slice()
      bytes[at] = (bytes[at] as number) ^ 1
      return push(new FrameReader(crc32cPure, LIMITS, new Collector()), bytes, [])
    }
    expect([0, 3, 20, 40, 41, 42, 43].map(damage)).toEqual([
      'bad-magic',
      'bad-version',
      'bad-header',
      'bad-body',
      'bad-body',
      'bad-payload',
      'bad-payload',
    ])
  })

  it('is refused before memory is taken when a part is longer than the limits', () => {
    const frame: Frame = {
      kind: 'request',
      method: 1,
      callId: 1,
      budgetMs: 0,
      body: new Uint8Array(100),
      payload: new Uint8Array(1000),
    }
    const faultAt = (bodyBytesMax: number, payloadBytesMax: number): StreamFault | null => {
      const header = write([frame]).subarray(0, FRAME_HEADER_BYTES)
      const limits = { bodyBytesMax, payloadBytesMax }
      return push(new FrameReader(crc32cPure, limits, new Collector()), header, [])
    }
    expect(faultAt(99, 1000)).toBe('too-large')
    expect(faultAt(100, 999)).toBe('too-large')
    expect(faultAt(100, 1000)).toBeNull()
  })

  it('skips what is not admitted and goes on behind it, however it is cut', () => {
    fc.assert(
      fc.property(
        fc.array(frames, { maxLength: 20 }),
        fc.array(fc.nat(), { maxLength: 10 }),
        (written, cuts) => {
          const isOdd = (frame: { readonly callId: number }): boolean => frame.callId % 2 === 1
          const collector = new Collector()
          collector.admits = isOdd
          const reader = new FrameReader(crc32cPure, LIMITS, collector)
          expect(push(reader, write(written), cuts)).toBeNull()
          expectSame(collector.frames, written.filter(isOdd))
          const even = written.filter((frame) => !isOdd(frame))
          expect(collector.refusedCalls).toEqual(even.map((frame) => frame.callId))
          expect(reader.frames).toBe(written.length)
        },
      ),
    )
  })

  it('stops when the sink says so, also in the middle of a piece', () => {
    const [ping] = vectorsOf('frame.txt', 'frame')
    const { bytes } = ping as { bytes: Uint8Array }
    const collector = new Collector()
    const reader = new FrameReader(crc32cPure, LIMITS, collector)
    collector.onFrame = () => reader.stop()
    expect(reader.push(concat([bytes, bytes, Uint8Array.of(1, 2, 3)]))).toBeNull()
    expect(reader.push(bytes.slice())).toBeNull()
    expect(collector.frames.length).toBe(1)

    const refusing = new Collector()
    const other = new FrameReader(crc32cPure, LIMITS, refusing)
    refusing.admits = () => {
      other.stop()
      return false
    }
    expect(other.push(bytes.slice())).toBeNull()
    expect(refusing.refusedCalls).toEqual([])
  })

  it('hands out nothing of noise', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 300 }), fc.nat(), (noise, cut) => {
        fc.pre(noise[0] !== 0x4c)
        const collector = new Collector()
        const fault = push(new FrameReader(crc32cPure, LIMITS, collector), noise, [cut])
        expect(collector.frames.length).toBe(0)
        expect(fault).toBe(noise.byteLength >= 4 ? 'bad-magic' : null)
      }),
    )
  })

  it('has its frames in few parts: small ones together, large ones as they are', () => {
    const writer = new FrameWriter(crc32cPure)
    const block = new Uint8Array(4096)
    for (let i = 0; i < 10; i++)
      writer.add('notify', 1, 0, 0, bytesOfHex('01'), bytesOfHex('02'), 0)
    expect(writer.take().length).toBe(1)
    writer.add('notify', 1, 0, 0, EMPTY, block, 0)
    writer.add('notify', 1, 0, 0, block, EMPTY, 0)
    const parts = writer.take()
    expect(parts.length).toBe(4)
    expect(parts[1]).toBe(block)
    expect(parts[3]).toBe(block)
  })

  it('gives body and payload one piece of memory, a large one of its own', () => {
    const [frame] = readAll(
      write([
        {
          kind: 'notify',
          method: 1,
          callId: 0,
          budgetMs: 0,
          body: new Uint8Array(24).fill(1),
          payload: new Uint8Array(64 * 1024).fill(2),
        },
      ]),
      [],
    ).frames as [Frame]
    expect(frame.payload.buffer.byteLength).toBe(24 + 64 * 1024)
    expect(frame.body.buffer).toBe(frame.payload.buffer)
    expect(joined(frame.body, frame.payload).buffer).toBe(frame.payload.buffer)
  })

  it('sends a payload of several parts as one', () => {
    const writer = new FrameWriter(crc32cPure)
    const parts = [bytesOfHex('0102'), new Uint8Array(2000).fill(3), EMPTY, bytesOfHex('04')]
    const whole = concat(parts)
    const crc = crc32cPure(whole)
    writer.add('notify', 1, 0, 0, bytesOfHex('aa'), parts, crc)
    const inParts = concat(writer.take())
    writer.add('notify', 1, 0, 0, bytesOfHex('aa'), whole, crc)
    expect(inParts).toEqual(concat(writer.take()))
  })

  it('never changes memory that was taken', () => {
    const writer = new FrameWriter(crc32cPure)
    const body = new Uint8Array(1000)
    const taken: { parts: Uint8Array[]; were: string }[] = []
    for (let i = 0; i < 200; i++) {
      writer.add('notify', i, i, 0, body.fill(i).slice(), EMPTY, 0)
      const parts = writer.take()
      taken.push({ parts, were: hexOf(concat(parts)) })
    }
    for (const { parts, were } of taken) expect(hexOf(concat(parts))).toBe(were)
  })
})
