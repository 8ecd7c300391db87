// Owns how operators are shown to people.

import type { Operator, OperatorReason, OperatorState } from '../../format/control/operators.ts'
import type { Colour, Io } from '../cli/io.ts'
import { ago, duration, left, share, size } from '../cli/words.ts'

export const WHY: Readonly<Record<OperatorReason, string>> = {
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

/** What is still to be sent of a replica that is being built. */
export function toGoText({ bytesDone = 0, bytesTotal }: Partial<Operator>): string {
  return bytesTotal === undefined ? '-' : size(bytesTotal - bytesDone)
}

export function endsText({ endsMs }: Partial<Operator>, nowMs: number): string {
  return endsMs === undefined ? '-' : left(endsMs, nowMs)
}

function stateText(io: Io, { state }: Operator): string {
  const colour = COLOURS[state]
  return colour === null ? state : io.paint(colour, state)
}

export function operatorTable(io: Io, operators: readonly Operator[], nowMs: number): string {
  return io.table(
    ['ID', 'COPYSET', 'DOES', 'BECAUSE', 'STATE', 'DONE', 'TO GO', 'SINCE', 'STEP'],
    operators.map((one) => [
      String(one.id),
      String(one.copyset),
      whatText(one),
      WHY[one.why],
      stateText(io, one),
      doneText(one),
      toGoText(one),
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
  if (one.endsMs !== undefined) rows.push(['sent', left(one.endsMs, nowMs)])
  if (endedMs !== undefined) rows.push(['ended', ago(endedMs, nowMs)])
  if (error !== undefined) rows.push(['error', io.paint('red', error)])
  return io.facts(rows)
}
