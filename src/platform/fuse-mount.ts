// Owns the mounting of a FUSE file system without a helper: mount(8) is given the open /dev/fuse as its
// descriptor 3. Also finds mounts and takes them away, dead ones too, without ever touching what is
// behind them: a path below a dead mount blocks or fails.

import { closeSync, constants, openSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { FUSE_DATA_BYTES_MAX } from '../attach/fuse-protocol.ts'
import { LemnisError } from '../base/errors.ts'
import { runProgram } from './run-program.ts'

export const FUSE_TYPE = 'fuse.lemnis'

export interface Mount {
  readonly mountPoint: string
  readonly type: string
  /** `major:minor` of the device that is mounted. */
  readonly device: string
}

/** Opens /dev/fuse and mounts it. Requests wait in the kernel until somebody reads the descriptor. */
export async function mountFuse(mountPoint: string, readOnly: boolean): Promise<number> {
  let fd: number
  try {
    fd = openSync('/dev/fuse', constants.O_RDWR)
  } catch (error) {
    const reason = `/dev/fuse: ${(error as NodeJS.ErrnoException).code}`
    const cure = 'load the kernel module fuse, or use the NBD server'
    throw new LemnisError('INVALID_ARGUMENT', { reason, cure }, error)
  }
  const options = [
    'fd=3',
    'rootmode=40000',
    'user_id=0',
    'group_id=0',
    `max_read=${FUSE_DATA_BYTES_MAX}`,
    'nosuid',
    'nodev',
    'noexec',
    readOnly ? 'ro' : 'rw',
  ].join(',')
  try {
    await runProgram('mount', ['-i', '-t', FUSE_TYPE, '-o', options, 'lemnis', mountPoint], fd)
  } catch (error) {
    closeSync(fd)
    throw error
  }
  return fd
}

/** Takes the mount away; it must not be in use. */
export async function unmount(mountPoint: string): Promise<void> {
  await runProgram('umount', ['-i', '-c', mountPoint])
}

/**
 * Arguments of umount(8) that end a FUSE connection at once and take the mount out of sight, in use or
 * not: who still uses it gets errors.
 */
export function abortArgs(mountPoint: string): string[] {
  return ['-i', '-c', '-f', '-l', mountPoint]
}

export async function mounts(): Promise<Mount[]> {
  const text = await readFile('/proc/self/mountinfo', 'utf8')
  return text.split('\n').flatMap((line) => parseMount(line) ?? [])
}

/** A line of mountinfo: `36 35 98:0 /root /mount/point options - type source options` (proc(5)). */
export function parseMount(line: string): Mount | null {
  const fields = line.split(' ')
  const device = fields[2]
  const mountPoint = fields[4]
  const type = fields[fields.indexOf('-', 6) + 1]
  if (device === undefined || mountPoint === undefined || type === undefined) return null
  return { mountPoint: unescapeOctal(mountPoint), type, device }
}

/** Blanks and the like in paths are written `\040`. */
function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  )
}
