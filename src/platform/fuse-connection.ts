// Owns one mounted FUSE connection: the thread that reads the kernel's requests, and the writing of the
// answers. Answers are written by the serving thread itself: a write to /dev/fuse copies and returns.
// Invariant: the process never ends with the reading thread inside a read, which nothing but the end
// of the connection interrupts: at exit the connection is aborted, or the process kills itself.

import { closeSync, writeSync, writevSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import { type FuseChannel, FuseFile } from '../attach/fuse-file.ts'
import type { BlockDevice } from '../client/device.ts'
import type { Observer } from '../observe/observe.ts'
import { abortArgs, mountFuse, unmount } from './fuse-mount.ts'
import type { FuseReaderData } from './fuse-reader.ts'
import { makeRing, RingConsumer } from './fuse-ring.ts'
import { runProgram, runProgramSync } from './run-program.ts'

/** What a write says when the kernel no longer waits for the answer. */
const NOBODY_WAITS: ReadonlySet<string> = new Set(['ENOENT', 'ENODEV', 'ECONNABORTED', 'EBADF'])
const ABORT_LIMIT_MS = 5000
const READER = new URL('./fuse-reader.js', import.meta.url)

export class FuseConnection implements FuseChannel {
  /** Settles when the connection has ended, with the reason. */
  readonly ended: Promise<string>
  readonly #mountPoint: string
  readonly #fd: number
  readonly #file: FuseFile
  readonly #ring: RingConsumer
  readonly #onExit = (): void => this.#abortNow()
  #isOpen = true

  private constructor(device: BlockDevice, observer: Observer, mountPoint: string, fd: number) {
    this.#mountPoint = mountPoint
    this.#fd = fd
    this.#file = new FuseFile(device, this, observer)
    const ring = makeRing()
    this.#ring = new RingConsumer(ring)
    const workerData: FuseReaderData = { fd, ring }
    const worker = new Worker(READER, { workerData })
    process.once('exit', this.#onExit)
    this.ended = new Promise((resolve) => {
      worker.on('message', (end: string | null) => {
        if (end === null) this.#drain()
        else resolve(this.#close(end))
      })
      worker.on('error', (error) => resolve(this.#close(error.message)))
    })
  }

  /** Mounts the device as one file in `mountPoint`, and serves it. */
  static async open(
    device: BlockDevice,
    observer: Observer,
    mountPoint: string,
  ): Promise<FuseConnection> {
    const fd = await mountFuse(mountPoint, device.readOnly)
    return new FuseConnection(device, observer, mountPoint, fd)
  }

  /** Unmounts. Who still has the file open gets errors from then on. */
  async close(): Promise<void> {
    if (!this.#isOpen) return
    try {
      await unmount(this.#mountPoint)
    } catch {
      await runProgram('umount', abortArgs(this.#mountPoint))
    }
    await this.ended
  }

  reply(parts: readonly Uint8Array[]): void {
    if (!this.#isOpen) return
    try {
      if (parts.length === 1) writeSync(this.#fd, parts[0] as Uint8Array)
      else writevSync(this.#fd, parts)
    } catch (error) {
      if (!NOBODY_WAITS.has((error as NodeJS.ErrnoException).code ?? '')) throw error
    }
  }

  hasRoom(): void {
    this.#drain()
  }

  #drain(): void {
    this.#ring.listen()
    while (this.#isOpen && !this.#file.isFull) {
      const request = this.#ring.next()
      if (request === null) return
      this.#file.handle(request)
      this.#ring.free(request)
    }
  }

  /** What the device still does is answered to nobody. */
  #close(reason: string): string {
    process.removeListener('exit', this.#onExit)
    this.#isOpen = false
    closeSync(this.#fd)
    return reason
  }

  #abortNow(): void {
    const isAborted = runProgramSync('umount', abortArgs(this.#mountPoint), ABORT_LIMIT_MS)
    if (!isAborted) process.kill(process.pid, 'SIGKILL')
  }
}
