// Owns one connection as both sides see it: frames in and out, one gathered write a turn,
// keep-alives, and why the connection ended. The answering side stops reading while its answers are
// not taken; the asking side never does, or both could wait for each other for ever.
// Invariant: after fail() or end() the owner gets no frame any more, and closed() exactly once.
// Handshake and calls are the owner's (client.ts, server-peer.ts).

import { EMPTY } from '../base/bytes.ts'
import type { Timer } from '../env/clock.ts'
import type { Env } from '../env/env.ts'
import type { Address, Connection, ConnectionEvents } from '../env/network.ts'
import type { FrameHeader, FrameKind } from '../format/frame.ts'
import { FrameReader, type FrameSink, type StreamFault } from '../format/frame-reader.ts'
import { FrameWriter, type Payload } from '../format/frame-writer.ts'
import type { Counter, Observer } from '../observe/observe.ts'
import type { RpcConfig } from './config.ts'

/** Why a connection ended; the label of rpc_connections_closed_total. */
export type CloseReason =
  | StreamFault
  | 'closed'
  | 'peer-ended'
  | 'connect-failed'
  | 'connect-timeout'
  | 'handshake-timeout'
  | 'no-common-version'
  | 'wrong-cluster'
  | 'bad-hello'
  | 'unexpected-frame'
  | 'silent'
  | 'slow-frame'
  | 'too-many-connections'

/** Reasons that only a broken or hostile peer, or a broken network, can give. */
const VIOLATIONS: ReadonlySet<CloseReason> = new Set<CloseReason>([
  'bad-magic',
  'bad-version',
  'bad-header',
  'bad-kind',
  'bad-body',
  'bad-payload',
  'too-large',
  'bad-hello',
  'unexpected-frame',
  'slow-frame',
])

export interface LinkOwner {
  /** The answering side, which must not take in more than it can answer. */
  readonly pausesReading: boolean
  opened(): void
  /** A checked header, lent; false skips the rest of the frame and refused() follows. */
  admit(header: FrameHeader): boolean
  /** A frame other than a ping or pong. The header is lent, body and payload are given. */
  frame(header: FrameHeader, body: Uint8Array, payload: Uint8Array): void
  refused(header: FrameHeader): void
  closed(reason: CloseReason, detail: string): void
}

/** The counters of all links of one client or server, asked for once. */
export class LinkCounters {
  readonly observer: Observer
  readonly framesReceived: Counter
  readonly framesSent: Counter
  readonly bytesReceived: Counter
  readonly bytesSent: Counter

  constructor(observer: Observer) {
    this.observer = observer
    this.framesReceived = observer.counter('rpc_frames_received_total')
    this.framesSent = observer.counter('rpc_frames_sent_total')
    this.bytesReceived = observer.counter('rpc_bytes_received_total')
    this.bytesSent = observer.counter('rpc_bytes_sent_total')
  }

  closed(reason: CloseReason): void {
    this.observer.counter('rpc_connections_closed_total', reason).add(1)
  }
}

export class Link implements ConnectionEvents, FrameSink {
  readonly #env: Env
  readonly #config: RpcConfig
  readonly #counters: LinkCounters
  readonly #owner: LinkOwner
  readonly #reader: FrameReader
  readonly #writer: FrameWriter
  #connection: Connection | null = null
  #reason: CloseReason | null = null
  #detail = ''
  #isOpen = false
  #isClosed = false
  #isFlushing = false
  /** More is queued than the network wants; cleared by onDrain. */
  #isBacklogged = false
  #timer: Timer | null = null
  // What the keep-alive looks at.
  #nowMs: number
  #receivedMs: number
  #tickMs: number
  #queuedBytesAtTick = 0
  #framesAtTick = -1
  #partialSinceMs = 0

  constructor(env: Env, config: RpcConfig, counters: LinkCounters, owner: LinkOwner) {
    this.#env = env
    this.#config = config
    this.#counters = counters
    this.#owner = owner
    this.#reader = new FrameReader(env.crc32c, config, this)
    this.#writer = new FrameWriter(env.crc32c)
    this.#nowMs = env.clock.monotonicMs()
    this.#receivedMs = this.#nowMs
    this.#tickMs = this.#nowMs
  }

  /** Makes the connection that this link is of. */
  connect(address: Address): void {
    this.#connection = this.#env.network.connect(address, this)
  }

  /** Takes the connection that was accepted. */
  adopt(connection: Connection): void {
    this.#connection = connection
  }

  get remote(): Address {
    return this.#connection?.remote ?? ''
  }

  /** When the frame that is being handled arrived, on the monotonic clock. */
  get arrivedMs(): number {
    return this.#nowMs
  }

  /** Bytes given to send() that the system has not taken yet. */
  get queuedBytes(): number {
    return this.#writer.pendingBytes + (this.#connection?.queuedBytes() ?? 0)
  }

  get isOver(): boolean {
    return this.#isClosed || this.#reason !== null
  }

  /** Queues a frame for the end of this turn; borrows its memory until it is sent. */
  send(
    kind: FrameKind,
    method: number,
    callId: number,
    budgetMs: number,
    body: Uint8Array,
    payload: Payload,
    payloadCrc: number,
  ): void {
    if (this.isOver) return
    this.#writer.add(kind, method, callId, budgetMs, body, payload, payloadCrc)
    if (this.#isFlushing) return
    this.#isFlushing = true
    // A promise's turn comes when everything that was read from this socket has been handled.
    // Measured against clock.soon(), which waits for the other sockets too: no fewer calls a
    // second, and less latency with one in flight.
    void Promise.resolve().then(() => this.#flush())
  }

  /** A frame of the connection itself: without a call, without payload. */
  say(kind: FrameKind, body: Uint8Array = EMPTY): void {
    this.send(kind, 0, 0, 0, body, EMPTY, 0)
  }

  /** Ends after what was sent has left. */
  end(reason: CloseReason, detail = ''): void {
    if (this.isOver) return
    this.#flush()
    this.#over(reason, detail)
    this.#connection?.close()
    // A peer that does not take the rest must not hold the connection open.
    this.#timer = this.#env.clock.after(this.#config.closeGraceMs, () => this.#destroy())
  }

  /** Ends now. */
  fail(reason: CloseReason, detail = ''): void {
    if (this.isOver) return
    this.#over(reason, detail)
    this.#destroy()
  }

  // --- the stream's events

  onOpen(): void {
    if (this.isOver) return
    this.#isOpen = true
    this.#armTick()
    this.#owner.opened()
  }

  onData(bytes: Uint8Array): void {
    if (this.isOver) return
    const framesBefore = this.#reader.frames
    this.#nowMs = this.#env.clock.monotonicMs()
    this.#receivedMs = this.#nowMs
    const fault = this.#reader.push(bytes)
    this.#counters.bytesReceived.add(bytes.byteLength)
    this.#counters.framesReceived.add(this.#reader.frames - framesBefore)
    if (fault !== null) this.fail(fault)
  }

  onDrain(): void {
    if (this.isOver || !this.#isBacklogged) return
    this.#isBacklogged = false
    if (!this.#owner.pausesReading) return
    this.#receivedMs = this.#env.clock.monotonicMs()
    this.#connection?.resume()
  }

  onClose(detail: string): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#timer?.cancel()
    this.#reader.stop()
    const reason = this.#reason ?? (this.#isOpen ? 'peer-ended' : 'connect-failed')
    this.#counters.closed(reason)
    if (VIOLATIONS.has(reason)) {
      this.#counters.observer.emit('rpc_protocol_violation', { peer: this.remote, reason })
    } else if (reason === 'silent') {
      this.#counters.observer.emit('rpc_peer_silent', { peer: this.remote })
    }
    this.#owner.closed(reason, this.#detail || detail)
  }

  // --- the stream's frames

  admit(header: FrameHeader): boolean {
    return this.#owner.admit(header)
  }

  frame(header: FrameHeader, body: Uint8Array, payload: Uint8Array): void {
    if (header.kind === 'ping') this.#pong(header.callId)
    else if (header.kind !== 'pong') this.#owner.frame(header, body, payload)
  }

  refused(header: FrameHeader): void {
    this.#owner.refused(header)
  }

  // ---

  /** Not to a peer that takes nothing: its pings must not grow the queue. */
  #pong(callId: number): void {
    if (!this.#isBacklogged) this.send('pong', 0, callId, 0, EMPTY, EMPTY, 0)
  }

  #over(reason: CloseReason, detail: string): void {
    this.#reason = reason
    this.#detail = detail
    this.#reader.stop()
    this.#timer?.cancel()
    this.#timer = null
  }

  #destroy(): void {
    this.#connection?.destroy(this.#reason ?? '')
  }

  #flush(): void {
    this.#isFlushing = false
    const connection = this.#connection
    if (this.isOver || connection === null || this.#writer.frames === 0) return
    this.#counters.framesSent.add(this.#writer.frames)
    this.#counters.bytesSent.add(this.#writer.pendingBytes)
    const isRoom = connection.write(this.#writer.take())
    if (isRoom || this.#isBacklogged) return
    this.#isBacklogged = true
    if (this.#owner.pausesReading) connection.pause()
  }

  #isPaused(): boolean {
    return this.#isBacklogged && this.#owner.pausesReading
  }

  #armTick(): void {
    this.#timer = this.#env.clock.after(this.#config.keepAliveIntervalMs, () => this.#tick())
  }

  #tick(): void {
    const nowMs = this.#env.clock.monotonicMs()
    const { keepAliveIntervalMs, peerSilenceMs, partialFrameTimeoutMs } = this.#config
    // A tick that comes this late means that this process stood still: what the peer sent meanwhile
    // waits to be read, and its silence proves nothing.
    const stoodStill = nowMs - this.#tickMs > 2 * keepAliveIntervalMs
    this.#tickMs = nowMs
    const queuedBytes = this.#connection?.queuedBytes() ?? 0
    // While reading is paused, a peer lives that takes what was sent to it.
    const takes = this.#isPaused() && queuedBytes < this.#queuedBytesAtTick
    this.#queuedBytesAtTick = queuedBytes
    if (stoodStill || takes) this.#receivedMs = nowMs

    const silentMs = nowMs - this.#receivedMs
    if (silentMs >= peerSilenceMs) {
      this.fail('silent', `nothing came for ${Math.round(silentMs)} ms`)
      return
    }
    const isSameFrame = this.#reader.isMidFrame && this.#reader.frames === this.#framesAtTick
    this.#framesAtTick = this.#reader.frames
    if (!isSameFrame || this.#isPaused() || stoodStill) this.#partialSinceMs = nowMs
    else if (nowMs - this.#partialSinceMs >= partialFrameTimeoutMs) {
      this.fail('slow-frame')
      return
    }
    if (silentMs >= keepAliveIntervalMs) this.say('ping')
    this.#armTick()
  }
}
