// Owns the record that says which process writes to the metadata store, and in which format.

import { Id } from '../control/parts.ts'
import { type Static, Type } from '../schema.ts'

/**
 * Raised when an older version could not read the records; it then refuses to start on them.
 * 2: operators of all kinds (1 knew rebuilds only).
 */
export const RECORDS_FORMAT = 2

export const OwnerRecord = Type.Object({
  format: Id,
  /** Counts the processes that have had the store. */
  life: Id,
  /** For people. */
  name: Type.String(),
  sinceMs: Type.Integer({ minimum: 0 }),
})
export type OwnerRecord = Static<typeof OwnerRecord>
