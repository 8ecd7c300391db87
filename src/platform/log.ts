// Owns the log of a process: one JSON object a line, by pino, to standard error unless told otherwise.
// What LineSink still holds when the process exits is written then.

import { openSync } from 'node:fs'
import { type Logger, pino } from 'pino'
import { EVENTS, type EventName } from '../observe/catalogue.ts'
import type { Field } from '../observe/observe.ts'
import { LineSink, type SinkTrouble } from './line-sink.ts'

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'

const STANDARD_ERROR = 2

export interface LogOptions {
  readonly level?: LogLevel
  /** In every line: the role, the server's name. */
  readonly about?: Readonly<Record<string, Field>>
  /** The path of a file to append to; standard error without it. */
  readonly path?: string
}

export class Log {
  readonly #sink: LineSink
  readonly #pino: Logger
  /** Called for what the log cannot say by a line; NodeObserver counts it. */
  onTrouble: (trouble: SinkTrouble) => void = () => {}

  constructor(options: LogOptions = {}) {
    const fd = options.path === undefined ? STANDARD_ERROR : openSync(options.path, 'a')
    this.#sink = new LineSink(fd, (trouble) => this.onTrouble(trouble))
    process.once('exit', () => this.#sink.flush())
    this.#pino = pino(
      {
        level: options.level ?? 'info',
        base: { ...options.about, pid: process.pid },
        timestamp: pino.stdTimeFunctions.isoTime,
        formatters: { level: (label) => ({ level: label }) },
      },
      this.#sink,
    )
  }

  setLevel(level: LogLevel): void {
    this.#pino.level = level
  }

  /** The fields stand apart, so that none of them can hide the line's own time, level or event. */
  emit(event: EventName, fields: Readonly<Record<string, Field>>): void {
    const { level, says } = EVENTS[event]
    this.#pino[level]({ event, fields }, says)
  }
}
