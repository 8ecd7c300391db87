// Owns what a command prints: tables for people, one JSON value for programs, colour only on a terminal
// that wants it. Results go to standard output, everything else to standard error.

import Table from 'cli-table3'

const COLOURS = { red: 31, green: 32, yellow: 33, dim: 2, bold: 1 } as const
export type Colour = keyof typeof COLOURS

/** No lines: columns two spaces apart, as easy to read as to cut. */
const LINES =
  'top top-mid top-left top-right bottom bottom-mid bottom-left bottom-right left left-mid mid mid-mid right right-mid'
const BARE = { ...Object.fromEntries(LINES.split(' ').map((line) => [line, ''])), middle: '  ' }

export interface IoOptions {
  readonly json: boolean
  readonly colour: boolean
  readonly write: (text: string) => void
  readonly writeError: (text: string) => void
}

/** Whether `stream` is a terminal that may be coloured (https://no-color.org). */
export function wantsColour(stream: NodeJS.WriteStream): boolean {
  return stream.isTTY === true && (process.env['NO_COLOR'] ?? '') === ''
}

export class Io {
  readonly isJson: boolean
  readonly #options: IoOptions

  constructor(options: IoOptions) {
    this.isJson = options.json
    this.#options = options
  }

  static ofProcess(json: boolean): Io {
    return new Io({
      json,
      colour: wantsColour(process.stdout) && !json,
      write: (text) => void process.stdout.write(text),
      writeError: (text) => void process.stderr.write(text),
    })
  }

  paint(colour: Colour, text: string): string {
    return this.#options.colour ? `\u001B[${COLOURS[colour]}m${text}\u001B[0m` : text
  }

  /** The answer of a command: `value` with --json, else what `text` makes. */
  result(value: unknown, text: () => string): void {
    const shown = this.isJson ? JSON.stringify(value, null, 2) : text()
    if (shown !== '') this.#options.write(`${shown}\n`)
  }

  /** For people, about what goes on; kept out of the way of what a program reads. */
  note(text: string): void {
    this.#options.writeError(`${text}\n`)
  }

  /** Columns whose cells are all numbers, with or without a unit, stand to the right. */
  table(head: readonly string[], rows: readonly (readonly string[])[]): string {
    const isNumber = (cell: string | undefined): boolean =>
      /^(-|[\d.,]+( ?[A-Za-z%/]{1,5})?)$/.test(cell ?? '')
    const table = new Table({
      head: head.map((name) => this.paint('bold', name)),
      chars: BARE,
      style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0, compact: true },
      colAligns: head.map((_, i) =>
        rows.length > 0 && rows.every((row) => isNumber(row[i])) ? 'right' : 'left',
      ),
    })
    for (const row of rows) table.push([...row])
    return trimLines(table.toString())
  }

  /** Names and values below each other. */
  facts(rows: readonly (readonly [string, string])[]): string {
    const width = Math.max(...rows.map(([name]) => name.length))
    return rows
      .map(([name, value]) => `${this.paint('dim', name.padEnd(width))}  ${value}`)
      .join('\n')
  }
}

function trimLines(text: string): string {
  return text
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n')
}
