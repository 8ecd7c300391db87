// Owns the one table of operating errors: what callers may do about each, its errno for kernels and
// its number on the wire. Callers switch on `code`, never on text.
// Invariant: a number is never reused, so that version N-1 reads the errors of version N.

import { InvariantError } from './assert.ts'

/** Where a retry makes sense: nowhere, at the same place later, at another replica, after new facts. */
export type Retry = 'never' | 'later' | 'other-peer' | 'refresh'

interface ErrorRow {
  readonly wire: number
  readonly retry: Retry
  readonly errno: string
  /** What happened and what it means for the data, for a person. */
  readonly says: string
  /** What a person can do about it. */
  readonly cure: string
}

export const ERRORS = {
  INTERNAL: {
    wire: 1,
    retry: 'never',
    errno: 'EIO',
    says: 'The server met a bug and refused the request; nothing was changed by it.',
    cure: 'Read the log of the server that answered and report it.',
  },
  INVALID_ARGUMENT: {
    wire: 2,
    retry: 'never',
    errno: 'EINVAL',
    says: 'The request is not of a form that the server accepts; nothing was changed.',
    cure: 'Correct the request as the detail says.',
  },
  NOT_LEADER: {
    wire: 3,
    retry: 'other-peer',
    errno: 'EAGAIN',
    says: 'This server does not lead; it did nothing with the request.',
    cure: 'Ask the leader that the answer names, or each of the others in turn.',
  },
  NO_SUCH_GROUP: {
    wire: 4,
    retry: 'refresh',
    errno: 'ESTALE',
    says: 'This server holds no replica of that copyset.',
    cure: 'Ask the metadata service where the copyset is now.',
  },
  OVERLOADED: {
    wire: 5,
    retry: 'later',
    errno: 'EAGAIN',
    says: 'The server has as much in flight as it may; it did nothing with the request.',
    cure: 'Wait as long as the hint says; if it lasts, add servers or lower the load.',
  },
  DEADLINE_EXCEEDED: {
    wire: 6,
    retry: 'later',
    errno: 'ETIMEDOUT',
    says: 'No answer came in time; a write may or may not have taken effect.',
    cure: 'Look at what the server waits for; reads may simply be repeated.',
  },
  DISCONNECTED: {
    wire: 7,
    retry: 'other-peer',
    errno: 'ECONNRESET',
    says: 'The connection broke; a write in flight may or may not have taken effect.',
    cure: 'Check that the server runs and that the network reaches it.',
  },
  CLOSED: {
    wire: 8,
    retry: 'never',
    errno: 'ESHUTDOWN',
    says: 'This part is shutting down and takes no new work.',
    cure: 'Ask another server, or wait until it has started again.',
  },
  CORRUPT: {
    wire: 9,
    retry: 'other-peer',
    errno: 'EIO',
    says: 'Bytes failed their checksum or have an impossible value; they were not used.',
    cure: 'Another replica serves meanwhile; let the damaged one be rebuilt.',
  },
  DISK_FAILED: {
    wire: 10,
    retry: 'other-peer',
    errno: 'EIO',
    says: 'The disk returned an error; the server stopped using it before anything unsafe was said.',
    cure: 'Look at the kernel log and replace the disk; the copysets are rebuilt elsewhere.',
  },
  NO_SPACE: {
    wire: 11,
    retry: 'later',
    errno: 'ENOSPC',
    says: 'The disk is full; the write was not accepted and nothing acknowledged is lost.',
    cure: 'Free space or add a disk, then the write goes through.',
  },
  PROPOSAL_DROPPED: {
    wire: 12,
    retry: 'later',
    errno: 'EAGAIN',
    says: 'The leader changed before the request was decided; it may or may not have taken effect.',
    cure: 'Repeat it where repeating is safe.',
  },
  VERSION_MISMATCH: {
    wire: 13,
    retry: 'never',
    errno: 'EPROTONOSUPPORT',
    says: 'The two sides speak no common version of the protocol.',
    cure: 'Upgrade the older side; versions next to each other work together.',
  },
  MEMBERSHIP_BUSY: {
    wire: 14,
    retry: 'later',
    errno: 'EBUSY',
    says: 'Another membership change of this copyset is under way.',
    cure: 'Wait until it has ended, then ask again.',
  },
  UNKNOWN_METHOD: {
    wire: 15,
    retry: 'never',
    errno: 'ENOSYS',
    says: 'The server does not know this method.',
    cure: 'Upgrade the server, or check that the address is the right one.',
  },
  WRONG_CLUSTER: {
    wire: 16,
    retry: 'never',
    errno: 'EINVAL',
    says: 'The server belongs to another cluster; nothing was sent to it.',
    cure: 'Correct the address or the cluster id of this side.',
  },
  FENCED: {
    wire: 17,
    retry: 'never',
    errno: 'EROFS',
    says: 'Another client took the volume over; this write was refused and changed nothing.',
    cure: 'Stop this writer; `lemnis volume show NAME` says who holds the volume now.',
  },
  STALE_SEQUENCE: {
    wire: 18,
    retry: 'refresh',
    errno: 'EAGAIN',
    says: 'The write belongs to an older snapshot generation of the volume and was not applied.',
    cure: 'The client asks for the present sequence number and repeats the write.',
  },
  STALE_ATTEMPT: {
    wire: 19,
    retry: 'later',
    errno: 'EAGAIN',
    says: 'The client has sent a newer attempt or knows an older term; nothing was done.',
    cure: 'The client repeats the request with its present attempt and term.',
  },
  IN_USE: {
    wire: 20,
    retry: 'never',
    errno: 'EBUSY',
    says: 'Another client has the volume open for writing; nothing was changed.',
    cure: 'Close it there, wait until its lease ends, or take it over with --force.',
  },
  NOT_FOUND: {
    wire: 21,
    retry: 'never',
    errno: 'ENOENT',
    says: 'Nothing of that name is known; nothing was changed.',
    cure: 'Look at the names with the list command; deleted volumes are in `lemnis trash list`.',
  },
  ALREADY_EXISTS: {
    wire: 22,
    retry: 'never',
    errno: 'EEXIST',
    says: 'There is one of that name already; nothing was changed.',
    cure: 'Choose another name.',
  },
  WRONG_DISK: {
    wire: 23,
    retry: 'never',
    errno: 'EINVAL',
    says: 'The disk belongs to another chunkserver or cluster; it was not touched.',
    cure: 'Give the chunkserver its own disk, or an empty one to begin anew.',
  },
  RETIRED: {
    wire: 26,
    retry: 'never',
    errno: 'EINVAL',
    says: 'The chunkserver was taken out of the cluster: what it held is on others, and its id does not come back.',
    cure: 'Stop its process. Its disk can be wiped, and then serve as a new one.',
  },
  UNPLACEABLE: {
    wire: 24,
    retry: 'later',
    errno: 'ENOSPC',
    says: 'Too few zones or chunkservers are in service to place what was asked; nothing was changed.',
    cure: 'Start more chunkservers (`lemnis chunkserver list` shows them), then ask again.',
  },
  CONFLICT: {
    wire: 25,
    retry: 'never',
    errno: 'EBUSY',
    says: 'The object is in a state that does not allow this; nothing was changed.',
    cure: 'Do what the detail says first.',
  },
} as const satisfies Record<string, ErrorRow>

export type ErrorCode = keyof typeof ERRORS

const BY_WIRE = new Map<number, ErrorCode>(
  Object.entries(ERRORS).map(([code, row]) => [row.wire, code as ErrorCode]),
)

/** The code of a number from the wire; one of a newer version that is not known here is INTERNAL. */
export function errorCodeOfWire(wire: number): ErrorCode {
  return BY_WIRE.get(wire) ?? 'INTERNAL'
}

export type ErrorDetail = Readonly<Record<string, string | number | boolean>>

/** An error of operation, which callers handle by its code. `detail` is for logs and messages only. */
export class LemnisError extends Error {
  override readonly name = 'LemnisError'
  readonly code: ErrorCode
  readonly detail: ErrorDetail

  constructor(code: ErrorCode, detail: ErrorDetail = {}, cause?: unknown) {
    const facts = Object.entries(detail).map(([key, value]) => `${key}=${value}`)
    const suffix = facts.length === 0 ? '' : ` (${facts.join(', ')})`
    super(`${code}: ${ERRORS[code].says}${suffix}`, cause === undefined ? undefined : { cause })
    this.code = code
    this.detail = detail
  }

  get retry(): Retry {
    return ERRORS[this.code].retry
  }
}

/**
 * What was thrown, as a LemnisError; anything unknown becomes INTERNAL. A broken invariant is thrown on:
 * it stops the process, whoever asked.
 */
export function asLemnisError(thrown: unknown): LemnisError {
  if (thrown instanceof LemnisError) return thrown
  if (thrown instanceof InvariantError) throw thrown
  return new LemnisError('INTERNAL', { thrown: String(thrown) }, thrown)
}
