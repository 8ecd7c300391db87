// Owns the numbers of the NBD protocol and the one place where our errors become its errors.
// Source: "The NBD protocol", doc/proto.md of the reference implementation (NetworkBlockDevice/nbd).
// All its numbers are big endian; magic numbers of 64 bits are kept as two of 32.

import { ERRORS, type ErrorCode } from '../base/errors.ts'

export const NBD_MAGIC = [0x4e42444d, 0x41474943] as const
export const OPTION_MAGIC = [0x49484156, 0x454f5054] as const
export const OPTION_REPLY_MAGIC = [0x0003e889, 0x045565a9] as const
export const REQUEST_MAGIC = 0x25609513
export const SIMPLE_REPLY_MAGIC = 0x67446698
export const STRUCTURED_REPLY_MAGIC = 0x668e33ef

/** Of the server's greeting; a client that speaks it answers with the same bits. */
export const FLAG_FIXED_NEWSTYLE = 1
export const FLAG_NO_ZEROES = 2

export const OPT_EXPORT_NAME = 1
export const OPT_ABORT = 2
export const OPT_LIST = 3
export const OPT_INFO = 6
export const OPT_GO = 7
export const OPT_STRUCTURED_REPLY = 8
export const OPT_LIST_META_CONTEXT = 9
export const OPT_SET_META_CONTEXT = 10

export const REP_ACK = 1
export const REP_SERVER = 2
export const REP_INFO = 3
export const REP_META_CONTEXT = 4
export const REP_ERR_UNSUP = 0x8000_0001
export const REP_ERR_POLICY = 0x8000_0002
export const REP_ERR_INVALID = 0x8000_0003
export const REP_ERR_UNKNOWN = 0x8000_0006
export const REP_ERR_SHUTDOWN = 0x8000_0007

export const INFO_EXPORT = 0
export const INFO_BLOCK_SIZE = 3

/** Transmission flags. */
export const HAS_FLAGS = 1 << 0
export const READ_ONLY = 1 << 1
export const SEND_FLUSH = 1 << 2
export const SEND_FUA = 1 << 3
export const SEND_TRIM = 1 << 5
export const SEND_WRITE_ZEROES = 1 << 6
export const SEND_DF = 1 << 7
export const CAN_MULTI_CONN = 1 << 8
export const SEND_FAST_ZERO = 1 << 11

export const CMD_READ = 0
export const CMD_WRITE = 1
export const CMD_DISC = 2
export const CMD_FLUSH = 3
export const CMD_TRIM = 4
export const CMD_CACHE = 5
export const CMD_WRITE_ZEROES = 6
export const CMD_BLOCK_STATUS = 7

/** By number; what is not here is not served. */
export const COMMAND_NAMES: readonly string[] = [
  'read',
  'write',
  'disconnect',
  'flush',
  'trim',
  'cache',
  'write_zeroes',
  'block_status',
]

export const CMD_FLAG_FUA = 1 << 0
export const CMD_FLAG_NO_HOLE = 1 << 1
export const CMD_FLAG_DF = 1 << 2
export const CMD_FLAG_REQ_ONE = 1 << 3
export const CMD_FLAG_FAST_ZERO = 1 << 4

/** Flags that a command may carry, by its number. FUA is allowed everywhere. */
export const COMMAND_FLAGS: readonly number[] = [
  CMD_FLAG_FUA | CMD_FLAG_DF,
  CMD_FLAG_FUA,
  CMD_FLAG_FUA,
  CMD_FLAG_FUA,
  CMD_FLAG_FUA,
  CMD_FLAG_FUA,
  CMD_FLAG_FUA | CMD_FLAG_NO_HOLE | CMD_FLAG_FAST_ZERO,
  CMD_FLAG_FUA | CMD_FLAG_REQ_ONE,
]

export const REPLY_FLAG_DONE = 1
export const REPLY_NONE = 0
export const REPLY_OFFSET_DATA = 1
export const REPLY_BLOCK_STATUS = 5
export const REPLY_ERROR = 0x8001

export const STATE_HOLE = 1
export const STATE_ZERO = 2

export const NBD_EPERM = 1
export const NBD_EIO = 5
export const NBD_EINVAL = 22
export const NBD_ENOSPC = 28
export const NBD_EOVERFLOW = 75
export const NBD_ENOTSUP = 95
export const NBD_ESHUTDOWN = 108

/** The one metadata context served, and its number on a connection. */
export const BASE_ALLOCATION = 'base:allocation'
export const BASE_ALLOCATION_ID = 1

/** Strings of the protocol are at most this long, in bytes. */
export const STRING_BYTES_MAX = 4096

/** A request as it was sent, with its payload's length in `length` when it is a write. */
export interface NbdRequest {
  readonly command: number
  readonly flags: number
  /** What the client knows the request by: 64 bits, in two halves, given back as they are. */
  readonly cookieHigh: number
  readonly cookieLow: number
  readonly offset: number
  readonly length: number
}

/** What the protocol has for the error; a volume that was taken away is no longer permitted. */
export function nbdErrorOf(code: ErrorCode): number {
  switch (ERRORS[code].errno) {
    case 'EINVAL':
      return NBD_EINVAL
    case 'ENOSPC':
      return NBD_ENOSPC
    case 'EROFS':
      return NBD_EPERM
    case 'ESHUTDOWN':
      return NBD_ESHUTDOWN
    default:
      return NBD_EIO
  }
}
