// Owns the one log that all Raft groups of a disk share. What is appended in a turn, and while a
// write is under way, goes out as one batch: one aligned, durable write at a time
// (docs/adr/0005-how-the-log-writes.md). Invariant: what an append was told is durable is there
// after any crash; a failed write is never retried. Leaves to the host what goes in, and when
// groups checkpoint.

import { assert, must } from '../base/assert.ts'
import { asLemnisError, LemnisError } from '../base/errors.ts'
import type { Timer } from '../env/clock.ts'
import { makeNamedDirectory } from '../env/disk.ts'
import type { Env } from '../env/env.ts'
import type { Counter, Observer, Timing } from '../observe/observe.ts'
import type { Entry, SnapshotMark } from '../raft/types.ts'
import { Batch, type OnDurable } from './batch.ts'
import type { RaftLogConfig } from './config.ts'
import { BATCH_HEADER_BYTES, RECORD_HEAD_BYTES, SEGMENT_BODY_AT } from './format.ts'
import { GroupLog } from './group-log.ts'
import {
  addDestroy,
  addKept,
  addMark,
  addState,
  checkWrite,
  DESTROY_BYTES,
  type GroupWrite,
  keptRecordBytes,
  markBytes,
  stateBytes,
} from './group-write.ts'
import { PayloadCache } from './payload-cache.ts'
import { EntryReader } from './reader.ts'
import { type Recovered, recover } from './recovery.ts'
import { heldFrom, type LogHolder } from './retention.ts'
import { Segments } from './segments.ts'

/** Batches' memory kept for the next ones; more exist only while a queue builds up. */
const MEMORIES_KEPT = 3
/** How often it is looked whether what is held for others can go, when nothing else asks. */
const HELD_CHECK_MS = 1000

export class RaftLog {
  readonly condition: 'sound' | 'corrupt'
  /** What is wrong with a corrupt log. */
  readonly damage: string | null
  /** A group holds old segments: it should checkpoint. */
  onPinned: ((group: number) => void) | null = null
  /** Without it nothing is held for others. */
  holder: LogHolder | null = null
  /** The disk failed: nothing more will be acknowledged. */
  onPoisoned: ((error: LemnisError) => void) | null = null
  readonly #env: Env
  readonly #observer: Observer
  readonly #config: RaftLogConfig
  readonly #cache: PayloadCache
  readonly #groups: Map<number, GroupLog>
  readonly #segments: Segments
  readonly #reader: EntryReader
  readonly #segmentBytes: number
  /** Oldest first; the last one is filling, unless #filling is null. */
  readonly #queue: Batch[] = []
  readonly #memories: Uint8Array[] = []
  #filling: Batch | null = null
  #inFlight: Batch | null = null
  #writing: Promise<void> = Promise.resolve()
  #durableCount = 0
  #scheduled = false
  /** Where the batch after #filling begins. */
  #sequence: number
  #position: number
  #nextNumber: number
  #previousCrc: number
  /** Segments before it are not needed; durable once a batch that carries it is. */
  #boundary: number
  #durableBoundary: number
  #purgeDue = false
  /** Segments before it are forgotten. */
  #heldFrom: number
  #heldTimer: Timer | null = null
  #pinCheckDue = false
  #poison: LemnisError | null = null
  #closing = false
  #onIdle: (() => void) | null = null
  readonly #counters: { readonly [K in 'batches' | 'records' | 'bytes']: Counter }
  readonly #appendSeconds: Timing

  private constructor(
    env: Env,
    observer: Observer,
    directory: string,
    config: RaftLogConfig,
    cache: PayloadCache,
    recovered: Recovered,
  ) {
    this.#env = env
    this.#observer = observer
    this.#config = config
    this.#cache = cache
    this.#groups = recovered.groups
    this.damage = recovered.damage
    this.condition = recovered.damage === null ? 'sound' : 'corrupt'
    this.#segmentBytes = recovered.segmentBytes
    this.#sequence = Math.max(1, recovered.sequence)
    this.#position = recovered.position
    this.#nextNumber = recovered.expected.number
    this.#previousCrc = recovered.expected.previousCrc
    this.#boundary = recovered.boundary
    this.#durableBoundary = recovered.boundary
    this.#heldFrom = recovered.boundary
    const { logId, segmentBytes, used, free } = recovered
    this.#segments = new Segments(env, directory, { ...config, segmentBytes }, logId, used, free, {
      onReady: () => this.#kick(),
      onFull: () => {
        // What is held for others goes now.
        this.#letGo()
        this.#kick()
      },
      onPurged: (sequence) => observer.emit('raftlog_segment_purged', { sequence }),
      onFailed: (error) => this.#poisoned(error),
    })
    this.#reader = new EntryReader(env, observer, this.#segments)
    this.#counters = {
      batches: observer.counter('raftlog_batches_total'),
      records: observer.counter('raftlog_records_total'),
      bytes: observer.counter('raftlog_bytes_total'),
    }
    this.#appendSeconds = observer.histogram('raftlog_append_seconds')
    observer.gauge('raftlog_segments', () => this.#segments.count)
    observer.gauge('raftlog_cache_bytes', () => cache.usedBytes)
    if (this.condition === 'sound') this.#segments.want(this.#sequence + 1)
  }

  /**
   * Reads the log of `directory`, which is made when it is not there. Damage does not make this
   * fail.
   */
  static async open(
    env: Env,
    observer: Observer,
    directory: string,
    config: RaftLogConfig,
  ): Promise<RaftLog> {
    await makeNamedDirectory(env.disk, directory)
    // A process may have been killed between naming a segment and making its name durable.
    await env.disk.syncDirectory(directory)
    const cache = new PayloadCache(config.cacheBytes, config.readBackBytes)
    const startedMs = env.clock.monotonicMs()
    const recovered = await recover(env, directory, config, cache)
    const log = new RaftLog(env, observer, directory, config, cache, recovered)
    if (recovered.tornCut && recovered.damage === null) {
      const { sequence, position } = recovered
      observer.emit('raftlog_tail_cut', { sequence, position })
    }
    if (recovered.damage !== null) observer.emit('raftlog_corrupt', { damage: recovered.damage })
    observer.emit('raftlog_recovered', {
      groups: log.groupIds().length,
      batches: recovered.batchCount,
      segments: recovered.used.size,
      milliseconds: env.clock.monotonicMs() - startedMs,
    })
    return log
  }

  /** The groups that the log knows, tombstones included, ascending. */
  groupIds(): number[] {
    const ids: number[] = []
    for (const log of this.#groups.values()) if (log.exists) ids.push(log.id)
    return ids.sort((a, b) => a - b)
  }

  /** The same object for one id, also of a group that is not there yet. */
  group(id: number): GroupLog {
    let log = this.#groups.get(id)
    if (log === undefined) {
      log = new GroupLog(id, this.#cache)
      this.#groups.set(id, log)
    }
    return log
  }

  /** Of its files. */
  get fileBytes(): number {
    return this.#segments.fileBytes
  }

  /** Of those files that it keeps for replicas elsewhere, and gives back when there is no room. */
  get heldFileBytes(): number {
    return this.#segments.countBefore(this.#durableBoundary) * this.#segmentBytes
  }

  /** Why nothing is written any more since the disk returned an error; null while it has not. */
  get failure(): LemnisError | null {
    return this.#poison
  }

  /**
   * Why the log wants no new work now; null when it does. NO_SPACE: appends are taken up to
   * `queuedBytesMax` and wait for space, so new proposals should be refused. OVERLOADED: entries are
   * not taken. The others: append() throws.
   */
  refusal(): LemnisError | null {
    if (this.#poison !== null) return this.#poison
    if (this.condition === 'corrupt') {
      return new LemnisError('CORRUPT', { damage: this.damage ?? '' })
    }
    if (this.#closing) return new LemnisError('CLOSED')
    if (this.#queuedBytes() >= this.#config.queuedBytesMax) return new LemnisError('OVERLOADED')
    return this.#segments.full
  }

  /**
   * Changes the group at once in memory and tells `onDurable` when it is on disk, in the order of
   * appends. Throws, with nothing changed, when refusal() says so; but NO_SPACE refuses nothing, and
   * OVERLOADED entries only: what else is written is small, and marks are what a full log waits for.
   * Entries are shared: the log keeps them.
   */
  append(write: GroupWrite, onDurable: OnDurable): void {
    const refusal = this.refusal()
    if (refusal !== null && refuses(refusal, write)) throw refusal
    const log = this.group(write.group)
    checkWrite(log, write, this.#config.entryBytesMax)
    this.#appendState(log, write)
    for (const entry of write.entries ?? []) this.#appendEntry(log, entry)
    if (write.mark !== undefined && write.restart !== true) this.#appendMark(log, write.mark)
    if (write.destroy !== undefined) this.#appendDestroy(log, write.destroy.epoch)
    if (this.#filling === null && this.#queue.length === 0 && this.#inFlight === null) {
      // Nothing to write: durable already, but told no earlier than what is.
      this.#env.clock.soon(() => onDurable(null))
      return
    }
    const last = this.#queue.at(-1) ?? (this.#inFlight as Batch)
    last.waiting.push(onDurable)
    last.askedMs.push(this.#env.clock.monotonicMs())
    this.#schedule()
  }

  /** The caller's turn is over: what it appended begins its way to the disk, unless a write is under way. */
  flush(): void {
    if (this.#queue.length > 0) this.#kick()
  }

  /**
   * Reads entries from `from` to before `to` back from disk, so that GroupLog.entries() can give
   * them: at least one, then as many as fit `bytesMax` and lie together. None when they have been
   * purged meanwhile. CORRUPT when the disk gives something else than was written.
   */
  async fetch(group: number, from: number, to: number, bytesMax: number): Promise<Entry[]> {
    if (this.#closing) throw new LemnisError('CLOSED')
    const log = this.group(group)
    if (from < log.firstIndex() || from > log.lastIndex()) return []
    const held = log.entries(from, Math.min(to, log.lastIndex() + 1), bytesMax)
    if (held !== 'not-in-memory') return [...held]
    const entries = await this.#reader.read(log, from, to, bytesMax)
    log.addWindow(entries)
    return entries
  }

  /** Ends after everything appended is durable, or has failed. */
  async close(): Promise<void> {
    if (this.#closing) return
    this.#closing = true
    this.#heldTimer?.cancel()
    if (this.condition === 'sound') {
      this.#kick()
      await this.#idle()
      if (this.#poison === null && this.#durableCount > 0) {
        // A batch after the last one proves at the next start that the last one had been complete.
        this.#fillingFor(0)
        this.#kick()
        await this.#idle()
      }
    }
    await this.#writing
    await this.#reader.idle()
    await this.#segments.close()
  }

  // --- what goes into batches

  #queuedBytes(): number {
    let bytes = 0
    for (const batch of this.#queue) bytes += batch.paddedBytes
    return bytes
  }

  /** Identity, restart and hard state come before entries, and in one batch. */
  #appendState(log: GroupLog, write: GroupWrite): void {
    const bytes = stateBytes(write)
    if (bytes > 0) addState(this.#fillingFor(bytes), log, write)
    if (write.restart === true) this.#purgeDue = true
  }

  #appendEntry(log: GroupLog, entry: Entry): void {
    const { kind, term, index, data } = entry
    const batch = this.#fillingFor(RECORD_HEAD_BYTES + data.byteLength)
    const offset = batch.add({ kind, group: log.id, term, index }, data)
    log.append(entry, batch.sequence, offset, batch.number)
  }

  #appendMark(log: GroupLog, mark: SnapshotMark): void {
    if (mark.index < (log.mark?.index ?? 0)) return
    assert(log.term(mark.index) === mark.term, 'a checkpoint of what is in the log')
    addMark(this.#fillingFor(markBytes(mark)), 'mark', log, mark)
    this.#purgeDue = true
  }

  #appendDestroy(log: GroupLog, epoch: number): void {
    addDestroy(this.#fillingFor(DESTROY_BYTES), log, epoch)
    this.#purgeDue = true
  }

  /**
   * The batch that takes `recordBytes` more, begun if need be: in this segment, else in the next.
   */
  #fillingFor(recordBytes: number): Batch {
    const filling = this.#filling
    if (filling?.fits(recordBytes) === true) return filling
    if (filling !== null) this.#endFilling(filling)
    if (this.#position + BATCH_HEADER_BYTES + recordBytes > this.#segmentBytes) {
      this.#sequence++
      this.#position = SEGMENT_BODY_AT
      this.#segments.want(this.#sequence + 1)
      this.#purgeDue = true
      this.#pinCheckDue = true
    }
    const memory = this.#memories.pop() ?? this.#env.disk.allocate(this.#config.batchBytesMax)
    const room = this.#segmentBytes - this.#position
    const { crc32c } = this.#env
    const number = this.#nextNumber++
    const batch = new Batch(crc32c, memory, number, this.#sequence, this.#position, room)
    batch.boundary = this.#boundary
    this.#filling = batch
    this.#queue.push(batch)
    return batch
  }

  #endFilling(batch: Batch): void {
    this.#position = batch.position + batch.paddedBytes
    this.#filling = null
  }

  // --- what writes them

  #schedule(): void {
    if (this.#scheduled || this.#inFlight !== null) return
    this.#scheduled = true
    this.#env.clock.soon(() => {
      this.#scheduled = false
      this.#kick()
    })
  }

  #kick(): void {
    if (this.#inFlight !== null || this.#poison !== null) return
    const batch = this.#queue[0]
    if (batch === undefined) {
      this.#onIdle?.()
      return
    }
    const segment = this.#segments.get(batch.sequence)
    if (segment === undefined) {
      // It is still being made: onReady comes back here. Nobody waits for space while closing.
      if (this.#closing && this.#segments.full !== null) this.#failAll(this.#segments.full)
      return
    }
    this.#queue.shift()
    if (batch === this.#filling) this.#endFilling(batch)
    this.#previousCrc = batch.seal(this.#segments.logId, this.#previousCrc)
    this.#inFlight = batch
    const bytes = batch.paddedBytes
    if (this.#config.bugs?.has('ack-before-sync') === true) this.#tell(batch, null)
    this.#writing = segment.file.write(batch.memory.subarray(0, bytes), batch.position).then(
      () => this.#durable(batch),
      (thrown: unknown) => this.#poisoned(asLemnisError(thrown)),
    )
  }

  #durable(batch: Batch): void {
    if (this.#poison !== null) return
    this.#inFlight = null
    this.#durableCount++
    this.#counters.batches.add(1)
    this.#counters.records.add(batch.recordCount)
    this.#counters.bytes.add(batch.paddedBytes)
    if (this.#memories.length < MEMORIES_KEPT) this.#memories.push(batch.memory)
    this.#cache.durable(batch.number)
    if (batch.boundary > this.#durableBoundary) {
      this.#durableBoundary = batch.boundary
      this.#segments.release(Math.min(this.#heldFrom, this.#durableBoundary))
    }
    this.#tell(batch, null)
    if (this.#purgeDue) this.#purge()
    if (this.#pinCheckDue) this.#checkPins()
    this.#kick()
  }

  #tell(batch: Batch, error: LemnisError | null): void {
    const nowMs = this.#env.clock.monotonicMs()
    const { waiting, askedMs } = batch
    for (let i = 0; i < waiting.length; i++) {
      this.#appendSeconds.record((nowMs - (askedMs[i] as number)) / 1000)
      must(waiting[i], 'a waiting append')(error)
    }
    waiting.length = 0
    askedMs.length = 0
  }

  #poisoned(cause: LemnisError): void {
    if (this.#poison !== null) return
    const error = new LemnisError('DISK_FAILED', { log: 'poisoned', ...cause.detail }, cause)
    this.#poison = error
    this.#observer.emit('raftlog_poisoned', { code: cause.code, error: cause.message })
    this.#failAll(error)
    this.onPoisoned?.(error)
  }

  #failAll(error: LemnisError): void {
    this.#poison ??= error
    const lost = this.#inFlight === null ? this.#queue : [this.#inFlight, ...this.#queue]
    for (const batch of [...lost]) this.#tell(batch, error)
    this.#queue.length = 0
    this.#filling = null
    this.#onIdle?.()
  }

  #idle(): Promise<void> {
    return new Promise((resolve) => {
      this.#onIdle = () => {
        this.#onIdle = null
        resolve()
      }
      const isIdle = this.#inFlight === null && this.#queue.length === 0
      if (isIdle || this.#poison !== null) this.#onIdle()
    })
  }

  // --- what lets old segments go

  /**
   * Gives up the segments before the oldest one that a group here needs. Small state that lies in them
   * is written again first. The boundary is carried by that very batch or a later one, so a crash
   * in between finds either the old segments or everything that replaces them.
   */
  #purge(): void {
    this.#purgeDue = false
    let needed = this.#sequence
    for (const log of this.#groups.values()) needed = Math.min(needed, log.pinnedSegment())
    if (needed > this.#boundary) {
      for (const log of this.#groups.values()) {
        if (log.stateSegment() < needed) addKept(this.#fillingFor(keptRecordBytes(log)), log)
      }
      this.#boundary = needed
      // Not the batches before: they may be on disk without what was just written again.
      if (this.#filling !== null) this.#filling.boundary = needed
      this.#schedule()
    }
    this.#letGo()
  }

  /** Forgets what nobody needs, and gives back what the disk durably doesn't. */
  #letGo(): void {
    if (this.#poison !== null) return
    const holder = this.#segments.full === null ? this.holder : null
    const { segmentsHeld } = this.#config
    const from = heldFrom(this.#groups.values(), this.#boundary, holder, segmentsHeld)
    if (from > this.#heldFrom) {
      this.#heldFrom = from
      for (const log of this.#groups.values()) log.dropSegmentsBefore(from)
      this.#segments.release(Math.min(from, this.#durableBoundary))
    }
    if (from < this.#boundary) this.#letGoLater()
  }

  /** Nobody says when the others have what they need. */
  #letGoLater(): void {
    if (this.#heldTimer !== null || this.#closing) return
    this.#heldTimer = this.#env.clock.after(HELD_CHECK_MS, () => {
      this.#heldTimer = null
      this.#letGo()
    })
  }

  #checkPins(): void {
    this.#pinCheckDue = false
    const oldestWelcome = this.#sequence - this.#config.segmentsPinned
    if (this.#boundary > oldestWelcome) return
    const pinning = [...this.#groups.values()].filter((log) => log.pinnedSegment() <= oldestWelcome)
    for (const log of pinning) {
      const segments = this.#sequence - log.pinnedSegment() + 1
      this.#observer.emit('raftlog_group_pins_log', { group: log.id, segments })
      this.onPinned?.(log.id)
    }
  }
}

function refuses({ code }: LemnisError, write: GroupWrite): boolean {
  if (code === 'OVERLOADED') return (write.entries?.length ?? 0) > 0
  return code !== 'NO_SPACE'
}
