// Owns the connections to the members of one etcd, and which of them is asked: one, until it does not
// answer, then the next. Every call ends within its time. Nothing is repeated here but what is safe.

import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  type ChannelCredentials,
  Client,
  type ClientDuplexStream,
  credentials,
  Metadata,
  type ServiceError,
} from '@grpc/grpc-js'
import { LemnisError } from '../base/errors.ts'
import type { Counter, Observer, Timing } from '../observe/observe.ts'
import type { EtcdConfig } from './etcd-config.ts'
import { etcdErrorOf, isLost, isTokenError } from './etcd-errors.ts'
import { AUTHENTICATE, type Method } from './etcd-schema.ts'
import { decodeMessage, encodeMessage, type Given, type Message, type Schema } from './protobuf.ts'

export interface Member {
  readonly endpoint: string
  readonly client: Client
}

export type Duplex<Q extends Schema, A extends Schema> = ClientDuplexStream<Given<Q>, Message<A>>

const OPTIONS = {
  // A member that comes back is found within half a second.
  'grpc.initial_reconnect_backoff_ms': 50,
  'grpc.min_reconnect_backoff_ms': 50,
  'grpc.max_reconnect_backoff_ms': 500,
  // etcd ends connections that ask more often than every 5 s.
  'grpc.keepalive_time_ms': 10_000,
  'grpc.keepalive_timeout_ms': 2000,
  'grpc.max_receive_message_length': 1024 * 1024 * 1024,
  'grpc.use_local_subchannel_pool': 1,
  'grpc.enable_retries': 0,
  'grpc.enable_http_proxy': 0,
  'grpc.service_config_disable_resolution': 1,
}

export class EtcdMembers {
  readonly all: readonly Member[]
  readonly #config: EtcdConfig
  readonly observer: Observer
  readonly #metrics = new Map<string, { readonly seconds: Timing; readonly lost: Counter }>()
  /** Members that answered nothing since they were asked last. */
  readonly #lost = new Set<Member>()
  readonly #listeners = new Set<(member: Member) => void>()
  #current = 0
  #token: Promise<string> | null = null
  #isClosed = false

  constructor(endpoints: readonly string[], config: EtcdConfig, observer: Observer) {
    if (endpoints.length === 0) throw new LemnisError('INVALID_ARGUMENT', { what: 'no endpoint' })
    this.#config = config
    this.observer = observer
    const shown = credentialsOf(config)
    this.all = endpoints.map((endpoint) => {
      const address = endpoint.replace(/^https?:\/\//, '').replace(/\/$/, '')
      return { endpoint: address, client: new Client(address, shown, OPTIONS) }
    })
  }

  get current(): Member {
    return this.all[this.#current] as Member
  }

  /** Calls `listener` when a member was found not to answer. */
  listen(listener: (member: Member) => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  /** The next one is asked from now on, if it was this one's turn. */
  leave(member: Member, reason: string): void {
    if (this.#isClosed) return
    if (!this.#lost.has(member)) {
      this.#lost.add(member)
      this.observer.emit('metastore_member_lost', { member: member.endpoint, reason })
    }
    if (member !== this.current) return
    this.#current = (this.#current + 1) % this.all.length
    if (this.all.length > 1) for (const listener of [...this.#listeners]) listener(member)
  }

  /** Asks one member after the other until one answers: only what may be done twice. */
  async ask<Q extends Schema, A extends Schema>(
    method: Method<Q, A>,
    given: Given<Q>,
  ): Promise<Message<A>> {
    return this.untilAnswered((member, timeoutMs) => this.once(member, method, given, timeoutMs))
  }

  /** Calls `attempt` until it is not lost, on one member after the other, for the time of one call. */
  async untilAnswered<T>(
    attempt: (member: Member, timeoutMs: number) => Promise<T>,
    deadlineMs = performance.now() + this.#config.callTimeoutMs,
  ): Promise<T> {
    for (let asked = 1; ; asked++) {
      const member = this.current
      const leftMs = deadlineMs - performance.now()
      try {
        return await attempt(member, Math.min(leftMs, this.#config.memberTimeoutMs))
      } catch (error) {
        if (!(error instanceof LemnisError) || !isLost(error)) throw error
        this.leave(member, error.message)
        if (this.#isClosed || performance.now() + this.#config.pauseMs >= deadlineMs) throw error
      }
      if (asked % this.all.length === 0) await sleep(this.#config.pauseMs)
    }
  }

  /** One attempt at one member. */
  async once<Q extends Schema, A extends Schema>(
    member: Member,
    method: Method<Q, A>,
    given: Given<Q>,
    timeoutMs: number,
  ): Promise<Message<A>> {
    const deadline = Date.now() + timeoutMs
    const attempt = async (): Promise<Message<A>> =>
      this.#send(member, method, given, await this.#metadata(member, deadline), deadline)
    return this.timed(member, method, async () => {
      try {
        return await attempt()
      } catch (error) {
        if (this.#config.user === '' || !isServiceError(error) || !isTokenError(error)) throw error
      }
      // Refused before it was looked at, because of an old token: once more with a new one.
      this.forgetToken()
      return attempt()
    })
  }

  /** Measures a call, and makes what it ends with an error of the store. */
  async timed<T>(
    member: Member,
    { path }: Method<Schema, Schema>,
    call: () => Promise<T>,
  ): Promise<T> {
    const { seconds, lost } = this.#metricsOf(path)
    const startedMs = performance.now()
    try {
      const answer = await call()
      seconds.record((performance.now() - startedMs) / 1000)
      this.found(member)
      return answer
    } catch (thrown) {
      const error = isServiceError(thrown) ? etcdErrorOf(thrown, member.endpoint) : thrown
      if (error instanceof LemnisError && isLost(error)) lost.add(1)
      throw error
    }
  }

  found(member: Member): void {
    if (this.#lost.delete(member)) {
      this.observer.emit('metastore_member_found', { member: member.endpoint })
    }
  }

  forgetToken(): void {
    this.#token = null
  }

  /** A stream of requests and answers; whoever opens it cancels it. */
  async stream<Q extends Schema, A extends Schema>(
    member: Member,
    { path, request, answer }: Method<Q, A>,
    deadline: number,
  ): Promise<Duplex<Q, A>> {
    const metadata = await this.#metadata(member, deadline)
    // A member that has lost its leader ends the stream instead of being silent.
    metadata.set('hasleader', 'true')
    return member.client.makeBidiStreamRequest(
      path,
      (given: Given<Q>) => Buffer.from(encodeMessage(request, given)),
      (bytes) => decodeMessage(answer, bytes),
      metadata,
    )
  }

  close(): void {
    this.#isClosed = true
    for (const { client } of this.all) client.close()
  }

  #send<Q extends Schema, A extends Schema>(
    { client }: Member,
    { path, request, answer }: Method<Q, A>,
    given: Given<Q>,
    metadata: Metadata,
    deadline: number,
  ): Promise<Message<A>> {
    return new Promise((resolve, reject) => {
      client.makeUnaryRequest(
        path,
        (one: Given<Q>) => Buffer.from(encodeMessage(request, one)),
        (bytes) => decodeMessage(answer, bytes),
        given,
        metadata,
        { deadline },
        (error, message) => {
          if (error !== null) reject(error)
          else resolve(message as Message<A>)
        },
      )
    })
  }

  async #metadata(member: Member, deadline: number): Promise<Metadata> {
    const metadata = new Metadata()
    if (this.#config.user === '') return metadata
    this.#token ??= this.#authenticate(member, deadline)
    try {
      metadata.set('token', await this.#token)
    } catch (error) {
      this.#token = null
      throw error
    }
    return metadata
  }

  async #authenticate(member: Member, deadline: number): Promise<string> {
    const { user, passwordFile } = this.#config
    const given = { name: user, password: readText(passwordFile).trimEnd() }
    return (await this.#send(member, AUTHENTICATE, given, new Metadata(), deadline)).token
  }

  #metricsOf(path: string): { readonly seconds: Timing; readonly lost: Counter } {
    let metrics = this.#metrics.get(path)
    if (metrics === undefined) {
      const method = path.slice(path.lastIndexOf('/') + 1)
      metrics = {
        seconds: this.observer.histogram('metastore_call_seconds', method),
        lost: this.observer.counter('metastore_calls_lost_total', method),
      }
      this.#metrics.set(path, metrics)
    }
    return metrics
  }
}

export function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && 'details' in error && 'code' in error
}

function credentialsOf({ caFile, certificateFile, keyFile }: EtcdConfig): ChannelCredentials {
  if (caFile === '') return credentials.createInsecure()
  const own = certificateFile === '' ? null : [readText(keyFile), readText(certificateFile)]
  const [key, certificate] = (own ?? []).map((text) => Buffer.from(text))
  const ca = Buffer.from(readText(caFile))
  try {
    return credentials.createSsl(ca, key ?? null, certificate ?? null)
  } catch (error) {
    throw new LemnisError('INVALID_ARGUMENT', { what: 'TLS to etcd', reason: String(error) }, error)
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new LemnisError('INVALID_ARGUMENT', { what: 'file of the settings', reason }, error)
  }
}
