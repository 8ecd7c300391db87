// Owns the record by which an MDS stands for election, under a key that goes when its lease ends.

import { Address } from '../control/parts.ts'
import { type Static, Type } from '../schema.ts'

export const CandidateRecord = Type.Object({
  /** For people. */
  name: Type.String(),
  /** Where callers reach it. */
  address: Address,
  /** Absent for one without an HTTP port. */
  httpAddress: Type.Optional(Type.String()),
})
export type CandidateRecord = Static<typeof CandidateRecord>
