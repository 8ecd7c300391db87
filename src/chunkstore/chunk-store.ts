// Owns the chunks of one disk: the replicas, and what they share: memory, open files, the pool, the
// trash, the disk's health. Layout: manifests/, chunks/, pool/ and trash/ under one directory; all
// names of a replica begin with its group and id.
// Invariant: once the disk has failed nothing is written any more; its owner is told and stops.

import { EMPTY } from '../base/bytes.ts'
import { LemnisError } from '../base/errors.ts'
import type { Timer } from '../env/clock.ts'
import type { Env } from '../env/env.ts'
import { BLOCK_BYTES } from '../format/chunk-request.ts'
import type { Observer } from '../observe/observe.ts'
import { BlockReader } from './block-reader.ts'
import type { ChunkStoreConfig } from './config.ts'
import { replicaName, type StoreLayout, storeLayout } from './directories.ts'
import { DiskHealth } from './disk-health.ts'
import { FILE_BYTES } from './layout.ts'
import { decodeManifest, type Manifest } from './manifest.ts'
import { Merger } from './merger.ts'
import { OpenFiles } from './open-files.ts'
import type { StoreParts } from './parts.ts'
import { Pool } from './pool.ts'
import { ReplicaChunks, type ReplicaHost } from './replica-chunks.ts'
import { Tables } from './tables.ts'
import type { ChunkUsage } from './types.ts'
import { readWhole } from './whole-file.ts'
import { WriteBack } from './write-back.ts'

/** Names of the files of all replicas, as they were when somebody looked. */
interface Names {
  /** The oldest first; more than one after a crash only. */
  readonly manifests: ReadonlyMap<string, readonly ManifestName[]>
  readonly chunks: ReadonlyMap<string, readonly string[]>
}

interface ManifestName {
  readonly file: string
  readonly generation: number
}

export interface LogBytes {
  /** What it needs itself: the reserve is for this in the first place. */
  readonly ownBytes: number
  /** What it gives back when there is no room. */
  readonly heldBytes: number
}

const NO_LOG: LogBytes = { ownBytes: 0, heldBytes: 0 }

export class ChunkStore {
  readonly #merger: Merger
  readonly #host: ReplicaHost
  readonly #parts: StoreParts
  readonly #files: OpenFiles
  readonly #replicas = new Set<ReplicaChunks>()
  #names: Names | null = null
  #trashTimer: Timer | null = null
  #closed = false

  private constructor(parts: StoreParts, files: OpenFiles) {
    this.#parts = parts
    this.#files = files
    this.#merger = new Merger(parts)
    this.#host = {
      merger: this.#merger,
      freeBytes: () => this.#freeBytes(),
      closed: (replica) => this.#replicaClosed(replica),
    }
  }

  /** `logBytes`: what the log of this disk takes of it now. */
  static async open(
    env: Env,
    observer: Observer,
    directory: string,
    config: ChunkStoreConfig,
    logBytes = (): LogBytes => NO_LOG,
  ): Promise<ChunkStore> {
    const layout = storeLayout(directory)
    for (const path of Object.values(layout)) await env.disk.makeDirectory(path)
    for (const path of directoriesTo(directory)) await env.disk.syncDirectory(path)
    const files = new OpenFiles(env.disk, config.openFilesMax)
    const parts = makeParts(env, observer, config, layout, files, logBytes)
    await parts.pool.open()
    await parts.health.sample()
    const store = new ChunkStore(parts, files)
    await store.#begin()
    return store
  }

  async #begin(): Promise<void> {
    const { health, observer, writeBack, tally, env, layout } = this.#parts
    health.onFull = () => void this.#makeRoom().catch((error: unknown) => health.failedBy(error))
    for (const file of await env.disk.list(layout.manifests)) {
      if (file.endsWith('.tmp')) await env.disk.remove(`${layout.manifests}/${file}`)
    }
    const names = await this.#look()
    observer.gauge('chunkstore_dirty_bytes', () => writeBack.dirtyBytes)
    observer.gauge('chunkstore_used_bytes', () => tally.usedBytes)
    observer.gauge('chunkstore_capacity_bytes', () => this.#capacityBytes)
    observer.emit('chunkstore_opened', {
      replicas: names.manifests.size,
      capacityBytes: this.#capacityBytes,
      freeBytes: health.freeBytes,
    })
    if ((await env.disk.list(layout.trash)).length > 0) this.#emptyTrashLater()
  }

  get onFailed(): ((error: LemnisError) => void) | null {
    return this.#parts.health.onFailed
  }

  /** The disk returned an error: nothing is tried again, and the process must fence itself. */
  set onFailed(tell: ((error: LemnisError) => void) | null) {
    this.#parts.health.onFailed = tell
  }

  // --- replicas

  /** CORRUPT when its manifest is damaged, or missing though it has files. */
  async openReplica(group: number, replica: number): Promise<ReplicaChunks> {
    this.#parts.health.check()
    const name = replicaName(group, replica)
    const names = this.#names ?? (await this.#look())
    const manifest = await this.#readManifest(group, replica, names.manifests.get(name) ?? [])
    const files = names.chunks.get(name) ?? []
    if (manifest === null && files.length > 0) {
      throw new LemnisError('CORRUPT', { what: 'replica', group, replica, reason: 'no manifest' })
    }
    if (manifest !== null) await this.#removeStrays(name, manifest, names)
    const { layout } = this.#parts
    const there = new Set(files.map((file) => `${layout.chunks}/${file}`))
    const isThere = (path: string): boolean => there.has(path)
    const opened = new ReplicaChunks(this.#parts, this.#host, group, replica, manifest, isThere)
    // From here on a replica without a manifest is one that has lost it.
    if (manifest === null) await opened.checkpoint(EMPTY)
    this.#replicas.add(opened)
    return opened
  }

  async #readManifest(
    group: number,
    replica: number,
    files: readonly ManifestName[],
  ): Promise<Manifest | null> {
    const newest = files.at(-1)
    if (newest === undefined) return null
    const { env, layout } = this.#parts
    const bytes = await readWhole(env.disk, `${layout.manifests}/${newest.file}`)
    const manifest = decodeManifest(bytes, env.crc32c)
    const isIts =
      manifest.group === group &&
      manifest.replica === replica &&
      manifest.generation === newest.generation
    if (!isIts) throw new LemnisError('CORRUPT', { what: 'manifest', file: newest.file })
    return manifest
  }

  /** What a crash left: drafts and older manifests, and files made after the newest one. */
  async #removeStrays(name: string, manifest: Manifest, names: Names): Promise<void> {
    const { env, layout } = this.#parts
    for (const { file, generation } of names.manifests.get(name) ?? []) {
      if (generation !== manifest.generation) await env.disk.remove(`${layout.manifests}/${file}`)
    }
    const known = new Set<string>()
    for (const { layers } of manifest.chunks) {
      for (const { held } of layers) for (const { id } of held) known.add(`${name}-${id}.chunk`)
    }
    for (const file of names.chunks.get(name) ?? []) {
      if (!known.has(file)) await env.disk.remove(`${layout.chunks}/${file}`)
    }
  }

  /** Moves the files of a closed or damaged replica to the trash; nothing there is no error. */
  async removeReplica(group: number, replica: number): Promise<void> {
    const { env, layout, health } = this.#parts
    health.check()
    const name = replicaName(group, replica)
    const { manifests, chunks } = await this.#look()
    try {
      // The manifest first: what a crash leaves of the rest is no replica any more.
      for (const { file } of manifests.get(name) ?? []) {
        await env.disk.rename(`${layout.manifests}/${file}`, `${layout.trash}/${file}`)
      }
      await env.disk.syncDirectory(layout.manifests)
      for (const file of chunks.get(name) ?? []) {
        await this.#files.forget(`${layout.chunks}/${file}`)
        await env.disk.rename(`${layout.chunks}/${file}`, `${layout.trash}/${file}`)
      }
      await env.disk.syncDirectory(layout.chunks)
    } catch (error) {
      throw health.changeFailed(error)
    } finally {
      this.#names = null
    }
    if (health.full) await this.#emptyTrash()
    else this.#emptyTrashLater()
  }

  async #replicaClosed(replica: ReplicaChunks): Promise<void> {
    const { writeBack, layout } = this.#parts
    const name = replicaName(replica.group, replica.replica)
    // A batch under way may still write into its files.
    await writeBack.settled()
    await this.#files.forgetAll(`${layout.chunks}/${name}-`)
    this.#replicas.delete(replica)
    this.#names = null
  }

  /** One look at the directories for all replicas that are opened after it. */
  async #look(): Promise<Names> {
    const { env, layout } = this.#parts
    const manifests = new Map<string, ManifestName[]>()
    for (const file of await env.disk.list(layout.manifests)) {
      const match = /^(\d+-\d+)\.(\d+)$/.exec(file)
      // Others are drafts: a crash left them, or somebody writes them just now.
      if (match === null) continue
      const [, name, generation] = match as unknown as [string, string, string]
      addTo(manifests, name, { file, generation: Number(generation) })
    }
    for (const files of manifests.values()) files.sort((a, b) => a.generation - b.generation)
    const chunks = new Map<string, string[]>()
    for (const file of await env.disk.list(layout.chunks)) {
      addTo(chunks, file.slice(0, file.lastIndexOf('-')), file)
    }
    this.#names = { manifests, chunks }
    return this.#names
  }

  // --- room

  get #capacityBytes(): number {
    const { config, health, tally } = this.#parts
    if (config.capacityBytes > 0) return config.capacityBytes
    return Math.max(0, health.freeBytes + tally.usedBytes - config.reserveBytes)
  }

  #freeBytes(): number {
    const { config, health, tally } = this.#parts
    const roomBytes = health.freeBytes - config.reserveBytes
    return Math.min(this.#capacityBytes - tally.usedBytes, roomBytes)
  }

  /** Beside the reserve, whatever the capacity that is set; with what the log gives back when it is asked. */
  roomBytes(): number {
    const { config, health } = this.#parts
    health.sampleIfOld()
    return health.freeBytes - config.reserveBytes
  }

  usage(): ChunkUsage {
    const { health, tally, writeBack } = this.#parts
    health.sampleIfOld()
    const freeBytes = Math.max(0, this.#freeBytes())
    const isFull = health.full || freeBytes < FILE_BYTES
    return {
      capacityBytes: this.#capacityBytes,
      usedBytes: tally.usedBytes,
      freeBytes,
      state: health.failed !== null ? 'failed' : isFull ? 'full' : 'ok',
      badBlocks: tally.badBlocks,
      repairedBlocks: tally.repairedBlocks,
      dirtyBytes: writeBack.dirtyBytes,
    }
  }

  async #makeRoom(): Promise<void> {
    await this.#emptyTrash()
    await this.#parts.writeBack.inTurn(() => this.#parts.pool.empty())
  }

  #emptyTrashLater(): void {
    if (this.#trashTimer !== null || this.#closed) return
    const { env, config, health } = this.#parts
    this.#trashTimer = env.clock.after(config.trashAfterMs, () => {
      this.#trashTimer = null
      this.#emptyTrash().catch((error: unknown) => health.failedBy(error))
    })
  }

  async #emptyTrash(): Promise<void> {
    const { env, layout } = this.#parts
    for (const file of await env.disk.list(layout.trash)) {
      if (this.#closed) return
      await env.disk.remove(`${layout.trash}/${file}`)
    }
  }

  // --- the end

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#trashTimer?.cancel()
    await this.#merger.close()
    for (const replica of [...this.#replicas]) await replica.close()
    await this.#parts.writeBack.close()
    await this.#files.close()
  }
}

function makeParts(
  env: Env,
  observer: Observer,
  config: ChunkStoreConfig,
  layout: StoreLayout,
  files: OpenFiles,
  logBytes: () => LogBytes,
): StoreParts {
  const { poolFilesMax, reserveBytes } = config
  const roomBytes = Math.max(reserveBytes, FILE_BYTES)
  const held = (): number => {
    const { ownBytes, heldBytes } = logBytes()
    return Math.min(reserveBytes, ownBytes) + heldBytes
  }
  const health = new DiskHealth(env, observer, roomBytes, held)
  const pool = new Pool(env.disk, files, layout, poolFilesMax)
  const tables = new Tables(env, files, config.tableCacheBytes)
  return {
    env,
    observer,
    config,
    layout,
    health,
    pool,
    tables,
    reader: new BlockReader(files, tables, env.crc32c, config.bugs?.has('unverified-read')),
    writeBack: new WriteBack(env, observer, config, files, pool, health),
    tally: {
      usedBytes: 0,
      badBlocks: 0,
      repairedBlocks: 0,
      badBlocksTotal: observer.counter('chunkstore_bad_blocks_total'),
      repairedBlocksTotal: observer.counter('chunkstore_repaired_blocks_total'),
      checkpointsTotal: observer.counter('chunkstore_checkpoints_total'),
      nextKey: 1,
    },
    zeroCrc: env.crc32c(new Uint8Array(BLOCK_BYTES)),
  }
}

/** The directory and all above it, the root first: a name is durable with its directory. */
function directoriesTo(directory: string): string[] {
  const parts = directory.split('/').filter((part) => part !== '')
  return ['', ...parts].map((_, i) => parts.slice(0, i).join('/'))
}

function addTo<T>(map: Map<string, T[]>, name: string, value: T): void {
  const known = map.get(name)
  if (known === undefined) map.set(name, [value])
  else known.push(value)
}
