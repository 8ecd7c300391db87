// Owns one accepted connection of a server: its handshake, the admission of its requests and their
// answers. Invariant: what a request claims of the budgets is released once: when it is answered,
// or when its connection ends before it was whole. A request that a handler still holds keeps its
// claim after the connection has ended, as its memory is still in use.

import { assert } from '../base/assert.ts'
import { ByteBudget } from '../base/budget.ts'
import { EMPTY } from '../base/bytes.ts'
import { type ErrorCode, LemnisError } from '../base/errors.ts'
import type { Timer } from '../env/clock.ts'
import type { Env } from '../env/env.ts'
import type { Connection } from '../env/network.ts'
import type { FrameHeader } from '../format/frame.ts'
import {
  decodeHello,
  encodeError,
  encodeHello,
  type Hello,
  SMALL_BODY_BYTES_MAX,
} from '../format/frame-bodies.ts'
import { agreeOnVersion, SPOKEN } from '../format/version.ts'
import type { Counter, Observer } from '../observe/observe.ts'
import type { RpcConfig } from './config.ts'
import type { CallHandler, IncomingCall, IncomingNotify, NotifyHandler } from './incoming.ts'
import { type CloseReason, Link, LinkCounters, type LinkOwner } from './link.ts'
import { MethodCounts, type NoteCounts, type Served } from './methods-served.ts'

/** What a request costs besides its bytes, so that a bound on bytes bounds empty requests too. */
const CALL_OVERHEAD_BYTES = 256

/** What the connections of one server share. */
export class ServerCore {
  readonly env: Env
  readonly config: RpcConfig
  readonly name: string
  readonly observer: Observer
  readonly counters: LinkCounters
  readonly overloaded: Counter
  readonly expired: Counter
  readonly inflight: ByteBudget
  readonly calls = new Map<number, Served<CallHandler, MethodCounts>>()
  readonly notes = new Map<number, Served<NotifyHandler, NoteCounts>>()
  /** Of all methods without a handler. */
  readonly unknown: MethodCounts
  readonly peers = new Set<ServerPeer>()
  isClosing = false
  onPeerGone: () => void = () => {}

  constructor(env: Env, observer: Observer, config: RpcConfig, name: string) {
    this.env = env
    this.config = config
    this.name = name
    this.observer = observer
    this.counters = new LinkCounters(observer)
    this.overloaded = observer.counter('rpc_overloaded_total')
    this.expired = observer.counter('rpc_requests_expired_total')
    this.unknown = new MethodCounts(observer, 'unknown')
    this.inflight = new ByteBudget(config.serverInflightBytesMax)
  }
}

export class ServerPeer implements LinkOwner {
  readonly pausesReading = true
  readonly link: Link
  readonly #core: ServerCore
  readonly #inflight: ByteBudget
  readonly #handshakeTimer: Timer
  #hello: Hello | null = null
  #callsInFlight = 0
  #isLeaving = false
  // The request whose body and payload are being received, or why it is refused.
  #claimedBytes = 0
  #deadlineMs = 0
  #refusal: ErrorCode = 'OVERLOADED'

  constructor(core: ServerCore, connection: Connection) {
    this.#core = core
    this.#inflight = new ByteBudget(core.config.connectionInflightBytesMax)
    this.link = new Link(core.env, core.config, core.counters, this)
    this.link.adopt(connection)
    this.#handshakeTimer = core.env.clock.after(core.config.handshakeTimeoutMs, () =>
      this.link.fail('handshake-timeout'),
    )
  }

  get name(): string {
    return this.#hello?.name ?? ''
  }

  /** Says goodbye, and ends when what is in flight has been answered. */
  leave(): void {
    this.#isLeaving = true
    if (this.#hello === null) this.link.fail('closed')
    else this.link.say('goodbye')
    this.#endIfDone()
  }

  abandon(): void {
    this.link.fail('closed', 'calls still in flight')
  }

  // --- the link's events

  opened(): void {}

  admit(header: FrameHeader): boolean {
    const { kind } = header
    const bytes = header.bodyBytes + header.payloadBytes
    if (this.#hello === null) {
      if (kind === 'hello' && bytes <= SMALL_BODY_BYTES_MAX) return true
      this.link.fail('unexpected-frame', `${kind} instead of a hello`)
      return false
    }
    if (kind === 'request') return this.#admitRequest(header)
    if (kind === 'notify') return true
    const isSmall = kind === 'ping' || kind === 'pong' || kind === 'goodbye'
    if (isSmall && bytes <= SMALL_BODY_BYTES_MAX) return true
    this.link.fail('unexpected-frame', kind)
    return false
  }

  refused(header: FrameHeader): void {
    const core = this.#core
    const hintMs = this.#refusal === 'OVERLOADED' ? core.config.overloadedHintMs : 0
    const { counts } = core.calls.get(header.method) ?? { counts: core.unknown }
    counts.failed.add(1)
    this.#sendError(header.callId, new LemnisError(this.#refusal), hintMs)
  }

  frame(header: FrameHeader, body: Uint8Array, payload: Uint8Array): void {
    if (header.kind === 'request') {
      this.#dispatch(header, body, payload)
    } else if (header.kind === 'notify') {
      this.#note(header, body, payload)
    } else if (header.kind === 'hello') {
      this.#greet(body)
    } else {
      // A goodbye: admit() lets nothing else through.
      this.#isLeaving = true
      this.#endIfDone()
    }
  }

  closed(reason: CloseReason, detail: string): void {
    this.#handshakeTimer.cancel()
    this.#release(this.#claimedBytes)
    this.#claimedBytes = 0
    this.#core.peers.delete(this)
    if (this.#hello !== null) {
      const fields = { peer: this.name, remote: this.link.remote, reason, detail }
      this.#core.observer.emit('rpc_disconnected', fields)
    }
    this.#core.onPeerGone()
  }

  // --- handshake

  #greet(body: Uint8Array): void {
    const { config, observer, name } = this.#core
    let hello: Hello
    try {
      hello = decodeHello(body)
    } catch (error) {
      this.link.fail('bad-hello', String(error))
      return
    }
    const version = agreeOnVersion(SPOKEN, hello.versions)
    if (version === null) {
      this.#sendError(0, new LemnisError('VERSION_MISMATCH', { ...SPOKEN }), 0)
      this.link.end('no-common-version')
      return
    }
    const { clusterId, bodyBytesMax, payloadBytesMax } = config
    if (clusterId !== '' && hello.clusterId !== '' && clusterId !== hello.clusterId) {
      this.#sendError(0, new LemnisError('WRONG_CLUSTER', { clusterId }), 0)
      this.link.end('wrong-cluster')
      return
    }
    this.#handshakeTimer.cancel()
    this.#hello = hello
    const versions = { oldest: version, newest: version }
    const answer = { versions, bodyBytesMax, payloadBytesMax, name, clusterId }
    this.link.say('hello-reply', encodeHello(answer))
    observer.emit('rpc_connected', { peer: hello.name, remote: this.link.remote, version })
  }

  // --- requests

  #admitRequest(header: FrameHeader): boolean {
    const core = this.#core
    if (core.isClosing) {
      this.#refusal = 'CLOSED'
      return false
    }
    const bytes = CALL_OVERHEAD_BYTES + header.bodyBytes + header.payloadBytes
    const heldBytes = this.#inflight.claimedBytes + this.link.queuedBytes
    const fits = heldBytes + bytes <= core.config.connectionInflightBytesMax
    if (!fits || !core.inflight.tryClaim(bytes)) {
      this.#refusal = 'OVERLOADED'
      core.overloaded.add(1)
      return false
    }
    const claimed = this.#inflight.tryClaim(bytes)
    assert(claimed, 'the connection has the room that was just found')
    this.#claimedBytes = bytes
    this.#deadlineMs =
      header.budgetMs === 0 ? Number.POSITIVE_INFINITY : this.link.arrivedMs + header.budgetMs
    return true
  }

  #dispatch(header: FrameHeader, body: Uint8Array, payload: Uint8Array): void {
    const core = this.#core
    const served = core.calls.get(header.method)
    const counts = served?.counts ?? core.unknown
    counts.receivedBytes.add(body.byteLength + payload.byteLength)
    const claimedBytes = this.#claimedBytes
    const call = new ServerCall(this, header, body, payload, this.#deadlineMs, claimedBytes, counts)
    this.#claimedBytes = 0
    this.#callsInFlight++
    const deadlineMs = call.deadlineMs
    if (deadlineMs !== Number.POSITIVE_INFINITY && core.env.clock.monotonicMs() > deadlineMs) {
      core.expired.add(1)
      call.fail(new LemnisError('DEADLINE_EXCEEDED', { executed: false }))
      return
    }
    if (served === undefined) {
      call.fail(new LemnisError('UNKNOWN_METHOD', { method: header.method }))
      return
    }
    try {
      served.handler(call)
    } catch (error) {
      if (!(error instanceof LemnisError)) throw error
      call.fail(error)
    }
  }

  /** Called by a ServerCall, once. */
  answerReply(call: ServerCall, body: Uint8Array, payload: Uint8Array, payloadCrc?: number): void {
    const hello = this.#hello as Hello
    if (body.byteLength > hello.bodyBytesMax || payload.byteLength > hello.payloadBytesMax) {
      const detail = { reason: 'answer too large', bytes: body.byteLength + payload.byteLength }
      this.answerError(call, new LemnisError('INTERNAL', detail), 0)
      return
    }
    const crc = payload.byteLength === 0 ? 0 : (payloadCrc ?? this.#core.env.crc32c(payload))
    this.link.send('reply', call.method, call.callId, 0, body, payload, crc)
    call.counts.sentBytes.add(body.byteLength + payload.byteLength)
    this.#answered(call)
  }

  /** Called by a ServerCall, once. */
  answerError(call: ServerCall, error: LemnisError, hintMs: number): void {
    this.#sendError(call.callId, error, hintMs)
    call.counts.failed.add(1)
    this.#answered(call)
  }

  #answered(call: ServerCall): void {
    call.counts.seconds.record((this.#core.env.clock.monotonicMs() - call.arrivedMs) / 1000)
    this.#release(call.claimedBytes)
    this.#callsInFlight--
    this.#endIfDone()
  }

  #release(bytes: number): void {
    this.#inflight.release(bytes)
    this.#core.inflight.release(bytes)
  }

  #endIfDone(): void {
    if (this.#isLeaving && this.#callsInFlight === 0) this.link.end('closed')
  }

  #sendError(callId: number, error: LemnisError, hintMs: number): void {
    this.link.send('error', 0, callId, 0, encodeError(error, hintMs), EMPTY, 0)
  }

  // --- notes

  #note(header: FrameHeader, body: Uint8Array, payload: Uint8Array): void {
    const { method, payloadCrc } = header
    const served = this.#core.notes.get(method)
    if (served === undefined) {
      this.#dropped('unknown-method')
      return
    }
    served.counts.notes.add(1)
    served.counts.receivedBytes.add(body.byteLength + payload.byteLength)
    const note: IncomingNotify = { peerName: this.name, method, body, payload, payloadCrc }
    try {
      served.handler(note)
    } catch (error) {
      if (!(error instanceof LemnisError)) throw error
      this.#dropped(error.code)
    }
  }

  #dropped(reason: string): void {
    this.#core.observer.counter('rpc_notes_dropped_total', reason).add(1)
  }
}

class ServerCall implements IncomingCall {
  readonly #peer: ServerPeer
  readonly peerName: string
  readonly method: number
  readonly callId: number
  readonly body: Uint8Array
  readonly payload: Uint8Array
  readonly payloadCrc: number
  readonly deadlineMs: number
  readonly arrivedMs: number
  readonly claimedBytes: number
  readonly counts: MethodCounts
  #isAnswered = false

  constructor(
    peer: ServerPeer,
    header: FrameHeader,
    body: Uint8Array,
    payload: Uint8Array,
    deadlineMs: number,
    claimedBytes: number,
    counts: MethodCounts,
  ) {
    this.#peer = peer
    this.peerName = peer.name
    this.method = header.method
    this.callId = header.callId
    this.body = body
    this.payload = payload
    this.payloadCrc = header.payloadCrc
    this.deadlineMs = deadlineMs
    this.arrivedMs = peer.link.arrivedMs
    this.claimedBytes = claimedBytes
    this.counts = counts
  }

  reply(body: Uint8Array, payload: Uint8Array = EMPTY, payloadCrc?: number): void {
    this.#answer()
    this.#peer.answerReply(this, body, payload, payloadCrc)
  }

  fail(error: LemnisError, hintMs = 0): void {
    this.#answer()
    this.#peer.answerError(this, error, hintMs)
  }

  #answer(): void {
    assert(!this.#isAnswered, 'a call is answered once')
    this.#isAnswered = true
  }
}
