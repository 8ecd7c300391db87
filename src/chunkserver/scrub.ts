// Owns the scrub of one disk: reads every block of every replica at a limited rate, has bad ones
// repaired, and, where this replica leads, compares each chunk's version and digest with what the
// other members have. One that differs from the majority though its checksums are right is taken out
// of service and rebuilt. Invariant: what only looks different because writes go on is never acted on.

import { asLemnisError, LemnisError } from '../base/errors.ts'
import { RateLimit } from '../base/rate.ts'
import type { ChunkDigest } from '../chunkstore/types.ts'
import type { CopysetHost } from '../copyset/host.ts'
import type { Replica } from '../copyset/replica.ts'
import { type GroupId, type HostId, hostOf } from '../copyset/replica-id.ts'
import type { Env } from '../env/env.ts'
import type { ReplyOf, RequestOf } from '../format/control/call.ts'
import { LIST_CHUNKS, REPAIR_CHUNK } from '../format/control/chunkserver.ts'
import { NO_SCRUB, type ScrubReport } from '../format/control/parts.ts'
import type { Observer } from '../observe/observe.ts'
import { askControl, serveControl } from '../rpc/control.ts'
import type { RpcServer } from '../rpc/server.ts'
import { chunksOf } from './chunk-machine.ts'
import { type ChunkView, judgeViews } from './compare.ts'
import type { ChunkserverConfig } from './config.ts'
import type { Neighbours } from './neighbours.ts'
import type { Repairer } from './repair.ts'
import type { Settling } from './settling.ts'

export interface ScrubOptions {
  readonly env: Env
  readonly observer: Observer
  readonly host: CopysetHost
  readonly config: ChunkserverConfig
  readonly neighbours: Neighbours
  readonly repairer: Repairer
  readonly settling: Settling
}

/** Chunks in one answer to LIST_CHUNKS that reads them all: 128 MiB when they are full. */
const LIST_VERIFIED_MAX = 8
const LIST_MAX = 1024

type Report = { -readonly [K in keyof ScrubReport]: ScrubReport[K] }

export class Scrub {
  readonly #options: ScrubOptions
  readonly #rate: RateLimit
  readonly #report: Report = { ...NO_SCRUB }
  #running: Promise<void> = Promise.resolve()
  #closed = false

  constructor(options: ScrubOptions) {
    this.#options = options
    this.#rate = new RateLimit(options.config.scrubBytesPerSecond)
  }

  serve(server: RpcServer): void {
    serveControl(server, LIST_CHUNKS, (request) => this.#list(request))
    serveControl(server, REPAIR_CHUNK, (request) => this.#repair(request))
  }

  report(): ScrubReport {
    return { ...this.#report }
  }

  /** Begins the scrub that was ordered at `startedMs`, unless it has begun or another one runs. */
  start(startedMs: number): void {
    if (this.#closed || this.#report.state === 'running') return
    if (startedMs <= this.#report.startedMs) return
    const chunksTotal = [...this.#options.host.replicas()]
      .map((replica) => chunksOf(replica).usage().chunks)
      .reduce((sum, chunks) => sum + chunks, 0)
    const zero = { chunksDone: 0, badBlocks: 0, repairedBlocks: 0, finishedMs: 0 }
    Object.assign(this.#report, { ...zero, state: 'running', startedMs, chunksTotal })
    this.#running = this.#run()
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.#running
  }

  async #run(): Promise<void> {
    const { host, observer, env } = this.#options
    const { chunksTotal: chunks } = this.#report
    observer.emit('chunkserver_scrub_started', { chunks })
    const groups = Array.from(host.replicas(), ({ group }) => group).sort((a, b) => a - b)
    for (const group of groups) {
      const replica = host.replica(group)
      if (replica !== undefined && !this.#closed) await this.#scrubReplica(replica)
    }
    if (this.#closed) return
    Object.assign(this.#report, { state: 'idle', finishedMs: env.clock.wallMs() })
    const { chunksDone, badBlocks, repairedBlocks } = this.#report
    observer.emit('chunkserver_scrub_ended', { chunks: chunksDone, badBlocks, repairedBlocks })
  }

  /** What ends it early ends it for this replica only; one that goes away meanwhile is no error. */
  async #scrubReplica(replica: Replica): Promise<void> {
    try {
      await this.#settled(replica)
      for (let from = 1; from > 0 && !this.#isOver(replica); ) {
        const page = await this.#readPage(replica, from)
        if (replica.isLeader) await this.#compare(replica, from, page.last)
        from = page.isEnd ? 0 : page.last + 1
      }
    } catch (thrown) {
      const { code, message: error } = asLemnisError(thrown)
      if (this.#isOver(replica)) return
      const { group } = replica
      this.#options.observer.emit('chunkserver_scrub_skipped', { group, code, error })
    }
  }

  /** Right after a start nobody may lead yet. */
  async #settled(replica: Replica): Promise<void> {
    const { settling, config, env } = this.#options
    for (let left = config.scrubTriesMax; ; left--) {
      try {
        return await settling.settled(replica)
      } catch (thrown) {
        if (left <= 1 || this.#isOver(replica)) throw thrown
      }
      await new Promise<void>((resume) => env.clock.after(config.scrubRetryMs, resume))
    }
  }

  #isOver(replica: Replica): boolean {
    return this.#closed || replica.closed
  }

  /** Verifies some chunks from `from` on; `last` is the highest id that they cover. */
  async #readPage(replica: Replica, from: number): Promise<{ last: number; isEnd: boolean }> {
    const chunks = chunksOf(replica)
    let last = from
    for (let left = this.#options.config.scrubPageChunks; left > 0; left--) {
      const [read] = await chunks.digests(from, 1, true)
      if (read === undefined) return { last: Number.MAX_SAFE_INTEGER, isEnd: true }
      await this.#repairRead(replica, read)
      await this.#pay(read.usedBytes)
      if (this.#isOver(replica)) return { last: read.chunk, isEnd: true }
      this.#report.chunksDone++
      last = read.chunk
      from = last + 1
    }
    return { last, isEnd: false }
  }

  async #repairRead(replica: Replica, read: ChunkDigest): Promise<void> {
    if (read.badBlocks.length === 0) return
    const { badBlocks, repairedBlocks } = await this.#options.repairer.repair(replica, read.chunk)
    this.#report.badBlocks += badBlocks
    this.#report.repairedBlocks += repairedBlocks
  }

  async #pay(bytes: number): Promise<void> {
    const { clock } = this.#options.env
    const waitMs = this.#rate.claim(bytes, clock.monotonicMs())
    if (waitMs > 0 && !this.#closed) {
      await new Promise<void>((resume) => clock.after(waitMs, resume))
    }
  }

  // --- comparing with the other members

  /** All chunks from `first` to `last`; those that writes move are looked at again some times. */
  async #compare(replica: Replica, first: number, last: number): Promise<void> {
    const { config, env } = this.#options
    for (let left = config.scrubTriesMax; left > 0 && !this.#isOver(replica); left--) {
      const moved = await this.#compareOnce(replica, first, last)
      if (!moved || left === 1) return
      await new Promise<void>((resume) => env.clock.after(config.scrubRetryMs, resume))
    }
  }

  /** True when some could not be compared. What this replica reads from its tables it has verified. */
  async #compareOnce(replica: Replica, first: number, last: number): Promise<boolean> {
    const hosts: (HostId | null)[] = [null]
    const lists: ReadonlyMap<number, ChunkView>[] = [await this.#ownViews(replica, first, last)]
    for (const member of replica.membership.voters) {
      const host = hostOf(member)
      const views =
        member === replica.id ? null : await this.#viewsOf(host, replica.group, first, last)
      if (views === null) continue
      hosts.push(host)
      lists.push(views)
    }
    let moved = false
    const ids = new Set(lists.flatMap((views) => [...views.keys()]))
    ids.delete(0)
    for (const chunk of [...ids].sort((a, b) => a - b)) {
      if (this.#isOver(replica)) return false
      // The view of chunk 0 is that of any chunk which the replica does not have.
      const views = lists.map((list) => list.get(chunk) ?? (list.get(0) as ChunkView))
      const verdict = judgeViews(views, replica.membership.voters.length)
      if (verdict.kind === 'again') moved = true
      else if (verdict.kind === 'differ') {
        const odd = verdict.odd?.map((i) => hosts[i] as HostId | null) ?? null
        await this.#differ(replica, chunk, odd, verdict.version, verdict.digest)
      }
    }
    return moved
  }

  async #ownViews(replica: Replica, first: number, last: number): Promise<Map<number, ChunkView>> {
    return this.#pages(first, last, (from) =>
      this.#list({ group: replica.group, from, count: LIST_MAX, verify: false }),
    )
  }

  /** Null for a member that can't be asked now. */
  async #viewsOf(
    host: HostId,
    group: GroupId,
    first: number,
    last: number,
  ): Promise<Map<number, ChunkView> | null> {
    const { neighbours, config } = this.#options
    try {
      return await this.#pages(first, last, async (from) => {
        const request = { group, from, count: LIST_MAX, verify: false }
        return askControl(neighbours.client(host), LIST_CHUNKS, request, config.peerTimeoutMs)
      })
    } catch (thrown) {
      asLemnisError(thrown)
      return null
    }
  }

  async #pages(
    first: number,
    last: number,
    ask: (from: number) => Promise<ReplyOf<typeof LIST_CHUNKS>>,
  ): Promise<Map<number, ChunkView>> {
    const views = new Map<number, ChunkView>()
    let oldestIndex = Number.MAX_SAFE_INTEGER
    for (let from = first; from <= last; ) {
      const { chunks, appliedIndex, next } = await ask(from)
      oldestIndex = Math.min(oldestIndex, appliedIndex)
      for (const { chunk, version, digest } of chunks) {
        if (chunk <= last) views.set(chunk, { version, digest, appliedIndex })
      }
      if (next === undefined || next <= from) break
      from = next
    }
    return views.set(0, { version: 0, digest: 0, appliedIndex: oldestIndex })
  }

  /** `odd` are the hosts of the replicas that are wrong, null being this one. */
  async #differ(
    replica: Replica,
    chunk: number,
    odd: readonly (HostId | null)[] | null,
    version: number,
    digest: number,
  ): Promise<void> {
    const { observer, neighbours, config } = this.#options
    const { group } = replica
    const wrong = odd?.map((host) => host ?? hostOf(replica.id)).join(' ') ?? 'no majority'
    observer.emit('chunkserver_replicas_differ', { group, chunk, wrong })
    for (const host of odd ?? []) {
      if (host === null) {
        this.#distrust(replica, chunk)
        continue
      }
      const request = { group, chunk, expected: { version, digest } }
      try {
        await askControl(neighbours.client(host), REPAIR_CHUNK, request, config.peerTimeoutMs)
      } catch (thrown) {
        // The next scrub finds it again.
        asLemnisError(thrown)
      }
    }
  }

  #distrust(replica: Replica, chunk: number): void {
    const reason = 'its data differs from the majority’s though its checksums are right'
    this.#options.host.damaged(replica, new LemnisError('CORRUPT', { chunk, reason }))
  }

  // --- what others ask

  #replicaOf(group: number): Replica {
    const replica = this.#options.host.replica(group as GroupId)
    if (replica === undefined) throw new LemnisError('NO_SUCH_GROUP', { group })
    return replica
  }

  async #list(request: RequestOf<typeof LIST_CHUNKS>): Promise<ReplyOf<typeof LIST_CHUNKS>> {
    const { settling } = this.#options
    const replica = this.#replicaOf(request.group)
    if (request.committed === true) await settling.committed(replica.group)
    if (request.verify) await settling.settled(replica)
    const chunks = chunksOf(replica)
    const { appliedIndex } = chunks
    if (appliedIndex < chunks.settledIndex) {
      throw new LemnisError('OVERLOADED', { reason: 'the replica is catching up' })
    }
    const count = request.verify ? Math.min(request.count, LIST_VERIFIED_MAX) : request.count
    const digests = await chunks.digests(request.from, count, request.verify)
    const last = digests.at(-1)
    return {
      appliedIndex,
      chunks: digests.map((read) => ({ ...read, badBlocks: read.badBlocks.length })),
      ...(last === undefined || digests.length < count ? {} : { next: last.chunk + 1 }),
    }
  }

  async #repair(request: RequestOf<typeof REPAIR_CHUNK>): Promise<ReplyOf<typeof REPAIR_CHUNK>> {
    const replica = this.#replicaOf(request.group)
    const { chunk, expected } = request
    const { badBlocks, repairedBlocks } = await this.#options.repairer.repair(replica, chunk)
    if (expected === undefined) return { badBlocks, repairedBlocks }
    const chunks = chunksOf(replica)
    const { appliedIndex } = chunks
    const [read] = await chunks.digests(chunk, 1, false)
    const own: ChunkView =
      read?.chunk === chunk ? { ...read, appliedIndex } : { version: 0, digest: 0, appliedIndex }
    // This replica has applied what the majority has, nothing later, and holds something else.
    const judged = judgeViews([own, { ...expected, appliedIndex: expected.version }], 1)
    if (judged.kind === 'differ' && !replica.closed) this.#distrust(replica, chunk)
    return { badBlocks, repairedBlocks }
  }
}
