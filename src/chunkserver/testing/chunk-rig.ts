// Owns a few chunkservers, a stand-in for their MDS and one client in a simulated world, for tests that
// want one thing to go wrong at a time. The client speaks the wire: what it is answered is what the
// tests see.

import { must } from '../../base/assert.ts'
import type { LemnisError } from '../../base/errors.ts'
import { MIB } from '../../base/units.ts'
import { type ChunkStoreConfig, chunkStoreConfig } from '../../chunkstore/config.ts'
import { type HostConfig, hostConfig } from '../../copyset/config.ts'
import { type GroupId, type HostId, replicaIdOf } from '../../copyset/replica-id.ts'
import type { Env } from '../../env/env.ts'
import {
  BLOCK_BYTES,
  type ChunkRequest,
  carriesBlocks,
  encodeChunkRequest,
} from '../../format/chunk-request.ts'
import type { ControlCall, ReplyOf, RequestOf } from '../../format/control/call.ts'
import { GIVE_ORDER, type Order } from '../../format/control/chunkserver.ts'
import { METHODS } from '../../format/methods.ts'
import { type Observer, SILENT } from '../../observe/observe.ts'
import { nodeCrc32c } from '../../platform/crc32c.ts'
import { type RaftLogSettings, raftLogConfig } from '../../raftlog/config.ts'
import { type Reply, RpcClient } from '../../rpc/client.ts'
import { rpcConfig } from '../../rpc/config.ts'
import { askControl } from '../../rpc/control.ts'
import { RpcServer } from '../../rpc/server.ts'
import { SimHost } from '../../sim/host.ts'
import { SimNetwork } from '../../sim/network.ts'
import { World } from '../../sim/world.ts'
import { Chunkserver } from '../chunkserver.ts'
import { type ChunkserverConfig, chunkserverConfig } from '../config.ts'
import { ScriptedMds } from './scripted-mds.ts'

export const GROUP = 9 as GroupId
export const CHUNK = 65
const PATIENCE_US = 60_000_000
const BUDGET_MS = 4000

/** Small enough for a test to fill, with every mechanism still in it. */
const LOG: Partial<RaftLogSettings> = {
  segmentBytes: 8 * MIB,
  batchBytesMax: 4 * MIB,
  entryBytesMax: 2 * MIB,
  queuedBytesMax: 16 * MIB,
}
const STORE: Partial<ChunkStoreConfig> = { reserveBytes: 0, capacityBytes: 512 * MIB }
const HOST: Partial<HostConfig> = { hibernateAfterMs: 0, entryBytesMax: 2 * MIB }

export interface RigOptions {
  readonly config?: Partial<ChunkserverConfig>
  readonly host?: Partial<HostConfig>
  readonly store?: Partial<ChunkStoreConfig>
  readonly seed?: number
}

/** An answer as the client sees it: an error's code and detail, or what came. */
export interface Answer {
  readonly code: string
  readonly detail: Readonly<Record<string, unknown>>
  readonly body: Uint8Array
  readonly payload: Uint8Array
}

export class ChunkRig {
  readonly world: World
  readonly network: SimNetwork
  readonly mds = new ScriptedMds()
  readonly machines: readonly SimHost[]
  readonly mdsMachine: SimHost
  /** As `c1 chunkserver_started`. */
  readonly events: string[] = []
  readonly fenced: string[] = []
  readonly #options: RigOptions
  readonly #servers = new Map<SimHost, Chunkserver>()
  readonly #clients = new Map<string, RpcClient>()
  #clientEnv: Env | null = null

  constructor(count: number, options: RigOptions = {}) {
    this.world = new World({ seed: options.seed ?? 1, crc32c: nodeCrc32c() })
    this.network = new SimNetwork(this.world)
    this.#options = options
    const machine = (name: string): SimHost => {
      const host = new SimHost(this.world, { name, network: this.network })
      this.network.add(host)
      return host
    }
    this.mdsMachine = machine('mds')
    this.machines = Array.from({ length: count }, (_, i) => machine(`c${i + 1}`))
    machine('client').start((env) => {
      this.#clientEnv = env
    })
  }

  machine(n: number): SimHost {
    return must(this.machines[n - 1], 'a machine')
  }

  server(n: number): Chunkserver {
    return must(this.#servers.get(this.machine(n)), 'a running chunkserver')
  }

  /** Starts the MDS and all chunkservers, founds the group on the first three, and waits for a leader. */
  async up(): Promise<number> {
    await this.startMds()
    for (let n = 1; n <= this.machines.length; n++) await this.start(n)
    await this.until('all addresses', () =>
      this.machines.every((_, i) => this.mds.reports.get(i + 1)?.directoryVersion !== 0),
    )
    await this.run(500)
    return this.found(GROUP)
  }

  async found(group: GroupId): Promise<number> {
    const voters = this.machines.slice(0, 3).map((_, i) => replicaIdOf((i + 1) as HostId, 1))
    for (const [i, replica] of voters.entries()) {
      await this.order(i + 1, { kind: 'found', group, replica, voters: [...voters] })
    }
    return this.untilLeader(group)
  }

  async startMds(): Promise<void> {
    const up = new Promise<void>((resolve, reject) => {
      this.mdsMachine.start((env) => {
        void RpcServer.listen(env, SILENT, 'mds:7400', rpcConfig(), 'mds')
          .then((server) => this.mds.serve(server))
          .then(resolve, reject)
      })
    })
    await this.settle(up)
  }

  /** Resolves when it serves and has loaded its replicas; rejects when it can't start. */
  async start(n: number, replaced: { zone?: string; directory?: string } = {}): Promise<void> {
    await this.settle(this.starting(n, replaced))
  }

  starting(n: number, replaced: { zone?: string; directory?: string } = {}): Promise<void> {
    const machine = this.machine(n)
    return new Promise<void>((resolve, reject) => {
      machine.start((env) => void this.#boot(env, n, replaced).then(resolve, reject))
    })
  }

  async #boot(env: Env, n: number, replaced: { zone?: string; directory?: string }): Promise<void> {
    const name = `c${n}`
    const { config, host, store } = this.#options
    const observer: Observer = {
      ...SILENT,
      emit: (event) => void this.events.push(`${name} ${event}`),
    }
    const server = await Chunkserver.start(env, observer, {
      directory: replaced.directory ?? 'disk',
      listen: `${name}:8200`,
      address: `${name}:8200`,
      httpAddress: '',
      mds: ['mds2:7400', 'mds:7400'],
      pool: 'default',
      zone: replaced.zone ?? `z${n}`,
      server: `s${n}`,
      version: 'test',
      config: chunkserverConfig(config),
      host: hostConfig({ ...HOST, ...host }),
      log: raftLogConfig(LOG),
      store: chunkStoreConfig({ ...STORE, ...store }),
      rpc: rpcConfig(),
      onFenced: (error) => void this.fenced.push(`${name} ${error.code}`),
    })
    this.#servers.set(this.machine(n), server)
    await server.loaded
  }

  // --- time

  async settle<T>(promise: Promise<T>): Promise<T> {
    return this.world.settle(promise, { untilUs: this.world.nowUs + PATIENCE_US })
  }

  async run(ms: number): Promise<void> {
    await this.world.run({ untilUs: this.world.nowUs + ms * 1000 })
  }

  async until(what: string, so: () => boolean): Promise<void> {
    await this.world.run({ untilUs: this.world.nowUs + PATIENCE_US, until: so })
    if (!so()) throw new Error(`in vain for ${what}`)
  }

  // --- who leads

  leader(group: GroupId = GROUP): number | null {
    const leads = (n: number): boolean =>
      this.machine(n).state === 'running' &&
      this.#servers.get(this.machine(n))?.host.replica(group)?.isLeader === true
    const leaders = this.machines.map((_, i) => i + 1).filter(leads)
    return leaders.sort((a, b) => this.term(b, group) - this.term(a, group))[0] ?? null
  }

  term(n: number, group: GroupId = GROUP): number {
    return this.server(n).host.replica(group)?.term ?? 0
  }

  async untilLeader(group: GroupId = GROUP): Promise<number> {
    const leads = (): boolean => {
      const leader = this.leader(group)
      return leader !== null && (this.server(leader).host.replica(group)?.commit ?? 0) > 1
    }
    await this.until('a leader', leads)
    return must(this.leader(group), 'a leader')
  }

  /** Everybody has applied what the leader has. */
  async untilEven(group: GroupId = GROUP): Promise<void> {
    const leader = await this.untilLeader(group)
    const applied = this.server(leader).host.replica(group)?.applied ?? 0
    const running = this.machines
      .map((_, i) => i + 1)
      .filter((n) => this.machine(n).state === 'running')
    await this.until('all to apply', () =>
      running.every((n) => {
        const replica = this.server(n).host.replica(group)
        return replica === undefined || replica.applied >= applied
      }),
    )
  }

  /** Paths of the files of chunks on a disk, sorted. */
  async chunkFiles(n: number): Promise<string[]> {
    const { disk } = this.machine(n)
    const walk = async (directory: string): Promise<string[]> => {
      const found: string[] = []
      for (const name of await disk.list(directory)) {
        const path = `${directory}/${name}`
        if (name.endsWith('.chunk')) found.push(path)
        else found.push(...(await walk(path)))
      }
      return found
    }
    return this.settle(walk('disk/chunks'))
  }

  // --- what the client asks

  #client(address: string): RpcClient {
    const env = must(this.#clientEnv, 'the client runs')
    let client = this.#clients.get(address)
    if (client === undefined) {
      client = new RpcClient(env, SILENT, address, rpcConfig(), 'test')
      this.#clients.set(address, client)
    }
    return client
  }

  async control<C extends ControlCall>(
    n: number,
    call: C,
    request: RequestOf<C>,
  ): Promise<ReplyOf<C>> {
    await this.run(0)
    return this.settle(askControl(this.#client(`c${n}:8200`), call, request, BUDGET_MS))
  }

  order(n: number, order: Order): Promise<unknown> {
    return this.control(n, GIVE_ORDER, { order })
  }

  /** Sends to chunkserver `n` without driving time. */
  asking(n: number, method: number, body: Uint8Array, payload?: Uint8Array): Promise<Answer> {
    return new Promise((resolve) => {
      this.#client(`c${n}:8200`).call(method, body, payload ?? null, BUDGET_MS, (error, reply) => {
        resolve(answerOf(error, reply))
      })
    })
  }

  async ask(n: number, method: number, body: Uint8Array, payload?: Uint8Array): Promise<Answer> {
    await this.run(0)
    return this.settle(this.asking(n, method, body, payload))
  }

  /** A request to the present leader in its term, with checksums, unless `replaced` says otherwise. */
  request(n: number, replaced: Partial<ChunkRequest>, data?: Uint8Array): ChunkRequest {
    const op = replaced.op ?? 'write'
    const blockCount = data === undefined ? 1 : data.byteLength / BLOCK_BYTES
    const crcs =
      data === undefined || !carriesBlocks(op)
        ? []
        : Array.from({ length: blockCount }, (_, i) =>
            this.world.crc32c(data.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES)),
          )
    return {
      op,
      group: GROUP,
      volume: 1,
      epoch: 1,
      sn: op === 'read' ? 0 : 1,
      chunk: CHUNK,
      firstBlock: 0,
      blockCount,
      term: this.term(n, (replaced.group ?? GROUP) as GroupId),
      attempt: 0,
      crcs,
      ...replaced,
    }
  }

  /** To chunkserver `n`, in its term, without driving time. */
  writing(n: number, data: Uint8Array, replaced: Partial<ChunkRequest> = {}): Promise<Answer> {
    const body = encodeChunkRequest(this.request(n, replaced, data))
    return this.asking(n, METHODS.CHUNK_WRITE, body, data)
  }

  async write(data: Uint8Array, replaced: Partial<ChunkRequest> = {}): Promise<Answer> {
    const leader = await this.untilLeader((replaced.group ?? GROUP) as GroupId)
    return this.settle(this.writing(leader, data, replaced))
  }

  async change(replaced: Partial<ChunkRequest>, data?: Uint8Array): Promise<Answer> {
    const leader = await this.untilLeader((replaced.group ?? GROUP) as GroupId)
    const request = this.request(leader, replaced, data)
    return this.ask(leader, METHODS.CHUNK_CHANGE, encodeChunkRequest(request), data)
  }

  async read(replaced: Partial<ChunkRequest> = {}): Promise<Answer> {
    const leader = await this.untilLeader((replaced.group ?? GROUP) as GroupId)
    const request = this.request(leader, { ...replaced, op: 'read' })
    return this.ask(leader, METHODS.CHUNK_READ, encodeChunkRequest(request))
  }
}

function answerOf(error: LemnisError | null, reply: Reply | null): Answer {
  const body = reply?.body ?? new Uint8Array(0)
  const payload = reply?.payload ?? new Uint8Array(0)
  return { code: error?.code ?? 'ok', detail: error?.detail ?? {}, body, payload }
}

/** `count` blocks, each of its own byte. */
export function blocks(first: number, count = 1): Uint8Array {
  const data = new Uint8Array(count * BLOCK_BYTES)
  for (let i = 0; i < count; i++) data.fill(first + i, i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES)
  return data
}
