// Owns the leases of the embedded metadata store: how long each lasts, and which keys are under it.
// They live in memory, on the monotonic clock, as the process does; the store removes the keys.
// Invariant: a key is under one lease at most, and only under one that has not ended.

import { LemnisError } from '../base/errors.ts'
import type { Clock, Timer } from '../env/clock.ts'
import type { MetaLease } from '../env/metastore.ts'

interface Held {
  readonly lease: MetaLease
  readonly keys: Set<string>
  timer: Timer
}

export class LmdbLeases {
  readonly #clock: Clock
  readonly #onEnded: (lease: MetaLease) => void
  readonly #held = new Map<string, Held>()
  readonly #leaseIdOf = new Map<string, string>()
  #count = 0

  /** `onEnded` is called when a lease's time is over; its keys are still under it then. */
  constructor(clock: Clock, onEnded: (lease: MetaLease) => void) {
    this.#clock = clock
    this.#onEnded = onEnded
  }

  grant(ttlMs: number): MetaLease {
    const lease = { id: String(++this.#count), ttlMs }
    this.#held.set(lease.id, { lease, keys: new Set(), timer: this.#arm(lease) })
    return lease
  }

  keep(lease: MetaLease): void {
    const held = this.check(lease)
    held.timer.cancel()
    held.timer = this.#arm(held.lease)
  }

  /** Throws when the lease has ended. */
  check({ id }: MetaLease): Held {
    const held = this.#held.get(id)
    if (held === undefined) throw new LemnisError('NOT_FOUND', { what: 'lease', id })
    return held
  }

  isUnder(key: string): boolean {
    return this.#leaseIdOf.has(key)
  }

  bind(key: string, lease: MetaLease): void {
    const held = this.check(lease)
    this.release(key)
    held.keys.add(key)
    this.#leaseIdOf.set(key, lease.id)
  }

  release(key: string): void {
    const id = this.#leaseIdOf.get(key)
    if (id === undefined) return
    this.#leaseIdOf.delete(key)
    this.#held.get(id)?.keys.delete(key)
  }

  /** Ends a lease, if it has not ended yet; what was under it. */
  end({ id }: MetaLease): string[] {
    const held = this.#held.get(id)
    if (held === undefined) return []
    held.timer.cancel()
    const keys = [...held.keys]
    for (const key of keys) this.release(key)
    this.#held.delete(id)
    return keys
  }

  close(): void {
    for (const { timer } of this.#held.values()) timer.cancel()
    this.#held.clear()
  }

  #arm(lease: MetaLease): Timer {
    return this.#clock.after(lease.ttlMs, () => this.#onEnded(lease))
  }
}
