// Owns what the requests of one client do to its volume, and their answers.
// Invariant: a request is answered once, after the device is done with it. Requests run at the same
// time and are answered as they end; the order of those that overlap is the device's.

import { asLemnisError } from '../base/errors.ts'
import { GIB, MIB } from '../base/units.ts'
import type { BlockDevice, Extent } from '../client/device.ts'
import { NBD_PAYLOAD_BYTES_MAX } from './config.ts'
import type { ExportLease } from './exports.ts'
import type { NbdCore } from './nbd-core.ts'
import {
  CMD_BLOCK_STATUS,
  CMD_CACHE,
  CMD_FLAG_FAST_ZERO,
  CMD_FLAG_FUA,
  CMD_FLAG_NO_HOLE,
  CMD_FLAG_REQ_ONE,
  CMD_FLUSH,
  CMD_READ,
  CMD_TRIM,
  CMD_WRITE,
  CMD_WRITE_ZEROES,
  COMMAND_FLAGS,
  NBD_EINVAL,
  NBD_ENOSPC,
  NBD_ENOTSUP,
  NBD_EOVERFLOW,
  NBD_EPERM,
  type NbdRequest,
  nbdErrorOf,
} from './nbd-protocol.ts'
import type { NbdReplies } from './nbd-replies.ts'

/** A client that asks about more is told about this much: each answer is a walk over the metadata. */
const STATUS_BYTES_MAX = GIB
/** 8 bytes each; the protocol wants at most 2^20 of them in an answer. */
const EXTENTS_MAX = 65_536
/** Zeros that have to be written as data leave in pieces of this. */
const ZEROS = new Uint8Array(MIB)

const REASONS: ReadonlyMap<number, string> = new Map([
  [NBD_EINVAL, 'the range, a flag or the command is not valid here'],
  [NBD_ENOSPC, 'beyond the end of the volume'],
  [NBD_ENOTSUP, 'not faster than writing'],
  [NBD_EOVERFLOW, 'longer than 32 MiB'],
  [NBD_EPERM, 'the export is read-only'],
])

export class NbdRequests {
  readonly #core: NbdCore
  readonly #lease: ExportLease
  readonly #device: BlockDevice
  /** As the client was told. */
  readonly #sizeBytes: number
  readonly #replies: NbdReplies
  readonly #hasContext: boolean
  readonly #onAnswered: (request: NbdRequest) => void
  #pending = 0

  constructor(
    core: NbdCore,
    lease: ExportLease,
    replies: NbdReplies,
    hasContext: boolean,
    onAnswered: (request: NbdRequest) => void,
  ) {
    this.#core = core
    this.#lease = lease
    this.#device = lease.device
    this.#sizeBytes = lease.device.sizeBytes
    this.#replies = replies
    this.#hasContext = hasContext
    this.#onAnswered = onAnswered
  }

  /** Requests that the device has not finished. */
  get pending(): number {
    return this.#pending
  }

  /** The protocol's error for a request that is not to be served, or 0. */
  faultOf(request: NbdRequest): number {
    const { command, flags, offset, length } = request
    if (command > CMD_BLOCK_STATUS || (flags & ~(COMMAND_FLAGS[command] as number)) !== 0) {
      return NBD_EINVAL
    }
    if (command === CMD_FLUSH) return offset === 0 && length === 0 ? 0 : NBD_EINVAL
    const changes = command === CMD_WRITE || command === CMD_TRIM || command === CMD_WRITE_ZEROES
    if (changes && this.#device.readOnly) return NBD_EPERM
    if (offset + length > this.#sizeBytes) {
      return command === CMD_WRITE || command === CMD_WRITE_ZEROES ? NBD_ENOSPC : NBD_EINVAL
    }
    if (command === CMD_READ || command === CMD_WRITE) {
      return length > NBD_PAYLOAD_BYTES_MAX ? NBD_EOVERFLOW : 0
    }
    if (command === CMD_BLOCK_STATUS) return this.#hasContext && length > 0 ? 0 : NBD_EINVAL
    const fastZeroes = CMD_FLAG_FAST_ZERO | CMD_FLAG_NO_HOLE
    return (flags & fastZeroes) === fastZeroes ? NBD_ENOTSUP : 0
  }

  refuse(request: NbdRequest): void {
    const fault = this.faultOf(request)
    this.#replies.error(request, fault, REASONS.get(fault) ?? '')
    this.#core.observer.counter('nbd_requests_failed_total', 'refused').add(1)
  }

  /** Takes `payload`. */
  serve(request: NbdRequest, payload: Uint8Array): void {
    this.#pending++
    this.#core.requests[request.command]?.add(1)
    const startedMs = this.#core.env.clock.monotonicMs()
    if (request.command === CMD_READ) {
      this.#device.read(request.offset, request.length).then(
        (data) => {
          this.#replies.data(request, data)
          this.#served(request, startedMs)
        },
        (thrown: unknown) => this.#failed(request, thrown),
      )
      return
    }
    if (request.command === CMD_BLOCK_STATUS) {
      this.#extents(request).then(
        (extents) => {
          this.#replies.blockStatus(request, extents)
          this.#served(request, startedMs)
        },
        (thrown: unknown) => this.#failed(request, thrown),
      )
      return
    }
    this.#change(request, payload).then(
      () => {
        this.#replies.done(request)
        this.#served(request, startedMs)
      },
      (thrown: unknown) => this.#failed(request, thrown),
    )
  }

  #change(request: NbdRequest, payload: Uint8Array): Promise<void> {
    const { command, flags, offset } = request
    const fua = (flags & CMD_FLAG_FUA) !== 0
    switch (command) {
      case CMD_WRITE:
        return this.#device.write(offset, payload, { fua })
      case CMD_FLUSH:
        return this.#device.flush()
      case CMD_CACHE:
        // Every server caches what it reads; there is nothing to be fetched ahead.
        return Promise.resolve()
      default:
        return this.#clear(request, fua)
    }
  }

  async #clear(request: NbdRequest, fua: boolean): Promise<void> {
    const { command, flags, offset, length } = request
    if (command === CMD_TRIM) await this.#device.discard(offset, length)
    else if ((flags & CMD_FLAG_NO_HOLE) === 0) await this.#device.writeZeroes(offset, length)
    else await this.#provision(offset, length)
    if (fua) await this.#device.flush()
  }

  /** Zeros that take space, as the client wants to be sure of it. */
  async #provision(offset: number, length: number): Promise<void> {
    for (let done = 0; done < length; done += ZEROS.byteLength) {
      const bytes = Math.min(ZEROS.byteLength, length - done)
      await this.#device.write(offset + done, ZEROS.subarray(0, bytes))
    }
  }

  async #extents(request: NbdRequest): Promise<readonly Extent[]> {
    const length = Math.min(request.length, STATUS_BYTES_MAX)
    const extents = await this.#device.extents(request.offset, length)
    const wanted = (request.flags & CMD_FLAG_REQ_ONE) === 0 ? EXTENTS_MAX : 1
    return extents.length > wanted ? extents.slice(0, wanted) : extents
  }

  #failed(request: NbdRequest, thrown: unknown): void {
    const error = asLemnisError(thrown)
    this.#core.observer.counter('nbd_requests_failed_total', error.code).add(1)
    if (error.code === 'FENCED' || error.code === 'CLOSED') this.#lease.discard()
    this.#replies.error(request, nbdErrorOf(error.code), error.message)
    this.#answered(request)
  }

  #served(request: NbdRequest, startedMs: number): void {
    const tookMs = this.#core.env.clock.monotonicMs() - startedMs
    this.#core.seconds[request.command]?.record(tookMs / 1000)
    this.#answered(request)
  }

  #answered(request: NbdRequest): void {
    this.#pending--
    this.#onAnswered(request)
  }
}
