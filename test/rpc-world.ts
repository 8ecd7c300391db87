// Owns the world in which the RPC is tested: a server host and client hosts in the simulator,
// observers that count, and raw streams that say whatever a test wants.

import { must } from '../src/base/assert.ts'
import { concat } from '../src/base/bytes.ts'
import { crc32cPure } from '../src/base/crc32c.ts'
import type { LemnisError } from '../src/base/errors.ts'
import type { Env } from '../src/env/env.ts'
import type { Address, Connection, ConnectionEvents } from '../src/env/network.ts'
import type { FrameHeader, FrameKind } from '../src/format/frame.ts'
import { encodeHello, type Hello } from '../src/format/frame-bodies.ts'
import { FrameReader, type FrameSink } from '../src/format/frame-reader.ts'
import { FrameWriter } from '../src/format/frame-writer.ts'
import { SPOKEN } from '../src/format/version.ts'
import type { Observer } from '../src/observe/observe.ts'
import { type Reply, RpcClient } from '../src/rpc/client.ts'
import { type RpcConfig, rpcConfig } from '../src/rpc/config.ts'
import { RpcServer } from '../src/rpc/server.ts'
import { SimHost } from '../src/sim/host.ts'
import { SimNetwork } from '../src/sim/network.ts'
import { World } from '../src/sim/world.ts'

const EMPTY = new Uint8Array(0)

/** Counts by name, or by `name label`, and keeps the events. */
export class Counts implements Observer {
  readonly #counts = new Map<string, number>()
  readonly events: { name: string; fields: Readonly<Record<string, unknown>> }[] = []
  readonly gauges = new Map<string, () => number>()

  of(name: string, label = ''): number {
    return this.#counts.get(`${name} ${label}`) ?? 0
  }
  emit(name: string, fields: Readonly<Record<string, unknown>>): void {
    this.events.push({ name, fields })
  }
  counter(name: string, label = ''): { add(count: number): void } {
    const key = `${name} ${label}`
    return { add: (count) => void this.#counts.set(key, (this.#counts.get(key) ?? 0) + count) }
  }
  histogram(name: string, label = ''): { record(value: number): void } {
    const counter = this.counter(name, label)
    return { record: () => counter.add(1) }
  }
  gauge(name: string, read: () => number): void {
    this.gauges.set(name, read)
  }
}

/** What a call came to. */
export interface Outcome {
  readonly error: LemnisError | null
  readonly reply: Reply | null
}

export const SERVER_ADDRESS = 'server:700'

export class RpcWorld {
  readonly world: World
  readonly network: SimNetwork
  readonly serverCounts = new Counts()
  readonly clientCounts = new Counts()
  readonly #hosts = new Map<string, SimHost>()
  readonly #envs = new Map<string, Env>()

  constructor(seed = 1) {
    this.world = new World({ seed })
    this.network = new SimNetwork(this.world)
  }

  host(name: string): SimHost {
    return must(this.#hosts.get(name), name)
  }

  /** The world of a host, which starts when it is first asked for. */
  async env(name: string): Promise<Env> {
    if (!this.#hosts.has(name)) {
      const host = new SimHost(this.world, { name, network: this.network })
      this.network.add(host)
      this.#hosts.set(name, host)
      host.start((env) => void this.#envs.set(name, env))
      await this.runMs(0)
    }
    return must(this.#envs.get(name), name)
  }

  async restart(name: string): Promise<void> {
    this.host(name).start((env) => void this.#envs.set(name, env))
    await this.runMs(0)
  }

  async serve(config: Partial<RpcConfig> = {}): Promise<RpcServer> {
    const env = await this.env('server')
    const { serverCounts } = this
    return this.settle(
      RpcServer.listen(env, serverCounts, SERVER_ADDRESS, rpcConfig(config), 'the server'),
    )
  }

  async client(config: Partial<RpcConfig> = {}, host = 'client'): Promise<RpcClient> {
    const env = await this.env(host)
    return new RpcClient(env, this.clientCounts, SERVER_ADDRESS, rpcConfig(config), host)
  }

  async raw(address: Address = SERVER_ADDRESS): Promise<RawStream> {
    const env = await this.env('raw')
    const stream = new RawStream()
    stream.connection = env.network.connect(address, stream)
    await this.world.run({ until: () => stream.isOpen || stream.isClosed })
    return stream
  }

  settle<T>(promise: Promise<T>): Promise<T> {
    return this.world.settle(promise)
  }

  runMs(ms: number): Promise<void> {
    return this.world.run({ untilUs: this.world.nowUs + Math.round(ms * 1000) })
  }

  async until(condition: () => boolean): Promise<void> {
    await this.world.run({ until: condition })
    if (!condition()) throw new Error('the world came to rest before the condition held')
  }
}

/** A call whose outcome may be looked at when it is there; twice is a failure. */
export function ask(
  client: RpcClient,
  method: number,
  body: Uint8Array = EMPTY,
  payload: Uint8Array | null = null,
  budgetMs = 1000,
): { outcome: Outcome | null } {
  const asked: { outcome: Outcome | null } = { outcome: null }
  client.call(method, body, payload, budgetMs, (error, reply) => {
    if (asked.outcome !== null) throw new Error('a call was answered twice')
    if ((error === null) === (reply === null)) throw new Error('either an error or a reply')
    asked.outcome = { error, reply }
  })
  return asked
}

export interface RawFrame {
  readonly kind: FrameKind
  readonly callId: number
  readonly method: number
  readonly body: Uint8Array
  readonly payload: Uint8Array
}

/** One end of a stream in the hands of a test. */
export class RawStream implements ConnectionEvents, FrameSink {
  connection: Connection | null = null
  isOpen = false
  isClosed = false
  readonly frames: RawFrame[] = []
  onFrame: (frame: RawFrame) => void = () => {}
  readonly #reader = new FrameReader(
    crc32cPure,
    { bodyBytesMax: 0xffff_ffff, payloadBytesMax: 0xffff_ffff },
    this,
  )

  send(bytes: Uint8Array): void {
    must(this.connection, 'a connection').write([bytes])
  }
  onOpen(): void {
    this.isOpen = true
  }
  onData(bytes: Uint8Array): void {
    this.#reader.push(bytes)
  }
  onDrain(): void {}
  onClose(): void {
    this.isClosed = true
  }

  admit(): boolean {
    return true
  }
  refused(): void {}
  frame(header: FrameHeader, body: Uint8Array, payload: Uint8Array): void {
    const { kind, callId, method } = header
    const frame = { kind, callId, method, body, payload }
    this.frames.push(frame)
    this.onFrame(frame)
  }
}

export interface FrameParts {
  readonly kind: FrameKind
  readonly method?: number
  readonly callId?: number
  readonly budgetMs?: number
  readonly body?: Uint8Array
  readonly payload?: Uint8Array
  readonly payloadCrc?: number
}

/** The bytes of frames. */
export function framesOf(...frames: readonly FrameParts[]): Uint8Array {
  const writer = new FrameWriter(crc32cPure)
  for (const { kind, method = 0, callId = 0, budgetMs = 0, ...rest } of frames) {
    const { body = EMPTY, payload = EMPTY } = rest
    const crc = rest.payloadCrc ?? crc32cPure(payload)
    writer.add(kind, method, callId, budgetMs, body, payload, crc)
  }
  return concat(writer.take())
}

export const RAW_HELLO: Hello = {
  versions: SPOKEN,
  bodyBytesMax: 1024,
  payloadBytesMax: 1_048_576,
  name: 'raw',
  clusterId: '',
}

export function helloFrame(replaced: Partial<Hello> = {}): FrameParts {
  return { kind: 'hello', body: encodeHello({ ...RAW_HELLO, ...replaced }) }
}
