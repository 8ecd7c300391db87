// Owns the real disk: env/disk.ts over node:fs. Durable files are opened O_DIRECT and O_DSYNC where
// the file system takes O_DIRECT, else O_DSYNC alone (`directRefused` says so). Calls run in libuv's
// pool, which measured as fast as a thread of its own (docs/adr/0005-how-the-log-writes.md), but for
// many small writes at once (docs/adr/0011-writing-back-in-batches.md).

import fs from 'node:fs'
import { join } from 'node:path'
import { roundUp } from '../base/bytes.ts'
import { LemnisError } from '../base/errors.ts'
import { MIB } from '../base/units.ts'
import {
  DISK_BLOCK_BYTES,
  type Disk,
  type DiskFile,
  type OpenOptions,
  type Piece,
} from '../env/disk.ts'
import { type BatchPiece, type BatchTarget, BatchWriter } from './batch-writer.ts'
import { diskError } from './disk-errors.ts'

// TypeScript has it in its library for browsers only.
declare const WebAssembly: {
  readonly Memory: new (size: {
    initial: number
    maximum: number
  }) => {
    readonly buffer: ArrayBuffer
  }
}

const { O_CREAT, O_DIRECT, O_DSYNC, O_EXCL, O_RDWR } = fs.constants
const WASM_PAGE_BYTES = 65_536
/** Smaller requests share one memory: each WebAssembly.Memory costs address space and a mapping. */
const SLAB_BYTES = MIB

export class NodeDisk implements Disk {
  readonly #root: string
  readonly #allocated = new WeakSet<ArrayBufferLike>()
  #slab = new Uint8Array(0)
  #slabUsed = 0
  #directRefused = false
  /** Made when it is first needed. */
  #writer: BatchWriter | null = null

  /** Paths are taken below `root`. */
  constructor(root: string) {
    this.#root = root
  }

  /** A durable file was opened without O_DIRECT because its file system has none. */
  get directRefused(): boolean {
    return this.#directRefused
  }

  async open(path: string, options: OpenOptions = {}): Promise<DiskFile> {
    const full = join(this.#root, path)
    let flags = O_RDWR
    if (options.create === true) flags |= O_CREAT
    if (options.exclusive === true) flags |= O_EXCL
    if (options.durable !== true) return new NodeFile(path, await openAt(path, full, flags), null)
    const owns = (memory: Uint8Array): boolean => this.#allocated.has(memory.buffer)
    try {
      return new NodeFile(path, await openAt(path, full, flags | O_DSYNC | O_DIRECT), owns)
    } catch (error) {
      if (!(error instanceof LemnisError) || error.detail['errno'] !== 'EINVAL') throw error
      // The kernel may have made the file before it refused O_DIRECT: O_EXCL has been checked.
      const fd = await openAt(path, full, (flags | O_DSYNC) & ~O_EXCL)
      this.#directRefused = true
      return new NodeFile(path, fd, owns)
    }
  }

  async list(directory: string): Promise<string[]> {
    try {
      const full = join(this.#root, directory)
      const names = await call<string[]>(directory, 'list', (done) => fs.readdir(full, done))
      return names.sort()
    } catch (error) {
      if (error instanceof LemnisError && error.detail['errno'] === 'ENOENT') return []
      throw error
    }
  }

  async makeDirectory(path: string): Promise<void> {
    const full = join(this.#root, path)
    const made = (done: Done<unknown>): void => fs.mkdir(full, { recursive: true }, done)
    await call(path, 'makeDirectory', made)
  }

  async rename(from: string, to: string): Promise<void> {
    const source = join(this.#root, from)
    const target = join(this.#root, to)
    await call<void>(from, 'rename', (done) => fs.rename(source, target, done))
  }

  async remove(path: string): Promise<void> {
    try {
      await call<void>(path, 'remove', (done) => fs.unlink(join(this.#root, path), done))
    } catch (error) {
      if (!(error instanceof LemnisError) || error.detail['errno'] !== 'ENOENT') throw error
    }
  }

  async syncDirectory(path: string): Promise<void> {
    const full = join(this.#root, path)
    const fd = await openAt(path, full, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY)
    try {
      await call<void>(path, 'syncDirectory', (done) => fs.fsync(fd, done))
    } finally {
      await call<void>(path, 'close', (done) => fs.close(fd, done))
    }
  }

  async freeBytes(): Promise<number> {
    const stats = await call<fs.StatsFs>('/', 'freeBytes', (done) => fs.statfs(this.#root, done))
    return stats.bavail * stats.bsize
  }

  writeAll(pieces: readonly Piece[]): Promise<void> {
    const batch: BatchPiece[] = []
    for (const { file, at, from } of pieces) {
      if (!(file instanceof NodeFile)) return Promise.reject(misuse('EXDEV', file.path))
      const refusal = file.batchRefusal(at)
      if (refusal !== null) return Promise.reject(refusal)
      if (from.byteLength > 0) batch.push({ target: file, at, from })
    }
    if (batch.length === 0) return Promise.resolve()
    this.#writer ??= new BatchWriter()
    return this.#writer.write(batch)
  }

  /** Ends the thread of writeAll(), after what it was given. A process may also just end. */
  async close(): Promise<void> {
    await this.#writer?.close()
  }

  allocate(bytes: number): Uint8Array {
    const wanted = roundUp(bytes, DISK_BLOCK_BYTES)
    if (wanted > SLAB_BYTES / 4) return this.#map(wanted).subarray(0, wanted)
    if (this.#slabUsed + wanted > this.#slab.byteLength) {
      this.#slab = this.#map(SLAB_BYTES)
      this.#slabUsed = 0
    }
    const memory = this.#slab.subarray(this.#slabUsed, this.#slabUsed + wanted)
    this.#slabUsed += wanted
    return memory
  }

  /** WebAssembly memories are mappings of whole pages, which ordinary array buffers are not. */
  #map(bytes: number): Uint8Array<ArrayBuffer> {
    const pages = Math.ceil(bytes / WASM_PAGE_BYTES)
    const { buffer } = new WebAssembly.Memory({ initial: pages, maximum: pages })
    this.#allocated.add(buffer)
    return new Uint8Array(buffer)
  }
}

class NodeFile implements DiskFile, BatchTarget {
  readonly path: string
  readonly #fd: number
  /** For durable files: whether memory came from allocate(). */
  readonly #owns: ((memory: Uint8Array) => boolean) | null
  #closed = false
  /** Pieces of batches that the writing thread may be at. */
  #claims = 0
  #onUnclaimed: (() => void) | null = null

  constructor(path: string, fd: number, owns: ((memory: Uint8Array) => boolean) | null) {
    this.path = path
    this.#fd = fd
    this.#owns = owns
  }

  async read(into: Uint8Array, at: number): Promise<number> {
    this.#check(into, at)
    let done = 0
    while (done < into.byteLength) {
      const count = await call<number>(this.path, 'read', (end) =>
        fs.read(this.#fd, into, done, into.byteLength - done, at + done, end),
      )
      done += count
      // A direct read ends with an odd count at the end of the file, and cannot go on from there.
      if (count === 0 || (this.#owns !== null && done % DISK_BLOCK_BYTES !== 0)) break
    }
    return done
  }

  async write(from: Uint8Array, at: number): Promise<void> {
    this.#check(from, at)
    let done = 0
    while (done < from.byteLength) {
      done += await call<number>(this.path, 'write', (end) =>
        fs.write(this.#fd, from, done, from.byteLength - done, at + done, end),
      )
    }
  }

  async sync(): Promise<void> {
    this.#check(null, 0)
    await call<void>(this.path, 'sync', (done) => fs.fdatasync(this.#fd, done))
  }

  async sizeBytes(): Promise<number> {
    this.#check(null, 0)
    return (await call<fs.Stats>(this.path, 'stat', (done) => fs.fstat(this.#fd, done))).size
  }

  async truncate(bytes: number): Promise<void> {
    this.#check(null, 0)
    await call<void>(this.path, 'truncate', (done) => fs.ftruncate(this.#fd, bytes, done))
  }

  async close(): Promise<void> {
    this.#check(null, 0)
    this.#closed = true
    // The number of a closed descriptor is given to the next file that is opened.
    if (this.#claims > 0) {
      await new Promise<void>((resolve) => {
        this.#onUnclaimed = resolve
      })
    }
    await call<void>(this.path, 'close', (done) => fs.close(this.#fd, done))
  }

  // --- for batches

  batchRefusal(at: number): LemnisError | null {
    if (this.#closed) return misuse('EBADF', this.path)
    // Durable files take aligned memory only, and need no sync.
    const isPossible = this.#owns === null && Number.isSafeInteger(at) && at >= 0
    return isPossible ? null : misuse('EINVAL', this.path)
  }

  claim(): number {
    this.#claims++
    return this.#fd
  }

  release(): void {
    this.#claims--
    if (this.#claims === 0) this.#onUnclaimed?.()
  }

  /** A closed descriptor's number may belong to another file by now: it is never used again. */
  #check(memory: Uint8Array | null, at: number): void {
    if (this.#closed) throw misuse('EBADF', this.path)
    if (memory === null || this.#owns === null) return
    const aligned =
      at % DISK_BLOCK_BYTES === 0 &&
      memory.byteLength % DISK_BLOCK_BYTES === 0 &&
      memory.byteOffset % DISK_BLOCK_BYTES === 0 &&
      this.#owns(memory)
    if (!aligned) throw misuse('EINVAL', this.path)
  }
}

function misuse(errno: string, path: string): LemnisError {
  return new LemnisError('INVALID_ARGUMENT', { errno, path })
}

function openAt(path: string, full: string, flags: number): Promise<number> {
  return call<number>(path, 'open', (done) => fs.open(full, flags, 0o640, done))
}

type Done<T> = (error: NodeJS.ErrnoException | null, value?: T) => void

function call<T>(path: string, operation: string, start: (done: Done<T>) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    start((error, value) => {
      if (error) reject(diskError(error.code ?? 'unknown', path, operation, error))
      else resolve(value as T)
    })
  })
}
