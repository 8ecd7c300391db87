// Owns the bytes of a SnapshotMark as the host leaves it with a state machine's checkpoint and sends it
// ahead of a Raft snapshot: index u53 | term u53 | configuration (docs/formats/raft-batch.md).

import { viewOf } from '../base/bytes.ts'
import { LemnisError } from '../base/errors.ts'
import { readU53, writeU53 } from '../base/u53.ts'
import {
  configurationBytes,
  decodeConfiguration,
  encodeConfiguration,
} from '../raft/configuration.ts'
import type { SnapshotMark } from '../raft/types.ts'

const HEAD_BYTES = 16

export function encodeMark(mark: SnapshotMark): Uint8Array {
  const out = new Uint8Array(HEAD_BYTES + configurationBytes(mark.config))
  const view = viewOf(out)
  writeU53(view, 0, mark.index)
  writeU53(view, 8, mark.term)
  encodeConfiguration(mark.config, view, HEAD_BYTES)
  return out
}

export function decodeMark(bytes: Uint8Array): SnapshotMark {
  if (bytes.byteLength < HEAD_BYTES) throw new LemnisError('CORRUPT', { record: 'snapshot mark' })
  const view = viewOf(bytes)
  const { config } = decodeConfiguration(view, HEAD_BYTES)
  return { index: readU53(view, 0), term: readU53(view, 8), config }
}
