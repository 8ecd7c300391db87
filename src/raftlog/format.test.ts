import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { vectorsOf } from '../../test/vectors.ts'
import { must } from '../base/assert.ts'
import { bytesOfHex, hexOf, viewOf } from '../base/bytes.ts'
import { crc32cPure } from '../base/crc32c.ts'
import { LemnisError } from '../base/errors.ts'
import type { ReplicaId } from '../raft/types.ts'
import { makeRig } from '../sim/disk-rig.ts'
import {
  BATCH_HEADER_BYTES,
  type BatchHeader,
  type DecodedRecord,
  decodeBatchHeader,
  decodeRecord,
  decodeSegmentHeader,
  encodeBatchHeader,
  encodeSegmentHeader,
  type Kept,
  keptBytes,
  RECORD_HEAD_BYTES,
  RECORD_KINDS,
  type RecordKind,
  readIds,
  readKept,
  readMark,
  SEGMENT_HEADER_BYTES,
  type SegmentHeader,
  sealRecord,
  writeKept,
} from './format.ts'
import { configurationOf, openLog, readAll } from './testing/log-rig.ts'

interface RecordFields {
  readonly kind: RecordKind
  readonly group: number
  readonly term: number
  readonly index: number
  readonly payload: string
  readonly sequence: number
  readonly offset: number
}

const SEGMENTS = vectorsOf<SegmentHeader>('raftlog.txt', 'segment')
const BATCHES = vectorsOf<BatchHeader>('raftlog.txt', 'batch')
const RECORDS = vectorsOf<RecordFields>('raftlog.txt', 'record')

function encodeRecord(fields: RecordFields, at = 0): Uint8Array {
  const payload = bytesOfHex(fields.payload)
  const bytes = new Uint8Array(at + RECORD_HEAD_BYTES + payload.byteLength)
  bytes.set(payload, at + RECORD_HEAD_BYTES)
  const { sequence, offset } = fields
  sealRecord(crc32cPure, bytes, viewOf(bytes), at, fields, payload.byteLength, sequence, offset)
  return bytes.subarray(at)
}

function decode(bytes: Uint8Array, fields: RecordFields): DecodedRecord | null {
  return decodeRecord(crc32cPure, bytes, 0, bytes.byteLength, fields.sequence, fields.offset)
}

function flipped(bytes: Uint8Array, bit: number): Uint8Array {
  const copy = bytes.slice()
  copy[bit >> 3] = (copy[bit >> 3] as number) ^ (1 << (bit & 7))
  return copy
}

describe('headers of the log', () => {
  it('are written and read as the vectors say', () => {
    expect([SEGMENTS.length, BATCHES.length]).toEqual([2, 2])
    for (const { fields, bytes } of SEGMENTS) {
      const out = new Uint8Array(SEGMENT_HEADER_BYTES).fill(9)
      encodeSegmentHeader(fields, out)
      expect(hexOf(out)).toBe(hexOf(bytes))
      expect(decodeSegmentHeader(bytes)).toEqual(fields)
    }
    for (const { fields, bytes } of BATCHES) {
      const out = new Uint8Array(BATCH_HEADER_BYTES).fill(9)
      const crc = encodeBatchHeader(fields, out)
      expect(hexOf(out)).toBe(hexOf(bytes))
      expect(decodeBatchHeader(bytes)).toEqual({ header: fields, crc })
    }
  })

  it('are none when cut short or with any bit flipped', () => {
    for (const { bytes } of SEGMENTS) {
      for (let n = 0; n < bytes.byteLength; n++)
        expect(decodeSegmentHeader(bytes.subarray(0, n))).toBe(null)
      for (let bit = 0; bit < 8 * bytes.byteLength; bit++) {
        expect(decodeSegmentHeader(flipped(bytes, bit))).toBe(null)
      }
    }
    for (const { bytes } of BATCHES) {
      for (let n = 0; n < bytes.byteLength; n++)
        expect(decodeBatchHeader(bytes.subarray(0, n))).toBe(null)
      for (let bit = 0; bit < 8 * bytes.byteLength; bit++) {
        expect(decodeBatchHeader(flipped(bytes, bit))).toBe(null)
      }
    }
  })

  it('of a later version are refused by name', () => {
    const segment = must(SEGMENTS[0], 'a vector').bytes.slice()
    segment[4] = 2
    viewOf(segment).setUint32(36, crc32cPure(segment.subarray(0, 36)), true)
    expect(() => decodeSegmentHeader(segment)).toThrow('VERSION_MISMATCH')
    const batch = must(BATCHES[0], 'a vector').bytes.slice()
    batch[4] = 2
    viewOf(batch).setUint32(60, crc32cPure(batch.subarray(0, 60)), true)
    expect(() => decodeBatchHeader(batch)).toThrow('VERSION_MISMATCH')
  })
})

describe('records of the log', () => {
  it('are written and read as the vectors say', () => {
    expect(new Set(RECORDS.map(({ fields }) => fields.kind))).toEqual(
      new Set(Object.keys(RECORD_KINDS)),
    )
    for (const { fields, bytes } of RECORDS) {
      expect(hexOf(encodeRecord(fields))).toBe(hexOf(bytes))
      expect(hexOf(encodeRecord(fields, 13))).toBe(hexOf(bytes))
      const { kind, group, term, index } = fields
      const payload = bytesOfHex(fields.payload)
      expect(decode(bytes, fields)).toEqual({
        kind,
        group,
        term,
        index,
        payload,
        end: bytes.byteLength,
      })
    }
  })

  it('are none when cut short, flipped, or read at another place', () => {
    for (const { fields, bytes } of RECORDS) {
      for (let n = 0; n < bytes.byteLength; n++)
        expect(decode(bytes.subarray(0, n), fields)).toBe(null)
      for (let bit = 0; bit < 8 * bytes.byteLength; bit++) {
        expect(decode(flipped(bytes, bit), fields)).toBe(null)
      }
      expect(decode(bytes, { ...fields, offset: fields.offset + 4096 })).toBe(null)
      expect(decode(bytes, { ...fields, sequence: fields.sequence - 1 })).toBe(null)
    }
  })

  it('of a kind that is none are CORRUPT', () => {
    const fields = RECORDS[0]?.fields as RecordFields
    const bytes = encodeRecord(fields)
    bytes[32] = 77
    const seed = (Math.imul(fields.sequence % 2 ** 32, 0x9e3779b1) + fields.offset) >>> 0
    viewOf(bytes).setUint32(0, crc32cPure(bytes.subarray(4), seed), true)
    expect(() => decode(bytes, fields)).toThrow('CORRUPT')
  })

  it('with payloads of a wrong length are CORRUPT', () => {
    const of = (kind: RecordKind): DecodedRecord => {
      const vector = RECORDS.find(({ fields }) => fields.kind === kind)
      if (vector === undefined) throw new Error(kind)
      return decode(vector.bytes, vector.fields) as DecodedRecord
    }
    const cuts = (record: DecodedRecord, read: (record: DecodedRecord) => unknown): void => {
      const { payload } = record
      for (let n = 0; n < payload.byteLength; n++) {
        expect(() => read({ ...record, payload: payload.slice(0, n) })).toThrow(LemnisError)
      }
    }
    expect(readIds(of('create').payload, 2)).toEqual([4097, 2])
    cuts(of('create'), ({ payload }) => readIds(payload, 2))
    cuts(of('destroy'), ({ payload }) => readIds(payload, 3))
    expect(readMark(of('mark'))).toEqual({ index: 41, term: 5, config: configurationOf(1, 2, 3) })
    cuts(of('mark'), readMark)
    const long = new Uint8Array(of('mark').payload.byteLength + 1)
    long.set(of('mark').payload)
    expect(() => readMark({ ...of('mark'), payload: long })).toThrow('CORRUPT')
    expect(readKept(of('keep'))).toEqual({
      replica: 4097,
      createdEpoch: 2,
      destroyedEpoch: null,
      hardState: { term: 5, vote: 8193, commit: 41 },
      mark: { index: 40, term: 4, config: configurationOf(1, 2, 3) },
    })
    cuts(of('keep'), readKept)
  })

  it('keep any small state', () => {
    const whole = fc.maxSafeNat()
    const mark = fc.record({
      index: whole,
      term: whole,
      config: fc.constant(configurationOf(1, 5)),
    })
    fc.assert(
      fc.property(
        fc.record({
          replica: whole,
          createdEpoch: whole,
          destroyedEpoch: fc.option(fc.nat()),
          hardState: fc.record({ term: whole, vote: whole, commit: whole }),
          mark: fc.option(mark),
        }),
        (fields) => {
          const kept = fields as unknown as Kept
          const payload = new Uint8Array(keptBytes(kept))
          writeKept(kept, viewOf(payload), 0)
          const { term, commit } = kept.hardState
          const record = { kind: 'keep', group: 1, term, index: commit, payload, end: 0 } as const
          expect(readKept(record)).toEqual(kept)
        },
      ),
    )
  })
})

describe('a log of another program', () => {
  it('is read as it was meant', async () => {
    const rig = makeRig()
    await rig.disk.makeDirectory('log')
    const file = await rig.disk.open('log/00000001.log', { create: true })
    await file.truncate(16_384)
    for (const { fields, bytes } of vectorsOf<{ at: number }>('raftlog.txt', 'image')) {
      await file.write(bytes, fields.at)
    }
    await file.close()
    const log = await openLog(rig, { batchBytesMax: 12_288, segmentBytes: 16_384 })
    expect([log.damage, log.groupIds()]).toEqual([null, [7]])
    const view = log.group(7)
    expect(view.hardState).toEqual({ term: 2, vote: 0, commit: 1 })
    expect([view.replica, view.createdEpoch]).toEqual([4097 as ReplicaId, 2])
    expect(view.mark).toEqual({ index: 1, term: 1, config: configurationOf(4097) })
    expect(await readAll(log, 7)).toEqual([
      { term: 1, index: 1, kind: 'data', data: new TextEncoder().encode('one') },
      { term: 2, index: 2, kind: 'noop', data: new Uint8Array() },
    ])
    await log.close()
  })
})
