// Owns the bytes of commands and results of the key-value machine. Little endian, exact lengths.
//   command, 32 bytes: op u8 | flags u8 | keyBytes u16 | expectedBytes u32 | valueBytes u32 |
//                      reserved u32 | client u53 | sequence u53, then key, expected, value
//   result, 12 bytes:  status u32 | index u53, then the value of a get
// Bytes that are no command decode to null: a log entry must never stop a replica.

import { viewOf } from '../../base/bytes.ts'
import { LemnisError } from '../../base/errors.ts'
import { readU53, writeU53 } from '../../base/u53.ts'

export type KvOp = 'get' | 'put' | 'cas' | 'delete'

export interface KvCommand {
  readonly op: KvOp
  readonly key: Uint8Array
  /** For cas: what must be there now; null for nothing. */
  readonly expected: Uint8Array | null
  readonly value: Uint8Array
  /** Who asks; commands of one client on one bucket come one at a time. */
  readonly client: number
  /** Grows with each command of the client; 0 asks for no protection against repetition. */
  readonly sequence: number
}

/**
 * 'superseded': the client has sent a newer command since. 'replayed': the state already has this
 * entry, so its result is not known any more. 'malformed': no command.
 */
export type KvStatus = 'done' | 'mismatch' | 'absent' | 'superseded' | 'replayed' | 'malformed'

export interface KvResult {
  readonly status: KvStatus
  /** Of the last entry that changed the key, or 0. */
  readonly index: number
  readonly value: Uint8Array
}

export const COMMAND_BYTES = 32
export const RESULT_BYTES = 12
export const KEY_BYTES_MAX = 1024
export const VALUE_BYTES_MAX = 1024 * 1024

const OPS: readonly KvOp[] = ['get', 'put', 'cas', 'delete']
const STATUSES: readonly KvStatus[] = [
  'done',
  'mismatch',
  'absent',
  'superseded',
  'replayed',
  'malformed',
]
const FLAG_EXPECTS_NOTHING = 1

export function encodeCommand(command: KvCommand): Uint8Array {
  const { key, expected, value } = command
  if (!fits(key.byteLength, expected?.byteLength ?? 0, value.byteLength)) {
    throw new LemnisError('INVALID_ARGUMENT', {
      keyBytes: key.byteLength,
      valueBytes: value.byteLength,
    })
  }
  const expectedBytes = expected === null ? 0 : expected.byteLength
  const out = new Uint8Array(COMMAND_BYTES + key.byteLength + expectedBytes + value.byteLength)
  const view = viewOf(out)
  out[0] = OPS.indexOf(command.op)
  out[1] = expected === null ? FLAG_EXPECTS_NOTHING : 0
  view.setUint16(2, key.byteLength, true)
  view.setUint32(4, expectedBytes, true)
  view.setUint32(8, value.byteLength, true)
  writeU53(view, 16, command.client)
  writeU53(view, 24, command.sequence)
  out.set(key, COMMAND_BYTES)
  if (expected !== null) out.set(expected, COMMAND_BYTES + key.byteLength)
  out.set(value, COMMAND_BYTES + key.byteLength + expectedBytes)
  return out
}

function fits(keyBytes: number, expectedBytes: number, valueBytes: number): boolean {
  return (
    keyBytes > 0 &&
    keyBytes <= KEY_BYTES_MAX &&
    expectedBytes <= VALUE_BYTES_MAX &&
    valueBytes <= VALUE_BYTES_MAX
  )
}

/** A command whose parts lie in `bytes`; null when they are none. */
export function decodeCommand(bytes: Uint8Array): KvCommand | null {
  if (bytes.byteLength < COMMAND_BYTES) return null
  const view = viewOf(bytes)
  const op = OPS[bytes[0] as number]
  const flags = bytes[1] as number
  const keyBytes = view.getUint16(2, true)
  const expectedBytes = view.getUint32(4, true)
  const valueBytes = view.getUint32(8, true)
  const total = COMMAND_BYTES + keyBytes + expectedBytes + valueBytes
  const lengthsHold = fits(keyBytes, expectedBytes, valueBytes) && total === bytes.byteLength
  const numbersHold = view.getUint32(20, true) < 0x20_0000 && view.getUint32(28, true) < 0x20_0000
  if (op === undefined || flags > 1 || !lengthsHold || !numbersHold) return null
  if (view.getUint32(12, true) !== 0 || (flags === FLAG_EXPECTS_NOTHING && expectedBytes > 0)) {
    return null
  }
  const keyEnd = COMMAND_BYTES + keyBytes
  const expectedEnd = keyEnd + expectedBytes
  return {
    op,
    key: bytes.subarray(COMMAND_BYTES, keyEnd),
    expected: flags === FLAG_EXPECTS_NOTHING ? null : bytes.subarray(keyEnd, expectedEnd),
    value: bytes.subarray(expectedEnd),
    client: readU53(view, 16),
    sequence: readU53(view, 24),
  }
}

export function encodeResult(
  status: KvStatus,
  index: number,
  value: Uint8Array | null,
): Uint8Array {
  const out = new Uint8Array(RESULT_BYTES + (value === null ? 0 : value.byteLength))
  const view = viewOf(out)
  view.setUint32(0, STATUSES.indexOf(status), true)
  writeU53(view, 4, index)
  if (value !== null) out.set(value, RESULT_BYTES)
  return out
}

export function decodeResult(bytes: Uint8Array): KvResult {
  const view = viewOf(bytes)
  const status = bytes.byteLength < RESULT_BYTES ? undefined : STATUSES[view.getUint32(0, true)]
  if (status === undefined)
    throw new LemnisError('CORRUPT', { what: 'result', bytes: bytes.byteLength })
  return { status, index: readU53(view, 4), value: bytes.subarray(RESULT_BYTES) }
}

export function statusCode(status: KvStatus): number {
  return STATUSES.indexOf(status)
}

export function statusOfCode(code: number): KvStatus | undefined {
  return STATUSES[code]
}
