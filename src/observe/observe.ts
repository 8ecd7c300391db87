// Owns how the core says what happens: named events with fields, and metrics. Names come from the
// catalogue (catalogue.ts) only. platform/ turns them into logs and Prometheus, sim/ into the trace.

import type { CounterName, EventName, GaugeName, HistogramName } from './catalogue.ts'

export type Field = string | number | boolean

export interface Counter {
  add(count: number): void
}

export interface Timing {
  /** A value in the unit that the metric's name ends with. */
  record(value: number): void
}

export interface Observer {
  /** Writes one log line and counts it by name. */
  emit(name: EventName, fields: Readonly<Record<string, Field>>): void
  /** Ask once and keep it: asking costs, adding does not. `label` is the metric's one label, of few values. */
  counter(name: CounterName, label?: string): Counter
  histogram(name: HistogramName, label?: string): Timing
  /** `read` is called when somebody looks. */
  gauge(name: GaugeName, read: () => number): void
}

const NOTHING = { add: () => {}, record: () => {} }

/** For tests and tools that do not look. */
export const SILENT: Observer = {
  emit: () => {},
  counter: () => NOTHING,
  histogram: () => NOTHING,
  gauge: () => {},
}
