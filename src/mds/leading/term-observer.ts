// Owns what the parts of an MDS say while it leads, in a process that may lead several times: gauges
// of an earlier time are forgotten, instead of counting on beside those of the present one.

import type { GaugeName } from '../../observe/catalogue.ts'
import type { Observer } from '../../observe/observe.ts'

export class TermGauges {
  readonly #observer: Observer
  readonly #readers = new Map<GaugeName, (() => number)[]>()

  constructor(observer: Observer) {
    this.#observer = observer
  }

  /** For the parts of the time that begins. */
  begin(): Observer {
    for (const readers of this.#readers.values()) readers.length = 0
    const observer = this.#observer
    return {
      emit: (name, fields) => observer.emit(name, fields),
      counter: (name, label) => observer.counter(name, label),
      histogram: (name, label) => observer.histogram(name, label),
      gauge: (name, read) => this.#add(name, read),
    }
  }

  #add(name: GaugeName, read: () => number): void {
    const readers = this.#readers.get(name)
    if (readers !== undefined) {
      readers.push(read)
      return
    }
    const made = [read]
    this.#readers.set(name, made)
    this.#observer.gauge(name, () => made.reduce((sum, one) => sum + one(), 0))
  }
}
