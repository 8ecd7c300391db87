// Owns what `lemnis status` says about what moves: how much, until when, and the first of it.

import type { Status } from '../../format/control/mds.ts'
import type { Operator } from '../../format/control/operators.ts'
import type { Io } from '../cli/io.ts'
import { ago, counted, left, size } from '../cli/words.ts'
import { doneText, endsText, toGoText, WHY, whatText } from './operator-text.ts'

export function movesText({ operators, moving }: Status, nowMs: number): string {
  const all = operators === undefined ? moving.length : operators.ordered + operators.ongoing
  if (all === 0) return 'nothing'
  const begun = operators === undefined ? '' : `, ${operators.ongoing} of them begun`
  const { endsMs: ends, bytesLeft = 0 } = operators ?? {}
  const toGo = bytesLeft === 0 ? '' : `, ${size(bytesLeft)} to go`
  const end = ends === undefined ? '' : `; ends ${left(ends, nowMs)}`
  return `${counted(all, 'operator')}${begun}${toGo}${end}`
}

/** The first of them, in as many lines as are left. */
export function movingTable(
  io: Io,
  operators: readonly Operator[],
  linesLeft: number,
  nowMs: number,
): string[] {
  if (operators.length === 0 || linesLeft < 4) return []
  const isCut = operators.length > linesLeft - 2
  const shown = operators.slice(0, isCut ? linesLeft - 3 : operators.length)
  const rows = shown.map((one) => [
    String(one.copyset),
    whatText(one),
    WHY[one.why],
    ago(one.sinceMs, nowMs),
    doneText(one),
    toGoText(one),
    endsText(one, nowMs),
  ])
  const head = ['COPYSET', 'DOES', 'BECAUSE', 'SINCE', 'DONE', 'TO GO', 'ENDS']
  const more = isCut ? ['... all of them: lemnis operator list'] : []
  return ['', io.table(head, rows), ...more]
}
