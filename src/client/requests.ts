// Owns chunk requests from the first sending to an outcome that is known: retries, time-outs, pauses,
// and what each kind of answer means. Everything that heals is waited for; the caller hears only of what
// does not. Split requests come here; who may send which when was decided before (aligned.ts).
// Invariant: a change whose outcome is unknown is repeated with a higher attempt than it had, so that
// the leader refuses whatever of it is still on its way (docs/adr/0012-stale-attempts.md).

import { type ErrorCode, LemnisError } from '../base/errors.ts'
import type { Timer } from '../env/clock.ts'
import type { Env } from '../env/env.ts'
import {
  BLOCK_BYTES,
  type ChunkOp,
  type ChunkRequest,
  encodeChunkRequest,
} from '../format/chunk-request.ts'
import { METHODS } from '../format/methods.ts'
import type { Counter, Observer } from '../observe/observe.ts'
import type { Reply } from '../rpc/client.ts'
import { blockCrcs, crcOfBlocks } from './block-crc.ts'
import type { ClientConfig } from './config.ts'
import type { Copyset, Copysets, LeaderWaiter } from './copysets.ts'
import type { Server, Servers } from './servers.ts'

/** The reply, or the error that does not heal. */
export type RequestDone = (error: LemnisError | null, reply: Reply | null) => void

export type RequestKind = 'write' | 'read' | 'change' | 'extents'

const METHOD_OF: Record<RequestKind, number> = {
  write: METHODS.CHUNK_WRITE,
  read: METHODS.CHUNK_READ,
  change: METHODS.CHUNK_CHANGE,
  extents: METHODS.CHUNK_EXTENTS,
}

/** What a volume wants of its requests. */
export interface RequestPolicy {
  readonly isReader: boolean
  /** A request without a copyset that serves it fails after this; Infinity waits. */
  readonly noQuorumMs: number
  /** NO_SPACE is the caller's, instead of being waited for. */
  readonly failsWhenFull: boolean
}

/** One wait for people: what, on what, since when. */
export interface Wait {
  readonly what: string
  readonly waitsFor: string
  readonly sinceMs: number
}

/** A copyset as one open volume uses it. */
export interface Target {
  readonly copyset: Copyset
  /** Of the next request; above that of every change that was given up. */
  attempt: number
}

const NO_CRCS: readonly number[] = []

/** What all requests of one open volume share. */
export class Requests {
  readonly env: Env
  readonly config: ClientConfig
  readonly copysets: Copysets
  readonly servers: Servers
  readonly policy: RequestPolicy
  readonly volume: number
  epoch: number
  sn: number
  /** Why the volume serves nothing any more. */
  ended: LemnisError | null = null
  retries = 0
  /** Told when another writer has the volume. */
  onFenced: (error: LemnisError) => void = () => {}
  /** Told when the sequence number or the epoch is an old one. */
  onStale: () => void = () => {}
  readonly live = new Set<ChunkCall>()
  readonly #observer: Observer
  readonly #targets = new Map<number, Target>()
  readonly #counters = new Map<ErrorCode, Counter>()

  constructor(
    env: Env,
    observer: Observer,
    config: ClientConfig,
    copysets: Copysets,
    servers: Servers,
    policy: RequestPolicy,
    identity: { readonly volume: number; readonly epoch: number; readonly sn: number },
  ) {
    this.env = env
    this.config = config
    this.copysets = copysets
    this.servers = servers
    this.policy = policy
    this.volume = identity.volume
    this.epoch = identity.epoch
    this.sn = identity.sn
    this.#observer = observer
  }

  read(group: number, chunk: number, firstBlock: number, blocks: number, done: RequestDone): void {
    this.#start('read', 'read', group, chunk, firstBlock, blocks, done)
  }

  extents(
    group: number,
    chunk: number,
    firstBlock: number,
    blocks: number,
    done: RequestDone,
  ): void {
    this.#start('extents', 'read', group, chunk, firstBlock, blocks, done)
  }

  zero(group: number, chunk: number, firstBlock: number, blocks: number, done: RequestDone): void {
    this.#start('change', 'zero', group, chunk, firstBlock, blocks, done)
  }

  /** Makes the copyset refuse older epochs. */
  fence(group: number, done: RequestDone): void {
    this.#start('change', 'fence', group, 0, 0, 0, done)
  }

  /** `crcs` are of the blocks of `payload`, `payloadCrc` is of all of it. */
  write(
    group: number,
    chunk: number,
    firstBlock: number,
    payload: Uint8Array,
    crcs: readonly number[],
    payloadCrc: number,
    done: RequestDone,
  ): void {
    const blocks = crcs.length
    const call = new ChunkCall(this, 'write', 'write', this.#target(group), chunk, done)
    call.cover(firstBlock, blocks)
    call.carry(payload, crcs, payloadCrc)
    this.live.add(call)
    call.send()
  }

  /** Fails everything under way and everything to come. */
  end(error: LemnisError): void {
    if (this.ended !== null) return
    this.ended = error
    for (const call of [...this.live]) call.finish(error, null)
  }

  retried(code: ErrorCode): void {
    this.retries++
    let counter = this.#counters.get(code)
    if (counter === undefined) {
      counter = this.#observer.counter('client_retries_total', code)
      this.#counters.set(code, counter)
    }
    counter.add(1)
  }

  #start(
    kind: RequestKind,
    op: ChunkOp,
    group: number,
    chunk: number,
    firstBlock: number,
    blocks: number,
    done: RequestDone,
  ): void {
    const call = new ChunkCall(this, kind, op, this.#target(group), chunk, done)
    call.cover(firstBlock, blocks)
    this.live.add(call)
    call.send()
  }

  #target(group: number): Target {
    let target = this.#targets.get(group)
    if (target === undefined) {
      target = { copyset: this.copysets.get(group), attempt: 0 }
      this.#targets.set(group, target)
    }
    return target
  }
}

type CallState = 'leader' | 'answer' | 'pause' | 'over'

/** One request; it is its own wire form, so that a retry allocates nothing but the bytes. */
export class ChunkCall implements ChunkRequest, LeaderWaiter {
  readonly op: ChunkOp
  readonly group: number
  readonly volume: number
  readonly chunk: number
  readonly startedMs: number
  firstBlock = 0
  blockCount = 0
  crcs: readonly number[] = NO_CRCS
  epoch = 0
  sn = 0
  term = 0
  attempt = 0
  readonly #all: Requests
  readonly #kind: RequestKind
  readonly #target: Target
  readonly #done: RequestDone
  readonly #onAnswer: RequestDone
  #payload: Uint8Array | null = null
  #payloadCrc = 0
  #server: Server | null = null
  #state: CallState = 'leader'
  #timeouts = 0
  #backoffs = 0
  #timer: Timer | null = null
  /** What the last attempt met, for people. */
  #lastCode: ErrorCode | null = null

  constructor(
    all: Requests,
    kind: RequestKind,
    op: ChunkOp,
    target: Target,
    chunk: number,
    done: RequestDone,
  ) {
    this.#all = all
    this.#kind = kind
    this.op = op
    this.#target = target
    this.group = target.copyset.group
    this.volume = all.volume
    this.chunk = chunk
    this.#done = done
    this.startedMs = all.env.clock.monotonicMs()
    this.#onAnswer = (error, reply) => this.#answered(error, reply)
  }

  cover(firstBlock: number, blockCount: number): void {
    this.firstBlock = firstBlock
    this.blockCount = blockCount
  }

  carry(payload: Uint8Array, crcs: readonly number[], payloadCrc: number): void {
    this.#payload = payload
    this.crcs = crcs
    this.#payloadCrc = payloadCrc
  }

  send(): void {
    const all = this.#all
    this.#timer = null
    if (all.ended !== null) {
      this.finish(all.ended, null)
      return
    }
    const { copyset } = this.#target
    const leader = copyset.leader
    if (leader === null) {
      this.#state = 'leader'
      all.copysets.find(copyset, this)
      return
    }
    this.#state = 'answer'
    this.#server = leader
    this.epoch = all.epoch
    // The present: a reader of the newest generation names none.
    this.sn = this.#kind === 'read' || this.#kind === 'extents' ? 0 : all.sn
    this.term = copyset.term
    this.attempt = this.#target.attempt
    const body = encodeChunkRequest(this)
    const method = METHOD_OF[this.#kind]
    const crc = this.#payload === null ? undefined : this.#payloadCrc
    leader.rpc.call(method, body, this.#payload, this.#timeoutMs(), this.#onAnswer, crc)
  }

  finish(error: LemnisError | null, reply: Reply | null): void {
    if (this.#state === 'over') return
    this.#state = 'over'
    this.#timer?.cancel()
    this.#all.live.delete(this)
    this.#done(error, reply)
  }

  leaderFound(): void {
    if (this.#state === 'leader') this.send()
  }

  leaderMissing(): boolean {
    if (this.#state !== 'leader') return false
    const error = this.#lateness()
    if (error === null) return true
    this.finish(error, null)
    return false
  }

  wait(): Wait {
    const { op, volume, chunk, group, firstBlock } = this
    const what = `${op} of volume ${volume}, chunk ${chunk}, block ${firstBlock}`
    return { what, waitsFor: `${this.#waitsFor(group)}${this.#met()}`, sinceMs: this.startedMs }
  }

  #waitsFor(group: number): string {
    if (this.#state === 'leader') return `a leader of copyset ${group}`
    const { id, rpc } = this.#server as Server
    if (this.#state === 'answer') return `chunkserver ${id} (${rpc.address}), copyset ${group}`
    return `a pause before chunkserver ${id} is asked again, copyset ${group}`
  }

  #met(): string {
    return this.#lastCode === null ? '' : `, after ${this.#lastCode}`
  }

  #timeoutMs(): number {
    const { requestTimeoutMs, requestTimeoutMaxMs, leaderRetries } = this.#all.config
    const stays = this.#target.copyset.leaderMayChange && this.#timeouts < leaderRetries
    if (stays) return requestTimeoutMs
    return Math.min(requestTimeoutMaxMs, requestTimeoutMs * 2 ** Math.min(this.#timeouts, 16))
  }

  #answered(error: LemnisError | null, reply: Reply | null): void {
    // The volume has ended meanwhile.
    if (this.#state === 'over') return
    if (error === null && reply !== null && this.#hasRightSize(reply)) {
      const { copyset } = this.#target
      const server = this.#server as Server
      this.#all.servers.answered(server)
      if (copyset.leader === server) this.#all.copysets.confirmed(copyset)
      this.finish(null, reply)
      return
    }
    this.#failed(error ?? new LemnisError('CORRUPT', { what: 'length of an answer' }))
  }

  #hasRightSize(reply: Reply): boolean {
    if (this.#kind !== 'read') return true
    const bytes = reply.payload.byteLength
    return bytes === 0 || bytes === this.blockCount * BLOCK_BYTES
  }

  /** What an error means. Each case ends the request, or sends it again now or later. */
  #failed(error: LemnisError): void {
    const all = this.#all
    const { copysets, servers } = all
    const { copyset } = this.#target
    const server = this.#server as Server
    all.retried(error.code)
    this.#lastCode = error.code
    if (isUnknown(error.code)) this.#giveUp()
    if (error.code === 'DEADLINE_EXCEEDED') {
      this.#timeouts++
      servers.timedOut(server)
    } else if (error.code !== 'DISCONNECTED') servers.answered(server)
    switch (error.code) {
      case 'NOT_LEADER':
        copysets.denied(
          copyset,
          server,
          this.term,
          numberIn(error, 'leader'),
          numberIn(error, 'term'),
        )
        this.#again(0)
        return
      case 'STALE_ATTEMPT':
        this.#target.attempt = Math.max(this.#target.attempt, numberIn(error, 'attempt'))
        this.#again(this.attempt < this.#target.attempt ? 0 : all.config.retryPauseMs)
        return
      case 'NO_SUCH_GROUP':
        copysets.moved(copyset)
        this.#again(0)
        return
      case 'DISCONNECTED':
      case 'DEADLINE_EXCEEDED':
      case 'PROPOSAL_DROPPED':
      case 'CLOSED':
        copysets.failed(copyset, server, this.term)
        this.#again(0)
        return
      case 'NO_SPACE':
      case 'OVERLOADED':
        if (error.code === 'NO_SPACE' && all.policy.failsWhenFull) this.finish(error, null)
        else this.#again(this.#backoffMs(numberIn(error, 'hintMs')))
        return
      case 'STALE_SEQUENCE':
        all.onStale()
        this.#again(all.config.retryPauseMs)
        return
      case 'FENCED':
        this.#fenced(error)
        return
      case 'INVALID_ARGUMENT':
      case 'CONFLICT':
      case 'NOT_FOUND':
      case 'UNKNOWN_METHOD':
        this.finish(error, null)
        return
      default:
        copysets.failed(copyset, server, this.term)
        this.#again(all.config.retryPauseMs)
    }
  }

  /** Whatever of this request may still be on its way must find a higher attempt before it. */
  #giveUp(): void {
    const isChange = this.#kind === 'write' || this.#kind === 'change'
    if (isChange && this.#target.attempt === this.attempt) this.#target.attempt++
    // Summed anew: bytes that their owner has changed meanwhile would else break every connection.
    if (this.#payload !== null) {
      this.crcs = blockCrcs(this.#all.env.crc32c, this.#payload)
      this.#payloadCrc = crcOfBlocks(this.crcs)
    }
  }

  #again(afterMs: number): void {
    const error = this.#lateness()
    if (error !== null) {
      this.finish(error, null)
    } else if (afterMs === 0) {
      this.send()
    } else {
      this.#state = 'pause'
      this.#timer = this.#all.env.clock.after(afterMs, () => this.send())
    }
  }

  /** A reader goes on with the newer epoch: the writer before has lost nothing by it. */
  #fenced(error: LemnisError): void {
    const all = this.#all
    if (!all.policy.isReader) {
      all.onFenced(error)
      return
    }
    const epoch = numberIn(error, 'epoch')
    const isNews = epoch > this.epoch
    if (epoch > all.epoch) all.epoch = epoch
    all.onStale()
    this.#again(isNews ? 0 : all.config.retryPauseMs)
  }

  /** The error of a request that has waited for its copyset longer than the volume allows. */
  #lateness(): LemnisError | null {
    const { noQuorumMs } = this.#all.policy
    if (noQuorumMs === Number.POSITIVE_INFINITY) return null
    if (this.#lastCode === 'NO_SPACE' || this.#lastCode === 'OVERLOADED') return null
    const waitedMs = this.#all.env.clock.monotonicMs() - this.startedMs
    if (waitedMs < noQuorumMs) return null
    const detail = {
      copyset: this.group,
      waitedMs: Math.round(waitedMs),
      last: this.#lastCode ?? '',
    }
    return new LemnisError('DEADLINE_EXCEEDED', detail)
  }

  /** Doubles from the hint, or from the configured first pause; a tenth of it is chance. */
  #backoffMs(hintMs: number): number {
    const { backoffMinMs, backoffMaxMs } = this.#all.config
    const firstMs = hintMs > 0 ? hintMs : backoffMinMs
    const pauseMs = Math.min(backoffMaxMs, firstMs * 2 ** Math.min(this.#backoffs, 16))
    this.#backoffs++
    const tenth = Math.ceil(pauseMs / 10)
    return Math.max(1, pauseMs - tenth + this.#all.env.random.below(2 * tenth + 1))
  }
}

/** Errors after which a change may or may not have taken effect, or may yet. */
function isUnknown(code: ErrorCode): boolean {
  switch (code) {
    case 'NOT_LEADER':
    case 'NO_SUCH_GROUP':
    case 'OVERLOADED':
    case 'NO_SPACE':
    case 'STALE_ATTEMPT':
    case 'STALE_SEQUENCE':
    case 'FENCED':
    case 'INVALID_ARGUMENT':
    case 'CONFLICT':
    case 'NOT_FOUND':
    case 'UNKNOWN_METHOD':
      return false
    default:
      return true
  }
}

function numberIn(error: LemnisError, name: string): number {
  const value = error.detail[name]
  return typeof value === 'number' ? value : 0
}
