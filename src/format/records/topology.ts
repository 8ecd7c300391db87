// Owns the records of topology: the cluster, its pools, chunkservers and copysets, and the
// operators under way. Ids of replicas name their chunkserver (copyset/replica-id.ts).

import { type Static, Type } from 'typebox'
import { Id, Name, U53 } from '../control/parts.ts'

export const ClusterRecord = Type.Object({
  clusterId: Type.String({ minLength: 16, maxLength: 64 }),
  /** Ids never given out yet. */
  nextChunkserver: Id,
  nextCopyset: Id,
  /** +1 whenever a chunkserver comes or has another address. */
  directoryVersion: Id,
  /** When an operator last asked for a scrub; 0 for never. */
  scrubMs: U53,
})
export type ClusterRecord = Static<typeof ClusterRecord>

export const PoolRecord = Type.Object({
  name: Name,
  replicas: Type.Integer({ minimum: 1, maximum: 7 }),
  copysets: Id,
  createdMs: U53,
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
  /** Of the newest settled configuration that was reported, with its members by replica id. */
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

export const MoveReason = Type.Union([
  Type.Literal('offline'),
  Type.Literal('disk-lost'),
  Type.Literal('damaged'),
])
export type MoveReason = Static<typeof MoveReason>

export const OperatorRecord = Type.Object({
  copyset: Id,
  /** Replica ids: the one that goes, and the one that comes in its place. */
  from: Id,
  to: Id,
  why: MoveReason,
  /** The copyset's epoch when it was decided. */
  epoch: Id,
  sinceMs: U53,
})
export type OperatorRecord = Static<typeof OperatorRecord>
