// Owns the question that every MDS answers, leading or not: who it is, and who leads as far as it knows.

import { type Static, Type } from '../schema.ts'
import { controlCall } from './call.ts'
import { Address, Empty, U53 } from './parts.ts'

/** An MDS that stands for election. */
export const MdsSeen = Type.Object({
  name: Type.String(),
  address: Address,
  /** Absent for one without an HTTP port. */
  httpAddress: Type.Optional(Type.String()),
})
export type MdsSeen = Static<typeof MdsSeen>

export const SHOW_MDS = controlCall(
  'mds.show',
  0x0260,
  Empty,
  Type.Object({
    name: Type.String(),
    address: Address,
    httpAddress: Type.Optional(Type.String()),
    version: Type.String(),
    /** 'rising': elected, and not yet serving. */
    role: Type.Union([Type.Literal('leader'), Type.Literal('rising'), Type.Literal('standby')]),
    /** Of the leader that this MDS knows of, itself included; a later one's is greater, 0 is none. */
    term: U53,
    /** That leader; absent while none is known. */
    leader: Type.Optional(MdsSeen),
    /** All that stand for election, the one that leads first; itself alone with a store of its own. */
    candidates: Type.Array(MdsSeen),
    store: Type.Union([Type.Literal('embedded'), Type.Literal('etcd')]),
    /** Of this MDS's host, for the comparison of clocks. */
    wallMs: Type.Integer(),
    /** A standby has all records at hand. */
    warm: Type.Boolean(),
  }),
)
