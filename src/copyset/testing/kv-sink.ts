// Owns the taking in of a peer's state: each bucket that differs goes to a file of its own, from where
// an interrupted transfer goes on; all of them become the state in one step. A name holds bucket and
// version, and equal versions have equal bytes, so another peer may finish what one has begun.
// A cursor is an offset in the bucket's bytes; what is held of a bucket is of no use for another version.

import { assert, must } from '../../base/assert.ts'
import { EMPTY } from '../../base/bytes.ts'
import { LemnisError } from '../../base/errors.ts'
import type { DiskFile } from '../../env/disk.ts'
import { type SnapshotItem, type SnapshotSink, TRANSFER_END } from '../../raft/snapshot.ts'
import type { KvBucket } from './kv-bucket.ts'
import type { KvFiles } from './kv-files.ts'

/** A received bucket in a synced file, which has the name of a bucket of the state only once it is one. */
export interface KvFetched {
  readonly name: string
  readonly bucket: number
  readonly version: number
  readonly bytes: number
}

/** What finish() hands over. */
export interface KvReceived {
  readonly index: number
  readonly items: readonly SnapshotItem[]
  readonly mark: Uint8Array
  readonly buckets: ReadonlyMap<number, KvBucket>
  readonly fetched: readonly KvFetched[]
}

interface Incoming {
  readonly item: SnapshotItem
  readonly file: DiskFile
  readonly resumeAt: number
  /** Bytes that write() has accepted. */
  bytes: number
}

export class KvSink implements SnapshotSink {
  readonly wanted: readonly SnapshotItem[]
  readonly #index: number
  readonly #items: readonly SnapshotItem[]
  readonly #files: KvFiles
  readonly #install: (received: KvReceived) => Promise<void>
  readonly #incoming = new Map<number, Incoming>()
  /** Writes of one transfer follow each other, so that a file never has a hole. */
  #last: Promise<void> = Promise.resolve()
  #closed = false

  private constructor(
    index: number,
    items: readonly SnapshotItem[],
    wanted: readonly SnapshotItem[],
    files: KvFiles,
    install: (received: KvReceived) => Promise<void>,
  ) {
    this.#index = index
    this.#items = items
    this.wanted = wanted
    this.#files = files
    this.#install = install
  }

  /** Finds what an earlier transfer left of the wanted items, and removes what it left of others. */
  static async open(
    index: number,
    items: readonly SnapshotItem[],
    wanted: readonly SnapshotItem[],
    files: KvFiles,
    install: (received: KvReceived) => Promise<void>,
  ): Promise<KvSink> {
    const sink = new KvSink(index, items, wanted, files, install)
    const names = new Set(wanted.map(incomingName))
    for (const name of await files.list()) {
      if (name.startsWith('incoming-') && !names.has(name)) await files.remove(name)
    }
    for (const item of wanted) {
      const file = await files.open(incomingName(item))
      const bytes = await file.sizeBytes()
      const resumeAt = bytes <= item.bytes ? bytes : 0
      if (resumeAt !== bytes) await file.truncate(0)
      sink.#incoming.set(item.id, { item, file, resumeAt, bytes: resumeAt })
    }
    return sink
  }

  resumeAt(id: number): number {
    const { resumeAt, item } = must(this.#incoming.get(id), 'resumeAt of a wanted item')
    return resumeAt === item.bytes ? TRANSFER_END : resumeAt
  }

  async have(): Promise<Uint8Array> {
    return EMPTY
  }

  write(id: number, at: number, bytes: Uint8Array, next: number): Promise<void> {
    const incoming = this.#incoming.get(id)
    const end = at + bytes.byteLength
    if (
      this.#closed ||
      incoming === undefined ||
      at > incoming.bytes ||
      end > incoming.item.bytes ||
      end !== (next === TRANSFER_END ? incoming.item.bytes : next)
    ) {
      return Promise.reject(
        new LemnisError('INVALID_ARGUMENT', { item: id, at, reason: 'not expected' }),
      )
    }
    // A repetition of what is there already.
    if (end <= incoming.bytes) return this.#last
    incoming.bytes = end
    this.#last = this.#last.then(() => incoming.file.write(bytes, at))
    return this.#last
  }

  async finish(mark: Uint8Array): Promise<void> {
    assert(!this.#closed, 'finish of a closed sink')
    await this.#last
    const buckets = new Map<number, KvBucket>()
    const fetched: KvFetched[] = []
    for (const { item, file, bytes } of this.#incoming.values()) {
      if (bytes !== item.bytes) {
        throw new LemnisError('INVALID_ARGUMENT', { item: item.id, bytes, expected: item.bytes })
      }
      await file.sync()
      buckets.set(item.id, await this.#check(item))
      fetched.push({ name: incomingName(item), bucket: item.id, version: item.version, bytes })
    }
    await this.#close()
    await this.#install({ index: this.#index, items: this.#items, mark, buckets, fetched })
  }

  /** A received bucket, read back; what is damaged goes, so that the next transfer brings it anew. */
  async #check(item: SnapshotItem): Promise<KvBucket> {
    const name = incomingName(item)
    try {
      const bucket = await this.#files.readBucket(name, item.id)
      if (bucket.version !== item.version) throw new LemnisError('CORRUPT', { item: item.id })
      return bucket
    } catch (error) {
      await this.#files.remove(name)
      throw error
    }
  }

  async abort(): Promise<void> {
    if (this.#closed) return
    await this.retire()
    for (const { item } of this.#incoming.values()) await this.#files.remove(incomingName(item))
  }

  /** Takes no more; what has come stays for the next transfer. */
  async retire(): Promise<void> {
    if (this.#closed) return
    // A failed write was told to its caller.
    await this.#last.catch(() => {})
    await this.#close()
  }

  async #close(): Promise<void> {
    this.#closed = true
    for (const { file } of this.#incoming.values()) await file.close()
  }
}

function incomingName(item: { readonly id: number; readonly version: number }): string {
  return `incoming-${item.id}-${item.version}`
}
