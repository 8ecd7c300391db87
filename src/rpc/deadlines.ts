// Owns the deadlines of many calls with one timer: a hashed timing wheel (Varghese and Lauck 1987,
// scheme 6), so that adding and removing cost the same few steps however many calls there are.
// Invariant: a call expires not before its deadline, and at most STEP_MS after it on an idle host.

import { assert } from '../base/assert.ts'
import type { Clock, Timer } from '../env/clock.ts'

/** What a call carries for the wheel; the wheel alone writes to it. */
export interface Deadlined {
  /** On the monotonic clock; Infinity for never. */
  readonly deadlineMs: number
  wheelStep: number
  wheelNext: Deadlined | null
  wheelPrevious: Deadlined | null
}

/** Ten milliseconds are little against the budgets of calls, and few wake-ups. */
const STEP_MS = 10
/** The slots cover 5.12 s; what is later is passed over once each turn of the wheel. */
const SLOTS = 512

export class DeadlineWheel<T extends Deadlined> {
  readonly #clock: Clock
  readonly #expired: (item: T) => void
  readonly #heads: (Deadlined | null)[] = new Array<Deadlined | null>(SLOTS).fill(null)
  #count = 0
  /** Every step up to this one has been swept. */
  #sweptStep: number
  #timer: Timer | null = null
  #timerStep = 0

  /** `expired` hears of an item once it has been removed; it may add and remove others. */
  constructor(clock: Clock, expired: (item: T) => void) {
    this.#clock = clock
    this.#expired = expired
    this.#sweptStep = Math.floor(clock.monotonicMs() / STEP_MS)
  }

  get count(): number {
    return this.#count
  }

  add(item: T): void {
    if (item.deadlineMs === Number.POSITIVE_INFINITY) return
    // A deadline within a step is due at the step's end; one that has passed, at the next sweep.
    const step = Math.max(Math.ceil(item.deadlineMs / STEP_MS), this.#sweptStep + 1)
    item.wheelStep = step
    item.wheelPrevious = null
    const head = this.#heads[step % SLOTS] ?? null
    item.wheelNext = head
    if (head !== null) head.wheelPrevious = item
    this.#heads[step % SLOTS] = item
    this.#count++
    if (this.#timer === null || step < this.#timerStep) this.#arm(step)
  }

  /** Removes an item that was added and did not expire; without effect on any other. */
  remove(item: T): void {
    if (item.wheelStep === 0) return
    const { wheelNext, wheelPrevious } = item
    if (wheelPrevious !== null) wheelPrevious.wheelNext = wheelNext
    else this.#heads[item.wheelStep % SLOTS] = wheelNext
    if (wheelNext !== null) wheelNext.wheelPrevious = wheelPrevious
    item.wheelStep = 0
    item.wheelNext = null
    item.wheelPrevious = null
    this.#count--
  }

  close(): void {
    this.#timer?.cancel()
    this.#timer = null
  }

  #arm(step: number): void {
    this.#timer?.cancel()
    this.#timerStep = step
    const delayMs = Math.max(0, step * STEP_MS - this.#clock.monotonicMs())
    this.#timer = this.#clock.after(delayMs, () => this.#ring())
  }

  #ring(): void {
    this.#timer = null
    const step = Math.floor(this.#clock.monotonicMs() / STEP_MS)
    for (const item of this.#due(step)) {
      // Another one's expiry may have removed it meanwhile.
      if (item.wheelStep === 0 || item.wheelStep > step) continue
      this.remove(item)
      this.#expired(item)
    }
    // The timer stands at the first slot in use, even if what is in it is due a turn later: then
    // there is one wake-up a turn.
    if (this.#count > 0 && this.#timer === null) this.#arm(this.#nextStep())
  }

  #due(step: number): T[] {
    const due: T[] = []
    const first = Math.max(this.#sweptStep + 1, step - SLOTS + 1)
    this.#sweptStep = step
    for (let swept = first; swept <= step; swept++) {
      let item = this.#heads[swept % SLOTS] ?? null
      for (; item !== null; item = item.wheelNext) if (item.wheelStep <= step) due.push(item as T)
    }
    // Slots are stacks: turned around, equal deadlines expire in the order they were added.
    return due.reverse().sort((a, b) => a.deadlineMs - b.deadlineMs)
  }

  #nextStep(): number {
    for (let ahead = 1; ahead <= SLOTS; ahead++) {
      if (this.#heads[(this.#sweptStep + ahead) % SLOTS] !== null) return this.#sweptStep + ahead
    }
    assert(false, 'the wheel counts items that are in no slot')
  }
}
