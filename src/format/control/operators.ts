// Owns what people ask of the MDS about the work it gives itself: operators (one change of one
// copyset each), the schedulers that plan them, scrub windows, and maintenance.

import { type Static, Type } from '../schema.ts'
import { controlCall } from './call.ts'
import { Empty, Id, U53 } from './parts.ts'

export const OperatorKind = Type.Union([
  /** A replica is rebuilt elsewhere; with `from` equal to `to` it is made anew in its place. */
  Type.Literal('move'),
  Type.Literal('add'),
  Type.Literal('remove'),
  /** Leadership goes to another member. */
  Type.Literal('lead'),
])
export type OperatorKind = Static<typeof OperatorKind>

export const OperatorPriority = Type.Union([
  Type.Literal('low'),
  Type.Literal('normal'),
  Type.Literal('high'),
])
export type OperatorPriority = Static<typeof OperatorPriority>

export const OperatorReason = Type.Union([
  Type.Literal('offline'),
  Type.Literal('disk-lost'),
  Type.Literal('damaged'),
  Type.Literal('too-few'),
  Type.Literal('too-many'),
  Type.Literal('drain'),
  Type.Literal('balance'),
  Type.Literal('slow'),
  Type.Literal('leader-balance'),
  Type.Literal('asked'),
])
export type OperatorReason = Static<typeof OperatorReason>

export const OperatorState = Type.Union([
  /** Decided, and not yet seen to have begun: it may still be replaced or cancelled. */
  Type.Literal('ordered'),
  Type.Literal('ongoing'),
  Type.Literal('finished'),
  Type.Literal('failed'),
  Type.Literal('cancelled'),
])
export type OperatorState = Static<typeof OperatorState>

export const Operator = Type.Object({
  /** Grows by one with each; never used twice. */
  id: Id,
  copyset: Id,
  kind: OperatorKind,
  /** Chunkservers. */
  from: Type.Optional(Id),
  to: Type.Optional(Id),
  why: OperatorReason,
  priority: OperatorPriority,
  state: OperatorState,
  /** What it does or waits for now, or how it ended, for people. */
  step: Type.String(),
  /** By the wall clock of the MDS that decided it. */
  sinceMs: U53,
  /** How long it may take in all before it is given up. */
  limitMs: U53,
  endedMs: Type.Optional(U53),
  /** Why it failed or was cancelled. */
  error: Type.Optional(Type.String()),
  /** Of the replica that is being built, as far as reported; absent where nothing is known. */
  bytesDone: Type.Optional(U53),
  bytesTotal: Type.Optional(U53),
  /** When all of it has been sent at its present rate; absent when unknown. */
  endsMs: Type.Optional(U53),
})
export type Operator = Static<typeof Operator>

/** In order of id, the ended ones as far as they are kept; `from` pages on. */
export const LIST_OPERATORS = controlCall(
  'operator.list',
  0x0240,
  Type.Object({
    /** 'active' without it. */
    state: Type.Optional(
      Type.Union([Type.Literal('active'), Type.Literal('ended'), Type.Literal('all')]),
    ),
    from: Type.Optional(Id),
  }),
  Type.Object({
    operators: Type.Array(Operator),
    /** Where the next page begins; absent at the end. */
    next: Type.Optional(Id),
  }),
)

/** NOT_FOUND for an id that was never given out, or whose operator ended too long ago. */
export const SHOW_OPERATOR = controlCall('operator.show', 0x0241, Type.Object({ id: Id }), Operator)

/**
 * Gives an operator up. What its leader has begun may still come to its end; if not, the copyset goes
 * back to what is recorded. CONFLICT for one that has ended, which `reason` names.
 */
export const CANCEL_OPERATOR = controlCall(
  'operator.cancel',
  0x0242,
  Type.Object({ id: Id }),
  Operator,
)

/** Evens out leaders at once instead of one by one; says how many will go. */
export const START_LEADER_BALANCE = controlCall(
  'leader.balance',
  0x0243,
  Empty,
  Type.Object({ operators: U53 }),
)

export const Maintenance = Type.Object({
  sinceMs: U53,
  /** By the wall clock of the MDS; it ends by itself. */
  untilMs: Id,
  reason: Type.String({ maxLength: 256 }),
  /** Who asked for it. */
  by: Type.String({ maxLength: 128 }),
})
export type Maintenance = Static<typeof Maintenance>

/** While it lasts nothing is moved, and nobody's silence counts. Asked again, it is replaced. */
export const SET_MAINTENANCE = controlCall(
  'maintenance.set',
  0x0244,
  Type.Object({
    untilMs: Id,
    reason: Type.String({ maxLength: 256 }),
    by: Type.String({ maxLength: 128 }),
  }),
  Maintenance,
)

/** Does nothing where there is none. */
export const END_MAINTENANCE = controlCall('maintenance.end', 0x0245, Empty, Empty)

export const SchedulerName = Type.Union([
  Type.Literal('recover'),
  Type.Literal('replicas'),
  /** Leaders leave chunkservers that are slow or emptied. */
  Type.Literal('relieve'),
  Type.Literal('drain'),
  Type.Literal('balance'),
  Type.Literal('leaders'),
  Type.Literal('scrub'),
])
export type SchedulerName = Static<typeof SchedulerName>

export const Scheduler = Type.Object({
  name: SchedulerName,
  on: Type.Boolean(),
  /** Between its passes. */
  intervalMs: U53,
  /** Of its newest pass in the life of this MDS; absent before the first. */
  lastMs: Type.Optional(U53),
  /** Operators of it under way. */
  active: U53,
  /** What it would do and does not, in one sentence each: 'why: how many'. */
  waits: Type.Array(Type.String()),
})
export type Scheduler = Static<typeof Scheduler>

/** In the order in which they are asked. */
export const LIST_SCHEDULERS = controlCall(
  'scheduler.list',
  0x0246,
  Empty,
  Type.Object({ schedulers: Type.Array(Scheduler) }),
)

/** Outlives the MDS. What is under way goes on. */
export const SET_SCHEDULER = controlCall(
  'scheduler.set',
  0x0247,
  Type.Object({ name: SchedulerName, on: Type.Boolean() }),
  Scheduler,
)

export const ScrubWindow = Type.Object({
  /** Every chunkserver is scrubbed once in this time; 0 for only when asked. */
  periodMs: U53,
  /** Hours of the day, UTC, in which scrubs begin: from `fromHour` to before `toHour`; equal: always. */
  fromHour: Type.Integer({ minimum: 0, maximum: 23 }),
  toHour: Type.Integer({ minimum: 0, maximum: 24 }),
  /** Chunkservers that scrub at once. */
  chunkserversMax: Type.Integer({ minimum: 1, maximum: 1024 }),
})
export type ScrubWindow = Static<typeof ScrubWindow>

export const SHOW_SCRUB_WINDOW = controlCall('scrub.window', 0x0248, Empty, ScrubWindow)
export const SET_SCRUB_WINDOW = controlCall('scrub.window.set', 0x0249, ScrubWindow, ScrubWindow)
