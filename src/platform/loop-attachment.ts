// Owns a volume while it is a block device of this host: FUSE file, loop device above it, link, state.
// Invariants: steps are undone in the reverse order of their doing; a device that is in use is never
// taken away by a stop; at most one process on a host attaches a volume, by its directory's lock.

import { mkdirSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { asLemnisError, LemnisError } from '../base/errors.ts'
import type { BlockDevice } from '../client/device.ts'
import type { Observer } from '../observe/observe.ts'
import { FuseConnection } from './fuse-connection.ts'
import { DirectoryLock } from './lock.ts'
import {
  growLoop,
  isLoopInUse,
  isLoopOver,
  makeLoop,
  mountPointsOf,
  removeLoop,
} from './loop-device.ts'
import { heal, makeLink } from './loop-heal.ts'
import {
  ATTACH_DIRECTORY,
  type AttachedWriter,
  AttachmentPaths,
  type AttachmentState,
  pidStartOf,
} from './loop-state.ts'

/** How soon a volume that has grown, or a device that somebody removed, is noticed. */
const WATCH_MS = 1000
const LOCK_LIMIT_MS = 5000
const LOCK_POLL_MS = 100

export interface AttachOptions {
  readonly volume: string
  /** Borrowed: the caller closes it after the attachment has ended. */
  readonly device: BlockDevice
  readonly mds: readonly string[]
  readonly observer: Observer
  /** Kept with the state, so that whoever heals after a crash can close the volume. */
  readonly writer?: AttachedWriter
  /** Where state is kept; /run/lemnis/attach. */
  readonly root?: string
}

export class Attachment {
  /** Settles when the device is gone, with the reason: stopped, or lost. */
  readonly ended: Promise<string>
  readonly #options: AttachOptions
  readonly #paths: AttachmentPaths
  readonly #lock: DirectoryLock
  readonly #fuse: FuseConnection
  readonly #stopped = new AbortController()
  #state: AttachmentState

  private constructor(
    options: AttachOptions,
    paths: AttachmentPaths,
    lock: DirectoryLock,
    fuse: FuseConnection,
    state: AttachmentState,
  ) {
    this.#options = options
    this.#paths = paths
    this.#lock = lock
    this.#fuse = fuse
    this.#state = state
    this.ended = fuse.ended.then((reason) => this.#end(reason))
    void this.#watch()
  }

  get state(): AttachmentState {
    return this.#state
  }

  /** CONFLICT when a living process has the volume attached on this host already. */
  static async start(options: AttachOptions): Promise<Attachment> {
    const paths = new AttachmentPaths(options.root ?? ATTACH_DIRECTORY, options.volume)
    paths.make()
    const lock = await takeLock(paths)
    try {
      const healed = await heal(paths)
      if (healed.found) {
        const { volume } = options
        options.observer.emit('attach_healed', { volume, stuck: healed.stuck.join(' ') })
      }
      return await Attachment.#assemble(options, paths, lock)
    } catch (error) {
      await heal(paths)
      lock.close()
      throw error
    }
  }

  static async #assemble(
    options: AttachOptions,
    paths: AttachmentPaths,
    lock: DirectoryLock,
  ): Promise<Attachment> {
    const { device, observer, volume } = options
    const starting: AttachmentState = {
      volume,
      pid: process.pid,
      pidStart: pidStartOf(process.pid) ?? 0,
      phase: 'starting',
      device: '',
      link: paths.link,
      mountPoint: paths.mountPoint,
      sizeBytes: device.sizeBytes,
      readOnly: device.readOnly,
      mds: options.mds,
      sinceMs: Date.now(),
      writer: options.writer ?? null,
    }
    paths.writeState(starting)
    mkdirSync(paths.mountPoint, { recursive: true, mode: 0o700 })
    const fuse = await FuseConnection.open(device, observer, paths.mountPoint)
    try {
      const loop = await makeLoop(paths.file, device.readOnly)
      makeLink(paths, loop)
      const state: AttachmentState = { ...starting, phase: 'ready', device: loop }
      paths.writeState(state)
      observer.emit('attach_ready', { volume, device: loop, sizeBytes: device.sizeBytes })
      return new Attachment(options, paths, lock, fuse, state)
    } catch (error) {
      await fuse.close()
      throw error
    }
  }

  /** Removes the device: CONFLICT, and nothing changed, while it is in use. */
  async stop(): Promise<void> {
    const { device, volume } = this.#state
    const { file } = this.#paths
    const isOurs = await isLoopOver(device, file)
    if (isOurs && (await isLoopInUse(device))) throw await inUse(volume, device)
    // The kernel writes and flushes what it still has before the device is gone.
    if (!(await removeLoop(device, file))) throw await inUse(volume, device)
    await this.#options.device.flush()
    await this.#fuse.close()
    await this.ended
  }

  async #end(reason: string): Promise<string> {
    this.#stopped.abort()
    await heal(this.#paths)
    this.#lock.close()
    this.#options.observer.emit('attach_ended', { volume: this.#state.volume, reason })
    return reason
  }

  async #watch(): Promise<void> {
    const { signal } = this.#stopped
    while (!signal.aborted) {
      await sleep(WATCH_MS, undefined, { signal }).catch(() => {})
      if (signal.aborted) return
      try {
        await this.#look()
      } catch (thrown) {
        // A program failed; what it was to do is tried again at the next look.
        asLemnisError(thrown)
      }
    }
  }

  async #look(): Promise<void> {
    const { sizeBytes } = this.#options.device
    const { device, volume } = this.#state
    if (!(await isLoopOver(device, this.#paths.file))) {
      // By losetup, or by the kernel when the last user of a removed device had gone.
      await this.#fuse.close()
      return
    }
    if (sizeBytes === this.#state.sizeBytes) return
    await growLoop(device, this.#paths.file)
    this.#state = { ...this.#state, sizeBytes }
    this.#paths.writeState(this.#state)
    this.#options.observer.emit('attach_grown', { volume, sizeBytes })
  }
}

/** A killed process gives its lock back when the last of its threads has left the kernel. */
export async function takeLock(paths: AttachmentPaths): Promise<DirectoryLock> {
  for (let waitedMs = 0; ; waitedMs += LOCK_POLL_MS) {
    try {
      return DirectoryLock.take(paths.directory)
    } catch (error) {
      if (!(error instanceof LemnisError) || error.code !== 'IN_USE') throw error
      if (waitedMs >= LOCK_LIMIT_MS) throw attachedAlready(paths, error)
      await sleep(LOCK_POLL_MS)
    }
  }
}

function attachedAlready(paths: AttachmentPaths, cause: LemnisError): LemnisError {
  const device = paths.readState()?.device ?? ''
  return new LemnisError('CONFLICT', { reason: 'attached on this host already', device }, cause)
}

export async function inUse(volume: string, device: string): Promise<LemnisError> {
  const points = await mountPointsOf(device)
  const first = points[0]
  return new LemnisError('CONFLICT', {
    volume,
    device,
    reason: first === undefined ? 'a program has it open' : `mounted at ${points.join(', ')}`,
    cure: first === undefined ? 'end that program' : `run \`umount ${first}\``,
  })
}
