// Owns how the calls of a metadata server are answered while it leads. Invariant: an answer leaves only
// if the server leads when the answer is ready, by its clock: what a stopped process had worked out
// before, nobody hears after. The caller then learns whether anything can have happened.

import { assert } from '../../base/assert.ts'
import { asLemnisError, type ErrorCode, LemnisError } from '../../base/errors.ts'
import type { Clock } from '../../env/clock.ts'
import type { Address } from '../../env/network.ts'
import {
  type ControlCall,
  decodeControl,
  encodeControl,
  type ReplyOf,
  type RequestOf,
} from '../../format/control/call.ts'
import type { Counter, Observer } from '../../observe/observe.ts'
import type { IncomingCall } from '../../rpc/incoming.ts'
import type { RpcServer } from '../../rpc/server.ts'

export type Work<C extends ControlCall> = (
  request: RequestOf<C>,
  peerName: string,
) => Promise<ReplyOf<C>> | ReplyOf<C>

/** Where the parts of an MDS say which calls they answer. */
export interface CallTable {
  serve<C extends ControlCall>(call: C, work: Work<C>): void
}

/** For how long an MDS may answer. */
export interface Term {
  /** By the clock, now. */
  isValid(): boolean
  /** The one that leads as far as is known; empty for nobody. */
  leader(): Address
}

/** All control calls have numbers from here to there (format/control). */
const METHOD_FIRST = 0x0200
const METHOD_LAST = 0x02ff

/** What the store says of a commit when nobody knows; true whoever leads. */
const UNDECIDED: ReadonlySet<ErrorCode> = new Set([
  'DISK_FAILED',
  'DEADLINE_EXCEEDED',
  'DISCONNECTED',
])

/** Every call is answered NOT_LEADER, with the leader to ask. */
export function refuseAll(server: RpcServer, leader: () => Address): void {
  for (let method = METHOD_FIRST; method <= METHOD_LAST; method++) {
    server.handle(method, (incoming) => incoming.fail(notLeader(leader())), 'not-leader')
  }
}

export function notLeader(leader: Address): LemnisError {
  return new LemnisError('NOT_LEADER', leader === '' ? {} : { leader })
}

export class TermCalls implements CallTable {
  readonly #server: RpcServer
  readonly #clock: Clock
  readonly #observer: Observer
  readonly #term: Term
  readonly #withheld: Counter
  readonly #methods = new Set<number>()
  #inFlight = 0
  #isTaking = true
  #whenIdle: (() => void) | null = null

  constructor(server: RpcServer, clock: Clock, observer: Observer, term: Term) {
    this.#server = server
    this.#clock = clock
    this.#observer = observer
    this.#term = term
    this.#withheld = observer.counter('mds_answers_withheld_total')
  }

  serve<C extends ControlCall>(call: C, work: Work<C>): void {
    assert(call.method >= METHOD_FIRST && call.method <= METHOD_LAST, 'a control call')
    assert(!this.#methods.has(call.method), 'a call is answered by one')
    this.#methods.add(call.method)
    const taken = this.#observer.counter('mds_calls_total', call.name)
    const seconds = this.#observer.histogram('mds_call_seconds', call.name)
    const handler = (incoming: IncomingCall): void => {
      taken.add(1)
      const startedMs = this.#clock.monotonicMs()
      this.#take(call, work, incoming, () => {
        seconds.record((this.#clock.monotonicMs() - startedMs) / 1000)
      })
    }
    this.#server.handle(call.method, handler, call.name)
  }

  /** Takes no more calls; resolves when those in flight are answered, or after `limitMs`. */
  drain(limitMs: number): Promise<void> {
    this.#isTaking = false
    if (this.#inFlight === 0) return Promise.resolve()
    return new Promise((resolve) => {
      const timer = this.#clock.after(limitMs, resolve)
      this.#whenIdle = () => {
        timer.cancel()
        resolve()
      }
    })
  }

  #take<C extends ControlCall>(
    call: C,
    work: Work<C>,
    incoming: IncomingCall,
    onEnded: () => void,
  ): void {
    if (!this.#isTaking || !this.#term.isValid()) {
      incoming.fail(notLeader(this.#term.leader()))
      return
    }
    const request = decodeControl(call.request, incoming.body) as RequestOf<C>
    this.#inFlight++
    Promise.resolve()
      .then(() => work(request, incoming.peerName))
      .then(encodeControl)
      .finally(onEnded)
      .then(
        (body) => this.#answer(incoming, body),
        (error: unknown) => this.#fail(incoming, asLemnisError(error)),
      )
  }

  #answer(incoming: IncomingCall, body: Uint8Array): void {
    this.#ended()
    if (this.#term.isValid()) incoming.reply(body)
    else this.#withhold(incoming)
  }

  #fail(incoming: IncomingCall, error: LemnisError): void {
    this.#ended()
    this.#observer.counter('mds_calls_failed_total', error.code).add(1)
    // The store refused it, as another one leads: nothing was done.
    if (error.code === 'NOT_LEADER') incoming.fail(notLeader(this.#term.leader()))
    else if (UNDECIDED.has(error.code) || this.#term.isValid()) incoming.fail(error)
    else this.#withhold(incoming)
  }

  /** What it did may have become durable, or not. */
  #withhold(incoming: IncomingCall): void {
    this.#withheld.add(1)
    const leader = this.#term.leader()
    incoming.fail(new LemnisError('PROPOSAL_DROPPED', leader === '' ? {} : { leader }))
  }

  #ended(): void {
    this.#inFlight--
    if (this.#inFlight === 0) this.#whenIdle?.()
  }
}
