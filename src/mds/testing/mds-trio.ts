// Owns three metadata servers on one simulated etcd, a caller that finds the leader, and a probe that asks
// all of them constantly who leads.

import { must } from '../../base/assert.ts'
import { asLemnisError, type ErrorCode } from '../../base/errors.ts'
import { clientConfig } from '../../client/config.ts'
import { MdsCaller } from '../../client/mds-caller.ts'
import type { Env } from '../../env/env.ts'
import type { ControlCall, ReplyOf, RequestOf } from '../../format/control/call.ts'
import { REGISTER_CHUNKSERVER } from '../../format/control/chunkserver.ts'
import { SHOW_MDS } from '../../format/control/election.ts'
import { LIST_CHUNKSERVERS } from '../../format/control/mds.ts'
import { type Field, type Observer, SILENT } from '../../observe/observe.ts'
import { RpcClient } from '../../rpc/client.ts'
import { rpcConfig } from '../../rpc/config.ts'
import { askControl } from '../../rpc/control.ts'
import { SimEtcd } from '../../sim/etcd.ts'
import { SimEtcdClient } from '../../sim/etcd-client.ts'
import { SimHost } from '../../sim/host.ts'
import { SimNetwork } from '../../sim/network.ts'
import { World } from '../../sim/world.ts'
import { mdsConfig } from '../config.ts'
import { MdsServer } from '../leading/mds-server.ts'
import { Reigns } from './reigns.ts'

const PROBE_PAUSE_MS = 20
const PROBE_LIMIT_MS = 2000
const PATIENCE_MS = 20_000

export class MdsTrio {
  readonly world: World
  readonly network: SimNetwork
  readonly etcd: SimEtcd
  readonly hosts: readonly SimHost[]
  readonly servers = new Map<string, MdsServer>()
  readonly reigns = new Reigns()
  /** Of all three. */
  readonly events: { name: string; fields: Readonly<Record<string, Field>> }[] = []
  readonly failures: ErrorCode[] = []
  #probeEnv: Env | null = null
  #caller: MdsCaller | null = null

  constructor(seed: number) {
    this.world = new World({ seed })
    this.network = new SimNetwork(this.world)
    this.etcd = new SimEtcd(this.world)
    this.hosts = ['m1', 'm2', 'm3'].map((name) => this.#host(name))
    for (const host of this.hosts) host.start((env) => void this.#boot(env, host))
    const probe = this.#host('probe')
    probe.start((env) => {
      const addresses = this.hosts.map(({ name }) => `${name}:7400`)
      for (const address of addresses) void this.#probe(env, address)
      this.#probeEnv = env
      this.#caller = this.caller(addresses)
    })
  }

  #host(name: string): SimHost {
    const host = new SimHost(this.world, { name, network: this.network })
    this.network.add(host)
    return host
  }

  async #boot(env: Env, host: SimHost): Promise<void> {
    const observer: Observer = {
      ...SILENT,
      emit: (name, fields) => {
        this.world.note(host.name, name, JSON.stringify(fields))
        this.events.push({ name, fields })
      },
    }
    try {
      const server = await MdsServer.start(env, observer, new SimEtcdClient(this.etcd, host), {
        address: `${host.name}:7400`,
        version: 'test',
        candidate: { name: host.name },
        config: mdsConfig(),
        onFailed: (error) => void this.failures.push(error.code),
      })
      this.servers.set(host.name, server)
    } catch (thrown) {
      this.failures.push(asLemnisError(thrown).code)
    }
  }

  async #probe(env: Env, address: string): Promise<void> {
    const client = new RpcClient(env, SILENT, address, rpcConfig(), 'probe')
    for (;;) {
      const askedMs = env.clock.monotonicMs()
      try {
        const { role, term } = await askControl(client, SHOW_MDS, {}, PROBE_LIMIT_MS)
        const heardMs = env.clock.monotonicMs()
        if (role === 'leader') this.reigns.take({ term, askedMs, heardMs, address })
      } catch (thrown) {
        asLemnisError(thrown)
      }
      await new Promise<void>((done) => void env.clock.after(PROBE_PAUSE_MS, done))
    }
  }

  /** The host that leads; of a stopped one its own clock decides. */
  get leader(): SimHost | null {
    const found = this.hosts.filter(
      ({ name, state }) =>
        state !== 'down' && state !== 'unpowered' && this.servers.get(name)?.isLeading === true,
    )
    return found[0] ?? null
  }

  runMs(ms: number): Promise<void> {
    return this.world.run({ untilUs: this.world.nowUs + Math.round(ms * 1000) })
  }

  async until(what: string, isSo: () => boolean, limitMs = PATIENCE_MS): Promise<number> {
    const startUs = this.world.nowUs
    await this.world.run({ untilUs: startUs + limitMs * 1000, until: isSo })
    if (!isSo()) throw new Error(`in vain for ${what}`)
    return (this.world.nowUs - startUs) / 1000
  }

  async up(): Promise<SimHost> {
    await this.until('three MDS', () => this.servers.size === 3 && this.leader !== null)
    await this.until('warm standbys', () => {
      const shown = [...this.servers.values()].map((server) => server.show())
      return shown.filter(({ role, warm }) => role === 'standby' && warm).length === 2
    })
    return must(this.leader, 'a leader')
  }

  /** What the caller is answered, and after how long in milliseconds. */
  async ask<C extends ControlCall>(
    call: C,
    request: RequestOf<C>,
    isRepeatable = true,
  ): Promise<{ reply: ReplyOf<C>; tookMs: number }> {
    const startUs = this.world.nowUs
    const limits = { untilUs: startUs + 2 * PATIENCE_MS * 1000 }
    const reply = await this.world.settle(this.send(call, request, isRepeatable), limits)
    return { reply, tookMs: (this.world.nowUs - startUs) / 1000 }
  }

  /** Somebody who knows these addresses and has not asked yet. */
  caller(addresses: readonly string[]): MdsCaller {
    const env = must<Env>(this.#probeEnv, 'the probe runs')
    return new MdsCaller(env, SILENT, addresses, rpcConfig(), clientConfig(), 'caller')
  }

  /** The answer, for which the world has to go on. */
  send<C extends ControlCall>(
    call: C,
    request: RequestOf<C>,
    isRepeatable = true,
  ): Promise<ReplyOf<C>> {
    const caller = must(this.#caller, 'somebody who asks')
    return caller.ask(call, request, { isRepeatable, patienceMs: PATIENCE_MS })
  }

  /** A write: a disk becomes a chunkserver. */
  add(name: string): Promise<ReplyOf<typeof REGISTER_CHUNKSERVER>> {
    return this.send(REGISTER_CHUNKSERVER, newDisk(name), false)
  }

  /** Those that the leader knows, and after how long it said so in milliseconds. */
  async disks(): Promise<{ names: string[]; tookMs: number }> {
    const { reply, tookMs } = await this.ask(LIST_CHUNKSERVERS, {})
    return { names: reply.chunkservers.map(({ server }) => server), tookMs }
  }
}

function newDisk(name: string): RequestOf<typeof REGISTER_CHUNKSERVER> {
  return {
    diskId: `disk-of-${name}-0123456789`,
    clusterId: '',
    id: 0,
    token: '',
    address: `${name}:8200`,
    httpAddress: '',
    pool: 'default',
    zone: 'z',
    server: name,
    capacityBytes: 1024 ** 3,
    version: 'test',
  }
}
