// Owns the lease of one MDS in the metadata store and how long it may be believed. Invariant: the session
// is over, by this host's clock, before the store can end the lease: it is counted from the sending of
// the last renewal that was answered, less a margin for clocks that run apart. Once over, for ever over.

import { asLemnisError, type ErrorCode } from '../../base/errors.ts'
import type { Clock, Timer } from '../../env/clock.ts'
import type { MetaLease, MetaStore } from '../../env/metastore.ts'
import type { ElectionConfig } from './election-config.ts'

/** 'expired': by the own clock; 'ended': the store says so; 'removed': the key is gone. */
export type LossReason = 'expired' | 'ended' | 'removed' | 'refused' | 'resigned' | 'store-closed'

/** Renewals under way at once: one that hangs keeps no other back. */
const RENEWALS_MAX = 4
/** No answer of the store can change these. */
const FINAL: ReadonlySet<ErrorCode> = new Set(['CLOSED', 'DISK_FAILED'])
const AWAY: ReadonlySet<ErrorCode> = new Set(['DISCONNECTED', 'DEADLINE_EXCEEDED'])

export class Session {
  readonly lease: MetaLease
  /** Called once, at the end, whatever ended it. */
  onOver: ((reason: LossReason) => void) | null = null
  readonly #store: MetaStore
  readonly #clock: Clock
  readonly #config: ElectionConfig
  #deadlineMs: number
  #renewals = 0
  #overBy: LossReason | null = null
  #renewal: Timer | null = null
  #expiry: Timer | null = null

  private constructor(
    store: MetaStore,
    clock: Clock,
    config: ElectionConfig,
    lease: MetaLease,
    askedMs: number,
  ) {
    this.#store = store
    this.#clock = clock
    this.#config = config
    this.lease = lease
    this.#deadlineMs = this.#deadlineOf(askedMs)
    this.#planRenewal()
    this.#planExpiry()
  }

  static async open(store: MetaStore, clock: Clock, config: ElectionConfig): Promise<Session> {
    const askedMs = clock.monotonicMs()
    const lease = await store.grantLease(config.leaderLeaseMs)
    return new Session(store, clock, config, lease, askedMs)
  }

  /** By the clock, now: a process that was stopped meanwhile finds out here. */
  isValid(): boolean {
    return this.#overBy === null && this.#clock.monotonicMs() < this.#deadlineMs
  }

  get isOver(): boolean {
    return this.#overBy !== null
  }

  end(reason: LossReason): void {
    if (this.#overBy !== null) return
    this.#overBy = reason
    this.#renewal?.cancel()
    this.#expiry?.cancel()
    this.onOver?.(reason)
  }

  /**
   * Ends it here, then in the store, where what is under the lease goes. A store that is away is told
   * when it is back: it gives leases their time anew then, and nobody could lead as long.
   */
  async resign(): Promise<void> {
    this.end('resigned')
    try {
      await this.#store.revokeLease(this.lease)
    } catch (thrown) {
      if (!AWAY.has(asLemnisError(thrown).code)) return
      this.#clock.after(this.#config.leaderKeepAliveMs, () => void this.resign())
    }
  }

  #deadlineOf(askedMs: number): number {
    return askedMs + this.lease.ttlMs - this.#config.leaderMarginMs
  }

  #planRenewal(): void {
    this.#renewal = this.#clock.after(this.#config.leaderKeepAliveMs, () => {
      if (this.#renewals < RENEWALS_MAX) void this.#renew()
      this.#planRenewal()
    })
  }

  #planExpiry(): void {
    const leftMs = Math.max(0, this.#deadlineMs - this.#clock.monotonicMs())
    this.#expiry = this.#clock.after(leftMs, () => {
      if (this.isValid()) this.#planExpiry()
      else this.end('expired')
    })
  }

  async #renew(): Promise<void> {
    const askedMs = this.#clock.monotonicMs()
    this.#renewals++
    try {
      await this.#store.keepLease(this.lease)
      // One that comes too late revives nothing.
      if (this.isValid()) this.#deadlineMs = Math.max(this.#deadlineMs, this.#deadlineOf(askedMs))
    } catch (thrown) {
      const { code } = asLemnisError(thrown)
      if (code === 'NOT_FOUND') this.end('ended')
      else if (FINAL.has(code)) this.end('store-closed')
    }
    this.#renewals--
  }
}
