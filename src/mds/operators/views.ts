// Owns what people are told about operators: those under way with what they wait for and how far they
// are, those that are over, and when all of it will be done. Reads only.

import { LemnisError } from '../../base/errors.ts'
import type { Clock } from '../../env/clock.ts'
import type { ReplyOf, RequestOf } from '../../format/control/call.ts'
import type { Status } from '../../format/control/mds.ts'
import type { LIST_OPERATORS, Operator, OperatorState } from '../../format/control/operators.ts'
import type { EndedOperatorRecord, OperatorRecord } from '../../format/records/topology.ts'
import type { OperatorReason } from '../../placement/operator.ts'
import type { Reports } from '../reports.ts'
import { chunkserverOf, type Topology } from '../topology/topology.ts'
import type { EndReason } from './endings.ts'
import type { Operators } from './operators.ts'
import type { Progress } from './progress.ts'

/** Operators in one answer, of some 300 bytes each. */
const PAGE = 1000
/** Lines of what moves in the status; the number of all is told beside them. */
const MOVING_MAX = 100

export interface OperatorViewsOptions {
  readonly clock: Clock
  readonly topology: Topology
  readonly reports: Reports
  readonly operators: Operators
  readonly progress: Progress
  /** How many more wait until these have finished. */
  readonly waiting: () => number
}

/** A replica that is being built. */
interface Built {
  readonly totalBytes: number
  /** Null while nothing is known of it. */
  readonly doneBytes: number | null
  /** At which it is sent; 0 when it is not, or nobody says. */
  readonly bytesPerMs: number
}

export class OperatorViews {
  readonly #options: OperatorViewsOptions

  constructor(options: OperatorViewsOptions) {
    this.#options = options
  }

  list({
    state = 'active',
    from = 0,
  }: RequestOf<typeof LIST_OPERATORS>): ReplyOf<typeof LIST_OPERATORS> {
    const { topology } = this.#options
    const found: (OperatorRecord | EndedOperatorRecord)[] = []
    if (state !== 'ended') found.push(...topology.operators.values())
    if (state !== 'active') found.push(...topology.endedOperators())
    const all = found.filter(({ id }) => id >= from).sort((a, b) => a.id - b.id)
    const operators = all.slice(0, PAGE).map((one) => this.#shown(one))
    const next = all[PAGE]?.id
    return next === undefined ? { operators } : { operators, next }
  }

  show(id: number): Operator {
    const active = this.activeOf(id)
    const found = active ?? this.#options.topology.endedOperator(id)
    if (found === undefined) throw new LemnisError('NOT_FOUND', { operator: id })
    return this.#shown(found)
  }

  activeOf(id: number): OperatorRecord | undefined {
    for (const operator of this.#options.topology.operators.values()) {
      if (operator.id === id) return operator
    }
    return undefined
  }

  #shown(record: OperatorRecord | EndedOperatorRecord): Operator {
    const { id, copyset, kind, why, priority, sinceMs, limitMs, from, to } = record
    const common = {
      id,
      copyset,
      kind,
      ...(from === undefined ? {} : { from: chunkserverOf(from) }),
      ...(to === undefined ? {} : { to: chunkserverOf(to) }),
      why,
      priority,
      sinceMs,
      limitMs,
    }
    if ('endedMs' in record) {
      const { state, endedMs, error } = record
      const step = error === undefined ? 'done' : (ENDS[error as EndReason] ?? error)
      return { ...common, state, step, endedMs, ...(error === undefined ? {} : { error }) }
    }
    return {
      ...common,
      state: this.#stateOf(record),
      step: this.#stepOf(record),
      ...this.#bytesOf(record),
    }
  }

  #stateOf(operator: OperatorRecord): OperatorState & ('ordered' | 'ongoing') {
    return this.#options.operators.hasBegun(operator) ? 'ongoing' : 'ordered'
  }

  #stepOf({ copyset: id, kind }: OperatorRecord): string {
    const { topology, reports } = this.#options
    const copyset = topology.copysets.get(id)
    const leader = copyset === undefined ? null : reports.leaderOf(copyset)
    if (leader === null) return 'waits for a leader'
    if (leader.report.changing !== undefined) return `waits for ${leader.report.changing}`
    return kind === 'lead' ? 'waits for the hand-over' : 'waits for its leader to begin'
  }

  /** How much of the new replica is there, as far as its leader or it has said. */
  #bytesOf(operator: OperatorRecord): Pick<Operator, 'bytesDone' | 'bytesTotal' | 'endsMs'> {
    const built = this.#builtOf(operator)
    if (built === null) return {}
    const { doneBytes, totalBytes, bytesPerMs } = built
    return {
      bytesTotal: totalBytes,
      ...(doneBytes === null ? {} : { bytesDone: doneBytes }),
      ...(bytesPerMs === 0 ? {} : { endsMs: this.#endsMs(leftOf(built), bytesPerMs) }),
    }
  }

  #builtOf({ copyset: id, kind, to }: OperatorRecord): Built | null {
    const { topology, reports } = this.#options
    const copyset = topology.copysets.get(id)
    if ((kind !== 'move' && kind !== 'add') || copyset === undefined || to === undefined) {
      return null
    }
    const leader = reports.leaderOf(copyset)
    if (leader === null) return null
    const sending = leader.report.sending?.find((one) => one.to === to)
    if (sending !== undefined && sending.bytesWanted > 0) {
      const { bytesSent, bytesWanted, lastsMs } = sending
      return {
        doneBytes: Math.min(bytesSent, bytesWanted),
        totalBytes: bytesWanted,
        bytesPerMs: bytesSent / Math.max(1, lastsMs),
      }
    }
    const totalBytes = leader.report.usedBytes
    const hasBytes = reports.replica(id, to)?.usedBytes
    const doneBytes = hasBytes === undefined ? null : Math.min(hasBytes, totalBytes)
    return { doneBytes, totalBytes, bytesPerMs: 0 }
  }

  #endsMs(bytes: number, bytesPerMs: number): number {
    return Math.round(this.#options.clock.wallMs() + bytes / bytesPerMs)
  }

  // --- the status

  moving(): Status['moving'] {
    const lines: Status['moving'] = []
    for (const operator of this.#options.topology.operators.values()) {
      if (lines.length >= MOVING_MAX) break
      lines.push({
        copyset: operator.copyset,
        what: `${whatMoves(operator)}; ${this.#stepOf(operator)}`,
        why: WHY[operator.why],
        sinceMs: operator.sinceMs,
        operator: operator.id,
        ...this.#bytesOf(operator),
      })
    }
    return lines
  }

  summary(): NonNullable<Status['operators']> {
    const { topology, progress, waiting } = this.#options
    let ordered = 0
    let ongoing = 0
    let rebuilds = 0
    let bytesLeft = 0
    let bytesPerMs = 0
    for (const operator of topology.operators.values()) {
      if (this.#stateOf(operator) === 'ongoing') ongoing++
      else ordered++
      if (operator.kind !== 'move' && operator.kind !== 'add') continue
      rebuilds++
      const built = this.#builtOf(operator)
      if (built === null) continue
      bytesLeft += leftOf(built)
      bytesPerMs += built.bytesPerMs
    }
    if (rebuilds === 0) return { ordered, ongoing }
    const all = rebuilds + waiting()
    const byCount = progress.endsMs(all)
    // Those that wait are as large as the others.
    const byBytes = bytesPerMs === 0 ? null : this.#endsMs((bytesLeft * all) / rebuilds, bytesPerMs)
    // Small ones take longer than their bytes; few large ones are not counted yet.
    const endsMs = Math.max(byCount ?? 0, byBytes ?? 0)
    return {
      ordered,
      ongoing,
      ...(bytesLeft === 0 ? {} : { bytesLeft }),
      ...(endsMs === 0 ? {} : { endsMs }),
    }
  }
}

function leftOf({ totalBytes, doneBytes }: Built): number {
  return totalBytes - (doneBytes ?? 0)
}

function whatMoves({ kind, from = 0, to = 0 }: OperatorRecord): string {
  const source = chunkserverOf(from)
  const target = chunkserverOf(to)
  switch (kind) {
    case 'add':
      return `a replica is built on chunkserver ${target}`
    case 'remove':
      return `the replica of chunkserver ${source} is removed`
    case 'lead':
      return `leadership goes from chunkserver ${source} to ${target}`
    case 'move':
      return source === target
        ? `replica on chunkserver ${source} is made anew`
        : `replica of chunkserver ${source} is rebuilt on chunkserver ${target}`
  }
}

const WHY: Readonly<Record<OperatorReason, string>> = {
  offline: 'its chunkserver is offline',
  'disk-lost': 'its disk failed or was replaced',
  damaged: 'the replica is damaged',
  'too-few': 'the copyset has too few replicas',
  'too-many': 'the copyset has more replicas than its pool wants',
  drain: 'its chunkserver is emptied',
  balance: 'chunkservers differ in how much they hold',
  slow: 'its chunkserver is slow or sick',
  'leader-balance': 'chunkservers differ in how much they lead',
  asked: 'somebody asked for it',
}

const ENDS: Readonly<Record<EndReason, string>> = {
  timeout: 'it took too long',
  'target-gone': 'the chunkserver that it went to is gone',
  'target-unfit': 'the chunkserver that it went to is slow or emptied',
  'source-back': 'the chunkserver that was away is back',
  'source-left': 'what was to go is no member any more',
  'not-wanted': 'its reason has gone',
  replaced: 'something more urgent took its place',
  guard: 'too much is away for anything to move',
  maintenance: 'maintenance began',
  asked: 'somebody asked for it',
}
