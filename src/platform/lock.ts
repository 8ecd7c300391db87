// Owns the lock on a directory that one process at a time may use: flock(2) on a file in it.
// Invariant: the kernel drops the lock with the process, however that ends; there is no stale lock.
// Node has no flock; the program of that name (util-linux, busybox) locks the open file that it is
// handed, and the lock stays with this process, which holds the same open file.

import { spawnSync } from 'node:child_process'
import { closeSync, ftruncateSync, mkdirSync, openSync, readFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { LemnisError } from '../base/errors.ts'

const FILE = 'lock'
/** What `flock -n` exits with when another has the lock. */
const TAKEN = 1

export class DirectoryLock {
  #fd: number | null

  private constructor(fd: number) {
    this.#fd = fd
  }

  /** IN_USE, with the pid of the process that has it, when another process has the lock. */
  static take(directory: string): DirectoryLock {
    mkdirSync(directory, { recursive: true })
    const path = join(directory, FILE)
    const fd = openSync(path, 'a+')
    const { status, error } = spawnSync('flock', ['-n', '3'], {
      stdio: ['ignore', 'ignore', 'ignore', fd],
    })
    if (status === 0) {
      ftruncateSync(fd)
      writeSync(fd, `${process.pid}\n`)
      return new DirectoryLock(fd)
    }
    closeSync(fd)
    if (status === TAKEN) {
      const pid = readFileSync(path, 'utf8').trim()
      throw new LemnisError('IN_USE', { directory, pid })
    }
    throw new LemnisError(
      'INVALID_ARGUMENT',
      { directory, reason: 'it could not be locked: the program flock is needed (util-linux)' },
      error,
    )
  }

  close(): void {
    if (this.#fd !== null) closeSync(this.#fd)
    this.#fd = null
  }
}
