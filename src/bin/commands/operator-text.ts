// Owns how operators are shown to people.

import type { Operator, OperatorReason, OperatorState } from '../../format/control/operators.ts'
import type { Colour, Io } from '../cli/io.ts'
import { ago, duration, share, size } from '../cli/words.ts'

const WHY: Readonly<Record<OperatorReason, string>> = {
  offline: 'chunkserver offline',
  'disk-lost': 'disk lost',
  damaged: 'replica damaged',
  'too-few': 'too few replicas',
  'too-many': 'too many replicas',
  drain: 'drain',
  balance: 'balance',
  slow: 'chunkserver slow',
  'leader-balance': 'leader balance',
  asked: 'asked for',
}

const COLOURS: Readonly<Record<OperatorState, Colour | null>> = {
  ordered: 'dim',
  ongoing: null,
  finished: 'green',
  failed: 'red',
  cancelled: 'yellow',
}

/** `move 3 to 5`, `add 5`, `remove 3`, `rebuild 3`, `lead 3 to 5`. */
export function whatText({ kind, from, to }: Pick<Operator, 'kind' | 'from' | 'to'>): string {
  if (kind === 'move' && from === to) return `rebuild on ${to}`
  if (from === undefined) return `${kind} ${to ?? ''}`.trimEnd()
  return to === undefined ? `${kind} ${from}` : `${kind} ${from} to ${to}`
}

export function doneText({ bytesDone, bytesTotal }: Partial<Operator>): string {
  return bytesDone === undefined || bytesTotal === undefined ? '-' : share(bytesDone, bytesTotal)
}

function stateText(io: Io, { state }: Operator): string {
  const colour = COLOURS[state]
  return colour === null ? state : io.paint(colour, state)
}

export function operatorTable(io: Io, operators: readonly Operator[], nowMs: number): string {
  return io.table(
    ['ID', 'COPYSET', 'DOES', 'BECAUSE', 'PRIORITY', 'STATE', 'DONE', 'SINCE', 'STEP'],
    operators.map((one) => [
      String(one.id),
      String(one.copyset),
      whatText(one),
      WHY[one.why],
      one.priority,
      stateText(io, one),
      doneText(one),
      ago(one.sinceMs, nowMs),
      one.error ?? one.step,
    ]),
  )
}

export function operatorFacts(io: Io, one: Operator, nowMs: number): string {
  const { bytesDone, bytesTotal, endedMs, error } = one
  const rows: [string, string][] = [
    ['id', String(one.id)],
    ['copyset', String(one.copyset)],
    ['does', whatText(one)],
    ['because', WHY[one.why]],
    ['priority', one.priority],
    ['state', stateText(io, one)],
    ['step', one.step],
    ['since', `${ago(one.sinceMs, nowMs)}; given up after ${duration(one.limitMs)}`],
  ]
  if (bytesDone !== undefined && bytesTotal !== undefined) {
    const done = `${size(bytesDone)} of ${size(bytesTotal)}`
    rows.push(['done', `${done}, ${share(bytesDone, bytesTotal)}`])
  }
  if (endedMs !== undefined) rows.push(['ended', ago(endedMs, nowMs)])
  if (error !== undefined) rows.push(['error', io.paint('red', error)])
  return io.facts(rows)
}
