// Owns one client of a cluster: its way to the MDS, its connections to chunkservers, what it knows of
// copysets, and the volumes that it has open. All of them share these.

import { hexOf, viewOf } from '../base/bytes.ts'
import type { Env } from '../env/env.ts'
import type { Address } from '../env/network.ts'
import type { ControlCall, ReplyOf, RequestOf } from '../format/control/call.ts'
import { OPEN_VOLUME } from '../format/control/mds.ts'
import type { Observer } from '../observe/observe.ts'
import { type RpcConfig, rpcConfig } from '../rpc/config.ts'
import { type ClientConfig, clientConfig } from './config.ts'
import { Copysets } from './copysets.ts'
import { MdsCaller } from './mds-caller.ts'
import { Requests, type Wait } from './requests.ts'
import { Servers } from './servers.ts'
import { Volume, type VolumeEvents } from './volume.ts'
import { VolumeCommands } from './volume-commands.ts'

export interface ConnectOptions {
  /** `host:port` of each MDS. */
  readonly mds: readonly Address[]
  /** Who this client says it is, to servers and to whoever finds a volume in use. */
  readonly name?: string
  readonly config?: Partial<ClientConfig>
  readonly rpc?: Partial<RpcConfig>
}

export interface OpenOptions extends VolumeEvents {
  /** 'write' (the default) is exclusive: a second writer gets IN_USE. */
  readonly mode?: 'write' | 'read'
  /** Takes the volume over from another writer, which is fenced. */
  readonly force?: boolean
  /** Requests without a copyset to serve them fail after so long; by default they wait. */
  readonly onNoQuorumMs?: number
  /** A full cluster makes writes wait for room (the default), or fail with NO_SPACE. */
  readonly onFull?: 'wait' | 'error'
}

const CLIENT_ID_WORDS = 4
/** Waits shorter than this are no news. */
const WAIT_AGE_MS = 1000

/** Contacts nobody yet: the first call does. */
export function connect(env: Env, observer: Observer, options: ConnectOptions): LemnisClient {
  return new LemnisClient(env, observer, options)
}

export class LemnisClient {
  readonly volumes: VolumeCommands
  readonly #env: Env
  readonly #observer: Observer
  readonly #config: ClientConfig
  readonly #name: string
  readonly #mds: MdsCaller
  readonly #servers: Servers
  readonly #copysets: Copysets
  readonly #open = new Set<Volume>()
  #closed: Promise<void> | null = null

  constructor(env: Env, observer: Observer, options: ConnectOptions) {
    this.#env = env
    this.#observer = observer
    this.#config = clientConfig(options.config)
    this.#name = options.name ?? 'client'
    const rpc = rpcConfig(options.rpc)
    this.#mds = new MdsCaller(env, observer, options.mds, rpc, this.#config, this.#name)
    this.#servers = new Servers(env, observer, rpc, this.#config, this.#name)
    this.#copysets = new Copysets(env, this.#config, this.#mds, this.#servers)
    this.volumes = new VolumeCommands(this.#mds, this.#config)
  }

  /** Any call of the MDS (format/control). One that must not be executed twice is not repeated. */
  ask<C extends ControlCall>(
    call: C,
    request: RequestOf<C>,
    isRepeatable: boolean,
  ): Promise<ReplyOf<C>> {
    return this.#mds.ask(call, request, { isRepeatable, patienceMs: this.#config.mdsPatienceMs })
  }

  /** Opens a volume; for writing, no earlier writer can change anything any more when it resolves. */
  async open(name: string, options: OpenOptions = {}): Promise<Volume> {
    const { mode = 'write', force = false } = options
    const opener = { client: this.#newClientId(), address: this.#name, mode }
    const leaseSentMs = this.#env.clock.monotonicMs()
    // The same client again is a retry.
    const lease = await this.ask(OPEN_VOLUME, { name, force, ...opener }, true)
    const { id, sn } = lease.volume
    const policy = {
      isReader: mode === 'read',
      noQuorumMs: options.onNoQuorumMs ?? Number.POSITIVE_INFINITY,
      failsWhenFull: options.onFull === 'error',
    }
    const identity = { volume: id, epoch: lease.epoch, sn }
    const requests = new Requests(
      this.#env,
      this.#observer,
      this.#config,
      this.#copysets,
      this.#servers,
      policy,
      identity,
    )
    const volume = new Volume({
      env: this.#env,
      observer: this.#observer,
      config: this.#config,
      mds: this.#mds,
      requests,
      opener,
      lease,
      leaseSentMs,
      events: options,
      onClosed: (closed) => this.#open.delete(closed),
    })
    this.#open.add(volume)
    this.#observer.emit('client_volume_opened', { volume: id, name, mode, epoch: lease.epoch })
    try {
      // Epoch 1 is the first writer's.
      if (mode === 'write' && lease.epoch > 1) await volume.fencePredecessors()
    } catch (error) {
      await volume.close()
      throw error
    }
    return volume
  }

  /** Requests that have waited for longer than a second, with what they wait for. */
  waits(): Wait[] {
    return [...this.#open].flatMap((volume) => volume.waits(WAIT_AGE_MS))
  }

  /** Closes all volumes, then all connections. */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    await Promise.all([...this.#open].map((volume) => volume.close()))
    await Promise.all([this.#mds.close(), this.#servers.close()])
  }

  #newClientId(): string {
    const bytes = new Uint8Array(4 * CLIENT_ID_WORDS)
    const view = viewOf(bytes)
    for (let i = 0; i < CLIENT_ID_WORDS; i++) view.setUint32(4 * i, this.#env.random.u32(), true)
    return hexOf(bytes)
  }
}
