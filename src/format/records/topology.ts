// Owns the records of topology: the cluster, its pools, chunkservers and copysets, and the
// operators under way. Ids of replicas name their chunkserver (copyset/replica-id.ts).

import {
  Maintenance,
  OperatorKind,
  OperatorPriority,
  OperatorReason,
  SchedulerName,
  ScrubWindow,
} from '../control/operators.ts'
import { Draining, Id, Name, Slow, U53 } from '../control/parts.ts'
import { type Static, Type } from '../schema.ts'
import { decodeRecord } from './record.ts'

export const ClusterRecord = Type.Object({
  clusterId: Type.String({ minLength: 16, maxLength: 64 }),
  /** Ids never given out yet. */
  nextChunkserver: Id,
  nextCopyset: Id,
  /** +1 whenever a chunkserver comes or has another address. */
  directoryVersion: Id,
  /** When somebody last asked for a scrub of everything; 0 for never. */
  scrubMs: U53,
  /** The next operator's id; 1 without it. */
  nextOperator: Type.Optional(Id),
  schedulersOff: Type.Optional(Type.Array(SchedulerName)),
  maintenance: Type.Optional(Maintenance),
  scrubWindow: Type.Optional(ScrubWindow),
})
export type ClusterRecord = Static<typeof ClusterRecord>

export const PoolRecord = Type.Object({
  name: Name,
  replicas: Type.Integer({ minimum: 1, maximum: 7 }),
  copysets: Id,
  createdMs: U53,
  /** The only zones that it uses; absent for all. */
  zones: Type.Optional(Type.Array(Name, { minItems: 1 })),
  /** Since when it is being removed: it takes no volumes, and its replicas are ended. */
  removingMs: Type.Optional(U53),
})
export type PoolRecord = Static<typeof PoolRecord>

export const ChunkserverRecord = Type.Object({
  id: Id,
  /** From the disk's identity file. */
  diskId: Type.String({ minLength: 16, maxLength: 64 }),
  /** What the chunkserver shows with each call. */
  token: Type.String(),
  address: Type.String(),
  httpAddress: Type.String(),
  pool: Name,
  zone: Name,
  server: Name,
  capacityBytes: U53,
  version: Type.String(),
  registeredMs: U53,
  /** The chunkserver that answers at its address now: this one's disk is gone. */
  replacedBy: Type.Optional(Id),
  /** Since when it holds nothing and must not come back. */
  retiredMs: Type.Optional(U53),
  /** The newest scrub that it was told of on its own, and the newest that it has finished. */
  scrubMs: Type.Optional(U53),
  scrubbedMs: Type.Optional(U53),
  /** It is to be emptied, and gets nothing new. */
  draining: Type.Optional(Draining),
  /** It stands out, or its disk returns errors: it leads nothing and gets nothing new. */
  slow: Type.Optional(Slow),
})
export type ChunkserverRecord = Static<typeof ChunkserverRecord>

/** A replica id that was given out, so that none is used twice on one chunkserver. */
export const IssuedRecord = Type.Object({
  chunkserver: Id,
  /** The newest incarnation given out there. */
  incarnation: Id,
  /** The copyset's epoch when it was. */
  epoch: U53,
})
export type IssuedRecord = Static<typeof IssuedRecord>

export const CopysetRecord = Type.Object({
  id: Id,
  pool: Name,
  /**
   * Of the newest settled configuration that was reported, with its members by replica id. That of its
   * founding begins with the voter that is to lead first.
   */
  epoch: Id,
  voters: Type.Array(Id, { minItems: 1 }),
  learners: Type.Array(Id),
  /**
   * Not every founding replica has been seen yet; the missing ones may still be made from nothing.
   */
  founding: Type.Boolean(),
  issued: Type.Array(IssuedRecord),
})
export type CopysetRecord = Static<typeof CopysetRecord>

/** A copyset of a pool that was removed, until no chunkserver can have a replica of it any more. */
export const EndingRecord = Type.Object({
  id: Id,
  pool: Name,
  /** Those that may still have a replica. */
  chunkservers: Type.Array(Id),
})
export type EndingRecord = Static<typeof EndingRecord>

const OPERATOR = {
  copyset: Id,
  /** Replica ids: the one that goes, or leads; and the one that comes, or is to lead. */
  from: Type.Optional(Id),
  to: Type.Optional(Id),
  why: OperatorReason,
  /** The copyset's epoch when it was decided. */
  epoch: Id,
  sinceMs: U53,
}

/** Of all but those of format 1. */
const OPERATOR_LATER = {
  /** 0 for one that was decided before operators had ids, until it is given one. */
  id: U53,
  kind: OperatorKind,
  priority: OperatorPriority,
  /** How long it may take in all. */
  limitMs: U53,
}

export const OperatorRecord = Type.Object({ ...OPERATOR, ...OPERATOR_LATER })
export type OperatorRecord = Static<typeof OperatorRecord>

/** One that is over, for people; the newest some hundred are kept. */
export const EndedOperatorRecord = Type.Object({
  ...OPERATOR,
  ...OPERATOR_LATER,
  state: Type.Union([Type.Literal('finished'), Type.Literal('failed'), Type.Literal('cancelled')]),
  endedMs: U53,
  error: Type.Optional(Type.String()),
})
export type EndedOperatorRecord = Static<typeof EndedOperatorRecord>

const StoredOperatorRecord = Type.Object({
  ...OPERATOR,
  id: Type.Optional(OPERATOR_LATER.id),
  kind: Type.Optional(OPERATOR_LATER.kind),
  priority: Type.Optional(OPERATOR_LATER.priority),
  limitMs: Type.Optional(OPERATOR_LATER.limitMs),
})
const REBUILD_LIMIT_MS = 1_800_000

/** In format 1 all operators were rebuilds, which come before everything else. */

export function decodeOperator(item: {
  readonly key: string
  readonly value: string
}): OperatorRecord {
  const { copyset, why, epoch, sinceMs, ...later } = decodeRecord(StoredOperatorRecord, item)
  const rebuild = { id: 0, kind: 'move', priority: 'high', limitMs: REBUILD_LIMIT_MS } as const
  return { ...rebuild, ...later, copyset, why, epoch, sinceMs }
}
