// Owns when replicas checkpoint besides the host's rule by log bytes: after a time, so that a start has
// little to replay and space that was given up returns to the disk, and soon when the disk is full.
// A replica that has changed nothing since its last checkpoint is left alone.

import type { CopysetHost } from '../copyset/host.ts'
import type { Replica } from '../copyset/replica.ts'
import type { Clock, Timer } from '../env/clock.ts'
import { every } from '../env/every.ts'
import type { ChunkserverConfig } from './config.ts'

export interface UpkeepOptions {
  readonly clock: Clock
  readonly host: CopysetHost
  readonly config: ChunkserverConfig
  readonly isFull: () => boolean
}

export class Upkeep {
  readonly #options: UpkeepOptions
  /** Since when a replica has had something to make durable. */
  readonly #changedMs = new WeakMap<Replica, number>()
  readonly #timer: Timer

  constructor(options: UpkeepOptions) {
    this.#options = options
    this.#timer = every(options.clock, options.config.upkeepIntervalMs, () => this.#look())
  }

  close(): void {
    this.#timer.cancel()
  }

  #look(): void {
    const { clock, host, config, isFull } = this.#options
    const nowMs = clock.monotonicMs()
    const ageMs = isFull() ? 0 : config.checkpointAgeMs
    for (const replica of host.replicas()) {
      if (replica.machine.appliedIndex <= (replica.log.mark?.index ?? 0)) {
        this.#changedMs.delete(replica)
        continue
      }
      const sinceMs = this.#changedMs.get(replica) ?? nowMs
      if (nowMs - sinceMs < ageMs) {
        this.#changedMs.set(replica, sinceMs)
        continue
      }
      this.#changedMs.set(replica, nowMs)
      host.checkpointDue(replica)
    }
  }
}
