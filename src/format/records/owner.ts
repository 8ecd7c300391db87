// Owns the record that says which process writes to the metadata store, and in which format.

import { type Static, Type } from 'typebox'
import { Id } from '../control/parts.ts'

/** Raised when an older version could not read the records; it then refuses to start on them. */
export const RECORDS_FORMAT = 1

export const OwnerRecord = Type.Object({
  format: Id,
  /** Counts the processes that have had the store. */
  life: Id,
  /** For people. */
  name: Type.String(),
  sinceMs: Type.Integer({ minimum: 0 }),
})
export type OwnerRecord = Static<typeof OwnerRecord>
