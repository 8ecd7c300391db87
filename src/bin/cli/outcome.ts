// Owns what a check comes to: one verdict with a sentence, the rows that it rests on, and the exit code
// of several together.

import type { Colour, Io } from './io.ts'

/** 'unknown': it could not be looked at, which is neither good nor bad. */
export type Level = 'ok' | 'warning' | 'error' | 'unknown'

export interface Outcome {
  readonly level: Level
  /** One sentence; with what helps, when something is wrong. */
  readonly says: string
  readonly head: readonly string[]
  /** What was looked at, the worst first. */
  readonly rows: readonly Row[]
}

export interface Row {
  readonly level: Level
  readonly cells: readonly string[]
}

export interface Checked extends Outcome {
  readonly check: string
}

/** Documented in the help of `lemnis check`; a wrong command line ends with 2 as well. */
export const EXIT_OF: Readonly<Record<Level, number>> = { ok: 0, warning: 1, error: 2, unknown: 3 }
/** The first of these that any check came to is that of all. */
const WORST_FIRST: readonly Level[] = ['error', 'unknown', 'warning', 'ok']
const COLOURS: Readonly<Record<Level, Colour>> = {
  ok: 'green',
  warning: 'yellow',
  error: 'red',
  unknown: 'yellow',
}
const ROWS_MAX = 20

export function worst(levels: readonly Level[]): Level {
  return WORST_FIRST.find((level) => levels.includes(level)) ?? 'ok'
}

export function worstFirst(rows: readonly Row[]): Row[] {
  return rows.toSorted((a, b) => WORST_FIRST.indexOf(a.level) - WORST_FIRST.indexOf(b.level))
}

export function paintLevel(io: Io, level: Level): string {
  return io.paint(COLOURS[level], level)
}

/** A line for each check, and below them the rows of those that are not ok, or of all with `full`. */
export function checkedText(io: Io, all: readonly Checked[], full: boolean): string {
  const width = Math.max(...all.map(({ check }) => check.length))
  const levelWidth = Math.max(...all.map(({ level }) => level.length))
  const lines = all.map(({ check, level, says }) => {
    const pad = ' '.repeat(levelWidth - level.length)
    return `${io.paint('bold', check.padEnd(width))}  ${paintLevel(io, level)}${pad}  ${says}`
  })
  for (const { check, rows, head } of all) {
    const shown = rows.filter(({ level }) => full || level !== 'ok')
    if (shown.length === 0) continue
    const cells = shown
      .slice(0, ROWS_MAX)
      .map(({ level, cells: [first = '', ...others] }) => [first, paintLevel(io, level), ...others])
    const [firstHead = '', ...otherHeads] = head
    lines.push('', io.paint('bold', check), io.table([firstHead, 'VERDICT', ...otherHeads], cells))
    const more = shown.length - ROWS_MAX
    if (more > 0) lines.push(`... and ${more} more; --json has all.`)
  }
  return lines.join('\n')
}
