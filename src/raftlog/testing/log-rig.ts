// Owns what the tests of the log share: a simulated world for it, words for writes, and a naive
// twin that says what the log must hold. The twin knows nothing of segments, so it never forgets
// what was purged.

import { must } from '../../base/assert.ts'
import { bytesEqual } from '../../base/bytes.ts'
import { KIB } from '../../base/units.ts'
import { SILENT } from '../../observe/observe.ts'
import type { Configuration, Entry, HardState, ReplicaId, SnapshotMark } from '../../raft/types.ts'
import { type Rig } from '../../sim/disk-rig.ts'
import { type RaftLogBug, type RaftLogSettings, raftLogConfig } from '../config.ts'
import type { GroupWrite } from '../group-write.ts'
import { RaftLog } from '../raftlog.ts'

export const DIRECTORY = 'log'

export const SMALL: Partial<RaftLogSettings> = {
  segmentBytes: 32 * KIB,
  batchBytesMax: 12 * KIB,
  entryBytesMax: 6 * KIB,
  queuedBytesMax: 4096 * KIB,
  cacheBytes: 4096 * KIB,
  readBackBytes: 64 * KIB,
  segmentsPinned: 3,
  segmentsHeld: 2,
  segmentsSpare: 1,
}

export function openLog(
  rig: Rig,
  settings: Partial<RaftLogSettings> = {},
  bugs?: ReadonlySet<RaftLogBug>,
): Promise<RaftLog> {
  const config = raftLogConfig({ ...SMALL, ...settings }, bugs)
  const env = { ...rig.env, disk: rig.disk.mount() }
  return RaftLog.open(env, SILENT, DIRECTORY, config)
}

export async function reopened(rig: Rig, log: RaftLog): Promise<RaftLog> {
  await log.close()
  return openLog(rig)
}

export function append(log: RaftLog, write: GroupWrite): Promise<void> {
  return new Promise((resolve, reject) => {
    log.append(write, (error) => {
      if (error === null) resolve()
      else reject(error)
    })
  })
}

export const replica = (id: number): ReplicaId => id as ReplicaId

export function configurationOf(...voters: number[]): Configuration {
  return {
    epoch: 1,
    voters: voters as ReplicaId[],
    outgoing: [],
    learners: [],
    learnersNext: [],
  }
}

export function markAt(index: number, term: number): SnapshotMark {
  return { index, term, config: configurationOf(1, 2, 3) }
}

/** A first write that makes group `group`. */
export function creation(group: number, epoch = 1): GroupWrite {
  return {
    group,
    create: { replica: replica(10 + group), epoch },
    mark: markAt(0, 0),
    restart: true,
  }
}

/** Bytes that tell group, index and term apart, so that a mix-up is seen. */
export function payload(group: number, index: number, term: number, bytes: number): Uint8Array {
  const data = new Uint8Array(bytes)
  for (let i = 0; i < bytes; i++) data[i] = (group * 31 + index * 7 + term * 3 + i) & 0xff
  return data
}

export function entry(group: number, index: number, term: number, bytes = 100): Entry {
  return { term, index, kind: 'data', data: payload(group, index, term, bytes) }
}

export function entriesOf(
  group: number,
  from: number,
  to: number,
  term: number,
  bytes = 100,
): Entry[] {
  return Array.from({ length: to - from + 1 }, (_, i) => entry(group, from + i, term, bytes))
}

/** What a group should be, in the plainest form. */
export interface TwinGroup {
  replica: number
  createdEpoch: number
  destroyedEpoch: number | null
  hardState: HardState
  mark: SnapshotMark | null
  /** The index that `entries[0]` follows. */
  base: number
  baseTerm: number
  entries: Entry[]
}

export class Twin {
  readonly groups = new Map<number, TwinGroup>()

  apply(write: GroupWrite): void {
    const { create, mark, restart, hardState, entries = [], destroy } = write
    if (create !== undefined) {
      this.groups.set(write.group, {
        replica: create.replica,
        createdEpoch: create.epoch,
        destroyedEpoch: null,
        hardState: { term: 0, vote: 0, commit: 0 },
        mark: null,
        base: 0,
        baseTerm: 0,
        entries: [],
      })
    }
    const group = must(this.groups.get(write.group), 'a group of the twin')
    if (mark !== undefined && restart === true) {
      group.base = mark.index
      group.baseTerm = mark.term
      group.entries = []
      group.mark = mark
    }
    if (hardState !== undefined) group.hardState = hardState
    for (const one of entries) {
      group.entries.length = one.index - group.base - 1
      group.entries.push(one)
    }
    if (mark !== undefined && restart !== true) group.mark = mark
    if (destroy !== undefined) {
      group.destroyedEpoch = destroy.epoch
      group.hardState = { term: 0, vote: 0, commit: 0 }
      group.mark = null
      group.base = 0
      group.baseTerm = 0
      group.entries = []
    }
  }

  clone(): Twin {
    const twin = new Twin()
    for (const [id, group] of this.groups) {
      twin.groups.set(id, { ...group, entries: [...group.entries] })
    }
    return twin
  }
}

export function lastOf(group: TwinGroup): number {
  return group.base + group.entries.length
}

/** All entries that the log still has, read through memory or disk. */
export async function readAll(log: RaftLog, group: number): Promise<Entry[]> {
  const view = log.group(group)
  const all: Entry[] = []
  for (
    let from = view.firstIndex();
    from <= view.lastIndex();
    from = view.firstIndex() + all.length
  ) {
    let some = view.entries(from, view.lastIndex() + 1, 8 * KIB)
    if (some === 'not-in-memory') {
      await log.fetch(group, from, view.lastIndex() + 1, 8 * KIB)
      some = view.entries(from, view.lastIndex() + 1, 8 * KIB)
    }
    if (some === 'not-in-memory')
      throw new Error(`entry ${from} of group ${group} was not read back`)
    all.push(...some)
  }
  return all
}

export interface Step {
  readonly kind: 'append' | 'truncate' | 'mark' | 'hard' | 'restart' | 'destroy' | 'reopen' | 'wait'
  readonly group: number
  readonly size: number
}

/** A legal write of that kind for the group as the twin has it; null where there is none. */
export function writeOf(twin: Twin, step: Step, count: number): GroupWrite | null {
  const { group, size, kind } = step
  const now = twin.groups.get(group)
  if (now === undefined || now.destroyedEpoch !== null) return creation(group, count)
  const last = lastOf(now)
  const term = Math.max(now.hardState.term, 1)
  const some = (from: number, at: number): Entry[] =>
    entriesOf(group, from, from + (size % 4), at, size % 3 === 0 ? 2500 : size)
  switch (kind) {
    case 'append':
      return { group, entries: some(last + 1, term), hardState: { ...now.hardState, term } }
    case 'truncate': {
      const covered = Math.max(now.mark?.index ?? 0, now.base)
      if (last <= covered) return null
      const from = covered + 1 + (size % (last - covered))
      const hardState = { term: term + 1, vote: replica(2), commit: covered }
      return { group, hardState, entries: some(from, term + 1) }
    }
    case 'mark': {
      const index = Math.max(now.mark?.index ?? 0, last - (size % 5))
      const found = now.entries[index - now.base - 1]
      return found === undefined ? null : { group, mark: markAt(index, found.term) }
    }
    case 'hard':
      return { group, hardState: { term: term + 1, vote: replica(size), commit: last } }
    case 'restart': {
      const index = last + size
      const hardState = { term, vote: 0 as const, commit: index }
      return { group, mark: markAt(index, term), restart: true, hardState }
    }
    case 'destroy':
      return { group, destroy: { epoch: count } }
    default:
      return null
  }
}

/** Where the log differs from the twin; null where it holds exactly that, purged parts excepted. */
export async function mismatch(log: RaftLog, twin: Twin): Promise<string | null> {
  const ids = [...twin.groups.keys()].sort((a, b) => a - b)
  if (log.groupIds().join() !== ids.join())
    return `groups ${log.groupIds().join()} instead of ${ids.join()}`
  for (const [id, wanted] of twin.groups) {
    const what = await mismatchOf(log, id, wanted)
    if (what !== null) return `group ${id}: ${what}`
  }
  return null
}

async function mismatchOf(log: RaftLog, id: number, wanted: TwinGroup): Promise<string | null> {
  const view = log.group(id)
  const last = lastOf(wanted)
  if (view.lastIndex() !== last) return `last ${view.lastIndex()} instead of ${last}`
  const first = view.firstIndex()
  if (first > Math.max(wanted.mark?.index ?? 0, wanted.base) + 1)
    return `${first} is purged too much`
  const { hardState } = wanted
  const commit = Math.min(hardState.commit, last)
  const small = [
    [view.replica, view.createdEpoch, view.destroyedEpoch, view.hardState, view.mark],
    [
      wanted.replica,
      wanted.createdEpoch,
      wanted.destroyedEpoch,
      { ...hardState, commit },
      wanted.mark,
    ],
  ].map((state) => JSON.stringify(state))
  if (small[0] !== small[1]) return `${small[0]} instead of ${small[1]}`
  const skip = first - wanted.base - 1
  const baseTerm = skip <= 0 ? wanted.baseTerm : wanted.entries[skip - 1]?.term
  if (view.term(first - 1) !== baseTerm) return `term ${view.term(first - 1)} before ${first}`
  if (view.term(first - 2) !== undefined || view.term(last + 1) !== undefined)
    return 'terms outside'
  const found = await readAll(log, id)
  for (const [i, one] of found.entries()) {
    const other = wanted.entries[skip + i]
    const same =
      other !== undefined &&
      other.index === one.index &&
      other.term === one.term &&
      other.kind === one.kind &&
      bytesEqual(other.data, one.data)
    if (!same) return `entry ${one.index}`
  }
  return found.length === last - first + 1 ? null : `${found.length} entries`
}
