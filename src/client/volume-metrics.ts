// Owns the metrics of one open volume, by its name at the time it was opened.

import type { Counter, Observer, Timing } from '../observe/observe.ts'

export class VolumeMetrics {
  readonly #readSeconds: Timing
  readonly #writeSeconds: Timing
  readonly #readBytes: Counter
  readonly #writtenBytes: Counter
  readonly #failed: Counter

  constructor(observer: Observer, volume: string) {
    this.#readSeconds = observer.histogram('client_read_seconds', volume)
    this.#writeSeconds = observer.histogram('client_write_seconds', volume)
    this.#readBytes = observer.counter('client_read_bytes_total', volume)
    this.#writtenBytes = observer.counter('client_written_bytes_total', volume)
    this.#failed = observer.counter('client_failed_total', volume)
  }

  read(bytes: number, tookMs: number): void {
    this.#readSeconds.record(tookMs / 1000)
    this.#readBytes.add(bytes)
  }

  wrote(bytes: number, tookMs: number): void {
    this.#writeSeconds.record(tookMs / 1000)
    this.#writtenBytes.add(bytes)
  }

  failed(): void {
    this.#failed.add(1)
  }
}
