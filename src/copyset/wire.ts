// Owns the bytes of the note that carries Raft messages of many groups between two hosts
// (docs/formats/raft-batch.md). The body holds everything but the entries' data, which is the payload,
// so data is neither copied into the body nor again out of it.
// Invariant: decode() believes no count or length that the bytes present do not cover.

import { unreachable } from '../base/assert.ts'
import { EMPTY, viewOf } from '../base/bytes.ts'
import { LemnisError } from '../base/errors.ts'
import { readU53, writeU53 } from '../base/u53.ts'
import type { Entry, EntryKind, Message, ReplicaId } from '../raft/types.ts'
import type { GroupId } from './replica-id.ts'

interface Envelope {
  readonly from: ReplicaId
  readonly to: ReplicaId
  readonly term: number
}

/** What hosts tell each other about a group besides Raft's own messages. */
export type HostNote =
  /** From a leader: everybody has everything up to `index`; stop the timers until something comes. */
  | (Envelope & { readonly kind: 'hibernate'; readonly index: number })
  | (Envelope & {
      readonly kind: 'hibernate-reply'
      readonly index: number
      readonly asleep: boolean
    })
  /** `stranger` acts as a member, or has left: does every voter's configuration say so? */
  | (Envelope & { readonly kind: 'stranger'; readonly stranger: ReplicaId })
  /** From one of the `voterCount` voters of that epoch, applied here: the replica `to` is no member. */
  | (Envelope & {
      readonly kind: 'not-member'
      readonly epoch: number
      readonly voterCount: number
    })

/** A Raft message that travels in batches; 'snapshot' travels as a transfer instead. */
export type BatchedMessage = Exclude<Message, { kind: 'snapshot' }> | HostNote

export interface Packet {
  readonly group: GroupId
  readonly message: BatchedMessage
}

const KINDS = [
  'vote',
  'pre-vote',
  'vote-reply',
  'pre-vote-reply',
  'append',
  'append-reply',
  'heartbeat',
  'heartbeat-reply',
  'timeout-now',
  'hibernate',
  'hibernate-reply',
  'not-member',
  'stranger',
] as const satisfies readonly BatchedMessage['kind'][]

const ENTRY_KINDS = ['noop', 'data', 'config'] as const satisfies readonly EntryKind[]

const COUNT_BYTES = 4
const ENVELOPE_BYTES = 36
const ENTRY_BYTES = 16
const FLAG = 1

/** Bytes after the envelope, without an append's entries. */
const TAIL_BYTES: Readonly<Record<BatchedMessage['kind'], number>> = {
  vote: 16,
  'pre-vote': 16,
  'vote-reply': 16,
  'pre-vote-reply': 16,
  append: 28,
  'append-reply': 24,
  heartbeat: 16,
  'heartbeat-reply': 8,
  'timeout-now': 0,
  hibernate: 8,
  'hibernate-reply': 8,
  'not-member': 16,
  stranger: 8,
}

const KIND_NUMBERS = new Map<string, number>(KINDS.map((kind, number) => [kind, number]))

/** Bytes that `message` adds to a batch's body. */
export function packetBytes(message: BatchedMessage): number {
  const entries = message.kind === 'append' ? message.entries.length * ENTRY_BYTES : 0
  return ENVELOPE_BYTES + TAIL_BYTES[message.kind] + entries
}

/** A batch as body and payload, which is the entries' own memory. */
export function encodeBatch(packets: readonly Packet[]): {
  body: Uint8Array
  payload: readonly Uint8Array[]
} {
  let bytes = COUNT_BYTES
  for (const packet of packets) bytes += packetBytes(packet.message)
  const body = new Uint8Array(bytes)
  const view = viewOf(body)
  const data: Uint8Array[] = []
  view.setUint32(0, packets.length, true)
  let at = COUNT_BYTES
  for (const { group, message } of packets) {
    writeU53(view, at, group)
    view.setUint8(at + 8, KIND_NUMBERS.get(message.kind) as number)
    view.setUint8(at + 9, flagOf(message) ? FLAG : 0)
    writeU53(view, at + 12, message.from)
    writeU53(view, at + 20, message.to)
    writeU53(view, at + 28, message.term)
    at = encodeTail(message, view, at + ENVELOPE_BYTES, data)
  }
  return { body, payload: data }
}

function flagOf(message: BatchedMessage): boolean {
  switch (message.kind) {
    case 'vote':
    case 'pre-vote':
      return message.transfer
    case 'vote-reply':
    case 'pre-vote-reply':
      return message.granted
    case 'append-reply':
      return message.rejected
    case 'hibernate-reply':
      return message.asleep
    default:
      return false
  }
}

function encodeTail(
  message: BatchedMessage,
  view: DataView,
  at: number,
  data: Uint8Array[],
): number {
  switch (message.kind) {
    case 'vote':
    case 'pre-vote':
      return writeNumbers(view, at, message.lastIndex, message.lastTerm)
    case 'append': {
      const next = writeNumbers(view, at, message.prevIndex, message.prevTerm, message.commit)
      view.setUint32(next, message.entries.length, true)
      return encodeEntries(message.entries, view, next + 4, data)
    }
    case 'append-reply':
      return writeNumbers(view, at, message.index, message.hintIndex, message.hintTerm)
    case 'heartbeat':
      return writeNumbers(view, at, message.commit, message.round)
    case 'heartbeat-reply':
      return writeNumbers(view, at, message.round)
    case 'hibernate':
    case 'hibernate-reply':
      return writeNumbers(view, at, message.index)
    case 'not-member':
      return writeNumbers(view, at, message.epoch, message.voterCount)
    case 'stranger':
      return writeNumbers(view, at, message.stranger)
    case 'vote-reply':
    case 'pre-vote-reply':
      return writeNumbers(view, at, message.commit, message.commitTerm)
    case 'timeout-now':
      return at
    default:
      return unreachable(message)
  }
}

function writeNumbers(view: DataView, at: number, ...numbers: readonly number[]): number {
  let next = at
  for (const number of numbers) {
    writeU53(view, next, number)
    next += 8
  }
  return next
}

function encodeEntries(
  entries: readonly Entry[],
  view: DataView,
  at: number,
  data: Uint8Array[],
): number {
  let next = at
  for (const entry of entries) {
    writeU53(view, next, entry.term)
    view.setUint32(next + 8, entry.data.byteLength, true)
    view.setUint8(next + 12, ENTRY_KINDS.indexOf(entry.kind))
    if (entry.data.byteLength > 0) data.push(entry.data)
    next += ENTRY_BYTES
  }
  return next
}

/** The packets of a batch; entries are views of `payload`, which the caller gives away. */
export function decodeBatch(body: Uint8Array, payload: Uint8Array): Packet[] {
  const reader = new BatchReader(body, payload)
  const count = reader.u32()
  // Each packet takes at least an envelope, so a count beyond that is a lie and allocates nothing.
  if (count * ENVELOPE_BYTES > body.byteLength) throw corrupt('packet count')
  const packets: Packet[] = []
  for (let i = 0; i < count; i++) packets.push(reader.packet())
  return packets
}

function corrupt(field: string): LemnisError {
  return new LemnisError('CORRUPT', { record: 'raft batch', field })
}

class BatchReader {
  readonly #view: DataView
  readonly #payload: Uint8Array
  #at = 0
  #payloadAt = 0

  constructor(body: Uint8Array, payload: Uint8Array) {
    this.#view = viewOf(body)
    this.#payload = payload
  }

  u32(): number {
    this.#need(4)
    this.#at += 4
    return this.#view.getUint32(this.#at - 4, true)
  }

  #u53(): number {
    this.#need(8)
    this.#at += 8
    return readU53(this.#view, this.#at - 8)
  }

  #u8(): number {
    this.#need(1)
    this.#at += 1
    return this.#view.getUint8(this.#at - 1)
  }

  #need(bytes: number): void {
    if (this.#at + bytes > this.#view.byteLength) throw corrupt('length')
  }

  packet(): Packet {
    const group = this.#u53() as GroupId
    const kind = KINDS[this.#u8()]
    if (kind === undefined) throw corrupt('kind')
    const flag = (this.#u8() & FLAG) !== 0
    this.#need(2)
    this.#at += 2
    const from = this.#u53() as ReplicaId
    const to = this.#u53() as ReplicaId
    const term = this.#u53()
    return { group, message: this.#message(kind, flag, { from, to, term }) }
  }

  #message(kind: BatchedMessage['kind'], flag: boolean, envelope: Envelope): BatchedMessage {
    const { from, to, term } = envelope
    switch (kind) {
      case 'vote':
      case 'pre-vote': {
        const lastIndex = this.#u53()
        return { kind, from, to, term, lastIndex, lastTerm: this.#u53(), transfer: flag }
      }
      case 'vote-reply':
      case 'pre-vote-reply': {
        const commit = this.#u53()
        return { kind, from, to, term, granted: flag, commit, commitTerm: this.#u53() }
      }
      case 'append':
        return this.#append(envelope)
      case 'append-reply': {
        const index = this.#u53()
        const hintIndex = this.#u53()
        return { kind, from, to, term, index, rejected: flag, hintIndex, hintTerm: this.#u53() }
      }
      case 'heartbeat': {
        const commit = this.#u53()
        return { kind, from, to, term, commit, round: this.#u53() }
      }
      case 'heartbeat-reply':
        return { kind, from, to, term, round: this.#u53() }
      case 'timeout-now':
        return { kind, from, to, term }
      case 'hibernate':
        return { kind, from, to, term, index: this.#u53() }
      case 'hibernate-reply':
        return { kind, from, to, term, index: this.#u53(), asleep: flag }
      case 'not-member': {
        const epoch = this.#u53()
        return { kind, from, to, term, epoch, voterCount: this.#u53() }
      }
      case 'stranger':
        return { kind, from, to, term, stranger: this.#u53() as ReplicaId }
      default:
        return unreachable(kind)
    }
  }

  #append({ from, to, term }: Envelope): BatchedMessage {
    const prevIndex = this.#u53()
    const prevTerm = this.#u53()
    const commit = this.#u53()
    const count = this.u32()
    this.#need(count * ENTRY_BYTES)
    const entries: Entry[] = []
    for (let i = 0; i < count; i++) entries.push(this.#entry(prevIndex + 1 + i))
    return { kind: 'append', from, to, term, prevIndex, prevTerm, commit, entries }
  }

  #entry(index: number): Entry {
    const term = this.#u53()
    const bytes = this.u32()
    const kind = ENTRY_KINDS[this.#u8()]
    this.#at += 3
    const end = this.#payloadAt + bytes
    if (kind === undefined) throw corrupt('entry kind')
    if (end > this.#payload.byteLength) throw corrupt('payload')
    const data = bytes === 0 ? EMPTY : this.#payload.subarray(this.#payloadAt, end)
    this.#payloadAt = end
    return { term, index, kind, data }
  }
}
