// Owns the calls of a client that wait for their answers, with their deadlines.
// Invariant: `done` of a call is called exactly once, after the call has left the table.

import { LemnisError } from '../base/errors.ts'
import type { Clock } from '../env/clock.ts'
import type { Observer, Timing } from '../observe/observe.ts'
import { type Deadlined, DeadlineWheel } from './deadlines.ts'

export interface Reply {
  /** The caller's for ever, as is `payload`. */
  readonly body: Uint8Array
  readonly payload: Uint8Array
  /** Checked against the payload. */
  readonly payloadCrc: number
}

export type CallDone = (error: LemnisError | null, reply: Reply | null) => void

export class PendingCall implements Deadlined {
  readonly callId: number
  readonly startedMs: number
  readonly deadlineMs: number
  readonly done: CallDone
  wheelStep = 0
  wheelNext: Deadlined | null = null
  wheelPrevious: Deadlined | null = null

  constructor(callId: number, startedMs: number, budgetMs: number, done: CallDone) {
    this.callId = callId
    this.startedMs = startedMs
    this.deadlineMs = startedMs + budgetMs
    this.done = done
  }
}

export class PendingCalls {
  /** Called when the last call has left. */
  onEmpty: (() => void) | null = null
  readonly #clock: Clock
  readonly #observer: Observer
  readonly #seconds: Timing
  readonly #calls = new Map<number, PendingCall>()
  readonly #deadlines: DeadlineWheel<PendingCall>
  #lastCallId = 0

  /** `address` is for the detail of errors. */
  constructor(clock: Clock, observer: Observer, address: string) {
    this.#clock = clock
    this.#observer = observer
    this.#seconds = observer.histogram('rpc_call_seconds')
    this.#deadlines = new DeadlineWheel(clock, (call) => {
      const budgetMs = call.deadlineMs - call.startedMs
      this.fail(call, new LemnisError('DEADLINE_EXCEEDED', { address, budgetMs }))
    })
  }

  get count(): number {
    return this.#calls.size
  }

  get(callId: number): PendingCall | undefined {
    return this.#calls.get(callId)
  }

  has(callId: number): boolean {
    return this.#calls.has(callId)
  }

  add(budgetMs: number, done: CallDone): PendingCall {
    const call = new PendingCall(++this.#lastCallId, this.#clock.monotonicMs(), budgetMs, done)
    this.#calls.set(call.callId, call)
    this.#deadlines.add(call)
    return call
  }

  /** The answer to a call that is in the table. */
  answer(call: PendingCall, reply: Reply, arrivedMs: number): void {
    this.#seconds.record((arrivedMs - call.startedMs) / 1000)
    this.#leave(call)
    call.done(null, reply)
    this.#tellIfEmpty()
  }

  fail(call: PendingCall, error: LemnisError): void {
    this.#leave(call)
    this.#observer.counter('rpc_calls_failed_total', error.code).add(1)
    call.done(error, null)
    this.#tellIfEmpty()
  }

  /** Fails the calls that are in the table now, in their order. */
  failAll(error: LemnisError): void {
    for (const call of [...this.#calls.values()]) {
      // The failure of one may have ended another.
      if (this.#calls.has(call.callId)) this.fail(call, error)
    }
  }

  close(): void {
    this.#deadlines.close()
  }

  #leave(call: PendingCall): void {
    this.#calls.delete(call.callId)
    this.#deadlines.remove(call)
  }

  #tellIfEmpty(): void {
    if (this.#calls.size === 0) this.onEmpty?.()
  }
}
