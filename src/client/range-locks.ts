// Owns the order of changes that overlap: a range that is taken makes later ones that touch it wait.
// Invariant: ranges that overlap are granted in the order in which they were asked for, also past a
// waiting one, so that none starves. Ranges are few (bounded by the operations of a volume under way),
// so that looking through all of them is cheaper than any tree.

import { assert } from '../base/assert.ts'

export interface RangeLock {
  /** From block `from` to before `to`; the holder's, unchanged while held. */
  readonly from: number
  readonly to: number
  /** Called once, by lock() itself when nothing is in the way. */
  granted(): void
}

export class RangeLocks {
  readonly #held: RangeLock[] = []
  #waiting: RangeLock[] = []

  get waitingCount(): number {
    return this.#waiting.length
  }

  lock(lock: RangeLock): void {
    if (overlaps(this.#held, lock) || overlaps(this.#waiting, lock)) {
      this.#waiting.push(lock)
      return
    }
    this.#held.push(lock)
    lock.granted()
  }

  unlock(lock: RangeLock): void {
    const held = this.#held
    const at = held.indexOf(lock)
    assert(at >= 0, 'what is unlocked was locked')
    const last = held.pop() as RangeLock
    if (last !== lock) held[at] = last
    if (this.#waiting.length > 0) this.#grantWaiting()
  }

  #grantWaiting(): void {
    const granted: RangeLock[] = []
    const waiting: RangeLock[] = []
    for (const lock of this.#waiting) {
      if (overlaps(this.#held, lock) || overlaps(waiting, lock)) {
        waiting.push(lock)
      } else {
        this.#held.push(lock)
        granted.push(lock)
      }
    }
    this.#waiting = waiting
    // Only now, as one of them may come back to lock or unlock.
    for (const lock of granted) lock.granted()
  }
}

function overlaps(locks: readonly RangeLock[], lock: RangeLock): boolean {
  for (const other of locks) if (other.from < lock.to && lock.from < other.to) return true
  return false
}
