// Owns the directory of one key-value machine. A bucket's file is written once, under a name with the
// generation that wrote it; a manifest, made visible by rename when everything it names is durable,
// says which files are the state. So a crash at any moment leaves the old state or the new one.
// Files that no manifest names are removed at the next start, but for half-received buckets.

import { must } from '../../base/assert.ts'
import type { Crc32c } from '../../base/crc32c.ts'
import { asLemnisError, LemnisError } from '../../base/errors.ts'
import type { Disk, DiskFile } from '../../env/disk.ts'
import { decodeBucket, type KvBucket } from './kv-bucket.ts'
import { type BucketFile, decodeManifest, encodeManifest, type Manifest } from './kv-manifest.ts'

/** A larger file is none of ours. */
const FILE_BYTES_MAX = 1024 * 1024 * 1024

export interface KvStored {
  readonly manifest: Manifest
  readonly buckets: ReadonlyMap<number, KvBucket>
}

export class KvFiles {
  readonly #disk: Disk
  readonly #crc32c: Crc32c
  readonly #directory: string
  readonly #bucketCount: number
  #lastGeneration = 0

  constructor(disk: Disk, crc32c: Crc32c, directory: string, bucketCount: number) {
    this.#disk = disk
    this.#crc32c = crc32c
    this.#directory = directory
    this.#bucketCount = bucketCount
  }

  /** The newest state whose files are all sound; null when there never was one. */
  async load(): Promise<KvStored | null> {
    await this.#makeDirectory()
    const names = await this.#disk.list(this.#directory)
    for (const name of names) {
      const generation = generationOf(name)
      if (generation > this.#lastGeneration) this.#lastGeneration = generation
    }
    const manifests = names.filter((name) => /^manifest-\d+$/.test(name))
    manifests.sort((a, b) => generationOf(b) - generationOf(a))
    let damage: LemnisError | null = null
    for (const name of manifests) {
      try {
        const stored = await this.#loadFrom(name)
        await this.#removeAllBut(stored.manifest)
        return stored
      } catch (error) {
        damage ??= asLemnisError(error)
      }
    }
    if (damage !== null) throw damage
    return null
  }

  /** The directory and those above it are durable before anything in them is promised. */
  async #makeDirectory(): Promise<void> {
    await this.#disk.makeDirectory(this.#directory)
    const parts = this.#directory.split('/')
    while (parts.pop() !== undefined) await this.#disk.syncDirectory(parts.join('/') || '.')
  }

  async #loadFrom(name: string): Promise<KvStored> {
    const manifest = decodeManifest(await this.readAll(name), this.#crc32c)
    if (manifest.bucketCount !== this.#bucketCount) {
      throw new LemnisError('CORRUPT', { what: 'manifest', bucketCount: manifest.bucketCount })
    }
    const buckets = new Map<number, KvBucket>()
    for (const file of manifest.files) {
      const bucket = await this.readBucket(bucketName(file), file.bucket)
      if (bucket.version !== file.version) {
        throw new LemnisError('CORRUPT', { what: 'bucket', bucket: file.bucket, reason: 'version' })
      }
      buckets.set(file.bucket, bucket)
    }
    return { manifest, buckets }
  }

  /** A number that no file here has had; also those of attempts that failed. */
  nextGeneration(): number {
    return ++this.#lastGeneration
  }

  async readBucket(name: string, bucket: number): Promise<KvBucket> {
    return decodeBucket(await this.readAll(name), bucket, this.#bucketCount, this.#crc32c)
  }

  /** Durable when it resolves, but for its name, which publish() makes durable. */
  async writeBucket(generation: number, bucket: number, state: KvBucket): Promise<BucketFile> {
    const file = { bucket, generation, version: state.version, bytes: state.bytes }
    await this.#writeNew(bucketName(file), state.encode(bucket, this.#bucketCount, this.#crc32c))
    return file
  }

  /** Makes a received and synced file one of the state's. */
  async adopt(name: string, file: BucketFile): Promise<void> {
    await this.#disk.rename(this.#path(name), this.#path(bucketName(file)))
  }

  /** Makes `manifest` the state, durably and in one step, then removes what it replaces. */
  async publish(manifest: Manifest): Promise<void> {
    const name = `manifest-${manifest.generation}`
    await this.#writeNew(`${name}.new`, encodeManifest(manifest, this.#crc32c))
    // The names of the buckets first: the manifest must not come up without them.
    await this.#disk.syncDirectory(this.#directory)
    await this.#disk.rename(this.#path(`${name}.new`), this.#path(name))
    await this.#disk.syncDirectory(this.#directory)
    await this.#removeAllBut(manifest)
  }

  async #removeAllBut(manifest: Manifest): Promise<void> {
    const kept = new Set(manifest.files.map(bucketName))
    kept.add(`manifest-${manifest.generation}`)
    const names = await this.#disk.list(this.#directory)
    // Manifests first: one that is still there must find its files.
    names.sort((a, b) => Number(b.startsWith('manifest')) - Number(a.startsWith('manifest')))
    for (const name of names) {
      if (!kept.has(name) && !name.startsWith('incoming-')) await this.remove(name)
    }
  }

  /** Takes back what an attempt wrote before it failed; a disk that fails here too changes nothing. */
  async discard(generation: number): Promise<void> {
    const names = await this.#disk.list(this.#directory).catch(() => [])
    for (const name of names) {
      if (generationOf(name) === generation) await this.remove(name).catch(() => {})
    }
  }

  // --- single files, by their name in the directory

  list(): Promise<string[]> {
    return this.#disk.list(this.#directory)
  }

  remove(name: string): Promise<void> {
    return this.#disk.remove(this.#path(name))
  }

  open(name: string): Promise<DiskFile> {
    return this.#disk.open(this.#path(name), { create: true })
  }

  async readAll(name: string): Promise<Uint8Array> {
    const file = await this.#disk.open(this.#path(name))
    try {
      const bytes = await file.sizeBytes()
      if (bytes > FILE_BYTES_MAX) throw new LemnisError('CORRUPT', { what: name, bytes })
      const out = new Uint8Array(bytes)
      const count = await file.read(out, 0)
      if (count !== bytes) throw new LemnisError('CORRUPT', { what: name, bytes, count })
      return out
    } finally {
      await file.close()
    }
  }

  async #writeNew(name: string, bytes: Uint8Array): Promise<void> {
    const file = await this.#disk.open(this.#path(name), { create: true, exclusive: true })
    try {
      await file.write(bytes, 0)
      await file.sync()
    } finally {
      await file.close()
    }
  }

  #path(name: string): string {
    return `${this.#directory}/${name}`
  }
}

function bucketName(file: BucketFile): string {
  return `bucket-${file.bucket}-${file.generation}`
}

/** Of `bucket-B-G`, `manifest-G` and `manifest-G.new`; 0 for other names. */
function generationOf(name: string): number {
  const match = /^(?:bucket-\d+|manifest)-(\d{1,15})(?:\.new)?$/.exec(name)
  return match === null ? 0 : Number(must(match[1], 'generation'))
}
