// Owns the simulated disk: env/disk.ts with everything that a real one may do to its users. Faults
// come from a plan that may change at any time, latencies from the given clock, chance from the
// given source, so that a run repeats exactly. A trace of all changes lets tests rebuild the disk
// at any moment.

import { roundUp } from '../base/bytes.ts'
import { LemnisError } from '../base/errors.ts'
import type { Clock } from '../env/clock.ts'
import {
  DISK_BLOCK_BYTES,
  type Disk,
  type DiskFile,
  type OpenOptions,
  type Piece,
} from '../env/disk.ts'
import type { Random } from '../env/random.ts'
import { type CrashChoice, PAGE_BYTES, SimInode } from './disk-inode.ts'
import { normalPath, refusal, SimNames } from './disk-names.ts'

/** What goes wrong; read anew at each operation. Chances are from 0 to 1. */
export interface DiskFaults {
  latencyMinMs: number
  latencyMaxMs: number
  /** Multiplies latencies: a slow disk. */
  slowFactor: number
  readErrorChance: number
  /** Of writes and syncs; part of a failed write may be there. */
  writeErrorChance: number
  /** One bit of what a read returns is wrong; the next read may be right. */
  readFlipChance: number
  /** One bit of what was just written is wrong, for good. */
  restFlipChance: number
  /** A write goes to another block of its file, and is reported as done. */
  misdirectChance: number
  capacityBytes: number
}

export function noFaults(): DiskFaults {
  return {
    latencyMinMs: 0,
    latencyMaxMs: 0,
    slowFactor: 1,
    readErrorChance: 0,
    writeErrorChance: 0,
    readFlipChance: 0,
    restFlipChance: 0,
    misdirectChance: 0,
    capacityBytes: Number.MAX_SAFE_INTEGER,
  }
}

/**
 * A change of the disk, in the order of taking effect. Notes are the test's own, e.g.
 * "acknowledged".
 */
export type DiskEvent =
  | { readonly kind: 'create'; readonly path: string; readonly inode: number }
  | {
      readonly kind: 'write'
      readonly inode: number
      readonly at: number
      readonly data: Uint8Array
      readonly durable: boolean
    }
  | { readonly kind: 'sync'; readonly inode: number; readonly changes: number }
  | { readonly kind: 'truncate'; readonly inode: number; readonly size: number }
  | { readonly kind: 'make-directory' | 'remove' | 'sync-directory'; readonly path: string }
  | { readonly kind: 'rename'; readonly from: string; readonly to: string }
  | { readonly kind: 'note'; readonly note: unknown }

interface WriteInFlight {
  readonly inode: SimInode
  readonly at: number
  readonly data: Uint8Array
  readonly durable: boolean
}

interface FileWrite extends WriteInFlight {
  readonly file: SimFile
}

export class SimDisk implements Disk {
  readonly faults: DiskFaults = noFaults()
  readonly #clock: Clock
  readonly #random: Random
  readonly #names = new SimNames()
  readonly #inodes = new Map<number, SimInode>()
  readonly #inFlight = new Set<WriteInFlight>()
  readonly #allocated = new WeakSet<ArrayBufferLike>()
  #generation = 0
  #nextInode = 1
  #held: (() => void)[] | null = null
  #trace: DiskEvent[] | null = null

  constructor(clock: Clock, random: Random) {
    this.#clock = clock
    this.#random = random
  }

  /** The disk after the first `count` events: with all that was written, synced or not. */
  static replay(
    clock: Clock,
    random: Random,
    events: readonly DiskEvent[],
    count = events.length,
  ): SimDisk {
    const disk = new SimDisk(clock, random)
    for (let i = 0; i < count; i++) disk.#change(events[i] as DiskEvent)
    return disk
  }

  /**
   * Starts the trace; the array grows while the disk is used. Only from the disk's very beginning.
   */
  record(): DiskEvent[] {
    this.#trace ??= []
    return this.#trace
  }

  note(note: unknown): void {
    this.#trace?.push({ kind: 'note', note })
  }

  /** Operations from now on, and those under way, do not end until resume(). */
  stall(): void {
    this.#held ??= []
  }

  resume(): void {
    const held = this.#held ?? []
    this.#held = null
    for (const finish of held) finish()
  }

  /**
   * The process ends ('process': what it wrote stays in the page cache) or the power goes ('power':
   * what was not synced may go too). Writes in flight are lost, kept or torn; handles and promises
   * die.
   */
  crash(kind: 'process' | 'power', choice: CrashChoice = this.#random): void {
    this.#generation++
    this.#held = null
    for (const write of this.#inFlight) {
      write.inode.writePart(write.at, write.data, write.durable, choice)
    }
    this.#inFlight.clear()
    for (const inode of this.#inodes.values()) inode.openCount = 0
    if (kind === 'process') return
    for (const inode of this.#inodes.values()) inode.losePower(choice)
    this.#names.losePower(choice)
    this.#forgetUnused()
  }

  /** The disk as one process sees it: after the next crash, nothing that it asks for happens. */
  mount(): Disk {
    const generation = this.#generation
    const alive = <T>(act: () => Promise<T>): Promise<T> =>
      generation === this.#generation ? act() : new Promise(() => {})
    return {
      open: (path, options) => alive(() => this.open(path, options)),
      list: (directory) => alive(() => this.list(directory)),
      makeDirectory: (path) => alive(() => this.makeDirectory(path)),
      rename: (from, to) => alive(() => this.rename(from, to)),
      remove: (path) => alive(() => this.remove(path)),
      syncDirectory: (path) => alive(() => this.syncDirectory(path)),
      freeBytes: () => alive(() => this.freeBytes()),
      writeAll: (pieces) => alive(() => this.writeAll(pieces)),
      allocate: (bytes) => this.allocate(bytes),
    }
  }

  /** Takes part of a write of a trace: the sectors, counted from 0, for which `keeps` says so. */
  tearInto(event: DiskEvent & { kind: 'write' }, keeps: (sector: number) => boolean): void {
    this.#inode(event.inode).writeSectors(event.at, event.data, event.durable, keeps)
  }

  /** Damage at rest. */
  flip(path: string, at: number, bit = 0): void {
    const inode = this.#names.get(normalPath(path))
    if (inode === undefined) throw refusal('ENOENT', path)
    inode.flip(at, bit)
  }

  usedBytes(): number {
    let pages = 0
    for (const inode of this.#names.inodes()) pages += inode.pageCount
    return pages * PAGE_BYTES
  }

  open(path: string, options: OpenOptions = {}): Promise<DiskFile> {
    const name = normalPath(path)
    return this.#later(() => {
      let inode = this.#names.get(name)
      if (inode === undefined) {
        if (options.create !== true) throw refusal('ENOENT', path)
        this.#change({ kind: 'create', path: name, inode: this.#nextInode })
        inode = this.#names.get(name) as SimInode
      } else if (options.exclusive === true) {
        throw refusal('EEXIST', path)
      }
      inode.openCount++
      return new SimFile(this, path, inode, options.durable === true, this.#generation)
    })
  }

  list(directory: string): Promise<string[]> {
    return this.#later(() => this.#names.list(normalPath(directory)))
  }

  makeDirectory(path: string): Promise<void> {
    return this.#later(() => this.#change({ kind: 'make-directory', path: normalPath(path) }))
  }

  rename(from: string, to: string): Promise<void> {
    const event = { kind: 'rename', from: normalPath(from), to: normalPath(to) } as const
    return this.#later(() => this.#change(event))
  }

  remove(path: string): Promise<void> {
    return this.#later(() => this.#change({ kind: 'remove', path: normalPath(path) }))
  }

  syncDirectory(path: string): Promise<void> {
    return this.#later(() => {
      this.#failPerhaps(this.faults.writeErrorChance, path, 'syncDirectory')
      this.#change({ kind: 'sync-directory', path: normalPath(path) })
    })
  }

  freeBytes(): Promise<number> {
    return this.#later(() => Math.max(0, this.faults.capacityBytes - this.usedBytes()))
  }

  /** One latency for all pieces; each is a write of its own to faults and crashes. */
  writeAll(pieces: readonly Piece[]): Promise<void> {
    const writes: FileWrite[] = []
    for (const { file, at, from } of pieces) {
      if (!(file instanceof SimFile)) return Promise.reject(refusal('EXDEV', file.path))
      if (file.generation !== this.#generation) return new Promise(() => {})
      if (file.closed) return Promise.reject(refusal('EBADF', file.path))
      if (file.durable) return Promise.reject(refusal('EINVAL', file.path))
      const { inode, durable } = file
      if (from.byteLength > 0) writes.push({ file, inode, at, data: from.slice(), durable })
    }
    if (writes.length === 0) return Promise.resolve()
    for (const write of writes) this.#inFlight.add(write)
    const written = this.#later(() => {
      for (const write of writes) this.#inFlight.delete(write)
      for (const write of writes) this.#write(write)
    })
    for (const { file } of writes) file.batches.add(written)
    const ended = (): void => {
      for (const { file } of writes) file.batches.delete(written)
    }
    written.then(ended, ended)
    return written
  }

  allocate(bytes: number): Uint8Array {
    const memory = new Uint8Array(roundUp(bytes, DISK_BLOCK_BYTES))
    this.#allocated.add(memory.buffer)
    return memory
  }

  /** For SimFile. */
  readInode(file: SimFile, into: Uint8Array, at: number): Promise<number> {
    return this.#ofFile(file, () => {
      this.#requireAligned(file, into, at)
      this.#failPerhaps(this.faults.readErrorChance, file.path, 'read')
      const bytes = file.inode.read(into, at)
      if (bytes > 0 && this.#happens(this.faults.readFlipChance)) {
        const hit = this.#random.below(bytes)
        into[hit] = (into[hit] as number) ^ (1 << this.#random.below(8))
      }
      return bytes
    })
  }

  /** For SimFile. */
  writeInode(file: SimFile, from: Uint8Array, at: number): Promise<void> {
    const write = { file, inode: file.inode, at, data: from, durable: file.durable }
    if (file.generation === this.#generation) this.#inFlight.add(write)
    return this.#ofFile(file, () => {
      this.#inFlight.delete(write)
      this.#requireAligned(file, from, at)
      this.#write(write)
    })
  }

  #write({ file, inode, at, data, durable }: FileWrite): void {
    this.#requireSpace(file, data.byteLength, at)
    if (this.#happens(this.faults.writeErrorChance)) {
      inode.writePart(at, data, durable, this.#random)
      throw new LemnisError('DISK_FAILED', { errno: 'EIO', path: file.path, operation: 'write' })
    }
    const place = this.#happens(this.faults.misdirectChance) ? this.#elsewhere(inode) : at
    this.#change({ kind: 'write', inode: inode.id, at: place, data, durable })
    if (data.byteLength > 0 && this.#happens(this.faults.restFlipChance)) {
      inode.flip(place + this.#random.below(data.byteLength), this.#random.below(8))
    }
  }

  /** For SimFile. */
  syncInode(file: SimFile): Promise<void> {
    const changes = file.inode.pendingCount
    return this.#ofFile(file, () => {
      this.#failPerhaps(this.faults.writeErrorChance, file.path, 'sync')
      const count = Math.min(changes, file.inode.pendingCount)
      this.#change({ kind: 'sync', inode: file.inode.id, changes: count })
    })
  }

  /** For SimFile. */
  truncateInode(file: SimFile, size: number): Promise<void> {
    return this.#ofFile(file, () => this.#change({ kind: 'truncate', inode: file.inode.id, size }))
  }

  /** For SimFile: batches that use the file end first. */
  closeInode(file: SimFile): Promise<void> {
    const release = (): Promise<void> => this.#ofFile(file, () => void file.inode.openCount--)
    if (file.batches.size === 0 || file.closed) return release()
    return Promise.allSettled(file.batches).then(() => {
      if (file.generation !== this.#generation) return new Promise(() => {})
      return this.#later(() => void file.inode.openCount--)
    })
  }

  /** For SimFile: runs `act` after a latency; after a crash, never. */
  later<T>(file: SimFile, act: () => T): Promise<T> {
    return this.#ofFile(file, act)
  }

  #ofFile<T>(file: SimFile, act: () => T): Promise<T> {
    if (file.generation !== this.#generation) return new Promise(() => {})
    if (file.closed) {
      return Promise.reject(
        new LemnisError('INVALID_ARGUMENT', { errno: 'EBADF', path: file.path }),
      )
    }
    return this.#later(act)
  }

  #later<T>(act: () => T): Promise<T> {
    const generation = this.#generation
    return new Promise((resolve, reject) => {
      const finish = (): void => {
        if (generation !== this.#generation) return
        if (this.#held !== null) {
          this.#held.push(finish)
          return
        }
        try {
          resolve(act())
        } catch (error) {
          reject(error)
        }
      }
      this.#clock.after(this.#latencyMs(), finish)
    })
  }

  #latencyMs(): number {
    const { latencyMinMs, latencyMaxMs, slowFactor } = this.faults
    if (latencyMaxMs <= 0) return 0
    const share = this.#random.below(1024) / 1024
    return (latencyMinMs + (latencyMaxMs - latencyMinMs) * share) * slowFactor
  }

  #happens(chance: number): boolean {
    return chance > 0 && this.#random.chance(chance)
  }

  #failPerhaps(chance: number, path: string, operation: string): void {
    if (this.#happens(chance)) {
      throw new LemnisError('DISK_FAILED', { errno: 'EIO', path, operation })
    }
  }

  #requireAligned(file: SimFile, memory: Uint8Array, at: number): void {
    if (!file.durable) return
    const aligned =
      at % DISK_BLOCK_BYTES === 0 &&
      memory.byteLength % DISK_BLOCK_BYTES === 0 &&
      memory.byteOffset % DISK_BLOCK_BYTES === 0 &&
      this.#allocated.has(memory.buffer)
    if (!aligned) throw refusal('EINVAL', file.path)
  }

  #requireSpace(file: SimFile, bytes: number, at: number): void {
    const { capacityBytes } = this.faults
    if (capacityBytes === Number.MAX_SAFE_INTEGER) return
    const added = file.inode.missingPages(at, bytes) * PAGE_BYTES
    if (added > 0 && this.usedBytes() + added > capacityBytes) {
      throw new LemnisError('NO_SPACE', { errno: 'ENOSPC', path: file.path })
    }
  }

  #elsewhere(inode: SimInode): number {
    return this.#random.below(Math.max(1, Math.floor(inode.size / PAGE_BYTES))) * PAGE_BYTES
  }

  #change(event: DiskEvent): void {
    switch (event.kind) {
      case 'create': {
        const inode = new SimInode(event.inode)
        this.#names.link(event.path, inode)
        this.#inodes.set(event.inode, inode)
        this.#nextInode = event.inode + 1
        break
      }
      case 'write':
        this.#inode(event.inode).write(event.at, event.data, event.durable)
        break
      case 'sync':
        this.#inode(event.inode).sync(event.changes)
        break
      case 'truncate':
        this.#inode(event.inode).truncate(event.size)
        break
      case 'make-directory':
        this.#names.makeDirectory(event.path)
        break
      case 'remove':
        this.#names.unlink(event.path)
        break
      case 'rename':
        this.#names.rename(event.from, event.to)
        break
      case 'sync-directory':
        this.#names.syncDirectory(event.path)
        this.#forgetUnused()
        break
      case 'note':
        break
    }
    if (this.#trace === null) return
    this.#trace.push(event.kind === 'write' ? { ...event, data: event.data.slice() } : event)
  }

  #inode(id: number): SimInode {
    const inode = this.#inodes.get(id)
    if (inode === undefined) throw refusal('ESTALE', String(id))
    return inode
  }

  #forgetUnused(): void {
    const named = new Set(this.#names.inodes())
    for (const [id, inode] of this.#inodes) {
      if (inode.openCount === 0 && !named.has(inode)) this.#inodes.delete(id)
    }
  }
}

class SimFile implements DiskFile {
  readonly path: string
  readonly inode: SimInode
  readonly durable: boolean
  readonly generation: number
  closed = false
  /** Batches of the disk that write to this file and have not ended. */
  readonly batches = new Set<Promise<void>>()
  readonly #disk: SimDisk

  constructor(disk: SimDisk, path: string, inode: SimInode, durable: boolean, generation: number) {
    this.#disk = disk
    this.path = path
    this.inode = inode
    this.durable = durable
    this.generation = generation
  }

  read(into: Uint8Array, at: number): Promise<number> {
    return this.#disk.readInode(this, into, at)
  }

  write(from: Uint8Array, at: number): Promise<void> {
    return this.#disk.writeInode(this, from, at)
  }

  sync(): Promise<void> {
    return this.#disk.syncInode(this)
  }

  sizeBytes(): Promise<number> {
    return this.#disk.later(this, () => this.inode.size)
  }

  truncate(bytes: number): Promise<void> {
    return this.#disk.truncateInode(this, bytes)
  }

  close(): Promise<void> {
    const closing = this.#disk.closeInode(this)
    this.closed = true
    return closing
  }
}
