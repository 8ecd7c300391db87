// Owns the bytes of the calls that move a Raft snapshot between hosts and that make an empty replica
// (docs/formats/raft-batch.md). All numbers little endian; trailing bytes that a newer version adds are
// ignored.

import { viewOf } from '../base/bytes.ts'
import { LemnisError } from '../base/errors.ts'
import { readU53, writeU53 } from '../base/u53.ts'
import { type SnapshotItem, TRANSFER_END } from '../raft/snapshot.ts'
import type { ReplicaId, SnapshotMark } from '../raft/types.ts'
import { decodeMark, encodeMark } from './mark-codec.ts'
import type { GroupId } from './replica-id.ts'

const U53_BYTES = 8

/** Offers a state: who sends it to whom in which term, where it stands, and its items in the payload. */
export interface TransferBegin {
  readonly group: GroupId
  readonly from: ReplicaId
  readonly to: ReplicaId
  readonly term: number
  readonly mark: SnapshotMark
}

/** `transfer` is 0 when the receiver has no use for the state; else `wanted` items follow in the payload. */
export interface TransferWanted {
  readonly id: number
  /** A cursor, or TRANSFER_END. */
  readonly resumeAt: number
}

/** One item of a transfer under way: asks what the receiver holds of it. */
export interface TransferHave {
  readonly group: GroupId
  readonly transfer: number
  readonly item: number
}

/** What of the item lies from `cursor` up to `next` (a cursor, or TRANSFER_END) is in the payload. */
export interface TransferPiece extends TransferHave {
  readonly cursor: number
  readonly next: number
}

export interface ReplicaCreate {
  readonly group: GroupId
  readonly replica: ReplicaId
  readonly epoch: number
}

function encodeNumbers(numbers: readonly number[]): Uint8Array {
  const out = new Uint8Array(numbers.length * U53_BYTES)
  const view = viewOf(out)
  for (const [i, number] of numbers.entries()) writeU53(view, i * U53_BYTES, number)
  return out
}

/** The first `count` numbers of `bytes`. */
function decodeNumbers(bytes: Uint8Array, count: number): number[] {
  if (bytes.byteLength < count * U53_BYTES) throw corrupt('length')
  const view = viewOf(bytes)
  return Array.from({ length: count }, (_, i) => readU53(view, i * U53_BYTES))
}

function corrupt(field: string): LemnisError {
  return new LemnisError('CORRUPT', { record: 'transfer', field })
}

/** Rows of `width` numbers that fill `bytes` exactly. */
function decodeRows(bytes: Uint8Array, width: number): number[][] {
  const rowBytes = width * U53_BYTES
  if (bytes.byteLength % rowBytes !== 0) throw corrupt('rows')
  const rows: number[][] = []
  for (let at = 0; at < bytes.byteLength; at += rowBytes) {
    rows.push(decodeNumbers(bytes.subarray(at, at + rowBytes), width))
  }
  return rows
}

export function encodeBegin(begin: TransferBegin): Uint8Array {
  const head = encodeNumbers([begin.group, begin.from, begin.to, begin.term])
  const mark = encodeMark(begin.mark)
  const out = new Uint8Array(head.byteLength + mark.byteLength)
  out.set(head)
  out.set(mark, head.byteLength)
  return out
}

export function decodeBegin(body: Uint8Array): TransferBegin {
  const [group, from, to, term] = decodeNumbers(body, 4) as [number, number, number, number]
  const mark = decodeMark(body.subarray(4 * U53_BYTES))
  return {
    group: group as GroupId,
    from: from as ReplicaId,
    to: to as ReplicaId,
    term,
    mark,
  }
}

export function encodeItems(items: readonly SnapshotItem[]): Uint8Array {
  return encodeNumbers(items.flatMap((item) => [item.id, item.version, item.bytes]))
}

export function decodeItems(payload: Uint8Array): SnapshotItem[] {
  return decodeRows(payload, 3).map((row) => {
    const [id, version, bytes] = row as [number, number, number]
    return { id, version, bytes }
  })
}

/** Cursors travel as one more than they are, so that the end, -1, is 0. */
const CURSOR_SHIFT = -TRANSFER_END

export function encodeWanted(wanted: readonly TransferWanted[]): Uint8Array {
  return encodeNumbers(wanted.flatMap((item) => [item.id, item.resumeAt + CURSOR_SHIFT]))
}

export function decodeWanted(payload: Uint8Array): TransferWanted[] {
  return decodeRows(payload, 2).map((row) => {
    const [id, resumeAt] = row as [number, number]
    return { id, resumeAt: resumeAt - CURSOR_SHIFT }
  })
}

export function encodeTransferId(transfer: number): Uint8Array {
  return encodeNumbers([transfer])
}

export function decodeTransferId(body: Uint8Array): number {
  return decodeNumbers(body, 1)[0] as number
}

export function encodeHave({ group, transfer, item }: TransferHave): Uint8Array {
  return encodeNumbers([group, transfer, item])
}

export function decodeHave(body: Uint8Array): TransferHave {
  const [group, transfer, item] = decodeNumbers(body, 3) as [number, number, number]
  return { group: group as GroupId, transfer, item }
}

export function encodePiece({ group, transfer, item, cursor, next }: TransferPiece): Uint8Array {
  return encodeNumbers([group, transfer, item, cursor + CURSOR_SHIFT, next + CURSOR_SHIFT])
}

export function decodePiece(body: Uint8Array): TransferPiece {
  const [cursor, next] = decodeNumbers(body.subarray(3 * U53_BYTES), 2) as [number, number]
  return { ...decodeHave(body), cursor: cursor - CURSOR_SHIFT, next: next - CURSOR_SHIFT }
}

export function encodeFinish(group: GroupId, transfer: number): Uint8Array {
  return encodeNumbers([group, transfer])
}

export function decodeFinish(body: Uint8Array): { group: GroupId; transfer: number } {
  const [group, transfer] = decodeNumbers(body, 2) as [number, number]
  return { group: group as GroupId, transfer }
}

export function encodeCreate(create: ReplicaCreate): Uint8Array {
  return encodeNumbers([create.group, create.replica, create.epoch])
}

export function decodeCreate(body: Uint8Array): ReplicaCreate {
  const [group, replica, epoch] = decodeNumbers(body, 3) as [number, number, number]
  return { group: group as GroupId, replica: replica as ReplicaId, epoch }
}
