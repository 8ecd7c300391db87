// Owns what people ask about the shape of the cluster and change in it: pools, zones, servers, and
// the chunkservers that leave it or are slow. Lists page: `from` is the `next` of the page before.

import { type Static, Type } from '../schema.ts'
import { controlCall } from './call.ts'
import { Empty, FillLevel, Id, Name, U53 } from './parts.ts'

/** Of chunkservers that are not retired. */
export const PresenceCounts = Type.Object({ online: U53, unstable: U53, offline: U53 })
export type PresenceCounts = Static<typeof PresenceCounts>

/** What a set of chunkservers is and holds, retired ones left out. */
const SHARES = {
  chunkservers: PresenceCounts,
  /** Those that empty themselves. */
  draining: U53,
  /** Those that are slow or sick. */
  slow: U53,
  capacityBytes: U53,
  usedBytes: U53,
  /** Replicas that they hold. */
  copysets: U53,
  leaders: U53,
} as const

export const Pool = Type.Object({
  name: Name,
  replicas: Type.Integer({ minimum: 1, maximum: 7 }),
  /** The only zones that it uses; empty for all. */
  zones: Type.Array(Name),
  createdMs: U53,
  state: Type.Union([Type.Literal('ready'), Type.Literal('removing')]),
  ...SHARES,
  /** Copysets of the pool, which have `replicas` members each. */
  copysets: U53,
  /** Volumes in it, those in the recycle bin among them. */
  volumes: U53,
  level: FillLevel,
  /** By its fullest chunkserver that takes part: it is the one that stops writes. */
  fullestPercent: U53,
  /** Until it is full at the rate of the last hours; absent when that says nothing. */
  daysLeft: Type.Optional(Type.Number({ minimum: 0 })),
})
export type Pool = Static<typeof Pool>

export const Zone = Type.Object({
  name: Name,
  pools: Type.Array(Name),
  servers: U53,
  ...SHARES,
})
export type Zone = Static<typeof Zone>

/** Names of servers are of their own in each zone. */
export const Server = Type.Object({
  zone: Name,
  name: Name,
  pools: Type.Array(Name),
  ids: Type.Array(Id),
  ...SHARES,
})
export type Server = Static<typeof Server>

export const LIST_POOLS = controlCall(
  'pool.list',
  0x0250,
  Type.Object({ from: Type.Optional(Name) }),
  Type.Object({ pools: Type.Array(Pool), next: Type.Optional(Name) }),
)

export const SHOW_POOL = controlCall(
  'pool.show',
  0x0251,
  Type.Object({ name: Name }),
  Type.Object({
    pool: Pool,
    /** The part of each zone that is in the pool. */
    zones: Type.Array(Zone),
  }),
)

/** CONFLICT while a volume is in it. The reply does not wait until all its replicas are ended. */
export const REMOVE_POOL = controlCall(
  'pool.remove',
  0x0252,
  Type.Object({ name: Name }),
  Type.Object({ copysets: U53 }),
)

/** More copysets on the chunkservers it has; 0 for as many as a new pool of its size would have. */
export const GROW_POOL = controlCall(
  'pool.grow',
  0x0253,
  Type.Object({ name: Name, copysets: U53 }),
  Type.Object({ added: U53, copysets: U53 }),
)

export const LIST_ZONES = controlCall(
  'zone.list',
  0x0254,
  Type.Object({ from: Type.Optional(Name) }),
  Type.Object({ zones: Type.Array(Zone), next: Type.Optional(Name) }),
)

export const LIST_SERVERS = controlCall(
  'server.list',
  0x0255,
  Type.Object({ zone: Type.Optional(Name), from: Type.Optional(Type.String({ maxLength: 300 })) }),
  Type.Object({ servers: Type.Array(Server), next: Type.Optional(Type.String()) }),
)

/**
 * Marks chunkservers for removal, or takes the mark away: they get nothing new, what they hold
 * moves elsewhere, and one that holds nothing any more retires.
 */
export const DRAIN = controlCall(
  'drain',
  0x0256,
  Type.Union([
    Type.Object({ what: Type.Literal('chunkserver'), chunkserver: Id, on: Type.Boolean() }),
    Type.Object({ what: Type.Literal('server'), zone: Name, server: Name, on: Type.Boolean() }),
    Type.Object({ what: Type.Literal('zone'), zone: Name, on: Type.Boolean() }),
  ]),
  Type.Object({
    /** Those of which the mark was changed, or was as wanted already. */
    chunkservers: Type.Array(Id),
    /** Replicas that they hold now. */
    copysets: U53,
    /** Why it will not end as things are, with what helps; one sentence. */
    warning: Type.Optional(Type.String()),
  }),
)

/** Retires a chunkserver at once; CONFLICT while it holds a replica. Its id does not come back. */
export const REMOVE_CHUNKSERVER = controlCall(
  'chunkserver.remove',
  0x0257,
  Type.Object({ chunkserver: Id }),
  Empty,
)

/** As REMOVE_CHUNKSERVER, of all chunkservers of a server. */
export const REMOVE_SERVER = controlCall(
  'server.remove',
  0x0258,
  Type.Object({ zone: Name, server: Name }),
  Type.Object({ chunkservers: Type.Array(Id) }),
)

/** As REMOVE_CHUNKSERVER, of all chunkservers of a zone. */
export const REMOVE_ZONE = controlCall(
  'zone.remove',
  0x025a,
  Type.Object({ zone: Name }),
  Type.Object({ chunkservers: Type.Array(Id) }),
)

/** Counts a chunkserver as sound again, as after its disk was mended; it is watched as before. */
export const CLEAR_SLOW = controlCall(
  'chunkserver.clearSlow',
  0x0259,
  Type.Object({ chunkserver: Id }),
  /** Whether it had been slow or sick. */
  Type.Object({ wasSlow: Type.Boolean() }),
)
