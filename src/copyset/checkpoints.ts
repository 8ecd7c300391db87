// Owns which replicas checkpoint when: each at most once at a time, a few at once on one disk, the rest
// in the order in which they asked. On a full disk the old checkpoint stands and the try is repeated.

import { asLemnisError, type LemnisError } from '../base/errors.ts'
import type { Clock } from '../env/clock.ts'
import type { Replica } from './replica.ts'

export interface CheckpointsOptions {
  readonly clock: Clock
  readonly atOnceMax: number
  /** Gap between tries on a full disk. */
  readonly retryMs: number
  /** The replica's disk can't be trusted with its state any more. */
  readonly onFailed: (replica: Replica, error: LemnisError) => void
}

export class Checkpoints {
  readonly #options: CheckpointsOptions
  readonly #waiting = new Set<Replica>()
  readonly #running = new Set<Replica>()

  constructor(options: CheckpointsOptions) {
    this.#options = options
  }

  due(replica: Replica): void {
    this.#waiting.add(replica)
    this.#next()
  }

  #next(): void {
    for (const replica of this.#waiting) {
      if (this.#running.size >= this.#options.atOnceMax) return
      if (this.#running.has(replica)) continue
      this.#waiting.delete(replica)
      if (!replica.closed) this.#run(replica)
    }
  }

  #run(replica: Replica): void {
    this.#running.add(replica)
    replica.checkpoint().then(
      () => this.#end(replica),
      (error: unknown) => this.#failed(replica, asLemnisError(error)),
    )
  }

  #failed(replica: Replica, error: LemnisError): void {
    if (replica.closed) this.#end(replica)
    else if (error.code === 'NO_SPACE') {
      this.#options.clock.after(this.#options.retryMs, () => {
        this.#waiting.add(replica)
        this.#end(replica)
      })
    } else {
      this.#options.onFailed(replica, error)
      this.#end(replica)
    }
  }

  #end(replica: Replica): void {
    this.#running.delete(replica)
    this.#next()
  }
}
