// Owns the bytes of what a chunk entry gave when it was applied: what its state machine answers to the
// proposer (docs/formats/chunk-request.md). Every replica gives the same for the same entry.
// code u16 (the error's wire number, 0 for done) | 0 u16 | epoch u53 | sn u53

import { viewOf } from '../base/bytes.ts'
import { ERRORS, type ErrorCode, errorCodeOfWire, LemnisError } from '../base/errors.ts'
import { readU53, writeU53 } from '../base/u53.ts'

export interface ChunkOutcome {
  /** Why nothing was changed; null when the request did what it should. */
  readonly code: ErrorCode | null
  /** The volume's write epoch as known after the entry. */
  readonly epoch: number
  /** The newest sequence number known of the chunk after the entry; 0 for none. */
  readonly sn: number
}

export const CHUNK_OUTCOME_BYTES = 20

export function encodeChunkOutcome({ code, epoch, sn }: ChunkOutcome): Uint8Array {
  const bytes = new Uint8Array(CHUNK_OUTCOME_BYTES)
  const view = viewOf(bytes)
  view.setUint16(0, code === null ? 0 : ERRORS[code].wire, true)
  writeU53(view, 4, epoch)
  writeU53(view, 12, sn)
  return bytes
}

export function decodeChunkOutcome(bytes: Uint8Array): ChunkOutcome {
  if (bytes.byteLength < CHUNK_OUTCOME_BYTES) {
    throw new LemnisError('CORRUPT', { what: 'chunk outcome', bytes: bytes.byteLength })
  }
  const view = viewOf(bytes)
  const wire = view.getUint16(0, true)
  return {
    code: wire === 0 ? null : errorCodeOfWire(wire),
    epoch: readU53(view, 4),
    sn: readU53(view, 12),
  }
}
