// Owns attached volumes as the command line sees them: start a host process for one and wait until the
// device is there, list them, remove one. Runs in the command's process; the host process is
// runAttach(), which it starts in the background.

import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { asLemnisError, type ErrorCode, type ErrorDetail, LemnisError } from '../base/errors.ts'
import { Attachment, type AttachOptions, inUse, takeLock } from './loop-attachment.ts'
import { isLoopInUse } from './loop-device.ts'
import { heal } from './loop-heal.ts'
import {
  ATTACH_DIRECTORY,
  type AttachedWriter,
  AttachmentPaths,
  type AttachmentState,
  isServed,
  knownVolumes,
} from './loop-state.ts'

const STOP_LIMIT_MS = 30_000
const POLL_MS = 100
/** A process that was killed has ended by then, if its machine is not too busy. */
const ENDING_LIMIT_MS = 1000

/** What the host process says to the one that started it, once. */
type HostMessage =
  | { readonly state: AttachmentState }
  | { readonly code: ErrorCode; readonly detail: ErrorDetail }

/** An attachment in a list. Not served: its process died, and the next attach or detach cleans up. */
export interface ListedAttachment {
  readonly state: AttachmentState
  readonly isServed: boolean
}

/**
 * The host process of one attachment, from the start to the end of the device; resolves with why it
 * ended. SIGTERM and SIGINT stop it unless the device is in use. Whoever started the process by
 * startAttachHost() is told when the device is there, or why not.
 */
export async function runAttach(options: AttachOptions): Promise<string> {
  let attachment: Attachment
  try {
    attachment = await Attachment.start(options)
  } catch (thrown) {
    tellStarterFailure(thrown)
    throw thrown
  }
  const stop = (): void => {
    attachment.stop().catch((thrown: unknown) => {
      const { detail } = asLemnisError(thrown)
      options.observer.emit('attach_busy', { volume: options.volume, ...detail })
    })
  }
  process.on('SIGTERM', stop)
  process.on('SIGINT', stop)
  tellStarter({ state: attachment.state })
  const reason = await attachment.ended
  process.removeListener('SIGTERM', stop)
  process.removeListener('SIGINT', stop)
  return reason
}

/** The host process failed before it came to runAttach(). */
export function tellStarterFailure(thrown: unknown): void {
  const { code, detail } = asLemnisError(thrown)
  tellStarter({ code, detail })
}

function tellStarter(message: HostMessage): void {
  if (process.send === undefined || !process.connected) return
  process.send(message)
  // A process that failed ends now, and its program may have more to say.
  if ('state' in message) process.disconnect()
}

/** As who a process that died had the volume open for writing; null when there was none. */
export function deadWriterOf(
  volume: string,
  root: string = ATTACH_DIRECTORY,
): AttachedWriter | null {
  const state = new AttachmentPaths(root, volume).readState()
  return state === null || isServed(state) ? null : (state.writer ?? null)
}

/**
 * Starts the program, which calls runAttach(), in the background; its output goes to the attachment's
 * log. Resolves when the device is there; rejects with what the host process ran into. CONFLICT, before
 * anything is opened, when the volume is attached on this host: opening it by force would fence that.
 */
export async function startAttachHost(
  volume: string,
  command: readonly string[],
  root: string = ATTACH_DIRECTORY,
): Promise<AttachmentState> {
  const paths = new AttachmentPaths(root, volume)
  const present = await servedNow(paths)
  if (present !== null) {
    const { device } = present
    const cure = `run \`lemnis detach ${volume}\``
    throw new LemnisError('CONFLICT', { volume, device, reason: 'attached on this host', cure })
  }
  paths.make()
  const log = openSync(paths.log, 'a', 0o600)
  const [program, ...args] = command as [string, ...string[]]
  const child = spawn(program, args, { detached: true, stdio: ['ignore', log, log, 'ipc'] })
  closeSync(log)
  return new Promise((resolve, reject) => {
    child.once('message', (message: HostMessage) => {
      release(child)
      if ('state' in message) resolve(message.state)
      else reject(new LemnisError(message.code, message.detail))
    })
    const died = (how: string): void => {
      release(child)
      reject(new LemnisError('INTERNAL', { volume, process: how, log: paths.log }))
    }
    child.once('error', (error) => died(error.message))
    child.once('exit', (code, signal) => died(`ended by ${signal ?? `exit ${code}`}`))
  })
}

/** A process that is just ending is waited for; null when none serves the volume. */
async function servedNow(paths: AttachmentPaths): Promise<AttachmentState | null> {
  for (let waitedMs = 0; ; waitedMs += POLL_MS) {
    const state = paths.readState()
    if (state === null || !isServed(state)) return null
    if (waitedMs >= ENDING_LIMIT_MS) return state
    await sleep(POLL_MS)
  }
}

function release(child: ChildProcess): void {
  child.removeAllListeners('exit')
  if (child.connected) child.disconnect()
  child.unref()
}

export function listAttachments(root: string = ATTACH_DIRECTORY): ListedAttachment[] {
  return knownVolumes(root).flatMap((volume) => {
    const state = new AttachmentPaths(root, volume).readState()
    return state === null ? [] : [{ state, isServed: isServed(state) }]
  })
}

export interface Detached {
  /** Devices that are still in use and give errors; they vanish with their last user. */
  readonly stuck: readonly string[]
  readonly mds: readonly string[]
  /** As who the volume may still be open: its process could not close it. */
  readonly writer: AttachedWriter | null
}

/**
 * Removes the device of a volume, and what a dead process left of it. CONFLICT while it is in use,
 * unless `force`: then its users get errors. NOT_FOUND when it is not attached here.
 */
export async function detach(
  volume: string,
  options: { readonly force?: boolean; readonly root?: string } = {},
): Promise<Detached> {
  const { force = false, root = ATTACH_DIRECTORY } = options
  const paths = new AttachmentPaths(root, volume)
  const state = paths.readState()
  if (state === null) throw new LemnisError('NOT_FOUND', { volume, where: 'attached on this host' })
  const wasDead = !isServed(state)
  if (!wasDead) {
    if (!force && state.device !== '' && (await isLoopInUse(state.device))) {
      throw await inUse(volume, state.device)
    }
    process.kill(state.pid, force ? 'SIGKILL' : 'SIGTERM')
    await processEnd(state)
  }
  const lock = await takeLock(paths)
  try {
    const { stuck } = await heal(paths)
    return { stuck, mds: state.mds, writer: wasDead || force ? (state.writer ?? null) : null }
  } finally {
    lock.close()
  }
}

async function processEnd(state: AttachmentState): Promise<void> {
  for (let waitedMs = 0; isServed(state); waitedMs += POLL_MS) {
    if (waitedMs > STOP_LIMIT_MS) throw await inUse(state.volume, state.device)
    await sleep(POLL_MS)
  }
}
