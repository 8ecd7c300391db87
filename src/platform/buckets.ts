// Owns a histogram as Prometheus reads it. Recording is a few comparisons and three additions and
// allocates nothing, as it is done for every call; prom-client's own looks its labels up each time.

import { Histogram } from 'prom-client'
import type { Timing } from '../observe/observe.ts'

interface Line {
  readonly metricName: string
  readonly labels: Readonly<Record<string, string | number>>
  readonly value: number
}

export class Buckets implements Timing {
  readonly #bounds: readonly number[]
  readonly #counts: Float64Array
  #sum = 0

  /** `bounds` ascend; what is above the last one has a bucket of its own. */
  constructor(bounds: readonly number[]) {
    this.#bounds = bounds
    this.#counts = new Float64Array(bounds.length + 1)
  }

  record(value: number): void {
    const bounds = this.#bounds
    let slot = 0
    while (slot < bounds.length && value > (bounds[slot] as number)) slot++
    this.#counts[slot] = (this.#counts[slot] as number) + 1
    this.#sum += value
  }

  /** Adds its lines to `lines`: each bucket counts what is not above its bound. */
  show(name: string, labels: Readonly<Record<string, string>>, lines: Line[]): void {
    const total = this.#counts.reduce((sum, count) => sum + count, 0)
    // One that was only asked for shows no series.
    if (total === 0 && Object.keys(labels).length > 0) return
    let below = 0
    this.#counts.forEach((count, slot) => {
      below += count
      const le = this.#bounds[slot] ?? '+Inf'
      lines.push({ metricName: `${name}_bucket`, labels: { le, ...labels }, value: below })
    })
    lines.push({ metricName: `${name}_sum`, labels, value: this.#sum })
    lines.push({ metricName: `${name}_count`, labels, value: total })
  }
}

interface About {
  readonly name: string
  readonly help: string
  readonly bounds: readonly number[]
}

/** All parts of one metric. Not registered by itself. */
export class BucketMetric extends Histogram {
  readonly #about: About
  readonly #parts: { readonly labels: Record<string, string>; readonly part: Buckets }[] = []

  constructor(about: About) {
    super({ name: about.name, help: about.help, buckets: [...about.bounds], registers: [] })
    this.#about = about
  }

  part(labels: Record<string, string>): Buckets {
    const part = new Buckets(this.#about.bounds)
    this.#parts.push({ labels, part })
    return part
  }

  /** What its registry shows. */
  async getForPromString(): Promise<{
    readonly name: string
    readonly help: string
    readonly type: string
    readonly aggregator: string
    readonly values: readonly Line[]
  }> {
    const { name, help } = this.#about
    const values: Line[] = []
    for (const { labels, part } of this.#parts) part.show(name, labels, values)
    return { name, help, type: 'histogram', aggregator: 'sum', values }
  }
}
