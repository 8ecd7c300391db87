// Owns a file system of one file, whose bytes are a block device: what the kernel asks of it, request
// by request, and the answers. Invariants: every request that wants an answer gets one, once; what a
// request needs of the memory that it came in is copied before handle() returns.
// The kernel is trusted to send well-formed requests; a shorter one than its kind needs is EINVAL.
// Reading and writing /dev/fuse, mounting and the loop device above are platform/'s.

import { EMPTY, viewOf } from '../base/bytes.ts'
import { asLemnisError } from '../base/errors.ts'
import { MIB } from '../base/units.ts'
import type { BlockDevice } from '../client/device.ts'
import type { Counter, Observer } from '../observe/observe.ts'
import {
  EINVAL,
  EIO,
  ENOENT,
  ENOSPC,
  ENOSYS,
  EOPNOTSUPP,
  EPERM,
  EROFS,
  encodeAttributes,
  encodeDirectory,
  encodeEntry,
  encodeInit,
  encodeOpen,
  encodeStatfs,
  encodeWritten,
  FALLOC_PUNCH_HOLE,
  FALLOC_ZERO_RANGE,
  FILE_NAME,
  FILE_NODE,
  FOPEN_DIRECT_IO,
  FOPEN_PARALLEL_DIRECT_WRITES,
  FUSE_BATCH_FORGET,
  FUSE_DESTROY,
  FUSE_FALLOCATE,
  FUSE_FLUSH,
  FUSE_FORGET,
  FUSE_FSYNC,
  FUSE_GETATTR,
  FUSE_INIT,
  FUSE_LOOKUP,
  FUSE_MAJOR,
  FUSE_MINOR_MIN,
  FUSE_OPEN,
  FUSE_OPENDIR,
  FUSE_READ,
  FUSE_READDIR,
  FUSE_RELEASE,
  FUSE_RELEASEDIR,
  FUSE_SETATTR,
  FUSE_STATFS,
  FUSE_WRITE,
  fuseErrnoOf,
  IN_HEADER_BYTES,
  OPEN_ACCESS_MASK,
  OUT_HEADER_BYTES,
  ROOT_NODE,
  readU64,
  WRITE_IN_BYTES,
} from './fuse-protocol.ts'

/** Bytes of reads and writes under way; past it no further requests should be taken. */
const INFLIGHT_BYTES_MAX = 64 * MIB
const NO_ARGUMENTS = 0

/** Bytes behind the header that a kind of request has at least; others are looked at no further. */
const ARGUMENT_BYTES: ReadonlyMap<number, number> = new Map([
  [FUSE_INIT, 16],
  [FUSE_LOOKUP, 1],
  [FUSE_OPEN, 8],
  [FUSE_READ, 40],
  [FUSE_READDIR, 40],
  [FUSE_WRITE, WRITE_IN_BYTES],
  [FUSE_FALLOCATE, 32],
])

export interface FuseChannel {
  /** One answer, to be written in one piece; the parts are the channel's. */
  reply(parts: readonly Uint8Array[]): void
  /** There is room for more requests again after isFull. */
  hasRoom(): void
}

/** The header's id, in two halves, given back as they are. */
interface Ticket {
  readonly low: number
  readonly high: number
}

export class FuseFile {
  readonly #device: BlockDevice
  readonly #channel: FuseChannel
  readonly #observer: Observer
  readonly #reads: Counter
  readonly #writes: Counter
  #inflightBytes = 0

  constructor(device: BlockDevice, channel: FuseChannel, observer: Observer) {
    this.#device = device
    this.#channel = channel
    this.#observer = observer
    this.#reads = observer.counter('fuse_requests_total', 'read')
    this.#writes = observer.counter('fuse_requests_total', 'write')
  }

  /** As much is under way as should be. */
  get isFull(): boolean {
    return this.#inflightBytes >= INFLIGHT_BYTES_MAX
  }

  /** One whole request, lent. */
  handle(request: Uint8Array): void {
    const view = viewOf(request)
    const kind = view.getUint32(4, true)
    const ticket = { low: view.getUint32(8, true), high: view.getUint32(12, true) }
    const needed = ARGUMENT_BYTES.get(kind) ?? NO_ARGUMENTS
    if (request.byteLength < IN_HEADER_BYTES + needed) {
      this.#error(ticket, EINVAL)
      return
    }
    if (kind === FUSE_READ) this.#read(ticket, view)
    else if (kind === FUSE_WRITE) this.#write(ticket, view, request)
    else this.#handleRare(kind, ticket, view, request)
  }

  #handleRare(kind: number, ticket: Ticket, view: DataView, request: Uint8Array): void {
    const node = view.getUint32(16, true)
    switch (kind) {
      case FUSE_INIT:
        this.#init(ticket, view)
        return
      case FUSE_LOOKUP:
        this.#lookup(ticket, request)
        return
      case FUSE_GETATTR:
        this.#done(ticket, encodeAttributes(node, this.#device))
        return
      case FUSE_OPEN:
        this.#open(ticket, view)
        return
      case FUSE_FSYNC:
      case FUSE_FLUSH:
        this.#run(ticket, this.#device.flush())
        return
      case FUSE_FALLOCATE:
        this.#clear(ticket, view)
        return
      case FUSE_STATFS:
        this.#done(ticket, encodeStatfs(this.#device))
        return
      case FUSE_READDIR:
        this.#directory(ticket, view, node)
        return
      case FUSE_OPENDIR:
        this.#done(ticket, encodeOpen(0))
        return
      case FUSE_RELEASE:
      case FUSE_RELEASEDIR:
      case FUSE_DESTROY:
        this.#done(ticket, EMPTY)
        return
      case FUSE_SETATTR:
        this.#error(ticket, EPERM)
        return
      case FUSE_FORGET:
      case FUSE_BATCH_FORGET:
        // These two have no answer; the two nodes live as long as the mount.
        return
      default:
        // Also FUSE_INTERRUPT: after this answer the kernel sends no more of them and waits.
        this.#error(ticket, ENOSYS)
    }
  }

  #init(ticket: Ticket, view: DataView): void {
    const major = view.getUint32(IN_HEADER_BYTES, true)
    const minor = view.getUint32(IN_HEADER_BYTES + 4, true)
    const isKnown = major === FUSE_MAJOR && minor >= FUSE_MINOR_MIN
    if (!isKnown) this.#error(ticket, EIO)
    else this.#done(ticket, encodeInit())
  }

  #lookup(ticket: Ticket, request: Uint8Array): void {
    // The name ends with a zero byte. It is copied, as a decoder takes no shared memory.
    const name = new TextDecoder().decode(request.slice(IN_HEADER_BYTES, -1))
    if (name === FILE_NAME) this.#done(ticket, encodeEntry(this.#device))
    else this.#error(ticket, ENOENT)
  }

  #open(ticket: Ticket, view: DataView): void {
    const wantsWrite = (view.getUint32(IN_HEADER_BYTES, true) & OPEN_ACCESS_MASK) !== 0
    if (wantsWrite && this.#device.readOnly) this.#error(ticket, EROFS)
    else this.#done(ticket, encodeOpen(FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES))
  }

  #directory(ticket: Ticket, view: DataView, node: number): void {
    const from = readU64(view, IN_HEADER_BYTES + 8)
    const bytesMax = view.getUint32(IN_HEADER_BYTES + 16, true)
    if (node === ROOT_NODE) this.#done(ticket, encodeDirectory(from, bytesMax))
    else this.#error(ticket, EINVAL)
  }

  #read(ticket: Ticket, view: DataView): void {
    this.#reads.add(1)
    const offset = readU64(view, IN_HEADER_BYTES + 8)
    const asked = view.getUint32(IN_HEADER_BYTES + 16, true)
    // A file is read up to its end.
    const length = Math.max(0, Math.min(asked, this.#device.sizeBytes - offset))
    if (length === 0) {
      this.#done(ticket, EMPTY)
      return
    }
    this.#inflightBytes += length
    this.#device.read(offset, length).then(
      (data) => {
        this.#done(ticket, data)
        this.#end(length)
      },
      (thrown: unknown) => {
        this.#failed(ticket, thrown)
        this.#end(length)
      },
    )
  }

  #write(ticket: Ticket, view: DataView, request: Uint8Array): void {
    this.#writes.add(1)
    const offset = readU64(view, IN_HEADER_BYTES + 8)
    const length = view.getUint32(IN_HEADER_BYTES + 16, true)
    const from = IN_HEADER_BYTES + WRITE_IN_BYTES
    if (request.byteLength < from + length) {
      this.#error(ticket, EINVAL)
      return
    }
    if (offset + length > this.#device.sizeBytes) {
      this.#error(ticket, ENOSPC)
      return
    }
    // A copy that is the device's, in memory that is not shared between threads.
    const data = new Uint8Array(length)
    data.set(request.subarray(from, from + length))
    this.#inflightBytes += length
    this.#device.write(offset, data).then(
      () => {
        this.#done(ticket, encodeWritten(length))
        this.#end(length)
      },
      (thrown: unknown) => {
        this.#failed(ticket, thrown)
        this.#end(length)
      },
    )
  }

  /** How the loop device passes on discards and zeros. Holes and zeros both read as zeros. */
  #clear(ticket: Ticket, view: DataView): void {
    const offset = readU64(view, IN_HEADER_BYTES + 8)
    const length = readU64(view, IN_HEADER_BYTES + 16)
    const mode = view.getUint32(IN_HEADER_BYTES + 24, true)
    const node = view.getUint32(16, true)
    if (node !== FILE_NODE || offset + length > this.#device.sizeBytes) {
      this.#error(ticket, EINVAL)
    } else if ((mode & FALLOC_PUNCH_HOLE) !== 0) {
      this.#observer.counter('fuse_requests_total', 'discard').add(1)
      this.#run(ticket, this.#device.discard(offset, length))
    } else if ((mode & FALLOC_ZERO_RANGE) !== 0) {
      this.#observer.counter('fuse_requests_total', 'write_zeroes').add(1)
      this.#run(ticket, this.#device.writeZeroes(offset, length))
    } else this.#error(ticket, EOPNOTSUPP)
  }

  #run(ticket: Ticket, work: Promise<void>): void {
    work.then(
      () => this.#done(ticket, EMPTY),
      (thrown: unknown) => this.#failed(ticket, thrown),
    )
  }

  #end(bytes: number): void {
    const wasFull = this.isFull
    this.#inflightBytes -= bytes
    if (wasFull && !this.isFull) this.#channel.hasRoom()
  }

  #failed(ticket: Ticket, thrown: unknown): void {
    const error = asLemnisError(thrown)
    this.#observer.counter('fuse_requests_failed_total', error.code).add(1)
    this.#error(ticket, fuseErrnoOf(error.code))
  }

  #done(ticket: Ticket, answer: Uint8Array): void {
    const header = encodeHeader(ticket, 0, answer.byteLength)
    this.#channel.reply(answer.byteLength === 0 ? [header] : [header, answer])
  }

  #error(ticket: Ticket, errno: number): void {
    this.#channel.reply([encodeHeader(ticket, -errno, 0)])
  }
}

/** fuse_out_header */
function encodeHeader(ticket: Ticket, error: number, bytes: number): Uint8Array {
  const out = new Uint8Array(OUT_HEADER_BYTES)
  const view = viewOf(out)
  view.setUint32(0, OUT_HEADER_BYTES + bytes, true)
  view.setInt32(4, error, true)
  view.setUint32(8, ticket.low, true)
  view.setUint32(12, ticket.high, true)
  return out
}
