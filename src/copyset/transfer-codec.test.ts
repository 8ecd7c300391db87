import { describe, expect, it } from 'vitest'
import { LemnisError } from '../base/errors.ts'
import { TRANSFER_END } from '../raft/snapshot.ts'
import type { ReplicaId } from '../raft/types.ts'
import { decodeMark, encodeMark } from './mark-codec.ts'
import type { GroupId } from './replica-id.ts'
import {
  decodeBegin,
  decodeCreate,
  decodeFinish,
  decodeHave,
  decodeItems,
  decodePiece,
  decodeTransferId,
  decodeWanted,
  encodeBegin,
  encodeCreate,
  encodeFinish,
  encodeHave,
  encodeItems,
  encodePiece,
  encodeTransferId,
  encodeWanted,
} from './transfer-codec.ts'

const group = 3 as GroupId
const ids = (...numbers: number[]): ReplicaId[] => numbers as ReplicaId[]
const config = { epoch: 4, voters: ids(1, 2, 3), outgoing: [], learners: ids(9), learnersNext: [] }
const mark = { index: 1000, term: 7, config }

function expectTruncationsRefused(bytes: Uint8Array, decode: (bytes: Uint8Array) => unknown): void {
  for (let n = 0; n < bytes.byteLength; n++) {
    expect(() => decode(bytes.subarray(0, n))).toThrow(LemnisError)
  }
}

describe('the calls of a transfer', () => {
  it('carry a mark', () => {
    expect(decodeMark(encodeMark(mark))).toEqual(mark)
    expectTruncationsRefused(encodeMark(mark), decodeMark)
  })

  it('carry an offer with its items', () => {
    const begin = { group, from: 1 as ReplicaId, to: 9 as ReplicaId, term: 8, mark }
    expect(decodeBegin(encodeBegin(begin))).toEqual(begin)
    expectTruncationsRefused(encodeBegin(begin), decodeBegin)
    const items = [
      { id: 0, version: 10, bytes: 4096 },
      { id: 63, version: 2 ** 40, bytes: 0 },
    ]
    expect(decodeItems(encodeItems(items))).toEqual(items)
    expect(() => decodeItems(encodeItems(items).subarray(1))).toThrow(LemnisError)
  })

  it('carry what is wanted, pieces, the end and the making of a replica', () => {
    const wanted = [
      { id: 5, resumeAt: 300 },
      { id: 6, resumeAt: TRANSFER_END },
    ]
    expect(decodeWanted(encodeWanted(wanted))).toEqual(wanted)
    expect(decodeTransferId(encodeTransferId(12))).toBe(12)
    const have = { group, transfer: 12, item: 5 }
    expect(decodeHave(encodeHave(have))).toEqual(have)
    expectTruncationsRefused(encodeHave(have), decodeHave)
    for (const next of [301, TRANSFER_END]) {
      const piece = { ...have, cursor: 300, next }
      expect(decodePiece(encodePiece(piece))).toEqual(piece)
      expectTruncationsRefused(encodePiece(piece), decodePiece)
    }
    expect(decodeFinish(encodeFinish(group, 12))).toEqual({ group, transfer: 12 })
    const create = { group, replica: 9 as ReplicaId, epoch: 4 }
    expect(decodeCreate(encodeCreate(create))).toEqual(create)
    expectTruncationsRefused(encodeCreate(create), decodeCreate)
  })

  it('ignore what a newer version adds at the end', () => {
    const longer = new Uint8Array([...encodeFinish(group, 12), 1, 2, 3])
    expect(decodeFinish(longer)).toEqual({ group, transfer: 12 })
  })
})
