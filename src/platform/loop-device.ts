// Owns the kernel's loop devices that lie over our files: making, growing, finding and removing them.
// Sectors are 4 KiB, the block of a volume, so that nothing above ever makes a volume read, modify and
// write a part of a block; I/O is direct, so that nothing is cached twice and requests run in parallel.
// What is there is read from /sys, which asks nothing of the file behind, alive or dead.

import { constants } from 'node:fs'
import { type FileHandle, open, readdir, readFile, stat } from 'node:fs/promises'
import { basename } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { mounts } from './fuse-mount.ts'
import { runProgram } from './run-program.ts'

const SECTOR_BYTES = 4096
/** Whoever looked into the device, as udev does at every change, has closed it again by then. */
const RELEASE_LIMIT_MS = 5000
const POLL_MS = 50

/** `/dev/loopN` */
export type LoopPath = string

export function makeLoop(file: string, readOnly: boolean): Promise<LoopPath> {
  const flags = readOnly ? ['--read-only'] : []
  const sector = ['--sector-size', String(SECTOR_BYTES)]
  return runProgram('losetup', ['--find', '--show', '--direct-io=on', ...sector, ...flags, file])
}

/** Makes the device as large as its file has become. */
export async function growLoop(loop: LoopPath, file: string): Promise<void> {
  // The kernel takes the size that it last heard of.
  await stat(file)
  await runProgram('losetup', ['--set-capacity', loop])
}

/** Devices over the file, which need not be there any more. */
export async function loopsOver(file: string): Promise<LoopPath[]> {
  const names = (await readdir('/sys/block')).filter((name) => /^loop\d+$/.test(name))
  const found: LoopPath[] = []
  for (const name of names) {
    if (await hasBehind(`/dev/${name}`, file)) found.push(`/dev/${name}`)
  }
  return found
}

export async function isLoopOver(loop: LoopPath, file: string): Promise<boolean> {
  return (await backingFile(loop)) === file
}

async function hasBehind(loop: LoopPath, file: string): Promise<boolean> {
  const backing = await backingFile(loop)
  return backing === file || backing === `${file} (deleted)`
}

/** Null when the device is over no file. */
async function backingFile(loop: LoopPath): Promise<string | null> {
  try {
    return (await readFile(`/sys/block/${basename(loop)}/loop/backing_file`, 'utf8')).trimEnd()
  } catch {
    return null
  }
}

/** Whether a file system, swap or another device has the loop device or a part of it for itself. */
export async function isLoopInUse(loop: LoopPath): Promise<boolean> {
  try {
    // For a block device O_EXCL means: fails when somebody has claimed it (open(2)). Opening may
    // read from the device, and so from this very process.
    await (await open(loop, constants.O_RDONLY | constants.O_EXCL)).close()
    return false
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EBUSY'
  }
}

/** Where the device, or a partition of it, is mounted. */
export async function mountPointsOf(loop: LoopPath): Promise<string[]> {
  const directory = `/sys/block/${basename(loop)}`
  const partitions = (await readdir(directory)).filter((name) => name.startsWith(basename(loop)))
  const devices = new Set<string>()
  for (const path of [directory, ...partitions.map((name) => `${directory}/${name}`)]) {
    devices.add((await readFile(`${path}/dev`, 'utf8')).trim())
  }
  return (await mounts()).filter((m) => devices.has(m.device)).map((m) => m.mountPoint)
}

/**
 * Takes the device away from the file, if it is over that. False when it is still in use: the kernel
 * then does it by itself when the last user has gone.
 *
 * The kernel gives the number of a device that became free to whoever asks next. A device that is open
 * does not become free, so it is held open from the look at its file to the end of the detaching: by the
 * program as well, which may outlive this process.
 */
export async function removeLoop(loop: LoopPath, file: string): Promise<boolean> {
  const device = await openLoop(loop)
  try {
    if (!(await hasBehind(loop, file))) return true
    if (device !== null) await runProgram('losetup', ['--detach', loop], device.fd)
  } finally {
    await device?.close()
  }
  for (let waitedMs = 0; waitedMs <= RELEASE_LIMIT_MS; waitedMs += POLL_MS) {
    if (!(await hasBehind(loop, file))) return true
    await sleep(POLL_MS)
  }
  return false
}

/** Null when the kernel is about to take it away. */
async function openLoop(loop: LoopPath): Promise<FileHandle | null> {
  try {
    return await open(loop, constants.O_RDONLY)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENXIO') return null
    throw error
  }
}
