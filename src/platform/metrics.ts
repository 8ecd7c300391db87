// Owns the metrics of a process as Prometheus sees them, by prom-client: every name of the catalogue
// with `lemnis_` before it, registered when first asked for.
// Counting costs one addition: counts are handed to prom-client only when somebody looks.

import { Counter as PromCounter, Gauge as PromGauge, Registry } from 'prom-client'
import { assert } from '../base/assert.ts'
import {
  COUNTERS,
  type CounterName,
  GAUGES,
  type GaugeName,
  HISTOGRAMS,
  type HistogramName,
} from '../observe/catalogue.ts'
import type { Counter, Timing } from '../observe/observe.ts'
import { BucketMetric } from './buckets.ts'

const PREFIX = 'lemnis_'

/** Each label value is a time series for ever: past this many of a metric, further ones share `other`. */
const LABEL_VALUES_MAX = 256
const OTHER = 'other'

/** From 50 us, about one sync of a fast disk, to 10 s, when a person has noticed. */
const SECONDS_BUCKETS = [
  0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5,
  10,
]
/** From a header to the largest message, by fours. */
const BYTES_BUCKETS = Array.from({ length: 10 }, (_, i) => 256 * 4 ** i)
/** Sizes of batches and queues. */
const COUNT_BUCKETS = Array.from({ length: 12 }, (_, i) => 2 ** i)

function bucketsOf(name: string): number[] {
  if (name.endsWith('_seconds')) return SECONDS_BUCKETS
  if (name.endsWith('_bytes')) return BYTES_BUCKETS
  return COUNT_BUCKETS
}

class Tally implements Counter {
  #pending = 0

  add(count: number): void {
    this.#pending += count
  }

  /** What was added since the last call. */
  take(): number {
    const pending = this.#pending
    this.#pending = 0
    return pending
  }
}

/** The parts of one metric by the value of its label; the key of a metric without label is ''. */
class ByLabel<T> {
  readonly #labelName: string | null
  readonly #make: (labels: Record<string, string>) => T
  readonly #parts = new Map<string, T>()

  constructor(labelName: string | null, make: (labels: Record<string, string>) => T) {
    this.#labelName = labelName
    this.#make = make
  }

  of(label: string | undefined): T {
    assert(
      (label === undefined) === (this.#labelName === null),
      'metric: label as in the catalogue',
    )
    const wanted = label ?? ''
    const full = this.#parts.size >= LABEL_VALUES_MAX && !this.#parts.has(wanted)
    const key = full ? OTHER : wanted
    const known = this.#parts.get(key)
    if (known !== undefined) return known
    const made = this.#make(this.#labelName === null ? {} : { [this.#labelName]: key })
    this.#parts.set(key, made)
    return made
  }
}

/** By the names that every Prometheus client library gives them. Nothing is measured but when somebody looks. */
function registerProcess(registry: Registry): void {
  const registers = [registry]
  const help = 'CPU time of the process, of the system for it included.'
  let countedSeconds = 0
  new PromCounter({
    name: 'process_cpu_seconds_total',
    help,
    registers,
    collect(): void {
      const { user, system } = process.cpuUsage()
      const seconds = (user + system) / 1e6
      this.inc(seconds - countedSeconds)
      countedSeconds = seconds
    },
  })
  new PromGauge({
    name: 'process_resident_memory_bytes',
    help: 'Memory of the process that is in RAM.',
    registers,
    collect(): void {
      this.set(process.memoryUsage.rss())
    },
  })
  new PromGauge({
    name: 'process_start_time_seconds',
    help: 'When the process started, in seconds since 1970.',
    registers,
    collect(): void {
      this.set(performance.timeOrigin / 1000)
    },
  })
}

export class Metrics {
  readonly #registry = new Registry()
  readonly #counters = new Map<string, ByLabel<Tally>>()
  readonly #histograms = new Map<HistogramName, ByLabel<Timing>>()
  readonly #gauges = new Map<string, (() => number)[]>()

  constructor() {
    registerProcess(this.#registry)
  }

  counter(name: CounterName, label?: string): Counter {
    const { help, label: labelName } = COUNTERS[name]
    return this.tally(name, help, labelName, label)
  }

  /** A counter that is not in the catalogue, for what this folder counts itself. */
  tally(name: string, help: string, labelName: string | null, label?: string): Counter {
    let metric = this.#counters.get(name)
    if (metric === undefined) {
      metric = this.#registerCounter(name, help, labelName)
      this.#counters.set(name, metric)
    }
    return metric.of(label)
  }

  #registerCounter(name: string, help: string, labelName: string | null): ByLabel<Tally> {
    const taken: { labels: Record<string, string>; tally: Tally }[] = []
    new PromCounter({
      name: PREFIX + name,
      help,
      labelNames: labelName === null ? [] : [labelName],
      registers: [this.#registry],
      collect(): void {
        for (const { labels, tally } of taken) this.inc(labels, tally.take())
      },
    })
    return new ByLabel(labelName, (labels) => {
      const tally = new Tally()
      taken.push({ labels, tally })
      return tally
    })
  }

  histogram(name: HistogramName, label?: string): Timing {
    let metric = this.#histograms.get(name)
    if (metric === undefined) {
      const { help, label: labelName } = HISTOGRAMS[name]
      metric = this.#registerHistogram(name, help, labelName)
      this.#histograms.set(name, metric)
    }
    return metric.of(label)
  }

  #registerHistogram(name: string, help: string, labelName: string | null): ByLabel<Timing> {
    const metric = new BucketMetric({ name: PREFIX + name, help, bounds: bucketsOf(name) })
    this.#registry.registerMetric(metric)
    return new ByLabel(labelName, (labels) => metric.part(labels))
  }

  /** Several readers of one name add up: two logs of one process have one count of segments. */
  gauge(name: GaugeName, read: () => number): void {
    const readers = this.#gauges.get(name)
    if (readers !== undefined) {
      readers.push(read)
      return
    }
    const first = [read]
    this.#gauges.set(name, first)
    new PromGauge({
      name: PREFIX + name,
      help: GAUGES[name].help,
      registers: [this.#registry],
      collect(): void {
        let total = 0
        for (const reader of first) total += reader()
        this.set(total)
      },
    })
  }

  get contentType(): string {
    return this.#registry.contentType
  }

  /** Everything registered, in Prometheus' text exposition format. */
  text(): Promise<string> {
    return this.#registry.metrics()
  }
}
