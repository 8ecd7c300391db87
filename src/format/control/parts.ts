// Owns the pieces that several control calls share.

import { type Static, Type } from '../schema.ts'

export const U53 = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })
export const Id = Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER })
/** Letters, digits, dot, dash, underscore; begins with a letter or digit; at most 128. */
export const Name = Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$' })
export const Address = Type.String({ minLength: 1, maxLength: 256 })
export const Empty = Type.Object({})

export const VolumeState = Type.Union([Type.Literal('ready'), Type.Literal('deleted')])

export const Volume = Type.Object({
  id: Id,
  name: Name,
  sizeBytes: U53,
  /** 0 and 1 for a volume that is not striped. */
  stripeUnitBytes: U53,
  stripeCount: Type.Integer({ minimum: 1, maximum: 64 }),
  pool: Name,
  state: VolumeState,
  /** Sequence number: the snapshot generation of writes. */
  sn: Id,
  /** Of the newest writer; 0 before the first. */
  epoch: U53,
  /** 0 for no limit. */
  iopsMax: U53,
  bytesPerSecondMax: U53,
  createdMs: U53,
  /** When it went to the recycle bin, and when it will be gone for good. */
  deletedMs: Type.Optional(U53),
  expiresMs: Type.Optional(U53),
  segmentsAllocated: U53,
  /** Who has it open for writing. */
  holder: Type.Optional(
    Type.Object({ client: Type.String(), address: Type.String(), sinceMs: U53 }),
  ),
})
export type Volume = Static<typeof Volume>

/** Where the 64 chunks of a segment are: chunk i has id firstChunk + i, in copyset groups[i]. */
export const Segment = Type.Object({
  index: U53,
  firstChunk: Id,
  groups: Type.Array(Id, { minItems: 64, maxItems: 64 }),
})
export type Segment = Static<typeof Segment>

export const Member = Type.Object({ replica: Id, chunkserver: Id, address: Address, zone: Name })
export type Member = Static<typeof Member>

export const Copyset = Type.Object({
  id: Id,
  pool: Name,
  /** +1 for each applied change of members. */
  epoch: U53,
  /** The chunkserver that leads, as last reported; 0 for none. */
  leader: U53,
  term: U53,
  members: Type.Array(Member),
  /** Members that are being brought up and do not count yet. */
  candidates: Type.Array(Member),
  /** 'ok', or what is wrong in one word: degraded (a member is away), broken (no quorum), moving. */
  health: Type.Union([
    Type.Literal('ok'),
    Type.Literal('degraded'),
    Type.Literal('broken'),
    Type.Literal('moving'),
    Type.Literal('unknown'),
  ]),
  chunks: U53,
  usedBytes: U53,
  /** Entries that its hindmost member still has to catch up with, when that is worth a word. */
  behind: Type.Optional(U53),
})
export type Copyset = Static<typeof Copyset>

export const ChunkserverState = Type.Union([
  Type.Literal('online'),
  Type.Literal('unstable'),
  Type.Literal('offline'),
  /** Its replicas are all elsewhere; the id does not come back. */
  Type.Literal('retired'),
])

/** How full: 'near' and 'nearly' warn, at 'full' writes that need new space wait. */
export const FillLevel = Type.Union([
  Type.Literal('ok'),
  Type.Literal('near'),
  Type.Literal('nearly'),
  Type.Literal('full'),
])
export type FillLevel = Static<typeof FillLevel>

/** Durable writes of a disk as its chunkserver saw them in a second or so. */
export const DiskWindow = Type.Object({
  writes: U53,
  meanUs: U53,
  maxUs: U53,
})
export type DiskWindow = Static<typeof DiskWindow>

/** Why a chunkserver is to empty itself; only 'asked' ends with its removal. */
export const DrainReason = Type.Union([Type.Literal('asked'), Type.Literal('slow')])
export type DrainReason = Static<typeof DrainReason>
export const Draining = Type.Object({ sinceMs: U53, why: DrainReason })
export type Draining = Static<typeof Draining>

export const Slow = Type.Object({
  sinceMs: U53,
  why: Type.Union([Type.Literal('latency'), Type.Literal('errors')]),
  /** With the figures, for people. */
  says: Type.String({ maxLength: 256 }),
})
export type Slow = Static<typeof Slow>

/** State sent to, and taken in from, other chunkservers. */
export const RecoveryReport = Type.Object({
  /** The present limit, each for what is sent and what is received. */
  limitBytesPerSecond: U53,
  sentBytesPerSecond: U53,
  receivedBytesPerSecond: U53,
})
export type RecoveryReport = Static<typeof RecoveryReport>

export const DiskReport = Type.Object({
  capacityBytes: U53,
  usedBytes: U53,
  /** 'ok'; 'full' takes no new chunks; 'failed' serves nothing any more. */
  state: Type.Union([Type.Literal('ok'), Type.Literal('full'), Type.Literal('failed')]),
  /** Errors of the disk and blocks that failed their checksum, since the start. */
  errors: U53,
  badBlocks: U53,
  repairedBlocks: U53,
  writeP99Us: U53,
})

export const IoReport = Type.Object({
  reads: U53,
  writes: U53,
  readBytes: U53,
  writtenBytes: U53,
})

export const ScrubReport = Type.Object({
  state: Type.Union([Type.Literal('idle'), Type.Literal('running')]),
  startedMs: U53,
  finishedMs: U53,
  chunksDone: U53,
  chunksTotal: U53,
  badBlocks: U53,
  repairedBlocks: U53,
})
export type ScrubReport = Static<typeof ScrubReport>

/** Of a chunkserver that has not scrubbed since its start. */
export const NO_SCRUB: ScrubReport = {
  state: 'idle',
  startedMs: 0,
  finishedMs: 0,
  chunksDone: 0,
  chunksTotal: 0,
  badBlocks: 0,
  repairedBlocks: 0,
}

export const Chunkserver = Type.Object({
  id: Id,
  address: Address,
  httpAddress: Type.String(),
  pool: Name,
  zone: Name,
  server: Name,
  state: ChunkserverState,
  lastHeartbeatMs: U53,
  version: Type.String(),
  disk: DiskReport,
  io: IoReport,
  scrub: ScrubReport,
  /** Told to scrub, and not known to have ended that. */
  scrubAsked: Type.Optional(Type.Boolean()),
  copysets: U53,
  leaders: U53,
  damaged: U53,
  scatterWidth: U53,
  draining: Type.Optional(Draining),
  /** Stands out from the others of its pool, or its disk returns errors: it leads nothing. */
  slow: Type.Optional(Slow),
  recovery: Type.Optional(RecoveryReport),
})
export type Chunkserver = Static<typeof Chunkserver>
