// Owns one client of an NBD server: its stream, the bound on what it has under way, and its end.
// Invariants: every admitted request is answered once or the connection has ended; what a request
// claims of the budgets is released once, when the device is done with it; the export is given back
// when the connection has ended and the device is done with its last request.
// What options mean is in nbd-negotiation.ts, what requests do in nbd-requests.ts.

import { concat, EMPTY } from '../base/bytes.ts'
import type { Timer } from '../env/clock.ts'
import type { Connection, ConnectionEvents } from '../env/network.ts'
import type { ExportLease } from './exports.ts'
import type { NbdCore, NbdEnd } from './nbd-core.ts'
import { NbdNegotiation, type NegotiationEnd } from './nbd-negotiation.ts'
import {
  CMD_DISC,
  CMD_READ,
  CMD_WRITE,
  FLAG_FIXED_NEWSTYLE,
  FLAG_NO_ZEROES,
  type NbdRequest,
} from './nbd-protocol.ts'
import { type Admission, NbdReader, type NbdSink } from './nbd-reader.ts'
import { NbdReplies } from './nbd-replies.ts'
import { NbdRequests } from './nbd-requests.ts'

/** What a request costs besides its data, so that a bound on bytes bounds their number too. */
const REQUEST_OVERHEAD_BYTES = 1024

export class NbdConnection implements ConnectionEvents, NbdSink {
  readonly #core: NbdCore
  readonly #connection: Connection
  readonly #onGone: (connection: NbdConnection) => void
  readonly #reader = new NbdReader(this)
  readonly #replies = new NbdReplies()
  readonly #negotiation: NbdNegotiation
  #timer: Timer
  #lease: ExportLease | null = null
  #requests: NbdRequests | null = null
  #inflightBytes = 0
  /** Received and not read yet, while the reader is held. */
  #rest = EMPTY
  #isFeeding = false
  #isSending = false
  /** The client does not read its answers: nothing more is taken in. */
  #isBlocked = false
  /** Ends when nothing is in flight any more. */
  #leaving: NbdEnd | null = null
  #reason: NbdEnd | null = null
  #isGone = false

  constructor(core: NbdCore, connection: Connection, onGone: (of: NbdConnection) => void) {
    this.#core = core
    this.#connection = connection
    this.#onGone = onGone
    this.#negotiation = new NbdNegotiation(core.exports, this.#replies, () => this.#schedule())
    this.#timer = this.#awaitHandshake()
  }

  /** Takes nothing more in, lets what is under way be answered, and ends. */
  leave(reason: NbdEnd): void {
    this.#leaving ??= reason
    this.#reader.stop()
    this.#endIfDone()
  }

  /** Ends now. */
  abandon(): void {
    this.#fail('closed')
  }

  // --- the stream's events

  onOpen(): void {
    this.#negotiation.greet()
  }

  onData(bytes: Uint8Array): void {
    if (this.#rest.byteLength > 0) {
      // Arrived before the pause took effect.
      this.#rest = concat([this.#rest, bytes])
      return
    }
    const taken = this.#push(bytes)
    if (taken === bytes.byteLength || this.#isGone || this.#leaving !== null) return
    this.#rest = bytes.slice(taken)
    this.#connection.pause()
  }

  onDrain(): void {
    this.#isBlocked = false
    this.wake()
  }

  onClose(): void {
    this.#isGone = true
    this.#timer.cancel()
    this.#reader.stop()
    this.#core.forget(this)
    this.#core.ended(this.#reason ?? 'disconnected')
    this.#core.observer.emit('nbd_client_gone', {
      remote: this.#connection.remote,
      volume: this.#negotiation.name,
      reason: this.#reason ?? 'disconnected',
    })
    this.#giveBack()
    this.#onGone(this)
  }

  // --- the reader's events

  clientFlags(flags: number): void {
    const known = FLAG_FIXED_NEWSTYLE | FLAG_NO_ZEROES
    if ((flags & ~known) !== 0) this.#fail('bad-client-flags')
    else this.#negotiation.noZeroes = (flags & FLAG_NO_ZEROES) !== 0
  }

  option(option: number, data: Uint8Array): void {
    this.#reader.hold()
    void this.#negotiation.answer(option, data).then((end) => this.#optionAnswered(end))
  }

  admit(request: NbdRequest): Admission {
    if (this.#isBlocked) return 'wait'
    const requests = this.#requests as NbdRequests
    if (request.command === CMD_DISC || requests.faultOf(request) !== 0) return 'skip'
    const bytes = costOf(request)
    const limit = this.#core.config.nbdConnectionInflightBytesMax
    if (this.#inflightBytes + bytes > limit) return 'wait'
    if (!this.#core.tryClaim(bytes, this)) return 'wait'
    this.#inflightBytes += bytes
    return 'take'
  }

  request(request: NbdRequest, payload: Uint8Array): void {
    ;(this.#requests as NbdRequests).serve(request, payload)
  }

  skipped(request: NbdRequest): void {
    if (request.command === CMD_DISC) {
      this.leave('finished')
      return
    }
    ;(this.#requests as NbdRequests).refuse(request)
    this.#schedule()
  }

  // --- flow

  /** Something that the reader may have waited for has happened. */
  wake(): void {
    if (this.#isFeeding || this.#isGone || !this.#reader.isHeld || this.#negotiation.isBusy) return
    this.#reader.release()
    const rest = this.#rest
    this.#rest = EMPTY
    const taken = this.#push(rest)
    if (this.#isGone || this.#leaving !== null) return
    if (taken < rest.byteLength) this.#rest = rest.subarray(taken)
    else if (!this.#reader.isHeld) this.#connection.resume()
  }

  #push(bytes: Uint8Array): number {
    this.#isFeeding = true
    const taken = this.#reader.push(bytes)
    this.#isFeeding = false
    const fault = this.#reader.fault
    if (fault !== null) this.#fail(fault)
    return taken
  }

  #optionAnswered(end: NegotiationEnd): void {
    if (this.#isGone) {
      if (end.kind === 'transmission') this.#lease = end.lease
      this.#giveBack()
      return
    }
    if (end.kind === 'refused') {
      this.#fail('no-such-export')
      return
    }
    if (end.kind === 'aborted') {
      this.leave('finished')
      return
    }
    if (end.kind === 'transmission') this.#startTransmission(end.lease, end.hasContext)
    this.wake()
  }

  #startTransmission(lease: ExportLease, hasContext: boolean): void {
    this.#timer.cancel()
    this.#lease = lease
    this.#requests = new NbdRequests(this.#core, lease, this.#replies, hasContext, (request) =>
      this.#answered(request),
    )
    this.#reader.startTransmission()
    this.#core.observer.emit('nbd_client_connected', {
      remote: this.#connection.remote,
      volume: this.#negotiation.name,
    })
  }

  #answered(request: NbdRequest): void {
    const bytes = costOf(request)
    this.#inflightBytes -= bytes
    if (this.#isGone) this.#giveBack()
    else this.#schedule()
    this.#core.release(bytes)
  }

  /** The answers of a turn leave together at its end. */
  #schedule(): void {
    if (this.#isSending || this.#isGone) return
    this.#isSending = true
    this.#core.env.clock.soon(() => this.#send())
  }

  #send(): void {
    this.#isSending = false
    if (this.#isGone) return
    if (!this.#replies.isEmpty && !this.#connection.write(this.#replies.take())) {
      this.#isBlocked = true
    }
    this.#endIfDone()
    this.wake()
  }

  // --- the end

  /** Requests that the device has not finished. */
  get #pending(): number {
    return this.#requests?.pending ?? 0
  }

  /** A client whose export is being opened waits for us, not we for it. */
  #awaitHandshake(): Timer {
    const { clock } = this.#core.env
    return clock.after(this.#core.config.nbdHandshakeTimeoutMs, () => {
      if (this.#negotiation.isBusy) this.#timer = this.#awaitHandshake()
      else this.#fail('handshake-timeout')
    })
  }

  #endIfDone(): void {
    if (this.#leaving === null || this.#isGone) return
    if (this.#pending > 0 || this.#isSending || this.#negotiation.isBusy) return
    if (this.#reason !== null) return
    this.#reason = this.#leaving
    this.#connection.close()
    // A client that does not end its side is not waited for.
    this.#timer.cancel()
    const { clock } = this.#core.env
    this.#timer = clock.after(this.#core.config.nbdCloseGraceMs, () =>
      this.#connection.destroy('not ended by the client'),
    )
  }

  #fail(reason: NbdEnd): void {
    if (this.#isGone || this.#reason !== null) return
    this.#reason = reason
    this.#reader.stop()
    if (reason !== 'closed') {
      const { remote } = this.#connection
      this.#core.observer.emit('nbd_protocol_violation', { remote, reason })
    }
    this.#connection.destroy(reason)
  }

  #giveBack(): void {
    // A request whose payload never came in full was not handed to the device.
    if (this.#pending > 0 || this.#negotiation.isBusy) return
    const bytes = this.#inflightBytes
    this.#inflightBytes = 0
    if (bytes > 0) this.#core.release(bytes)
    this.#lease?.release()
    this.#lease = null
  }
}

function costOf(request: NbdRequest): number {
  const hasData = request.command === CMD_READ || request.command === CMD_WRITE
  return REQUEST_OVERHEAD_BYTES + (hasData ? request.length : 0)
}
