// Owns the numbers and layouts of the FUSE kernel protocol that a file system of one file needs.
// Source: include/uapi/linux/fuse.h of Linux, protocol 7.31 and later (7.45 is what 6.18 speaks).
// The kernel uses the machine's byte order; all machines that Node runs on are little endian.

import { viewOf } from '../base/bytes.ts'
import { ERRORS, type ErrorCode } from '../base/errors.ts'
import { MIB } from '../base/units.ts'

export const FUSE_MAJOR = 7
/** Structures are as of this minor version; the kernel speaks the smaller of the two. */
export const FUSE_MINOR = 38
/** Older kernels have smaller structures and no max_pages (Linux 5.0, of 2019, has 7.28). */
export const FUSE_MINOR_MIN = 28

export const FUSE_LOOKUP = 1
export const FUSE_FORGET = 2
export const FUSE_GETATTR = 3
export const FUSE_SETATTR = 4
export const FUSE_OPEN = 14
export const FUSE_READ = 15
export const FUSE_WRITE = 16
export const FUSE_STATFS = 17
export const FUSE_RELEASE = 18
export const FUSE_FSYNC = 20
export const FUSE_FLUSH = 25
export const FUSE_INIT = 26
export const FUSE_OPENDIR = 27
export const FUSE_READDIR = 28
export const FUSE_RELEASEDIR = 29
export const FUSE_DESTROY = 38
export const FUSE_BATCH_FORGET = 42
export const FUSE_FALLOCATE = 43

export const ROOT_NODE = 1
export const FILE_NODE = 2
export const FILE_NAME = 'volume'

export const IN_HEADER_BYTES = 40
export const OUT_HEADER_BYTES = 16
export const WRITE_IN_BYTES = 40
/** Data of one READ or WRITE at most: what the kernel allows, 256 pages. */
export const FUSE_DATA_BYTES_MAX = MIB
/** The kernel refuses to hand a request to a smaller buffer. */
export const FUSE_REQUEST_BYTES_MAX = FUSE_DATA_BYTES_MAX + 4096

const ASYNC_READ = 1 << 0
const BIG_WRITES = 1 << 5
/** Direct I/O of the loop device leaves as requests in flight at the same time. */
const ASYNC_DIO = 1 << 15
const MAX_PAGES = 1 << 22
/** Requests that the kernel keeps in flight: the queue of a loop device is 128 long. */
const BACKGROUND_MAX = 256

/** Nothing is cached above the file: the loop device's own user has the page cache. */
export const FOPEN_DIRECT_IO = 1 << 0
export const FOPEN_PARALLEL_DIRECT_WRITES = 1 << 6
export const OPEN_ACCESS_MASK = 3

export const FALLOC_PUNCH_HOLE = 2
export const FALLOC_ZERO_RANGE = 16

export const EPERM = 1
export const ENOENT = 2
export const EIO = 5
export const EINVAL = 22
export const ENOSPC = 28
export const EROFS = 30
export const ENOSYS = 38
export const EOPNOTSUPP = 95
const ESHUTDOWN = 108
const ETIMEDOUT = 110

const DIRECTORY_MODE = 0o40500
const FILE_MODE = 0o100600
const READ_ONLY_FILE_MODE = 0o100400

export interface FuseAttributes {
  readonly sizeBytes: number
  readonly blockBytes: number
  readonly readOnly: boolean
}

export function fuseErrnoOf(code: ErrorCode): number {
  switch (ERRORS[code].errno) {
    case 'EINVAL':
      return EINVAL
    case 'ENOSPC':
      return ENOSPC
    case 'EROFS':
      return EROFS
    case 'ESHUTDOWN':
      return ESHUTDOWN
    case 'ETIMEDOUT':
      return ETIMEDOUT
    default:
      return EIO
  }
}

export function encodeInit(): Uint8Array {
  const out = new Uint8Array(64)
  const view = viewOf(out)
  view.setUint32(0, FUSE_MAJOR, true)
  view.setUint32(4, FUSE_MINOR, true)
  view.setUint32(8, FUSE_DATA_BYTES_MAX, true)
  view.setUint32(12, ASYNC_READ | BIG_WRITES | ASYNC_DIO | MAX_PAGES, true)
  view.setUint16(16, BACKGROUND_MAX, true)
  view.setUint16(18, (BACKGROUND_MAX * 3) / 4, true)
  view.setUint32(20, FUSE_DATA_BYTES_MAX, true)
  view.setUint32(24, 1, true)
  view.setUint16(28, FUSE_DATA_BYTES_MAX / 4096, true)
  return out
}

/** fuse_entry_out: the name is good for ever, the attributes for no time, as the volume may grow. */
export function encodeEntry(file: FuseAttributes): Uint8Array {
  const out = new Uint8Array(128)
  const view = viewOf(out)
  view.setUint32(0, FILE_NODE, true)
  view.setUint32(16, 0xffff_ffff, true)
  writeAttributes(view, 40, FILE_NODE, file)
  return out
}

/** fuse_attr_out */
export function encodeAttributes(node: number, file: FuseAttributes): Uint8Array {
  const out = new Uint8Array(104)
  writeAttributes(viewOf(out), 16, node, file)
  return out
}

function writeAttributes(view: DataView, at: number, node: number, file: FuseAttributes): void {
  const isFile = node === FILE_NODE
  const size = isFile ? file.sizeBytes : 0
  view.setUint32(at, node, true)
  writeU64(view, at + 8, size)
  writeU64(view, at + 16, Math.ceil(size / 512))
  const fileMode = file.readOnly ? READ_ONLY_FILE_MODE : FILE_MODE
  view.setUint32(at + 60, isFile ? fileMode : DIRECTORY_MODE, true)
  view.setUint32(at + 64, isFile ? 1 : 2, true)
  view.setUint32(at + 80, file.blockBytes, true)
}

/** fuse_open_out */
export function encodeOpen(flags: number): Uint8Array {
  const out = new Uint8Array(16)
  viewOf(out).setUint32(8, flags, true)
  return out
}

/** fuse_write_out */
export function encodeWritten(bytes: number): Uint8Array {
  const out = new Uint8Array(8)
  viewOf(out).setUint32(0, bytes, true)
  return out
}

/** fuse_statfs_out; the loop device takes the granularity of its discards from the block size. */
export function encodeStatfs(file: FuseAttributes): Uint8Array {
  const out = new Uint8Array(80)
  const view = viewOf(out)
  writeU64(view, 0, Math.floor(file.sizeBytes / file.blockBytes))
  writeU64(view, 24, 1)
  view.setUint32(40, file.blockBytes, true)
  view.setUint32(44, 255, true)
  view.setUint32(48, file.blockBytes, true)
  return out
}

/** The root directory's entries from the `from`th on: fuse_dirent, each a multiple of 8 bytes. */
export function encodeDirectory(from: number, bytesMax: number): Uint8Array {
  const names = [
    { name: '.', node: ROOT_NODE, type: 4 },
    { name: '..', node: ROOT_NODE, type: 4 },
    { name: FILE_NAME, node: FILE_NODE, type: 8 },
  ]
  const out = new Uint8Array(32 * names.length)
  const view = viewOf(out)
  let at = 0
  for (const [i, { name, node, type }] of names.entries()) {
    if (i < from || at + 32 > bytesMax) continue
    view.setUint32(at, node, true)
    view.setUint32(at + 8, i + 1, true)
    view.setUint32(at + 16, name.length, true)
    view.setUint32(at + 20, type, true)
    out.set(new TextEncoder().encode(name), at + 24)
    at += 32
  }
  return out.subarray(0, at)
}

function writeU64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value >>> 0, true)
  view.setUint32(at + 4, Math.floor(value / 0x1_0000_0000), true)
}

/** What is too large for a number is beyond the end of every volume. */
export function readU64(view: DataView, at: number): number {
  return view.getUint32(at + 4, true) * 0x1_0000_0000 + view.getUint32(at, true)
}
