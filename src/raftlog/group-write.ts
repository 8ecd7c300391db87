// Owns what one append asks for: its words, its checks against the group as it is, and its records.
// The small ones of a write go into one batch, so that a crash never leaves half a creation.

import { assert } from '../base/assert.ts'
import { LemnisError } from '../base/errors.ts'
import { writeU53 } from '../base/u53.ts'
import { configurationBytes, encodeConfiguration } from '../raft/configuration.ts'
import type { Entry, HardState, ReplicaId, SnapshotMark } from '../raft/types.ts'
import type { Batch } from './batch.ts'
import { keptBytes, RECORD_HEAD_BYTES, writeKept } from './format.ts'
import type { GroupLog } from './group-log.ts'

/**
 * Everything that one append changes in one group; durable as a whole or, after a crash, in part.
 */
export interface GroupWrite {
  readonly group: number
  /** A new replica: nothing of an earlier one remains. */
  readonly create?: { readonly replica: ReplicaId; readonly epoch: number }
  /** A checkpoint, or with `restart` an installed snapshot that replaces the group's whole log. */
  readonly mark?: SnapshotMark
  readonly restart?: boolean
  readonly hardState?: HardState
  /** They replace whatever the log holds from the first one's index on. */
  readonly entries?: readonly Entry[]
  /** The replica is gone; a tombstone stays for ever (it is some dozens of bytes). */
  readonly destroy?: { readonly epoch: number }
}

const CREATE_BYTES = RECORD_HEAD_BYTES + 16
const HARD_STATE_BYTES = RECORD_HEAD_BYTES + 8
export const DESTROY_BYTES = RECORD_HEAD_BYTES + 24

/**
 * A write that can't be is refused before it changes anything; one that contradicts Raft is a bug.
 */
export function checkWrite(log: GroupLog, write: GroupWrite, entryBytesMax: number): void {
  const { create, mark, restart, entries = [], destroy, hardState } = write
  const isFresh = create !== undefined
  const isThere = isFresh || (log.replica !== 0 && log.destroyedEpoch === null)
  if (!isThere) throw new LemnisError('NO_SUCH_GROUP', { group: write.group })
  assert(restart !== true || mark !== undefined, 'a restart at a mark')
  assert(destroy === undefined || (!isFresh && mark === undefined), 'destroy stands alone')
  const term = isFresh ? 0 : log.hardState.term
  assert(hardState === undefined || hardState.term >= term, 'terms never go back')
  for (const entry of entries) {
    const bytes = entry.data.byteLength
    if (bytes > entryBytesMax) throw new LemnisError('INVALID_ARGUMENT', { bytes, entryBytesMax })
  }
  if (restart === true) checkEntries(entries, mark as SnapshotMark)
  else if (isFresh) checkEntries(entries, { index: 0, term: 0 })
  else checkEntries(entries, placeOf(log, entries))
}

/** What comes before the first entry. */
function placeOf(log: GroupLog, entries: readonly Entry[]): { index: number; term: number } {
  const index = (entries[0]?.index ?? log.lastIndex() + 1) - 1
  const term = log.term(index)
  assert(term !== undefined, 'entries that join the log')
  return { index, term }
}

function checkEntries(
  entries: readonly Entry[],
  before: { readonly index: number; readonly term: number },
): void {
  let { index, term } = before
  for (const entry of entries) {
    assert(entry.index === index + 1 && entry.term >= term, 'entries in order of index and term')
    index = entry.index
    term = entry.term
  }
}

/** Bytes of the records that addState() writes. */
export function stateBytes(write: GroupWrite): number {
  const { create, mark, restart, hardState } = write
  let bytes = 0
  if (create !== undefined) bytes += CREATE_BYTES
  if (mark !== undefined && restart === true) bytes += markBytes(mark)
  if (hardState !== undefined) bytes += HARD_STATE_BYTES
  return bytes
}

export function addState(batch: Batch, log: GroupLog, write: GroupWrite): void {
  const { create, mark, restart, hardState } = write
  if (create !== undefined) {
    const { replica, epoch } = create
    batch.addWith({ kind: 'create', group: log.id, term: 0, index: 0 }, 16, (view, at) => {
      writeU53(view, at, replica)
      writeU53(view, at + 8, epoch)
    })
    log.create(replica, epoch, batch.sequence)
  }
  if (mark !== undefined && restart === true) addMark(batch, 'restart', log, mark)
  if (hardState !== undefined) {
    const { term, commit, vote } = hardState
    batch.addWith({ kind: 'hard-state', group: log.id, term, index: commit }, 8, (view, at) => {
      writeU53(view, at, vote)
    })
    log.setHardState(hardState, batch.sequence)
  }
}

export function markBytes(mark: SnapshotMark): number {
  return RECORD_HEAD_BYTES + configurationBytes(mark.config)
}

export function addMark(
  batch: Batch,
  kind: 'mark' | 'restart',
  log: GroupLog,
  mark: SnapshotMark,
): void {
  const { index, term, config } = mark
  const bytes = configurationBytes(config)
  batch.addWith({ kind, group: log.id, term, index }, bytes, (view, at) => {
    encodeConfiguration(config, view, at)
  })
  if (kind === 'restart') log.restart(mark, batch.sequence)
  else log.setMark(mark, batch.sequence)
}

export function addDestroy(batch: Batch, log: GroupLog, epoch: number): void {
  batch.addWith({ kind: 'destroy', group: log.id, term: 0, index: 0 }, 24, (view, at) => {
    writeU53(view, at, log.replica)
    writeU53(view, at + 8, log.createdEpoch)
    writeU53(view, at + 16, epoch)
  })
  log.destroy(epoch, batch.sequence)
}

export function keptRecordBytes(log: GroupLog): number {
  return RECORD_HEAD_BYTES + keptBytes(log.kept())
}

/** The group's small state again. */
export function addKept(batch: Batch, log: GroupLog): void {
  const kept = log.kept()
  const { term, commit } = kept.hardState
  const head = { kind: 'keep', group: log.id, term, index: commit } as const
  batch.addWith(head, keptBytes(kept), (view, at) => writeKept(kept, view, at))
  log.moveState(batch.sequence)
}
