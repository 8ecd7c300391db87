// Owns the volumes that are open for the clients of a server: clients of one volume share one opening
// of it, which stays a while after the last client has gone.
// Invariants: a volume is opened once at a time; it is opened again only after its last opening was
// closed, so that a server never meets its own lease; whoever has a lease gives it back once.

import { assert } from '../base/assert.ts'
import { asLemnisError } from '../base/errors.ts'
import type { BlockDevice } from '../client/device.ts'
import type { Clock, Timer } from '../env/clock.ts'

/** Where a front end's volumes come from. Errors are LemnisErrors; NOT_FOUND for an unknown name. */
export interface Exports {
  list(): Promise<string[]>
  open(name: string, readOnly: boolean): Promise<BlockDevice>
}

export interface ExportLease {
  readonly device: BlockDevice
  /** The opening is of no use any more: who comes next gets a new one. */
  discard(): void
  release(): void
}

interface Opening {
  readonly device: Promise<BlockDevice>
  users: number
  linger: Timer | null
}

export class SharedExports {
  readonly #exports: Exports
  readonly #clock: Clock
  readonly #lingerMs: number
  readonly #readOnly: boolean
  readonly #openings = new Map<string, Opening>()
  /** Openings that are being closed, by name. */
  readonly #closing = new Map<string, Promise<void>>()

  constructor(exports: Exports, clock: Clock, lingerMs: number, readOnly: boolean) {
    this.#exports = exports
    this.#clock = clock
    this.#lingerMs = lingerMs
    this.#readOnly = readOnly
  }

  list(): Promise<string[]> {
    return this.#exports.list()
  }

  async acquire(name: string): Promise<ExportLease> {
    const opening = this.#openings.get(name) ?? this.#open(name)
    opening.users++
    opening.linger?.cancel()
    opening.linger = null
    let device: BlockDevice
    try {
      device = await opening.device
    } catch (error) {
      this.#forget(name, opening)
      throw error
    }
    let isReleased = false
    return {
      device,
      discard: () => this.#forget(name, opening),
      release: () => {
        assert(!isReleased, 'an export lease is released once')
        isReleased = true
        this.#release(name, opening)
      },
    }
  }

  /** Closes what nobody uses; resolves when everything that is being closed is closed. */
  async close(): Promise<void> {
    for (const [name, opening] of [...this.#openings]) {
      opening.linger?.cancel()
      if (opening.users === 0) this.#end(name, opening)
    }
    await Promise.all(this.#closing.values())
  }

  #open(name: string): Opening {
    const closing = this.#closing.get(name) ?? Promise.resolve()
    const device = closing.then(() => this.#exports.open(name, this.#readOnly))
    const opening: Opening = { device, users: 0, linger: null }
    this.#openings.set(name, opening)
    return opening
  }

  #forget(name: string, opening: Opening): void {
    if (this.#openings.get(name) === opening) this.#openings.delete(name)
  }

  #release(name: string, opening: Opening): void {
    opening.users--
    if (opening.users > 0) return
    if (this.#openings.get(name) !== opening) {
      this.#end(name, opening)
      return
    }
    opening.linger = this.#clock.after(this.#lingerMs, () => this.#end(name, opening))
  }

  #end(name: string, opening: Opening): void {
    this.#forget(name, opening)
    const before = this.#closing.get(name) ?? Promise.resolve()
    const closed = before
      .then(async () => (await opening.device).close())
      // A volume that does not close has lost its lease already or loses it with time.
      .catch(asLemnisError)
      .then(() => {
        if (this.#closing.get(name) === closed) this.#closing.delete(name)
      })
    this.#closing.set(name, closed)
  }
}
