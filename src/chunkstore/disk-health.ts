// Owns what is known of the disk as a whole: whether it failed, whether it is full, and how much room
// there is. A failed disk is told once, and nothing on it is tried again; a full one heals.

import { asLemnisError, LemnisError } from '../base/errors.ts'
import type { Env } from '../env/env.ts'
import type { Observer } from '../observe/observe.ts'

/** How old the file system's word on its free bytes may be, where it matters. */
const SAMPLE_MS = 1000

export class DiskHealth {
  onFailed: ((error: LemnisError) => void) | null = null
  /** Called when a full disk is met: what can go may go. */
  onFull: (() => void) | null = null
  readonly #env: Env
  readonly #observer: Observer
  /** Free bytes from which a full disk is taken for one with room again. */
  readonly #roomBytes: number
  readonly #heldBytes: () => number
  #failed: LemnisError | null = null
  #full = false
  #freeBytes = 0
  #sampledMs = Number.NEGATIVE_INFINITY
  #sampling = false

  /** `heldBytes`: what the log has of the reserve at the moment, and what it will give back. */
  constructor(env: Env, observer: Observer, roomBytes: number, heldBytes: () => number) {
    this.#heldBytes = heldBytes
    this.#env = env
    this.#observer = observer
    this.#roomBytes = roomBytes
  }

  get failed(): LemnisError | null {
    return this.#failed
  }

  /** A write found no room, and none has succeeded since. */
  get full(): boolean {
    return this.#full
  }

  /**
   * As the file system last said, with what the log has of the reserve and what it will give back: that
   * comes and goes, and would make a disk full and not full in turns.
   */
  get freeBytes(): number {
    return this.#freeBytes
  }

  async sample(): Promise<void> {
    this.#sampling = true
    try {
      const freeBytes = await this.#env.disk.freeBytes()
      this.#freeBytes = freeBytes + this.#heldBytes()
      this.#sampledMs = this.#env.clock.monotonicMs()
      if (this.#freeBytes >= this.#roomBytes) this.foundRoom()
    } finally {
      this.#sampling = false
    }
  }

  /** Asks the file system again, in the background, if its word is old. */
  sampleIfOld(): void {
    const ageMs = this.#env.clock.monotonicMs() - this.#sampledMs
    if (this.#sampling || ageMs < SAMPLE_MS || this.#failed !== null) return
    this.sample().catch((error: unknown) => this.failedBy(error))
  }

  /** Throws when the disk has failed. */
  check(): void {
    if (this.#failed !== null) throw this.#failed
  }

  foundFull(): void {
    if (this.#full) return
    this.#full = true
    this.#observer.emit('chunkstore_full', { freeBytes: this.#freeBytes })
    this.onFull?.()
  }

  foundRoom(): void {
    if (!this.#full) return
    this.#full = false
    this.#observer.emit('chunkstore_has_room', { freeBytes: this.#freeBytes })
  }

  /**
   * Judges what a change of the disk threw: NO_SPACE may be tried again; after anything else, or when
   * nobody knows what reached the disk, it has failed. Returns what to throw.
   */
  changeFailed(thrown: unknown, isRepeatable = true): LemnisError {
    const error = asLemnisError(thrown)
    if (error.code === 'NO_SPACE' && isRepeatable) {
      this.foundFull()
      return error
    }
    return this.failedBy(error)
  }

  failedBy(thrown: unknown): LemnisError {
    if (this.#failed !== null) return this.#failed
    const cause = asLemnisError(thrown)
    const error =
      cause.code === 'DISK_FAILED'
        ? cause
        : new LemnisError('DISK_FAILED', { ...cause.detail, code: cause.code }, cause)
    this.#failed = error
    this.#observer.emit('chunkstore_failed', { reason: error.message })
    this.onFailed?.(error)
    return error
  }
}
