// Owns the lease of one open volume: its renewal, and what each renewal tells (size, sequence number,
// epoch, limits). A lease counts from the *sending* of the last renewal that was answered, which is
// never later than the MDS counts from.
// A lease that ran out because no MDS answers does not stop I/O: nobody can take the volume without
// raising its epoch, and the copysets refuse older epochs. It is visible, and ends only by an answer.

import { asLemnisError, type LemnisError } from '../base/errors.ts'
import type { Clock, Timer } from '../env/clock.ts'
import { type Lease, RENEW_LEASE } from '../format/control/mds.ts'
import type { Observer } from '../observe/observe.ts'
import type { MdsCaller } from './mds-caller.ts'

/** Renewals in one lease: three may fail before it runs out. */
const RENEWALS_PER_LEASE = 4

export interface Opener {
  /** Drawn at random for each open. */
  readonly client: string
  /** For people. */
  readonly address: string
  readonly mode: 'write' | 'read'
}

export interface LeaseEvents {
  renewed(lease: Lease): void
  /** FENCED or NOT_FOUND: the volume is no longer this client's. */
  ended(error: LemnisError): void
}

export class LeaseKeeper {
  readonly #clock: Clock
  readonly #observer: Observer
  readonly #mds: MdsCaller
  readonly #opener: Opener
  readonly #events: LeaseEvents
  #lease: Lease
  #untilMs: number
  #timer: Timer | null = null
  #isRenewing = false
  #isAsked = false
  #isLost = false
  #isClosed = false

  /** `sentMs`: when the opening that `lease` answers was sent. */
  constructor(
    clock: Clock,
    observer: Observer,
    mds: MdsCaller,
    opener: Opener,
    lease: Lease,
    sentMs: number,
    events: LeaseEvents,
  ) {
    this.#clock = clock
    this.#observer = observer
    this.#mds = mds
    this.#opener = opener
    this.#events = events
    this.#lease = lease
    this.#untilMs = sentMs + lease.leaseMs
    this.#arm()
  }

  get lease(): Lease {
    return this.#lease
  }

  /** Negative when it has run out. */
  get leftMs(): number {
    return this.#untilMs - this.#clock.monotonicMs()
  }

  /** Asks now, as something has shown that what is known is old. */
  renewNow(): void {
    if (this.#isClosed) return
    this.#isAsked = true
    if (this.#isRenewing) return
    this.#timer?.cancel()
    void this.#renew()
  }

  close(): void {
    this.#isClosed = true
    this.#timer?.cancel()
  }

  get #intervalMs(): number {
    return Math.max(1, this.#lease.leaseMs / RENEWALS_PER_LEASE)
  }

  #arm(): void {
    if (this.#isClosed) return
    this.#timer = this.#clock.after(this.#intervalMs, () => void this.#renew())
  }

  async #renew(): Promise<void> {
    this.#isRenewing = true
    this.#isAsked = false
    const sentMs = this.#clock.monotonicMs()
    try {
      const lease = await this.#ask()
      if (!this.#isClosed) this.#renewed(lease, sentMs)
    } catch (error) {
      if (!this.#isClosed) this.#failed(asLemnisError(error))
    }
    this.#isRenewing = false
    if (this.#isAsked && !this.#isClosed) void this.#renew()
    else this.#arm()
  }

  #ask(): Promise<Lease> {
    const { volume, epoch } = this.#lease
    const { client, mode } = this.#opener
    // One renewal is tried for no longer than until the next one would be sent.
    const options = { isRepeatable: true, patienceMs: this.#intervalMs }
    // A reader holds nothing; by the epoch 0 it hears of the present one.
    const held = mode === 'read' ? 0 : epoch
    return this.#mds.ask(RENEW_LEASE, { volume: volume.id, client, epoch: held }, options)
  }

  #renewed(lease: Lease, sentMs: number): void {
    this.#lease = lease
    this.#untilMs = sentMs + lease.leaseMs
    const { id, name } = lease.volume
    if (this.#isLost) this.#observer.emit('client_lease_regained', { volume: id, name })
    this.#isLost = false
    this.#events.renewed(lease)
  }

  #failed(error: LemnisError): void {
    if (error.code === 'FENCED' || error.code === 'NOT_FOUND') {
      this.close()
      this.#events.ended(error)
      return
    }
    if (this.#isLost || this.leftMs > 0) return
    this.#isLost = true
    const { id, name } = this.#lease.volume
    this.#observer.emit('client_lease_lost', { volume: id, name, code: error.code })
  }
}
