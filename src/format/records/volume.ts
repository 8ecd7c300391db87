// Owns the records of the namespace: volumes, their segments, and the numbers given out next.

import { Id, Name, U53 } from '../control/parts.ts'
import { type Static, Type } from '../schema.ts'

export const HolderRecord = Type.Object({
  client: Type.String(),
  address: Type.String(),
  sinceMs: U53,
})
export type HolderRecord = Static<typeof HolderRecord>

export const VolumeRecord = Type.Object({
  id: Id,
  name: Name,
  pool: Name,
  sizeBytes: Id,
  /** 0 and 1 for a volume that is not striped. */
  stripeUnitBytes: U53,
  stripeCount: Type.Integer({ minimum: 1, maximum: 64 }),
  iopsMax: U53,
  bytesPerSecondMax: U53,
  /** 'deleted' is in the recycle bin; of a 'deleting' one the chunks are being ended. */
  state: Type.Union([Type.Literal('ready'), Type.Literal('deleted'), Type.Literal('deleting')]),
  sn: Id,
  /** Of the newest writer; 0 before the first. */
  epoch: U53,
  createdMs: U53,
  deletedMs: Type.Optional(U53),
  expiresMs: Type.Optional(U53),
  /** The writer of `epoch`, until it closes or the volume is deleted. */
  holder: Type.Optional(HolderRecord),
  /** Of a 'deleting' one: the chunks of segments below this index have been ended. */
  cleanedSegments: Type.Optional(U53),
})
export type VolumeRecord = Static<typeof VolumeRecord>

/** The volume and the index are in its key. */
export const SegmentRecord = Type.Object({
  firstChunk: Id,
  groups: Type.Array(Id, { minItems: 64, maxItems: 64 }),
})
export type SegmentRecord = Static<typeof SegmentRecord>

/** Numbers that were never given out yet. */
export const SerialsRecord = Type.Object({ volume: Id, segment: U53 })
export type SerialsRecord = Static<typeof SerialsRecord>
