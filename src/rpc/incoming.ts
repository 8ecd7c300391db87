// Owns what a server's handlers are given: calls and notes, as types.

import type { LemnisError } from '../base/errors.ts'

/** A note that nobody waits for. */
export interface IncomingNotify {
  /** Who sent it, as it called itself. */
  readonly peerName: string
  readonly method: number
  /** The handler's for ever, as is `payload`. */
  readonly body: Uint8Array
  readonly payload: Uint8Array
  /** Checked against the payload. */
  readonly payloadCrc: number
}

/** A request, to be answered once by reply() or fail(), now or later. */
export interface IncomingCall extends IncomingNotify {
  /** When the caller stops waiting, on this host's monotonic clock; Infinity for never. */
  readonly deadlineMs: number
  /** Borrows `body` and `payload` until they are sent. A `payloadCrc` that is given is believed. */
  reply(body: Uint8Array, payload?: Uint8Array, payloadCrc?: number): void
  /** `hintMs`: when to come back, 0 for no opinion. */
  fail(error: LemnisError, hintMs?: number): void
}

/** A LemnisError thrown by a handler is its answer; anything else is a bug and is not caught. */
export type CallHandler = (call: IncomingCall) => void

/** A LemnisError thrown by a handler drops the note; anything else is a bug and is not caught. */
export type NotifyHandler = (note: IncomingNotify) => void
