// Owns which error of the table a system call's failure is: a full disk passes, a caller's mistake is
// said as such, and anything else means that the disk can't be trusted any more.

import { LemnisError } from '../base/errors.ts'

const CALLERS_FAULT = new Set([
  'ENOENT',
  'EEXIST',
  'ENOTDIR',
  'EISDIR',
  'EINVAL',
  'EBADF',
  'ENOTEMPTY',
])
const FULL = new Set(['ENOSPC', 'EDQUOT'])

export function diskError(
  errno: string,
  path: string,
  operation: string,
  cause?: unknown,
): LemnisError {
  const detail = { errno, path, operation }
  if (FULL.has(errno)) return new LemnisError('NO_SPACE', detail, cause)
  if (CALLERS_FAULT.has(errno)) return new LemnisError('INVALID_ARGUMENT', detail, cause)
  return new LemnisError('DISK_FAILED', detail, cause)
}
