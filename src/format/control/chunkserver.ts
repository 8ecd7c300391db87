// Owns what chunkservers say to the MDS and what they are asked about their replicas.

import { type Static, Type } from '../schema.ts'
import { controlCall } from './call.ts'
import {
  Address,
  DiskReport,
  DiskWindow,
  Empty,
  Id,
  IoReport,
  Name,
  RecoveryReport,
  ScrubReport,
  U53,
} from './parts.ts'

/** Answers the same for the same disk, so that it may be repeated. */
export const REGISTER_CHUNKSERVER = controlCall(
  'chunkserver.register',
  0x0201,
  Type.Object({
    /** From the disk's identity file; another disk at the same address is another chunkserver. */
    diskId: Type.String({ minLength: 16, maxLength: 64 }),
    /** Of the identity file; empty on a new disk. */
    clusterId: Type.String({ maxLength: 64 }),
    /** 0 on a new disk. */
    id: U53,
    token: Type.String({ maxLength: 64 }),
    address: Address,
    httpAddress: Type.String({ maxLength: 256 }),
    pool: Name,
    zone: Name,
    server: Name,
    capacityBytes: U53,
    version: Type.String({ maxLength: 64 }),
  }),
  Type.Object({ id: Id, clusterId: Type.String(), token: Type.String() }),
)

/** State on its way from this replica to one that is new, or far behind. */
export const SendingReport = Type.Object({
  /** Replica. */
  to: Id,
  bytesSent: U53,
  /** What it lacks in all; 0 until it has said so. */
  bytesWanted: U53,
  /** For how long it has been sent. */
  lastsMs: U53,
})
export type SendingReport = Static<typeof SendingReport>

export const ReplicaReport = Type.Object({
  group: Id,
  replica: Id,
  /** Of the configuration applied. */
  epoch: U53,
  term: U53,
  leads: Type.Boolean(),
  /** Replica id that it believes to lead, or 0. */
  leader: U53,
  voters: Type.Array(Id),
  learners: Type.Array(Id),
  appliedIndex: U53,
  chunks: U53,
  usedBytes: U53,
  /** Why it is out of service; absent when it serves. */
  damage: Type.Optional(Type.String()),
  /** What a change of members that runs on this leader waits for. */
  changing: Type.Optional(Type.String()),
  sending: Type.Optional(Type.Array(SendingReport, { maxItems: 64 })),
})
export type ReplicaReport = Static<typeof ReplicaReport>

export const Order = Type.Union([
  /**
   * Found a new copyset's replica: every voter's chunkserver gets the same list. The first of it is to
   * lead first.
   */
  Type.Object({
    kind: Type.Literal('found'),
    group: Id,
    replica: Id,
    voters: Type.Array(Id, { minItems: 1 }),
  }),
  /** To the leader: make `voters` the members, if its configuration has `epoch`. */
  Type.Object({
    kind: Type.Literal('change'),
    group: Id,
    epoch: U53,
    voters: Type.Array(Id, { minItems: 1 }),
  }),
  Type.Object({ kind: Type.Literal('destroy'), group: Id, replica: Id, epoch: U53 }),
  Type.Object({ kind: Type.Literal('lead'), group: Id, replica: Id }),
  Type.Object({ kind: Type.Literal('scrub'), startedMs: U53 }),
])
export type Order = Static<typeof Order>

export const HEARTBEAT = controlCall(
  'chunkserver.heartbeat',
  0x0202,
  Type.Object({
    id: Id,
    token: Type.String(),
    address: Address,
    /** Replicas are all loaded: a group not reported is not here. */
    complete: Type.Boolean(),
    /** Of its process. */
    upMs: Type.Optional(U53),
    disk: DiskReport,
    /** Since the heartbeat before, oldest first; seconds without a write are left out. */
    windows: Type.Optional(Type.Array(DiskWindow, { maxItems: 64 })),
    io: IoReport,
    scrub: ScrubReport,
    recovery: Type.Optional(RecoveryReport),
    replicas: Type.Array(ReplicaReport),
    /** Of the directory that it has. */
    directoryVersion: U53,
  }),
  Type.Object({
    intervalMs: U53,
    orders: Type.Array(Order),
    directoryVersion: U53,
    /** Addresses of all chunkservers; only when the version differs. */
    directory: Type.Optional(Type.Array(Type.Object({ chunkserver: Id, address: Address }))),
    /** Limits of the volumes that have any, for the chunkserver's own check. */
    limits: Type.Array(Type.Object({ volume: Id, iopsMax: U53, bytesPerSecondMax: U53 })),
    /** Chunkservers that are full: a leader lets nobody write to new places beside one of them. */
    full: Type.Optional(Type.Array(Id)),
  }),
)

/** Carries one order at once instead of with the next heartbeat. */
export const GIVE_ORDER = controlCall(
  'chunkserver.order',
  0x0310,
  Type.Object({ order: Order }),
  Empty,
)

/** Each chunk of a replica, in order of id, with what it holds at that version; `from` pages on. */
export const LIST_CHUNKS = controlCall(
  'replica.chunks',
  0x0311,
  Type.Object({
    group: Id,
    from: U53,
    count: Type.Integer({ minimum: 1, maximum: 1024 }),
    /** Read every block from disk and verify it: `digest` is then of what was read. */
    verify: Type.Boolean(),
    /** Only the leader answers, when all that was committed before the call is applied. */
    committed: Type.Optional(Type.Boolean()),
  }),
  Type.Object({
    appliedIndex: U53,
    chunks: Type.Array(
      Type.Object({
        chunk: Id,
        /** Index of the last entry that changed it: equal versions must have equal digests. */
        version: U53,
        /** Of the logical content: states and CRC32C of all blocks in all generations. */
        digest: U53,
        usedBytes: U53,
        badBlocks: U53,
      }),
    ),
    /** Where the next page begins; absent at the end. */
    next: Type.Optional(U53),
  }),
)

/**
 * Repairs what this replica knows to be bad. `lostBlocks`: found good nowhere; a member on one of the
 * chunkservers in `unanswered` may have had them.
 */
export const MEND_REPLICA = controlCall(
  'replica.mend',
  0x0313,
  Type.Object({ group: Id }),
  Type.Object({ lostBlocks: U53, unanswered: Type.Array(Id) }),
)

/**
 * Repairs what fails its checksum in one chunk of this replica, from the others. With `expected`, what
 * a majority has: a replica that has applied that version and holds something else is rebuilt.
 */
export const REPAIR_CHUNK = controlCall(
  'replica.repair',
  0x0312,
  Type.Object({
    group: Id,
    chunk: Id,
    expected: Type.Optional(Type.Object({ version: U53, digest: U53 })),
  }),
  Type.Object({ badBlocks: U53, repairedBlocks: U53 }),
)
