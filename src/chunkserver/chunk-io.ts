// Owns the hot path: chunk calls of clients on the leader of their copyset. A change is checked
// (leader and term, attempt, limits, checksums, room), becomes one log entry, and is answered with what
// its application gave on this replica. A read asks no log: the leader lease vouches for it.
// Invariant: nothing waits in a queue here. What does not fit now is refused with a hint when to come
// back; what was taken is bounded by the budgets of RPC, host and reads.

import { ByteBudget } from '../base/budget.ts'
import { EMPTY, joined } from '../base/bytes.ts'
import { asLemnisError, type ErrorCode, type ErrorDetail, LemnisError } from '../base/errors.ts'
import { Histogram } from '../base/histogram.ts'
import type { ReplicaChunks } from '../chunkstore/replica-chunks.ts'
import type { ChunkRead } from '../chunkstore/types.ts'
import type { CopysetHost } from '../copyset/host.ts'
import type { Replica } from '../copyset/replica.ts'
import { type GroupId, hostOf } from '../copyset/replica-id.ts'
import type { Env } from '../env/env.ts'
import { decodeChunkOutcome } from '../format/chunk-outcome.ts'
import {
  type CopysetLeader,
  decodeGroup,
  encodeCopysetLeader,
  encodeExtents,
} from '../format/chunk-replies.ts'
import {
  BLOCK_BYTES,
  type ChunkOp,
  type ChunkRequest,
  chunkRequestBytes,
  decodeChunkRequest,
  encodeChunkRequest,
  REQUEST_BLOCKS_MAX,
} from '../format/chunk-request.ts'
import { METHODS } from '../format/methods.ts'
import type { Counter, Observer, Timing } from '../observe/observe.ts'
import type { IncomingCall } from '../rpc/incoming.ts'
import type { RpcServer } from '../rpc/server.ts'
import { Attempts } from './attempts.ts'
import { chunksOf } from './chunk-machine.ts'
import type { ChunkserverBug, ChunkserverConfig } from './config.ts'
import type { VolumeLimits } from './limits.ts'
import type { Repairer } from './repair.ts'

export interface ChunkIoOptions {
  readonly env: Env
  readonly observer: Observer
  readonly host: CopysetHost
  readonly config: ChunkserverConfig
  readonly limits: VolumeLimits
  readonly repairer: Repairer
  readonly bugs: ReadonlySet<ChunkserverBug>
}

/** Only these change bytes that a later write may have changed since; the others do no harm late. */
const COUNTED: ReadonlySet<ChunkOp> = new Set(['write', 'zero', 'paste'])
const NOT_A_CHANGE: ReadonlySet<ChunkOp> = new Set(['write', 'read'])

export interface IoCounts {
  readonly reads: number
  readonly writes: number
  readonly readBytes: number
  readonly writtenBytes: number
}

export class ChunkIo {
  readonly #options: ChunkIoOptions
  readonly #attempts = new Map<GroupId, Attempts>()
  readonly #readBudget: ByteBudget
  readonly #reads: Counter
  readonly #writes: Counter
  readonly #readBytes: Counter
  readonly #writtenBytes: Counter
  readonly #refusals = new Map<ErrorCode, Counter>()
  readonly #readSeconds: Timing
  readonly #writeSeconds: Timing
  readonly #counts = { reads: 0, writes: 0, readBytes: 0, writtenBytes: 0 }
  /** Of writes, and of reads, since the last look; in microseconds. */
  #writeLatencies = new Histogram()
  #readLatencies = new Histogram()
  #failed: LemnisError | null = null
  #full: ReadonlySet<number> = new Set()

  constructor(options: ChunkIoOptions) {
    const { observer, config } = options
    this.#options = options
    this.#readBudget = new ByteBudget(config.readBytesMax)
    this.#reads = observer.counter('chunkserver_reads_total')
    this.#writes = observer.counter('chunkserver_writes_total')
    this.#readBytes = observer.counter('chunkserver_read_bytes_total')
    this.#writtenBytes = observer.counter('chunkserver_written_bytes_total')
    this.#readSeconds = observer.histogram('chunkserver_read_seconds')
    this.#writeSeconds = observer.histogram('chunkserver_write_seconds')
    observer.gauge('chunkserver_reading_bytes', () => this.#readBudget.claimedBytes)
  }

  serve(server: RpcServer): void {
    const handle = (method: number, work: (call: IncomingCall) => void): void =>
      server.handle(method, (call) => {
        try {
          work(call)
        } catch (thrown) {
          this.#fail(call, asLemnisError(thrown))
        }
      })
    handle(METHODS.CHUNK_WRITE, (call) => this.#write(call))
    handle(METHODS.CHUNK_CHANGE, (call) => this.#change(call))
    handle(METHODS.CHUNK_READ, (call) => this.#read(call))
    handle(METHODS.CHUNK_EXTENTS, (call) => this.#extents(call))
    handle(METHODS.COPYSET_LEADER, (call) => this.#leader(call))
  }

  /** Chunkservers without room, as the MDS says. */
  setFull(chunkservers: readonly number[]): void {
    this.#full = new Set(chunkservers)
  }

  /** From now on every call is refused with `error`. */
  fail(error: LemnisError): void {
    this.#failed = error
  }

  counts(): IoCounts {
    return { ...this.#counts }
  }

  /** 99 of 100 writes since the last call of this took at most so long. */
  takeWriteP99Us(): number {
    const p99Us = this.#writeLatencies.percentile(0.99)
    this.#writeLatencies = new Histogram()
    return p99Us
  }

  /** As takeWriteP99Us(). */
  takeReadP99Us(): number {
    const p99Us = this.#readLatencies.percentile(0.99)
    this.#readLatencies = new Histogram()
    return p99Us
  }

  /** A replica is gone, and what its leader knew with it. */
  forget(group: GroupId): void {
    this.#attempts.delete(group)
  }

  // --- who leads

  #leader(call: IncomingCall): void {
    const replica = this.#replicaOf(decodeGroup(call.body) as GroupId)
    call.reply(encodeCopysetLeader(leaderOf(replica)))
  }

  #replicaOf(group: GroupId): Replica {
    if (this.#failed !== null) throw this.#failed
    const { host } = this.#options
    const replica = host.replica(group)
    if (replica !== undefined) return replica
    // A replica that is out of service answers like any that does not lead.
    if (host.damagedGroups().has(group)) throw new LemnisError('NOT_LEADER', { leader: 0, term: 0 })
    throw new LemnisError('NO_SUCH_GROUP', { group })
  }

  /** The replica that leads in the request's term: what is proposed now is proposed in it. */
  #leading(request: ChunkRequest): Replica {
    const replica = this.#replicaOf(request.group as GroupId)
    if (replica.isLeader && this.#isOfTerm(replica, request)) return replica
    throw new LemnisError('NOT_LEADER', { ...leaderOf(replica) })
  }

  #isOfTerm(replica: Replica, { term, op }: ChunkRequest): boolean {
    const isBlind = op !== 'read' && this.#options.bugs.has('no-attempt-check')
    return isBlind || replica.term === term
  }

  // --- changes

  #write(call: IncomingCall): void {
    const request = decodeChunkRequest(call.body)
    if (request.op !== 'write') throw invalid('op')
    this.#checkBlocks(request, call)
    this.#propose(call, request, true)
  }

  #change(call: IncomingCall): void {
    const request = decodeChunkRequest(call.body)
    if (NOT_A_CHANGE.has(request.op)) throw invalid('op')
    if (request.op === 'paste') this.#checkBlocks(request, call)
    else if (call.payload.byteLength > 0 && request.op !== 'create-clone') throw invalid('payload')
    this.#propose(call, request, false)
  }

  /** The writer's checksums go into the log and onto the disk as they are; here they are proved once. */
  #checkBlocks(request: ChunkRequest, call: IncomingCall): void {
    const { crcs, blockCount } = request
    const { payload, payloadCrc } = call
    if (payload.byteLength !== blockCount * BLOCK_BYTES) throw invalid('payload')
    if (blockCount === 1) {
      // RPC has compared the payload with this one already.
      if (crcs[0] !== payloadCrc) throw invalid('checksum')
      return
    }
    const { crc32c } = this.#options.env
    for (let i = 0; i < blockCount; i++) {
      const block = payload.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES)
      if (crc32c(block) !== crcs[i]) throw invalid('checksum')
    }
  }

  #propose(call: IncomingCall, request: ChunkRequest, isWrite: boolean): void {
    const { host, limits, env } = this.#options
    const replica = this.#leading(request)
    this.#judgeAttempt(replica, request)
    const { payload } = call
    // Fences, deletions and clones are the cluster's own work, and cost the volume nothing.
    const waitMs = COUNTED.has(request.op) ? limits.take(request.volume, payload.byteLength) : 0
    if (waitMs > 0) {
      this.#fail(call, overLimit(), waitMs)
      return
    }
    const refusal = chunksOf(replica).admits(request, this.#isShortOfRoom(replica))
    if (refusal !== null) throw refusal
    const headBytes = chunkRequestBytes(request)
    const entry = joined(call.body.subarray(0, headBytes), payload)
    const startedMs = env.clock.monotonicMs()
    host.propose(replica.group, entry, (error, result) => {
      if (error === null) error = refusalOf(result)
      if (error !== null) {
        this.#fail(call, error)
        return
      }
      if (isWrite) this.#countWrite(payload.byteLength, env.clock.monotonicMs() - startedMs)
      call.reply(EMPTY)
    })
  }

  /**
   * A follower can not refuse what is committed: on a full disk it would take it from the room that is
   * left for its log, and stand still with that, alone with what two others have.
   */
  #isShortOfRoom(replica: Replica): boolean {
    if (this.#full.size === 0) return false
    const { voters } = replica.membership
    return voters.some((voter) => voter !== replica.id && this.#full.has(hostOf(voter)))
  }

  #judgeAttempt(replica: Replica, request: ChunkRequest): void {
    const { bugs } = this.#options
    if (!COUNTED.has(request.op) || bugs.has('no-attempt-check')) return
    const { epoch: asked, volume: of } = request
    const known = chunksOf(replica).epochOf(of)
    if (bugs.has('epoch-before-propose-only') && asked < known) {
      throw new LemnisError('FENCED', { epoch: known })
    }
    let attempts = this.#attempts.get(replica.group)
    if (attempts === undefined) {
      attempts = new Attempts(this.#options.config.attemptsMax)
      this.#attempts.set(replica.group, attempts)
    }
    const { volume, epoch, attempt } = request
    const verdict = attempts.judge(replica.term, volume, epoch, attempt)
    if (verdict.kind === 'stale') {
      throw new LemnisError('STALE_ATTEMPT', { attempt: verdict.attempt })
    }
    if (verdict.kind === 'fenced') throw new LemnisError('FENCED', { epoch: verdict.epoch })
  }

  #fail(call: IncomingCall, error: LemnisError, waitMs = 0): void {
    const { overloadedHintMs, fullHintMs } = this.#options.config
    this.#countRefusal(error.code)
    if (waitMs > 0) call.fail(error, Math.ceil(waitMs))
    else if (error.code === 'OVERLOADED') call.fail(error, overloadedHintMs)
    else if (error.code === 'NO_SPACE') call.fail(error, fullHintMs)
    else call.fail(error)
  }

  #countRefusal(code: ErrorCode): void {
    let counter = this.#refusals.get(code)
    if (counter === undefined) {
      counter = this.#options.observer.counter('chunkserver_refused_total', code)
      this.#refusals.set(code, counter)
    }
    counter.add(1)
  }

  #countWrite(bytes: number, tookMs: number): void {
    this.#counts.writes++
    this.#counts.writtenBytes += bytes
    this.#writes.add(1)
    this.#writtenBytes.add(bytes)
    this.#writeLatencies.record(tookMs * 1000)
    this.#writeSeconds.record(tookMs / 1000)
  }

  // --- reads

  #read(call: IncomingCall): void {
    const request = decodeChunkRequest(call.body)
    if (request.op !== 'read' || request.blockCount === 0) throw invalid('op')
    if (request.blockCount > REQUEST_BLOCKS_MAX) throw invalid('range')
    const replica = this.#leading(request)
    const bytes = request.blockCount * BLOCK_BYTES
    const { limits, env } = this.#options
    const waitMs = limits.take(request.volume, bytes)
    if (waitMs > 0) {
      this.#fail(call, overLimit(), waitMs)
      return
    }
    if (!this.#readBudget.tryClaim(bytes)) {
      throw new LemnisError('OVERLOADED', { reason: 'reads under way' })
    }
    const startedMs = env.clock.monotonicMs()
    this.#atReadPoint(replica, request, (error, chunks) => {
      if (error !== null || chunks === null) {
        this.#readBudget.release(bytes)
        this.#fail(call, error ?? new LemnisError('CLOSED'))
        return
      }
      const { chunk, sn, firstBlock, blockCount } = request
      chunks
        .read(chunk, sn, firstBlock, blockCount)
        .then((read) => this.#repaired(replica, request, read))
        .then(
          (read) => {
            this.#readBudget.release(bytes)
            this.#countRead(bytes, env.clock.monotonicMs() - startedMs)
            replyWith(call, read)
          },
          (thrown: unknown) => {
            this.#readBudget.release(bytes)
            this.#fail(call, asLemnisError(thrown))
          },
        )
    })
  }

  /**
   * `done` at a moment at which the machine holds all that was acknowledged before, and no older
   * writer can change it any more: a reader that knows of a newer writer first tells everybody.
   */
  #atReadPoint(
    replica: Replica,
    request: ChunkRequest,
    done: (error: LemnisError | null, chunks: ReplicaChunks | null) => void,
  ): void {
    const { host } = this.#options
    const { volume, epoch } = request
    const read = (): void =>
      host.read(replica.group, (error) => {
        if (error !== null) return done(error, null)
        const chunks = chunksOf(replica)
        const known = chunks.epochOf(volume)
        // A reader that came without an epoch minds no writer.
        if (epoch > 0 && epoch < known) done(new LemnisError('FENCED', { epoch: known }), null)
        else done(null, chunks)
      })
    if (epoch <= chunksOf(replica).epochOf(volume)) {
      read()
      return
    }
    const fence = { ...request, op: 'fence', firstBlock: 0, blockCount: 0, crcs: [] } as const
    host.propose(replica.group, encodeChunkRequest(fence), (error, result) => {
      const refusal = error ?? refusalOf(result)
      if (refusal !== null) done(refusal, null)
      else read()
    })
  }

  /** What was read; when blocks of it were bad, read once more after they were repaired. */
  #repaired(
    replica: Replica,
    request: ChunkRequest,
    read: ChunkRead,
  ): ChunkRead | Promise<ChunkRead> {
    if (read.status !== 'bad') return read
    const { chunk, sn, firstBlock, blockCount } = request
    return this.#options.repairer
      .repair(replica, chunk)
      .then(() => chunksOf(replica).read(chunk, sn, firstBlock, blockCount))
  }

  #countRead(bytes: number, tookMs: number): void {
    this.#counts.reads++
    this.#counts.readBytes += bytes
    this.#reads.add(1)
    this.#readBytes.add(bytes)
    this.#readLatencies.record(tookMs * 1000)
    this.#readSeconds.record(tookMs / 1000)
  }

  #extents(call: IncomingCall): void {
    const request = decodeChunkRequest(call.body)
    if (request.op !== 'read') throw invalid('op')
    const replica = this.#leading(request)
    this.#atReadPoint(replica, request, (error, chunks) => {
      if (error !== null || chunks === null) {
        this.#fail(call, error ?? new LemnisError('CLOSED'))
        return
      }
      const { chunk, firstBlock, blockCount } = request
      const extents = chunks.extents(chunk, firstBlock, blockCount)
      call.reply(encodeExtents(extents.filter(({ kind }) => kind !== 'zero')))
    })
  }
}

function leaderOf(replica: Replica): CopysetLeader {
  const { leader, term } = replica
  return { leader: leader === 0 ? 0 : hostOf(leader), term }
}

/** Why the entry changed nothing, by its outcome; null when it did what it should. */
function refusalOf(result: Uint8Array): LemnisError | null {
  const { code, epoch, sn } = decodeChunkOutcome(result)
  if (code === null) return null
  const detail: ErrorDetail =
    code === 'FENCED' ? { epoch } : code === 'STALE_SEQUENCE' ? { sn } : { reason: 'in apply' }
  return new LemnisError(code, detail)
}

function replyWith(call: IncomingCall, read: ChunkRead): void {
  switch (read.status) {
    case 'ok':
      // A single block goes out with the checksum that it came in with: nobody computes it anew.
      call.reply(EMPTY, read.bytes, read.crcs?.length === 1 ? read.crcs[0] : undefined)
      return
    case 'bad': {
      const detail = { blocks: read.blocks.length, reason: 'no other replica has them good now' }
      call.fail(new LemnisError('CORRUPT', detail))
      return
    }
    case 'not-found':
      call.fail(new LemnisError('NOT_FOUND', { what: 'chunk in that generation' }))
      return
    case 'source':
      call.fail(new LemnisError('CONFLICT', { reason: 'clone source not available' }))
  }
}

function overLimit(): LemnisError {
  return new LemnisError('OVERLOADED', { reason: 'limit of the volume' })
}

function invalid(field: string): LemnisError {
  return new LemnisError('INVALID_ARGUMENT', { what: 'chunk request', field })
}
