// Owns the cleaning up behind an attachment, by whoever holds its lock: what a stopped process left on
// purpose to the last, and what a killed one left in the kernel: a loop device without a file behind
// it and a mount that answers nothing. It can be repeated, and ends with nothing left to do.

import { mkdirSync, readlinkSync, rmSync, symlinkSync } from 'node:fs'
import { rmdir } from 'node:fs/promises'
import { FILE_NAME } from '../attach/fuse-protocol.ts'
import { abortArgs, FUSE_TYPE, mounts } from './fuse-mount.ts'
import { isLoopOver, loopsOver, removeLoop } from './loop-device.ts'
import { type AttachmentPaths, LINK_DIRECTORY } from './loop-state.ts'
import { runProgram } from './run-program.ts'

/** How the kernel names the file where its mount is gone from all directories. */
const OUT_OF_SIGHT = `/${FILE_NAME}`

export interface Healed {
  /** Something was there to be cleaned up. */
  readonly found: boolean
  /** Devices that are still in use and give errors; they vanish with their last user. */
  readonly stuck: readonly string[]
}

export async function heal(paths: AttachmentPaths): Promise<Healed> {
  const stuck: string[] = []
  // Loops first: they hold the file open, and are found by its path while it has one.
  const loops = (await loopsOver(paths.file)).map((loop) => ({ loop, file: paths.file }))
  // A process that ended by a bug took its mount out of sight, and nothing answers there any more.
  const device = paths.readState()?.device ?? ''
  if (await isLoopOver(device, OUT_OF_SIGHT)) loops.push({ loop: device, file: OUT_OF_SIGHT })
  for (const { loop, file } of loops) if (!(await removeLoop(loop, file))) stuck.push(loop)
  removeLink(paths)
  const dead = (await mounts()).filter(
    (m) => m.mountPoint === paths.mountPoint && m.type === FUSE_TYPE,
  )
  for (const mount of dead) await runProgram('umount', abortArgs(mount.mountPoint))
  await rmdir(paths.mountPoint).catch(() => {})
  paths.removeState()
  return { found: loops.length > 0 || dead.length > 0, stuck }
}

export function makeLink(paths: AttachmentPaths, device: string): void {
  removeLink(paths)
  mkdirSync(LINK_DIRECTORY, { recursive: true })
  symlinkSync(device, paths.link)
}

function removeLink(paths: AttachmentPaths): void {
  try {
    readlinkSync(paths.link)
  } catch {
    return
  }
  rmSync(paths.link, { force: true })
}
