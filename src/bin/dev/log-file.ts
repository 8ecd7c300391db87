// Owns the log of one role of a development cluster: everything that it prints goes to its file, which
// is begun anew when it is large, and what a person must know is told at once in short.

import { closeSync, fstatSync, openSync, renameSync, writeSync } from 'node:fs'

/** Of each role there are at most two files of this size. */
const FILE_BYTES_MAX = 16 * 1024 * 1024
/** The same event of the same role is told once in this time; the file has them all. */
const QUIET_MS = 10_000
const TOLD_CHARACTERS_MAX = 200
const TOLD_LEVELS: ReadonlySet<unknown> = new Set(['warn', 'error'])

interface LogLine {
  readonly level?: unknown
  readonly event?: unknown
  readonly msg?: unknown
  readonly fields?: Readonly<Record<string, unknown>>
}

export class LogFile {
  readonly path: string
  readonly #tell: (text: string) => void
  readonly #toldMs = new Map<string, number>()
  #fd: number
  #bytes: number
  #partial = ''

  constructor(path: string, tell: (text: string) => void) {
    this.path = path
    this.#tell = tell
    this.#fd = openSync(path, 'a')
    this.#bytes = fstatSync(this.#fd).size
  }

  write(text: string): void {
    if (this.#bytes > FILE_BYTES_MAX) {
      closeSync(this.#fd)
      renameSync(this.path, `${this.path}.1`)
      this.#fd = openSync(this.path, 'a')
      this.#bytes = 0
    }
    this.#bytes += writeSync(this.#fd, text)
    const lines = (this.#partial + text).split('\n')
    this.#partial = lines.pop() ?? ''
    for (const line of lines) this.#look(line)
  }

  #look(line: string): void {
    const short = shortLine(line)
    if (short === null) return
    const nowMs = performance.now()
    if (nowMs - (this.#toldMs.get(short.event) ?? Number.NEGATIVE_INFINITY) < QUIET_MS) return
    this.#toldMs.set(short.event, nowMs)
    this.#tell(short.text)
  }

  close(): void {
    closeSync(this.#fd)
  }
}

/** A line of the log for people; null when it is nothing that they must know. */
export function shortLine(line: string): { event: string; text: string } | null {
  // What is not of the log is a complaint of Node or a report of a crash, with its stack below it.
  if (!line.startsWith('{')) return /^\s+at |^$/.test(line) ? null : { event: line, text: line }
  let parsed: LogLine
  try {
    parsed = JSON.parse(line) as LogLine
  } catch {
    return { event: line, text: line }
  }
  const { level, event, msg, fields = {} } = parsed
  if (!TOLD_LEVELS.has(level)) return null
  const facts = Object.entries(fields).map(([name, value]) => `${name} ${firstLine(value)}`)
  const detail = facts.length === 0 ? '' : ` (${facts.join(', ')})`
  return { event: String(event), text: cut(`${String(level)}: ${String(msg)}${detail}`) }
}

function firstLine(value: unknown): string {
  return String(value).split('\n', 1)[0] ?? ''
}

function cut(text: string): string {
  return text.length <= TOLD_CHARACTERS_MAX ? text : `${text.slice(0, TOLD_CHARACTERS_MAX)} ...`
}
