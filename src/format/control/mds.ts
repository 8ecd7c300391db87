// Owns what operators, the CLI and volume clients ask of the MDS.

import { type Static, Type } from '../schema.ts'
import { controlCall } from './call.ts'
import { Maintenance } from './operators.ts'
import {
  Address,
  Chunkserver,
  Copyset,
  Empty,
  FillLevel,
  Id,
  Name,
  Segment,
  U53,
  Volume,
} from './parts.ts'

export const CREATE_POOL = controlCall(
  'pool.create',
  0x0210,
  Type.Object({
    name: Name,
    replicas: Type.Integer({ minimum: 1, maximum: 7 }),
    /** How many copysets; 0 lets the MDS choose by the number of chunkservers. */
    copysets: U53,
    /** The only zones that it uses; absent for all. */
    zones: Type.Optional(Type.Array(Name, { minItems: 1, maxItems: 1024 })),
  }),
  Type.Object({ copysets: U53 }),
)

export const LIST_CHUNKSERVERS = controlCall(
  'chunkserver.list',
  0x0211,
  /** In order of id; `from` pages on. */
  Type.Object({ from: Type.Optional(Id) }),
  Type.Object({
    chunkservers: Type.Array(Chunkserver),
    /** Where the next page begins; absent at the end. */
    next: Type.Optional(Id),
  }),
)

export const LIST_COPYSETS = controlCall(
  'copyset.list',
  0x0212,
  /** Empty: all, in order of id; `from` pages on. */
  Type.Object({ ids: Type.Array(Id), from: Type.Optional(Id) }),
  Type.Object({
    copysets: Type.Array(Copyset),
    /** Where the next page begins; absent at the end. */
    next: Type.Optional(Id),
  }),
)

/** Orders every chunkserver to scrub. */
export const START_SCRUB = controlCall('scrub.start', 0x0213, Empty, Empty)

export const Health = Type.Object({
  state: Type.Union([Type.Literal('ok'), Type.Literal('warning'), Type.Literal('error')]),
  /** One sentence each: what, what it means for the data, what helps. */
  reasons: Type.Array(Type.String()),
})

/** How full a pool is, for the status. */
export const PoolFill = Type.Object({
  name: Name,
  capacityBytes: U53,
  usedBytes: U53,
  level: FillLevel,
  /** Of its fullest chunkserver: it is the one that stops writes. */
  fullestPercent: U53,
  /** Until it is full at the rate of the last hours; absent when that says nothing. */
  daysLeft: Type.Optional(Type.Number({ minimum: 0 })),
})
export type PoolFill = Static<typeof PoolFill>

export const STATUS = controlCall(
  'status',
  0x0214,
  Empty,
  Type.Object({
    clusterId: Type.String(),
    version: Type.String(),
    /** Of the HTTP port of the MDS that answers; absent when it has none. */
    httpAddress: Type.Optional(Type.String()),
    health: Health,
    chunkservers: Type.Object({ online: U53, unstable: U53, offline: U53 }),
    copysets: Type.Object({ total: U53, ok: U53, degraded: U53, broken: U53, moving: U53 }),
    volumes: U53,
    deletedVolumes: U53,
    capacityBytes: U53,
    usedBytes: U53,
    /** What moves now: one line each, at most some hundred; `operators` has the number. */
    moving: Type.Array(
      Type.Object({
        copyset: Id,
        what: Type.String(),
        why: Type.String(),
        sinceMs: U53,
        operator: Type.Optional(Id),
        /** Of the replica that is being built, as far as reported. */
        bytesDone: Type.Optional(U53),
        bytesTotal: Type.Optional(U53),
        /** When it ends at its present rate, by the wall clock of the MDS; absent when unknown. */
        endsMs: Type.Optional(U53),
      }),
    ),
    operators: Type.Optional(
      Type.Object({
        ordered: U53,
        ongoing: U53,
        /** Of replicas being built, or about to be, what is still to be sent; absent for none. */
        bytesLeft: Type.Optional(U53),
        /** When all that is known to move has moved, at the present rate; absent when unknown. */
        endsMs: Type.Optional(U53),
      }),
    ),
    maintenance: Type.Optional(Maintenance),
    /** Why nothing moves now, in one sentence; absent while nothing forbids it. */
    guard: Type.Optional(Type.String()),
    pools: Type.Optional(Type.Array(PoolFill)),
    /** Chunkservers that stand out or are sick. */
    slow: Type.Optional(Type.Array(Id)),
  }),
)
export type Status = Static<(typeof STATUS)['reply']>

export const CREATE_VOLUME = controlCall(
  'volume.create',
  0x0220,
  Type.Object({
    name: Name,
    sizeBytes: Id,
    stripeUnitBytes: U53,
    stripeCount: Type.Integer({ minimum: 1, maximum: 64 }),
    iopsMax: U53,
    bytesPerSecondMax: U53,
    pool: Type.Optional(Name),
  }),
  Volume,
)

export const LIST_VOLUMES = controlCall(
  'volume.list',
  0x0221,
  /** The recycle bin instead of the volumes in use. In order of id; `from` pages on. */
  Type.Object({ deleted: Type.Boolean(), from: Type.Optional(Id) }),
  Type.Object({
    volumes: Type.Array(Volume),
    /** Where the next page begins; absent at the end. */
    next: Type.Optional(Id),
  }),
)

export const SHOW_VOLUME = controlCall('volume.show', 0x0222, Type.Object({ name: Name }), Volume)

export const RESIZE_VOLUME = controlCall(
  'volume.resize',
  0x0223,
  Type.Object({ name: Name, sizeBytes: Id }),
  Volume,
)

export const RENAME_VOLUME = controlCall(
  'volume.rename',
  0x0224,
  Type.Object({ name: Name, to: Name }),
  Volume,
)

export const DELETE_VOLUME = controlCall(
  'volume.delete',
  0x0225,
  Type.Object({ name: Name }),
  Volume,
)

export const RESTORE_VOLUME = controlCall(
  'volume.restore',
  0x0226,
  /** Which deleted one, where several had the name; the newest without it. */
  Type.Object({ name: Name, id: Type.Optional(Id), to: Type.Optional(Name) }),
  Volume,
)

/** Deletes for good: one deleted volume, or all without an id. */
export const EMPTY_TRASH = controlCall(
  'trash.empty',
  0x0227,
  Type.Object({ id: Type.Optional(Id) }),
  Type.Object({ volumes: U53 }),
)

/** What an open volume and each renewal of its lease tell the client. */
export const Lease = Type.Object({
  volume: Volume,
  /** The epoch to write with; for readers the present one. */
  epoch: U53,
  /** The client stops writing this long after it *sent* the last renewal that was answered. */
  leaseMs: U53,
})
export type Lease = Static<typeof Lease>

export const OPEN_VOLUME = controlCall(
  'volume.open',
  0x0230,
  Type.Object({
    name: Name,
    /** Chosen by the client at random for each open; opening again with the same one is a retry. */
    client: Type.String({ minLength: 8, maxLength: 64 }),
    address: Type.String({ maxLength: 256 }),
    mode: Type.Union([Type.Literal('write'), Type.Literal('read')]),
    /** Take it over from a holder whose lease has not ended. */
    force: Type.Boolean(),
  }),
  Lease,
)

/**
 * FENCED: somebody took the volume over; NOT_FOUND: it was deleted. A reader gives epoch 0,
 * or opens again.
 */
export const RENEW_LEASE = controlCall(
  'volume.renew',
  0x0231,
  Type.Object({ volume: Id, client: Type.String(), epoch: U53 }),
  Lease,
)

export const CLOSE_VOLUME = controlCall(
  'volume.close',
  0x0232,
  Type.Object({ volume: Id, client: Type.String(), epoch: U53 }),
  Empty,
)

/** Segments `from` to before `to`, at most 1024. With `allocate` missing ones are made, which takes the epoch of the writer. */
export const GET_SEGMENTS = controlCall(
  'volume.segments',
  0x0233,
  Type.Object({ volume: Id, epoch: U53, from: U53, to: U53, allocate: Type.Boolean() }),
  Type.Object({ segments: Type.Array(Segment) }),
)

export const LOCATE_COPYSETS = controlCall(
  'copyset.locate',
  0x0234,
  Type.Object({ groups: Type.Array(Id, { maxItems: 4096 }) }),
  Type.Object({
    copysets: Type.Array(
      Type.Object({
        group: Id,
        leader: U53,
        members: Type.Array(Type.Object({ chunkserver: Id, address: Address })),
      }),
    ),
  }),
)
