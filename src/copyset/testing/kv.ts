// Owns a key-value store as a state machine: what tests, the simulator and the replication bench
// replicate. Keys fall into buckets by hash; a bucket is the unit of checkpoint and snapshot.
// Invariants: equal entries give equal states and results on every replica; a checkpoint holds
// exactly what was applied when it was asked for; a snapshot is exact at its index. Both freeze the
// buckets they need, and apply() goes on with copies of those it changes.

import { assert, must } from '../../base/assert.ts'
import { bytesEqual, EMPTY, viewOf } from '../../base/bytes.ts'
import type { Crc32c } from '../../base/crc32c.ts'
import { LemnisError } from '../../base/errors.ts'
import { writeU53 } from '../../base/u53.ts'
import type { Env } from '../../env/env.ts'
import {
  type SnapshotItem,
  type SnapshotSink,
  type SnapshotSource,
  TRANSFER_END,
} from '../../raft/snapshot.ts'
import type { Entry } from '../../raft/types.ts'
import type { StateMachine } from '../state-machine.ts'
import { KvBucket, textOfKey } from './kv-bucket.ts'
import { decodeCommand, encodeResult, type KvCommand, type KvStatus } from './kv-codec.ts'
import { KvFiles } from './kv-files.ts'
import type { BucketFile } from './kv-manifest.ts'
import { type KvFetched, type KvReceived, KvSink } from './kv-sink.ts'

export interface KvOptions {
  /** How many snapshot items the keys are spread over; the same on all replicas, for ever. */
  readonly bucketCount?: number
}

const BUCKET_COUNT = 64

/**
 * A value keeps its entry's memory instead of a copy of its own only if it is most of it: a small
 * value must not keep a whole received frame alive.
 */
const KEEP_BYTES_MIN = 1024

export interface KvValue {
  readonly value: Uint8Array
  /** Of the entry that wrote it. */
  readonly index: number
}

export class KvMachine implements StateMachine {
  readonly #crc32c: Crc32c
  readonly #files: KvFiles
  readonly #buckets: KvBucket[]
  /** Where the durable state of each bucket is. */
  #durable = new Map<number, BucketFile>()
  #mark: Uint8Array = EMPTY
  #appliedIndex = 0
  #installing = false
  #sink: KvSink | null = null
  /** Checkpoints and installations follow each other. */
  #last: Promise<void> = Promise.resolve()

  private constructor(env: Env, files: KvFiles, bucketCount: number) {
    this.#crc32c = env.crc32c
    this.#files = files
    this.#buckets = Array.from({ length: bucketCount }, () => new KvBucket())
  }

  /** The machine of a directory, as its newest checkpoint left it; CORRUPT when that is damaged. */
  static async open(env: Env, directory: string, options: KvOptions = {}): Promise<KvMachine> {
    const bucketCount = options.bucketCount ?? BUCKET_COUNT
    const files = new KvFiles(env.disk, env.crc32c, directory, bucketCount)
    const machine = new KvMachine(env, files, bucketCount)
    const stored = await files.load()
    if (stored !== null) {
      for (const [id, bucket] of stored.buckets) machine.#buckets[id] = bucket
      machine.#durable = new Map(stored.manifest.files.map((file) => [file.bucket, file]))
      machine.#mark = stored.manifest.mark
      machine.#appliedIndex = stored.manifest.appliedIndex
    }
    return machine
  }

  get appliedIndex(): number {
    return this.#appliedIndex
  }
  get mark(): Uint8Array {
    return this.#mark
  }

  /** The current value; null when there is none. The memory is the machine's. */
  read(key: string): KvValue | null {
    const bytes = new TextEncoder().encode(key)
    return this.#bucketOf(bytes).items.get(textOfKey(bytes)) ?? null
  }

  apply(entry: Entry): Uint8Array {
    this.#advance(entry.index)
    const command = decodeCommand(entry.data)
    if (command === null) return encodeResult('malformed', 0, null)
    const id = this.#idOf(command.key)
    const bucket = this.#buckets[id] as KvBucket
    if (entry.index <= bucket.version) return encodeResult('replayed', 0, null)
    if (command.op === 'get') {
      const item = bucket.items.get(textOfKey(command.key))
      return item === undefined
        ? encodeResult('absent', 0, null)
        : encodeResult('done', item.index, item.value)
    }
    if (command.sequence > 0) {
      const session = bucket.sessions.get(command.client)
      if (session !== undefined && command.sequence <= session.sequence) {
        const same = command.sequence === session.sequence
        return encodeResult(same ? session.status : 'superseded', session.index, null)
      }
    }
    return this.#change(id, command, entry.index)
  }

  skip(index: number): void {
    this.#advance(index)
  }

  #advance(index: number): void {
    assert(!this.#installing, 'apply while a snapshot is installed')
    assert(index > this.#appliedIndex, 'entries are applied in order')
    this.#appliedIndex = index
  }

  #change(id: number, command: KvCommand, index: number): Uint8Array {
    let bucket = this.#buckets[id] as KvBucket
    if (bucket.frozen) {
      bucket = new KvBucket(bucket)
      this.#buckets[id] = bucket
    }
    const key = textOfKey(command.key)
    const before = bucket.items.get(key)
    let status: KvStatus = 'done'
    if (command.op === 'delete') {
      if (before === undefined) status = 'absent'
      else bucket.delete(key)
    } else if (command.op === 'cas' && !holds(before?.value, command.expected)) {
      status = 'mismatch'
    } else {
      bucket.set(key, owned(command.value), index)
    }
    const at = status === 'done' ? index : (before?.index ?? 0)
    if (command.sequence > 0) {
      bucket.remember(command.client, { sequence: command.sequence, index: at, status })
    }
    if (status === 'done' || command.sequence > 0) bucket.version = index
    return encodeResult(status, at, null)
  }

  async digest(): Promise<number> {
    const bytes = new Uint8Array(this.#buckets.length * 12)
    const view = viewOf(bytes)
    for (const [id, bucket] of this.#buckets.entries()) {
      writeU53(view, id * 12, bucket.version)
      view.setUint32(id * 12 + 8, bucket.digest(this.#crc32c), true)
    }
    return this.#crc32c(bytes)
  }

  // --- making it durable

  checkpoint(mark: Uint8Array): Promise<void> {
    assert(!this.#installing, 'checkpoint while a snapshot is installed')
    const appliedIndex = this.#appliedIndex
    const frozen = this.#freeze()
    const kept = mark.slice()
    return this.#exclusively(() =>
      this.#write(this.#files.nextGeneration(), appliedIndex, frozen, kept, []),
    )
  }

  /** All buckets as they are now, never to be changed. */
  #freeze(): KvBucket[] {
    for (const bucket of this.#buckets) bucket.frozen = true
    return [...this.#buckets]
  }

  async #write(
    generation: number,
    appliedIndex: number,
    buckets: readonly KvBucket[],
    mark: Uint8Array,
    given: readonly BucketFile[],
  ): Promise<void> {
    const durable = new Map(given.map((file) => [file.bucket, file]))
    try {
      for (const [id, bucket] of buckets.entries()) {
        if (bucket.version === 0 || durable.has(id)) continue
        const known = this.#durable.get(id)
        const file =
          known?.version === bucket.version
            ? known
            : await this.#files.writeBucket(generation, id, bucket)
        durable.set(id, file)
      }
      const bucketCount = buckets.length
      const files = [...durable.values()]
      await this.#files.publish({ generation, bucketCount, appliedIndex, mark, files })
    } catch (error) {
      await this.#files.discard(generation)
      throw error
    }
    this.#durable = durable
    this.#mark = mark
  }

  #exclusively(work: () => Promise<void>): Promise<void> {
    const done = this.#last.then(work)
    // A failure is told to who asked; the next in line starts from what is durable.
    this.#last = done.catch(() => {})
    return done
  }

  // --- snapshots

  snapshot(): SnapshotSource {
    const frozen = this.#freeze()
    const items: SnapshotItem[] = []
    for (const [id, { version, bytes }] of frozen.entries()) {
      if (version > 0) items.push({ id, version, bytes })
    }
    // One bucket at a time is encoded: transfers go through the items in turn.
    let encoded: Uint8Array = EMPTY
    let encodedId = -1
    return {
      index: this.#appliedIndex,
      items,
      read: async (id, at, bytesMax) => {
        const bucket = frozen[id]
        if (bucket === undefined) throw new LemnisError('INVALID_ARGUMENT', { item: id })
        if (id !== encodedId) encoded = bucket.encode(id, frozen.length, this.#crc32c)
        encodedId = id
        const next = at + bytesMax
        const isLast = next >= encoded.byteLength
        return { bytes: encoded.slice(at, next), next: isLast ? TRANSFER_END : next }
      },
      close: () => {
        frozen.length = 0
        encoded = EMPTY
        encodedId = -1
      },
    }
  }

  async receive(index: number, items: readonly SnapshotItem[]): Promise<SnapshotSink> {
    const known = new Set<number>()
    for (const { id } of items) {
      if (id >= this.#buckets.length || known.has(id))
        throw new LemnisError('CORRUPT', { item: id })
      known.add(id)
    }
    await this.#sink?.retire()
    const wanted = items.filter((item) => this.#buckets[item.id]?.version !== item.version)
    const install = (received: KvReceived): Promise<void> => this.#install(received)
    this.#sink = await KvSink.open(index, items, wanted, this.#files, install)
    return this.#sink
  }

  #install(received: KvReceived): Promise<void> {
    this.#installing = true
    const buckets = this.#buckets.map(() => new KvBucket())
    for (const item of received.items) {
      const bucket =
        received.buckets.get(item.id) ?? must(this.#buckets[item.id], 'a bucket of each item')
      assert(bucket.version === item.version, 'a bucket that was not wanted has stayed the same')
      buckets[item.id] = bucket
    }
    const { index } = received
    const mark = received.mark.slice()
    // Alone with the files from here on: a checkpoint removes what it does not know, and the newer
    // generation is the newer state.
    const done = this.#exclusively(async () => {
      const generation = this.#files.nextGeneration()
      const files = await this.#adopt(received.fetched, generation)
      await this.#write(generation, index, buckets, mark, files)
      for (const [id, bucket] of buckets.entries()) this.#buckets[id] = bucket
      this.#appliedIndex = index
    })
    return done.finally(() => {
      this.#installing = false
    })
  }

  async #adopt(fetched: readonly KvFetched[], generation: number): Promise<BucketFile[]> {
    const files: BucketFile[] = []
    for (const { name, bucket, version, bytes } of fetched) {
      const file = { bucket, generation, version, bytes }
      await this.#files.adopt(name, file)
      files.push(file)
    }
    return files
  }

  // --- the end

  async close(): Promise<void> {
    await this.#sink?.retire()
    await this.#last
  }

  #bucketOf(key: Uint8Array): KvBucket {
    return this.#buckets[this.#idOf(key)] as KvBucket
  }

  /** FNV-1a over the key. */
  #idOf(key: Uint8Array): number {
    let hash = 0x811c9dc5
    for (let i = 0; i < key.byteLength; i++) hash = Math.imul(hash ^ (key[i] as number), 0x01000193)
    return (hash >>> 0) % this.#buckets.length
  }
}

function holds(current: Uint8Array | undefined, expected: Uint8Array | null): boolean {
  if (expected === null) return current === undefined
  return current !== undefined && bytesEqual(current, expected)
}

function owned(value: Uint8Array): Uint8Array {
  const wasteful =
    value.byteLength < KEEP_BYTES_MIN || value.buffer.byteLength > 2 * value.byteLength
  return wasteful ? value.slice() : value
}
