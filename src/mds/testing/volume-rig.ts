// Owns the world in which the volumes of an MDS are tested: its host with a simulated store, clients
// that ask over the wire, and chunkservers that answer to a script. Only topology is simple here:
// copysets 1, 2 and 3 by turns, each on the same three chunkservers.

import { must } from '../../base/assert.ts'
import { asLemnisError, LemnisError } from '../../base/errors.ts'
import type { Env } from '../../env/env.ts'
import { encodeCopysetLeader } from '../../format/chunk-replies.ts'
import { type ChunkRequest, decodeChunkRequest } from '../../format/chunk-request.ts'
import type { ControlCall, ReplyOf, RequestOf } from '../../format/control/call.ts'
import {
  CREATE_VOLUME,
  GET_SEGMENTS,
  type Lease,
  OPEN_VOLUME,
  SHOW_VOLUME,
} from '../../format/control/mds.ts'
import type { Segment, Volume } from '../../format/control/parts.ts'
import { METHODS } from '../../format/methods.ts'
import { SILENT } from '../../observe/observe.ts'
import { RpcClient } from '../../rpc/client.ts'
import { rpcConfig } from '../../rpc/config.ts'
import { askControl } from '../../rpc/control.ts'
import { RpcServer } from '../../rpc/server.ts'
import { SimHost } from '../../sim/host.ts'
import { SimMetaDisk } from '../../sim/metastore.ts'
import { SimNetwork } from '../../sim/network.ts'
import { World } from '../../sim/world.ts'
import type { MdsBug } from '../bugs.ts'
import { TermCalls } from '../leading/calls.ts'
import type { MdsContext, MdsTopology } from '../records.ts'
import { Ledger } from '../state.ts'
import { type VolumeConfig, volumeConfig } from '../volumes/config.ts'
import { VolumeService } from '../volumes/service.ts'

const MDS_ADDRESS = 'mds:700'
const ASK_BUDGET_MS = 60_000
const GROUPS = [1, 2, 3]
const CHUNKSERVERS = [1, 2, 3]
export const MIB = 1024 * 1024
export const GIB = 1024 * MIB

export interface RigOptions {
  readonly seed?: number
  readonly config?: Partial<VolumeConfig>
  readonly bugs?: readonly MdsBug[]
}

/** What a chunkserver says to a change: an error's code with its detail, or that it is done. */
export type ChunkScript = (request: ChunkRequest, chunkserver: number) => LemnisError | null

export class VolumeRig {
  readonly world: World
  readonly host: SimHost
  readonly disk: SimMetaDisk
  service: VolumeService | null = null
  ledger: Ledger | null = null
  /** When the MDS of this life ended by itself. */
  failure: LemnisError | null = null
  /** Copysets that can not be chosen. */
  hasRoom = true
  /** Every chunk change that was done, as `op chunk group epoch`. */
  readonly changed: string[] = []
  /** Who leads all copysets, and in which term; 0 for nobody. */
  leader = 2
  term = 5
  script: ChunkScript = () => null
  readonly #network: SimNetwork
  readonly #options: RigOptions
  readonly #clients = new Map<string, RpcClient>()
  readonly #envs = new Map<string, Env>()
  #chosen = 0

  constructor(options: RigOptions = {}) {
    this.#options = options
    this.world = new World({ seed: options.seed ?? 1 })
    this.#network = new SimNetwork(this.world)
    this.host = this.#makeHost('mds')
    this.disk = new SimMetaDisk(this.host)
  }

  static async started(options: RigOptions = {}): Promise<VolumeRig> {
    const rig = new VolumeRig(options)
    await rig.start()
    await rig.env('client')
    return rig
  }

  /** Boots the MDS, after a crash too, and waits until it serves: so long after it has read all. */
  async start(waitsMs = 0): Promise<void> {
    this.service = null
    this.failure = null
    this.host.start((env) => {
      this.#boot(env, waitsMs).catch((error: unknown) => {
        this.failure = asLemnisError(error)
      })
    })
    await this.world.run({ until: () => this.service !== null || this.failure !== null })
    if (this.service === null) throw must<LemnisError>(this.failure, 'it failed')
  }

  async restart(): Promise<void> {
    this.host.crash()
    await this.start()
  }

  async #boot(env: Env, waitsMs: number): Promise<void> {
    const ledger = await Ledger.open(this.disk.mount(), SILENT, 'mds', env.clock.wallMs())
    this.ledger = ledger
    ledger.onFailed = (error) => {
      this.failure = error
    }
    const context: MdsContext = {
      env,
      observer: SILENT,
      config: volumeConfig(this.#options.config),
      rpc: rpcConfig(),
      ledger,
      topology: this.#topology(),
      bugs: new Set(this.#options.bugs),
    }
    const service = await VolumeService.load(context)
    await new Promise<void>((resume) => void env.clock.after(waitsMs, resume))
    const server = await RpcServer.listen(env, SILENT, MDS_ADDRESS, rpcConfig(), 'mds')
    const term = { isValid: () => ledger.failure === null, leader: () => '' }
    service.start(new TermCalls(server, env.clock, SILENT, term))
    this.service = service
  }

  #topology(): MdsTopology {
    return {
      choose: (count) => {
        if (!this.hasRoom) throw new LemnisError('UNPLACEABLE', { pool: 'default' })
        return Array.from({ length: count }, () => must(GROUPS[this.#chosen++ % 3], 'a group'))
      },
      membersOf: () =>
        CHUNKSERVERS.map((chunkserver) => ({ chunkserver, address: `cs${chunkserver}:700` })),
      poolExists: (name) => name === 'default',
    }
  }

  // --- the scripted chunkservers

  async startChunkservers(): Promise<void> {
    for (const id of CHUNKSERVERS) {
      const env = await this.env(`cs${id}`)
      const listening = RpcServer.listen(env, SILENT, `cs${id}:700`, rpcConfig(), `cs${id}`)
      const server = await this.world.settle(listening)
      server.handle(METHODS.COPYSET_LEADER, (call) => {
        call.reply(encodeCopysetLeader({ leader: this.leader, term: this.term }))
      })
      server.handle(METHODS.CHUNK_CHANGE, (call) => {
        const request = decodeChunkRequest(call.body)
        const { op, chunk, group, epoch } = request
        if (id !== this.leader || request.term !== this.term) {
          throw new LemnisError('NOT_LEADER', { leader: this.leader, term: this.term })
        }
        const refusal = this.script(request, id)
        if (refusal !== null) throw refusal
        this.changed.push(`${op} ${chunk} ${group} ${epoch}`)
        call.reply(new Uint8Array(0))
      })
    }
  }

  // --- clients

  async env(name: string): Promise<Env> {
    const known = this.#envs.get(name)
    if (known !== undefined) return known
    this.#makeHost(name).start((env) => void this.#envs.set(name, env))
    await this.world.run({ until: () => this.#envs.has(name) })
    return must(this.#envs.get(name), name)
  }

  #makeHost(name: string): SimHost {
    const host = new SimHost(this.world, { name, network: this.#network })
    this.#network.add(host)
    return host
  }

  /** The answer, for which the world has to go on. `from` has its env already. */
  async send<C extends ControlCall>(
    call: C,
    request: RequestOf<C>,
    from = 'client',
  ): Promise<ReplyOf<C>> {
    const env = must(this.#envs.get(from), from)
    let client = this.#clients.get(from)
    if (client === undefined) {
      client = new RpcClient(env, SILENT, MDS_ADDRESS, rpcConfig(), from)
      this.#clients.set(from, client)
    }
    for (;;) {
      try {
        return await askControl(client, call, request, ASK_BUDGET_MS)
      } catch (thrown) {
        const error = asLemnisError(thrown)
        if (error.code !== 'DISCONNECTED' || error.detail['hintMs'] === undefined) throw error
        // Between two attempts to connect: nothing was sent.
        await new Promise<void>((done) => void env.clock.after(20, done))
      }
    }
  }

  async ask<C extends ControlCall>(
    call: C,
    request: RequestOf<C>,
    from = 'client',
  ): Promise<ReplyOf<C>> {
    await this.env(from)
    return this.world.settle(this.send(call, request, from))
  }

  /** The error that the call is answered by, as its code and its detail. */
  async refused<C extends ControlCall>(
    call: C,
    request: RequestOf<C>,
    from = 'client',
  ): Promise<{ code: string; [detail: string]: unknown }> {
    try {
      const reply = await this.ask(call, request, from)
      return { code: 'none', reply }
    } catch (thrown) {
      const { code, detail } = asLemnisError(thrown)
      return { code, ...detail }
    }
  }

  runMs(ms: number): Promise<void> {
    return this.world.run({ untilUs: this.world.nowUs + Math.round(ms * 1000) })
  }

  // --- what most tests do

  create(name: string, more: Partial<RequestOf<typeof CREATE_VOLUME>> = {}): Promise<Volume> {
    return this.ask(CREATE_VOLUME, { ...newVolume(name), ...more })
  }

  show(name: string): Promise<Volume> {
    return this.ask(SHOW_VOLUME, { name })
  }

  open(name: string, client: string, force = false): Promise<Lease> {
    return this.ask(OPEN_VOLUME, opening(name, client, force), client)
  }

  allocate(lease: Lease, from: number, to: number): Promise<Segment[]> {
    return this.world.settle(this.sendAllocate(lease, from, to))
  }

  async sendAllocate(lease: Lease, from: number, to: number): Promise<Segment[]> {
    const { volume, epoch } = lease
    const request = { volume: volume.id, epoch, from, to, allocate: true }
    return (await this.send(GET_SEGMENTS, request)).segments
  }
}

export function newVolume(name: string): RequestOf<typeof CREATE_VOLUME> {
  const limits = { iopsMax: 0, bytesPerSecondMax: 0 }
  return { name, sizeBytes: 10 * GIB, stripeUnitBytes: 0, stripeCount: 1, ...limits }
}

export function opening(
  name: string,
  client: string,
  force = false,
): RequestOf<typeof OPEN_VOLUME> {
  return { name, client, address: `${client}:1`, mode: 'write', force }
}
