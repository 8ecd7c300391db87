// Owns what `lemnis status` says about what moves: how much, until when, and the first of it.

import type { Status } from '../../format/control/mds.ts'
import type { Io } from '../cli/io.ts'
import { ago, counted, left, share } from '../cli/words.ts'

export function movesText({ operators, moving }: Status, nowMs: number): string {
  const all = operators === undefined ? moving.length : operators.ordered + operators.ongoing
  if (all === 0) return 'nothing'
  const begun = operators === undefined ? '' : `, ${operators.ongoing} of them begun`
  const ends = operators?.endsMs
  return `${counted(all, 'operator')}${begun}${ends === undefined ? '' : `; ends ${left(ends, nowMs)}`}`
}

export function movingTable(
  io: Io,
  { moving }: Status,
  linesLeft: number,
  nowMs: number,
): string[] {
  if (moving.length === 0 || linesLeft < 4) return []
  const isCut = moving.length > linesLeft - 2
  const shown = moving.slice(0, isCut ? linesLeft - 3 : moving.length)
  const rows = shown.map(({ copyset, what, why, sinceMs, bytesDone, bytesTotal, endsMs }) => [
    String(copyset),
    what,
    why,
    ago(sinceMs, nowMs),
    bytesDone === undefined || bytesTotal === undefined ? '-' : share(bytesDone, bytesTotal),
    endsMs === undefined ? '-' : left(endsMs, nowMs),
  ])
  const table = io.table(['COPYSET', 'MOVES', 'BECAUSE', 'SINCE', 'DONE', 'ENDS'], rows)
  const more = moving.length - shown.length
  return ['', table, ...(isCut ? [`... and ${more} more: lemnis operator list`] : [])]
}
