// Owns what a record does to a group: the reading half of what raftlog.ts writes. Applying a log's
// records in order gives the groups as they were.

import { LemnisError } from '../base/errors.ts'
import type { Entry, ReplicaId } from '../raft/types.ts'
import { type DecodedRecord, isEntryKind, readIds, readKept, readMark } from './format.ts'
import type { GroupLog } from './group-log.ts'

/** False when the record can't follow what came before: something between is lost. */
export function replayRecord(
  log: GroupLog,
  record: DecodedRecord,
  segment: number,
  offset: number,
): boolean {
  const { kind, term, index, payload } = record
  if (isEntryKind(kind)) {
    // The scanned memory is reused, so the payload is copied.
    return log.recover({ term, index, kind, data: payload.slice() }, segment, offset)
  }
  switch (kind) {
    case 'hard-state': {
      const [vote] = readIds(payload, 1) as [number]
      log.setHardState({ term, vote: vote as ReplicaId | 0, commit: index }, segment)
      break
    }
    case 'mark':
      log.setMark(readMark(record), segment)
      break
    case 'restart':
      log.restart(readMark(record), segment)
      break
    case 'create': {
      const [replica, epoch] = readIds(payload, 2) as [number, number]
      log.create(replica as ReplicaId, epoch, segment)
      break
    }
    case 'destroy': {
      const [replica, created, epoch] = readIds(payload, 3) as [number, number, number]
      log.create(replica as ReplicaId, created, segment)
      log.destroy(epoch, segment)
      break
    }
    case 'keep':
      log.keep(readKept(record), segment)
      break
  }
  return true
}

/** The entry of a record that was read back alone. */
export function entryOf(record: DecodedRecord): Entry {
  const { kind, term, index, payload } = record
  if (!isEntryKind(kind)) throw new LemnisError('CORRUPT', { field: 'record kind', kind })
  return { term, index, kind, data: payload.slice() }
}
