import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readVectors } from '../../test/vectors.ts'
import { bytesOfHex, concat, EMPTY, hexOf } from '../base/bytes.ts'
import { LemnisError } from '../base/errors.ts'
import type { Entry, ReplicaId } from '../raft/types.ts'
import type { GroupId } from './replica-id.ts'
import { type BatchedMessage, decodeBatch, encodeBatch, type Packet } from './wire.ts'

const from = 4097 as ReplicaId
const to = 8193 as ReplicaId
const group = 7 as GroupId

function entry(index: number, data: string, kind: Entry['kind'] = 'data'): Entry {
  return { term: 5, index, kind, data: new TextEncoder().encode(data) }
}

const head = { from, to, term: 5 }
const MESSAGES: Record<BatchedMessage['kind'], BatchedMessage> = {
  vote: { ...head, kind: 'vote', lastIndex: 11, lastTerm: 4, transfer: true },
  'pre-vote': { ...head, kind: 'pre-vote', lastIndex: 11, lastTerm: 4, transfer: false },
  'vote-reply': { ...head, kind: 'vote-reply', granted: true, commit: 10, commitTerm: 4 },
  'pre-vote-reply': { ...head, kind: 'pre-vote-reply', granted: false, commit: 10, commitTerm: 4 },
  append: {
    ...head,
    kind: 'append',
    prevIndex: 11,
    prevTerm: 4,
    commit: 10,
    entries: [entry(12, 'ab'), entry(13, '', 'noop'), entry(14, 'xyz', 'config')],
  },
  'append-reply': {
    ...head,
    kind: 'append-reply',
    index: 14,
    rejected: true,
    hintIndex: 9,
    hintTerm: 3,
  },
  heartbeat: { ...head, kind: 'heartbeat', commit: 14, round: 77 },
  'heartbeat-reply': { ...head, kind: 'heartbeat-reply', round: 77 },
  'timeout-now': { ...head, kind: 'timeout-now' },
  hibernate: { ...head, kind: 'hibernate', index: 14 },
  'hibernate-reply': { ...head, kind: 'hibernate-reply', index: 14, asleep: true },
  'not-member': { ...head, kind: 'not-member', epoch: 6, voterCount: 3 },
  stranger: { ...head, kind: 'stranger', stranger: 12289 as ReplicaId },
}

describe('the batch note', () => {
  const vectors = readVectors('raft-batch.txt')

  it.each(Object.entries(MESSAGES))('has golden bytes for %s', (kind, message) => {
    const { body, payload } = batchOf([{ group, message }])
    const vector = vectors.get(kind)
    expect(`${hexOf(body)} | ${hexOf(payload)}`.trimEnd()).toBe(vector)
    const [bodyHex, payloadHex] = (vector as string).split('|') as [string, string]
    expect(decodeBatch(bytesOfHex(bodyHex), bytesOfHex(payloadHex))).toEqual([{ group, message }])
  })

  it('carries many groups, with the data of all entries in one payload', () => {
    const packets: Packet[] = Object.values(MESSAGES).map((message, i) => ({
      group: (group + i) as GroupId,
      message,
    }))
    const { body, payload } = batchOf([...packets, ...packets])
    expect(payload.byteLength).toBe(10)
    expect(decodeBatch(body, payload)).toEqual([...packets, ...packets])
  })

  it('lends the memory of the entries as payload', () => {
    const one = entry(12, 'ab')
    const message: BatchedMessage = { ...(MESSAGES.append as object), entries: [one] } as never
    expect(encodeBatch([{ group, message }]).payload[0]).toBe(one.data)
  })

  it('refuses every truncation of body and payload', () => {
    const packets = Object.values(MESSAGES).map((message) => ({ group, message }))
    const { body, payload } = batchOf(packets)
    for (let n = 0; n < body.byteLength; n++) {
      expect(() => decodeBatch(body.subarray(0, n), payload)).toThrow(LemnisError)
    }
    for (let n = 0; n < payload.byteLength; n++) {
      expect(() => decodeBatch(body, payload.subarray(0, n))).toThrow(LemnisError)
    }
  })

  it('answers any bytes by packets or CORRUPT', () => {
    const { body, payload } = batchOf(
      Object.values(MESSAGES).map((message) => ({ group, message })),
    )
    const change = fc.tuple(fc.nat(body.byteLength - 1), fc.nat(255))
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 6 }), (changes) => {
        const bad = body.slice()
        for (const [at, byte] of changes) bad[at] = byte
        expectPacketsOrCorrupt(bad, payload)
      }),
      { numRuns: 2000 },
    )
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (b) => expectPacketsOrCorrupt(b, EMPTY)),
    )
  })
})

/** As it arrives. */
function batchOf(packets: readonly Packet[]): { body: Uint8Array; payload: Uint8Array } {
  const { body, payload } = encodeBatch(packets)
  return { body, payload: concat(payload) }
}

function expectPacketsOrCorrupt(body: Uint8Array, payload: Uint8Array): void {
  try {
    expect(Array.isArray(decodeBatch(body, payload))).toBe(true)
  } catch (error) {
    expect(error).toBeInstanceOf(LemnisError)
    expect((error as LemnisError).code).toBe('CORRUPT')
  }
}
