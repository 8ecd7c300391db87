// Owns the word with the MDS: registration, then heartbeats with reports, whose answers bring orders,
// addresses and limits. Without an MDS the chunkserver serves on with what it knows, and says once that
// it is alone.

import { asLemnisError, type ErrorCode, LemnisError } from '../base/errors.ts'
import type { Timer } from '../env/clock.ts'
import type { Env } from '../env/env.ts'
import type { ReplyOf, RequestOf } from '../format/control/call.ts'
import { HEARTBEAT, REGISTER_CHUNKSERVER } from '../format/control/chunkserver.ts'
import type { Observer } from '../observe/observe.ts'
import type { ChunkserverConfig } from './config.ts'
import type { Identity } from './identity.ts'
import type { MdsLink } from './mds-link.ts'

export type Registration = Omit<
  RequestOf<typeof REGISTER_CHUNKSERVER>,
  'diskId' | 'clusterId' | 'id' | 'token'
>
export type Heartbeat = RequestOf<typeof HEARTBEAT>
export type HeartbeatReply = ReplyOf<typeof HEARTBEAT>

export interface HeartbeatsOptions {
  readonly env: Env
  readonly observer: Observer
  readonly config: ChunkserverConfig
  readonly mds: MdsLink
  readonly identity: Identity
  readonly registration: Registration
  readonly report: () => Heartbeat
  readonly onReply: (reply: HeartbeatReply) => void
}

/** An MDS that answers so does not know this chunkserver as it is: it is told again. */
const UNKNOWN: ReadonlySet<ErrorCode> = new Set(['NOT_FOUND', 'WRONG_DISK', 'WRONG_CLUSTER'])
const REFUSING: ReadonlySet<ErrorCode> = new Set(['WRONG_DISK', 'WRONG_CLUSTER', 'RETIRED'])
/** A new disk can't become one of that cluster by asking again. */
const FINAL: ReadonlySet<ErrorCode> = new Set([
  'WRONG_DISK',
  'WRONG_CLUSTER',
  'RETIRED',
  'INVALID_ARGUMENT',
  'VERSION_MISMATCH',
])

/** The identity of a disk as the MDS completes it; the same again for one that has it already. */
export async function register(
  mds: MdsLink,
  identity: Identity,
  registration: Registration,
): Promise<Identity> {
  const { diskId, clusterId, id, token } = identity
  const reply = await mds.ask(REGISTER_CHUNKSERVER, {
    ...registration,
    diskId,
    clusterId,
    id,
    token,
  })
  if (clusterId !== '' && reply.clusterId !== clusterId) {
    throw new LemnisError('WRONG_CLUSTER', { disk: clusterId, mds: reply.clusterId })
  }
  if (id !== 0 && reply.id !== id) throw new LemnisError('WRONG_DISK', { disk: id, mds: reply.id })
  return { ...identity, clusterId: reply.clusterId, id: reply.id, token: reply.token }
}

/**
 * Another MDS leads by then when one died: its lease and the margin of time after it (5.5 s as they are
 * set by themselves), and a heartbeat that is tried again. One that starts again is there sooner.
 */
const TAKEOVER_MS = 8000
/** After a heartbeat that nobody answered: a new leader is to know soon what there is. */
const RETRY_MS = 1000

/** Asks until an MDS answers; rejects only when asking again would change nothing. */
export async function registerNew(
  env: Env,
  observer: Observer,
  mds: MdsLink,
  identity: Identity,
  registration: Registration,
  retryMs: number,
): Promise<Identity> {
  const startedMs = env.clock.monotonicMs()
  for (let said = false; ; ) {
    try {
      return await register(mds, identity, registration)
    } catch (thrown) {
      const error = asLemnisError(thrown)
      if (FINAL.has(error.code)) throw error
      if (!said && env.clock.monotonicMs() - startedMs >= TAKEOVER_MS) {
        sayLost(observer, mds, error)
        said = true
      }
    }
    await new Promise<void>((resume) => env.clock.after(retryMs, resume))
  }
}

export class Heartbeats {
  readonly #options: HeartbeatsOptions
  #timer: Timer | null = null
  #intervalMs: number
  #isRegistered = false
  #isLost = false
  #isRetired = false
  #wasAnswered = true
  /** When the first of those that nobody answered was begun; null while they are answered. */
  #aloneSinceMs: number | null = null
  #lastAnswerMs: number
  #beating: Promise<void> = Promise.resolve()
  #closed = false

  constructor(options: HeartbeatsOptions) {
    this.#options = options
    this.#intervalMs = options.config.heartbeatIntervalMs
    this.#lastAnswerMs = options.env.clock.monotonicMs()
  }

  /** For how long no MDS has answered. */
  silenceMs(): number {
    return this.#options.env.clock.monotonicMs() - this.#lastAnswerMs
  }

  /** The MDS says so. */
  get isRetired(): boolean {
    return this.#isRetired
  }

  get intervalMs(): number {
    return this.#intervalMs
  }

  start(): void {
    this.#beating = this.#beat().then(() => this.#plan())
  }

  /** One heartbeat now; resolves when it was answered, or nobody answered. */
  async tell(): Promise<void> {
    await this.#beating
    if (!this.#closed) await this.#beat()
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#timer?.cancel()
    await this.#beating
  }

  #plan(): void {
    if (this.#closed) return
    const delayMs = this.#wasAnswered ? this.#intervalMs : Math.min(RETRY_MS, this.#intervalMs)
    this.#timer = this.#options.env.clock.after(delayMs, () => this.start())
  }

  async #beat(): Promise<void> {
    const { mds, identity, registration, report, onReply, env, config } = this.#options
    this.#wasAnswered = false
    const begunMs = env.clock.monotonicMs()
    try {
      if (!this.#isRegistered) await register(mds, identity, registration)
      this.#isRegistered = true
      if (this.#closed) return
      const reply = await mds.ask(HEARTBEAT, report())
      this.#lastAnswerMs = env.clock.monotonicMs()
      this.#wasAnswered = true
      this.#found()
      if (reply.intervalMs > 0) {
        this.#intervalMs = Math.min(reply.intervalMs, config.heartbeatIntervalMaxMs)
      }
      if (!this.#closed) onReply(reply)
    } catch (thrown) {
      const error = asLemnisError(thrown)
      this.#isRetired = error.code === 'RETIRED'
      if (UNKNOWN.has(error.code)) this.#isRegistered = false
      if (!this.#closed) this.#lost(error, begunMs)
    }
  }

  #found(): void {
    const { observer, mds } = this.#options
    if (this.#aloneSinceMs !== null) {
      observer.emit('chunkserver_mds_found', { address: mds.address })
    }
    this.#aloneSinceMs = null
    this.#isLost = false
  }

  #lost(error: LemnisError, begunMs: number): void {
    const { env, observer, mds } = this.#options
    const { code, message } = error
    const isFirst = this.#aloneSinceMs === null
    this.#aloneSinceMs ??= begunMs
    const isSoon = env.clock.monotonicMs() - this.#aloneSinceMs < TAKEOVER_MS
    const isAwaited = isSoon && !REFUSING.has(code)
    if (isAwaited && isFirst) {
      observer.emit('chunkserver_mds_awaited', { address: mds.address, code, error: message })
    }
    if (this.#isLost || isAwaited) return
    sayLost(observer, mds, error)
    this.#isLost = true
  }
}

function sayLost(observer: Observer, mds: MdsLink, { code, message }: LemnisError): void {
  if (code === 'RETIRED') {
    observer.emit('chunkserver_retired', { address: mds.address })
    return
  }
  const event = REFUSING.has(code) ? 'chunkserver_mds_refuses' : 'chunkserver_mds_lost'
  observer.emit(event, { address: mds.address, code, error: message })
}
