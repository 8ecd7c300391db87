// Owns the Observer of a real process: events become log lines and counts, metrics go to Prometheus.

import type { CounterName, EventName, GaugeName, HistogramName } from '../observe/catalogue.ts'
import type { Counter, Field, Observer, Timing } from '../observe/observe.ts'
import type { Log } from './log.ts'
import type { Metrics } from './metrics.ts'

export class NodeObserver implements Observer {
  readonly #log: Log
  readonly #metrics: Metrics

  constructor(log: Log, metrics: Metrics) {
    this.#log = log
    this.#metrics = metrics
    log.onTrouble = (trouble) => {
      metrics.tally('log_troubles_total', 'Lines that did not get out.', 'trouble', trouble).add(1)
    }
  }

  /** An event is counted whether or not its level is logged. */
  emit(name: EventName, fields: Readonly<Record<string, Field>>): void {
    this.#metrics.tally('events_total', 'Events of the catalogue.', 'event', name).add(1)
    this.#log.emit(name, fields)
  }

  counter(name: CounterName, label?: string): Counter {
    return this.#metrics.counter(name, label)
  }

  histogram(name: HistogramName, label?: string): Timing {
    return this.#metrics.histogram(name, label)
  }

  gauge(name: GaugeName, read: () => number): void {
    this.#metrics.gauge(name, read)
  }
}
