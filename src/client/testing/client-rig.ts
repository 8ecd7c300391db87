// Owns a cluster at the wire level in a simulated world, one scripted MDS and three chunkservers, and
// the clients that are tested against it.

import { must } from '../../base/assert.ts'
import type { Env } from '../../env/env.ts'
import type { Observer } from '../../observe/observe.ts'
import { SILENT } from '../../observe/observe.ts'
import { SimHost } from '../../sim/host.ts'
import { SimNetwork } from '../../sim/network.ts'
import { World } from '../../sim/world.ts'
import { type ConnectOptions, connect, type LemnisClient, type OpenOptions } from '../client.ts'
import type { Volume } from '../volume.ts'
import { ScriptedChunks } from './scripted-chunks.ts'
import { MDS_ADDRESS, ScriptedMds } from './scripted-mds.ts'

export const CHUNKSERVERS: readonly number[] = [1, 2, 3]
const PATIENCE_US = 600_000_000
export const GROUPS = 6

export class ClientRig {
  readonly world: World
  readonly network: SimNetwork
  readonly chunks = new ScriptedChunks()
  readonly mds: ScriptedMds
  /** Names of events, in order. */
  readonly events: string[] = []
  readonly #hosts = new Map<string, SimHost>()
  readonly #envs = new Map<string, Env>()
  #clients = 0

  private constructor(seed: number) {
    this.world = new World({ seed })
    this.network = new SimNetwork(this.world)
    this.mds = new ScriptedMds(
      GROUPS,
      () => CHUNKSERVERS,
      (group) => this.chunks.group(group).leader,
    )
  }

  static async start(seed = 1): Promise<ClientRig> {
    const rig = new ClientRig(seed)
    await rig.boot('mds', (env) => rig.mds.serve(env))
    for (const id of CHUNKSERVERS) await rig.boot(`cs${id}`, (env) => rig.chunks.serve(env, id))
    return rig
  }

  get nowMs(): number {
    return this.world.nowUs / 1000
  }

  host(name: string): SimHost {
    return must(this.#hosts.get(name), name)
  }

  env(name: string): Env {
    return must(this.#envs.get(name), name)
  }

  /** A client on a host of its own. */
  async client(options: Partial<ConnectOptions> = {}): Promise<LemnisClient> {
    const name = `client${++this.#clients}`
    await this.boot(name, () => Promise.resolve())
    const observer: Observer = { ...SILENT, emit: (event) => void this.events.push(event) }
    return connect(this.env(name), observer, { mds: [MDS_ADDRESS], name, ...options })
  }

  /** A volume of that size, created and opened for writing. */
  async volume(
    client: LemnisClient,
    sizeBytes: number,
    options: OpenOptions & { stripeUnitBytes?: number; stripeCount?: number; name?: string } = {},
  ): Promise<Volume> {
    const { stripeUnitBytes, stripeCount, name = 'v', ...open } = options
    const striping = stripeUnitBytes === undefined ? {} : { stripeUnitBytes }
    const counted = stripeCount === undefined ? {} : { stripeCount }
    await this.settle(client.volumes.create(name, { sizeBytes, ...striping, ...counted }))
    return this.settle(client.open(name, open))
  }

  settle<T>(promise: Promise<T>): Promise<T> {
    return this.world.settle(promise, { untilUs: this.world.nowUs + PATIENCE_US })
  }

  /** The code of the error that it fails with, or what it gives. */
  outcome(promise: Promise<unknown>): Promise<unknown> {
    return this.settle(
      promise.catch((error: unknown) => (error as { code?: string }).code ?? error),
    )
  }

  run(ms: number): Promise<void> {
    return this.world.run({ untilUs: this.world.nowUs + Math.round(ms * 1000) })
  }

  async until(what: string, so: () => boolean): Promise<void> {
    await this.world.run({ untilUs: this.world.nowUs + PATIENCE_US, until: so })
    if (!so()) throw new Error(`in vain for ${what}`)
  }

  /** Starts a host of that name; the program has ended its start when it resolves. */
  async boot(name: string, program: (env: Env) => Promise<void>): Promise<void> {
    const host = new SimHost(this.world, { name, network: this.network })
    this.network.add(host)
    this.#hosts.set(name, host)
    const booted = new Promise<void>((resolve, reject) => {
      host.start((env) => {
        this.#envs.set(name, env)
        program(env).then(resolve, reject)
      })
    })
    await this.settle(booted)
  }
}
