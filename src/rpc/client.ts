// Owns the asking side: one connection to one address, kept while the client is open, and the calls
// on it. Invariants: `done` of a call is called exactly once and never from within call(); nothing
// is repeated here, as only a caller knows what may be. While connecting, calls wait; while a broken
// connection pauses they fail at once by DISCONNECTED, so that a caller can go elsewhere.

import { EMPTY } from '../base/bytes.ts'
import { LemnisError } from '../base/errors.ts'
import type { Timer } from '../env/clock.ts'
import type { Env } from '../env/env.ts'
import type { Address } from '../env/network.ts'
import type { FrameHeader } from '../format/frame.ts'
import {
  decodeError,
  decodeHello,
  encodeHello,
  type Hello,
  SMALL_BODY_BYTES_MAX,
} from '../format/frame-bodies.ts'
import { type Payload, payloadBytesOf } from '../format/frame-writer.ts'
import { agreeOnVersion, SPOKEN } from '../format/version.ts'
import type { Counter, Observer } from '../observe/observe.ts'
import type { RpcConfig } from './config.ts'
import { type CloseReason, Link, LinkCounters, type LinkOwner } from './link.ts'
import { type CallDone, type PendingCall, PendingCalls, type Reply } from './pending-calls.ts'

export type { CallDone, Reply }

/**
 * 'idle': never asked for a connection; 'connecting': until the handshake is done; 'backoff':
 * between two attempts; 'leaving': the peer said goodbye and answers only what is in flight.
 */
export type ClientState = 'idle' | 'connecting' | 'connected' | 'leaving' | 'backoff' | 'closed'

/**
 * The attempts after which the pause grows no more; 50 ms doubled ten times is beyond any maximum.
 */
const DOUBLINGS_MAX = 10

/** What a call that waits for the connection will send. */
interface Unsent {
  readonly call: PendingCall
  readonly method: number
  readonly body: Uint8Array
  readonly payload: Uint8Array
  readonly payloadCrc: number | undefined
}

export class RpcClient {
  readonly address: Address
  /** Hears of every change, with the new state. */
  onStateChange: ((state: ClientState) => void) | null = null
  readonly #env: Env
  readonly #observer: Observer
  readonly #config: RpcConfig
  readonly #name: string
  readonly #counters: LinkCounters
  readonly #overloaded: Counter
  readonly #unexpected: Counter
  readonly #calls: PendingCalls
  #unsent: Unsent[] = []
  #unsentBytes = 0
  #state: ClientState = 'idle'
  #link: Link | null = null
  #peer: Hello | null = null
  #attempts = 0
  #timer: Timer | null = null
  #retryAtMs = 0
  /** What the peer answered to our hello instead of a hello. */
  #refusedBy: LemnisError | null = null
  #whenGone: (() => void) | null = null
  #isClosing = false
  #closed: Promise<void> | null = null

  /** `name` is who this side says it is. Connects at the first call or note, or by connect(). */
  constructor(env: Env, observer: Observer, address: Address, config: RpcConfig, name: string) {
    this.address = address
    this.#env = env
    this.#observer = observer
    this.#config = config
    this.#name = name
    this.#counters = new LinkCounters(observer)
    this.#overloaded = observer.counter('rpc_overloaded_total')
    this.#unexpected = observer.counter('rpc_replies_unexpected_total')
    this.#calls = new PendingCalls(env.clock, observer, address)
  }

  get state(): ClientState {
    return this.#state
  }

  /** Calls that wait for their answer. */
  get pendingCalls(): number {
    return this.#calls.count
  }

  /** What the peer calls itself; empty before the first handshake. */
  get peerName(): string {
    return this.#peer?.name ?? ''
  }

  /**
   * Makes the connection now rather than at the first call; from then on it is made again when
   * lost.
   */
  connect(): void {
    if (this.#state === 'idle' && !this.#isClosing) this.#connect()
  }

  /**
   * Asks, and calls `done` with the answer or the error, later and once. `budgetMs` may be
   * Infinity. Borrows `body` and `payload` until the answer; after an error they may still be on
   * their way, so nobody writes to them again. A `payloadCrc` that is given is believed.
   */
  call(
    method: number,
    body: Uint8Array,
    payload: Uint8Array | null,
    budgetMs: number,
    done: CallDone,
    payloadCrc?: number,
  ): void {
    const bytes = payload ?? EMPTY
    const refusal = this.#refusalOf(body, bytes, budgetMs)
    if (refusal !== null) {
      this.#observer.counter('rpc_calls_failed_total', refusal.code).add(1)
      this.#env.clock.soon(() => done(refusal, null))
      return
    }
    this.connect()
    const call = this.#calls.add(budgetMs, done)
    if (this.#state === 'connected') {
      this.#send(call, method, body, bytes, payloadCrc, call.startedMs)
    } else {
      this.#unsent.push({ call, method, body, payload: bytes, payloadCrc })
      this.#unsentBytes += body.byteLength + bytes.byteLength
    }
  }

  callAsync(
    method: number,
    body: Uint8Array,
    payload: Uint8Array | null,
    budgetMs: number,
  ): Promise<Reply> {
    return new Promise((resolve, reject) => {
      this.call(method, body, payload, budgetMs, (error, reply) => {
        if (reply !== null) resolve(reply)
        else reject(error)
      })
    })
  }

  /**
   * Sends what nobody answers. False: it was dropped, as there is no connection (one is being made
   * then) or too much is queued. True promises nothing more than that it was queued.
   */
  notify(method: number, body: Uint8Array, payload: Payload | null, payloadCrc?: number): boolean {
    const bytes = payload ?? EMPTY
    if (this.#state !== 'connected') {
      this.connect()
      return this.#dropped('not-connected')
    }
    if (this.#isTooLarge(body, bytes)) return this.#dropped('too-large')
    if (!this.#hasRoom(body, bytes)) return this.#dropped('queue-full')
    this.#link?.send('notify', method, 0, 0, body, bytes, this.#crcOf(bytes, payloadCrc))
    return true
  }

  /** Lets the calls in flight finish within closeGraceMs, then ends the connection for good. */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  // --- calls

  /** Why a call cannot even be tried. */
  #refusalOf(body: Uint8Array, payload: Uint8Array, budgetMs: number): LemnisError | null {
    const address = this.address
    if (this.#isClosing) {
      return new LemnisError('CLOSED', { address })
    }
    if (this.#state === 'backoff') {
      const hintMs = Math.max(0, Math.ceil(this.#retryAtMs - this.#env.clock.monotonicMs()))
      return new LemnisError('DISCONNECTED', { address, hintMs })
    }
    if (this.#state === 'leaving')
      return new LemnisError('DISCONNECTED', { address, leaving: true })
    if (!(budgetMs > 0)) return new LemnisError('DEADLINE_EXCEEDED', { address, budgetMs })
    if (this.#isTooLarge(body, payload)) {
      const detail = { reason: 'too large', body: body.byteLength, payload: payload.byteLength }
      return new LemnisError('INVALID_ARGUMENT', detail)
    }
    if (this.#calls.count >= this.#config.clientCallsMax || !this.#hasRoom(body, payload)) {
      this.#overloaded.add(1)
      return new LemnisError('OVERLOADED', { address, hintMs: this.#config.overloadedHintMs })
    }
    return null
  }

  /** The peer's limits once it has told them, ours before. */
  #isTooLarge(body: Uint8Array, payload: Payload): boolean {
    const { bodyBytesMax, payloadBytesMax } = this.#peer ?? this.#config
    return body.byteLength > bodyBytesMax || payloadBytesOf(payload) > payloadBytesMax
  }

  #hasRoom(body: Uint8Array, payload: Payload): boolean {
    const queuedBytes = this.#unsentBytes + (this.#link?.queuedBytes ?? 0)
    const bytes = body.byteLength + payloadBytesOf(payload)
    return queuedBytes + bytes <= this.#config.clientQueuedBytesMax
  }

  #send(
    call: PendingCall,
    method: number,
    body: Uint8Array,
    payload: Uint8Array,
    payloadCrc: number | undefined,
    nowMs: number,
  ): void {
    const leftMs = call.deadlineMs - nowMs
    // What is left is rounded up: 0 says without limit. Beyond 49 days the wire knows no
    // difference.
    const budgetMs = leftMs > 0xffff_ffff ? 0 : Math.ceil(leftMs)
    const crc = this.#crcOf(payload, payloadCrc)
    this.#link?.send('request', method, call.callId, budgetMs, body, payload, crc)
  }

  #crcOf(payload: Payload, payloadCrc: number | undefined): number {
    if (payloadCrc !== undefined) return payloadCrc
    const { crc32c } = this.#env
    if (payload instanceof Uint8Array) return payload.byteLength === 0 ? 0 : crc32c(payload)
    let crc = 0
    for (const part of payload) crc = crc32c(part, crc)
    return crc
  }

  #sendUnsent(): void {
    const nowMs = this.#env.clock.monotonicMs()
    const unsent = this.#unsent
    this.#unsent = []
    this.#unsentBytes = 0
    for (const { call, method, body, payload, payloadCrc } of unsent) {
      if (call.deadlineMs <= nowMs || !this.#calls.has(call.callId)) continue
      if (this.#isTooLarge(body, payload)) {
        this.#calls.fail(call, new LemnisError('INVALID_ARGUMENT', { reason: 'too large' }))
      } else {
        this.#send(call, method, body, payload, payloadCrc, nowMs)
      }
    }
  }

  #failAll(error: LemnisError): void {
    this.#unsent = []
    this.#unsentBytes = 0
    this.#calls.failAll(error)
  }

  #dropped(reason: string): false {
    this.#observer.counter('rpc_notes_dropped_total', reason).add(1)
    return false
  }

  // --- the connection

  #setState(state: ClientState): void {
    if (this.#state === state) return
    this.#state = state
    this.onStateChange?.(state)
  }

  #connect(): void {
    const owner: LinkOwner = {
      pausesReading: false,
      opened: () => this.#greet(),
      admit: (header) => this.#admit(header),
      frame: (header, body, payload) => this.#frame(header, body, payload),
      refused: () => this.#unexpected.add(1),
      closed: (reason, detail) => this.#gone(reason, detail),
    }
    const link = new Link(this.#env, this.#config, this.#counters, owner)
    this.#link = link
    this.#timer = this.#env.clock.after(this.#config.connectTimeoutMs, () =>
      link.fail('connect-timeout'),
    )
    this.#setState('connecting')
    link.connect(this.address)
  }

  #greet(): void {
    const { bodyBytesMax, payloadBytesMax, clusterId } = this.#config
    const hello = { versions: SPOKEN, bodyBytesMax, payloadBytesMax, name: this.#name, clusterId }
    this.#link?.say('hello', encodeHello(hello))
  }

  #admit(header: FrameHeader): boolean {
    const { kind, callId } = header
    const isSmall = header.bodyBytes <= SMALL_BODY_BYTES_MAX && header.payloadBytes === 0
    if (this.#state === 'connecting') {
      if (isSmall && (kind === 'hello-reply' || (kind === 'error' && callId === 0))) return true
    } else if (kind === 'reply' || (kind === 'error' && isSmall)) {
      // What nobody waits for any more is not worth memory.
      return this.#calls.has(callId)
    } else if (isSmall && (kind === 'ping' || kind === 'pong' || kind === 'goodbye')) {
      return true
    }
    this.#link?.fail('unexpected-frame', kind)
    return false
  }

  #frame(header: FrameHeader, body: Uint8Array, payload: Uint8Array): void {
    switch (header.kind) {
      case 'reply':
        this.#replied(header, { body, payload, payloadCrc: header.payloadCrc })
        return
      case 'error':
        this.#failed(header, body)
        return
      case 'hello-reply':
        this.#greeted(body)
        return
      default:
        // A goodbye: #admit() lets nothing else through.
        this.#setState('leaving')
    }
  }

  #replied(header: FrameHeader, reply: Reply): void {
    const call = this.#calls.get(header.callId)
    if (call === undefined) return
    this.#calls.answer(call, reply, this.#link?.arrivedMs ?? call.startedMs)
  }

  /** An error answers a call, or, without one, our hello. */
  #failed(header: FrameHeader, body: Uint8Array): void {
    let error: LemnisError
    try {
      const received = decodeError(body)
      const { peerName } = this
      const hint = received.hintMs > 0 ? { hintMs: received.hintMs } : {}
      const detail = { ...received.error.detail, peer: peerName || this.address, ...hint }
      error = new LemnisError(received.error.code, detail)
    } catch {
      this.#link?.fail('bad-body', 'an error that cannot be read')
      return
    }
    const call = this.#calls.get(header.callId)
    if (call !== undefined) {
      this.#calls.fail(call, error)
    } else if (this.#state === 'connecting') {
      this.#refusedBy = error
      this.#link?.fail(error.code === 'WRONG_CLUSTER' ? 'wrong-cluster' : 'no-common-version')
    }
  }

  #greeted(body: Uint8Array): void {
    let hello: Hello
    try {
      hello = decodeHello(body)
    } catch (error) {
      this.#link?.fail('bad-hello', String(error))
      return
    }
    const { clusterId } = this.#config
    const version = agreeOnVersion(SPOKEN, hello.versions)
    if (version === null) {
      this.#refusedBy = new LemnisError('VERSION_MISMATCH', { address: this.address })
      this.#link?.fail('no-common-version')
      return
    }
    if (clusterId !== '' && hello.clusterId !== '' && clusterId !== hello.clusterId) {
      this.#refusedBy = new LemnisError('WRONG_CLUSTER', { clusterId: hello.clusterId })
      this.#link?.fail('wrong-cluster')
      return
    }
    this.#timer?.cancel()
    this.#attempts = 0
    this.#peer = hello
    this.#observer.emit('rpc_connected', { peer: hello.name, remote: this.address, version })
    this.#setState('connected')
    this.#sendUnsent()
  }

  #gone(reason: CloseReason, detail: string): void {
    const { address, peerName } = this
    this.#timer?.cancel()
    this.#link = null
    if (this.#state === 'connected' || this.#state === 'leaving') {
      this.#observer.emit('rpc_disconnected', { peer: peerName, remote: address, reason, detail })
    }
    const error = this.#refusedBy ?? new LemnisError('DISCONNECTED', { address, reason, detail })
    this.#refusedBy = null
    if (!this.#isClosing) this.#backOff()
    this.#failAll(error)
    this.#whenGone?.()
  }

  #backOff(): void {
    const { backoffMinMs, backoffMaxMs } = this.#config
    const longest = Math.min(backoffMaxMs, backoffMinMs * 2 ** this.#attempts)
    this.#attempts = Math.min(this.#attempts + 1, DOUBLINGS_MAX)
    // Half of it is chance, so that the clients of a server that came back do not come all at once.
    const pauseMs = this.#env.random.between(Math.floor(longest / 2), Math.ceil(longest))
    this.#retryAtMs = this.#env.clock.monotonicMs() + pauseMs
    this.#timer = this.#env.clock.after(pauseMs, () => this.#connect())
    this.#setState('backoff')
  }

  async #close(): Promise<void> {
    this.#isClosing = true
    if (this.#calls.count > 0) await this.#emptied()
    this.#failAll(new LemnisError('CLOSED', { address: this.address }))
    this.#timer?.cancel()
    this.#calls.close()
    const link = this.#link
    if (link !== null) {
      const gone = new Promise<void>((done) => {
        this.#whenGone = done
      })
      if (this.#state === 'connecting') link.fail('closed')
      else link.say('goodbye')
      link.end('closed')
      await gone
    }
    this.#setState('closed')
  }

  /** Resolves when no call waits any more, or has waited long enough. */
  #emptied(): Promise<void> {
    return new Promise((done) => {
      const timer = this.#env.clock.after(this.#config.closeGraceMs, done)
      this.#calls.onEmpty = () => {
        timer.cancel()
        done()
      }
    })
  }
}
