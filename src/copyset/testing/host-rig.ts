// Owns a few copyset hosts in a simulated world, for tests that want one thing to go wrong at a time:
// starts, stops and cuts hosts, and drives virtual time until something is so.

import { must } from '../../base/assert.ts'
import type { LemnisError } from '../../base/errors.ts'
import type { Env } from '../../env/env.ts'
import { type Observer, SILENT } from '../../observe/observe.ts'
import { RaftLog } from '../../raftlog/raftlog.ts'
import { rpcConfig } from '../../rpc/config.ts'
import { RpcServer } from '../../rpc/server.ts'
import { SimHost } from '../../sim/host.ts'
import { SimNetwork } from '../../sim/network.ts'
import { World } from '../../sim/world.ts'
import { type HostConfig, hostConfig } from '../config.ts'
import { CopysetHost } from '../host.ts'
import type { Replica } from '../replica.ts'
import { type GroupId, type HostId, replicaIdOf } from '../replica-id.ts'
import type { Machines } from '../state-machine.ts'
import type { KvMachine } from './kv.ts'
import { decodeResult, encodeCommand, type KvStatus } from './kv-codec.ts'
import { kvMachines } from './kv-machines.ts'
import { smallLog } from './small-log.ts'

export const GROUP = 7 as GroupId
/** Called at each start of a host's process. */
export type MachinesOf = (env: Env) => Promise<Machines>

const PATIENCE_US = 60_000_000
const ENCODER = new TextEncoder()

export class HostRig {
  readonly world: World
  readonly network: SimNetwork
  readonly machines: readonly SimHost[]
  /** Event names in the order in which they came, as `h1 copyset_replica_made`. */
  readonly events: string[] = []
  /** Fields of the last event of each such name. */
  readonly fields = new Map<string, Readonly<Record<string, unknown>>>()
  readonly fenced: string[] = []
  /** Of every process that starts from now on. */
  log = smallLog()
  readonly #config: HostConfig
  readonly #hosts = new Map<SimHost, CopysetHost>()
  #callers = 0

  readonly #machinesOf: MachinesOf

  /** `machinesOf` takes the place of the key-value machine. */
  constructor(
    hostCount: number,
    config: Partial<HostConfig> = {},
    seed = 1,
    machinesOf: MachinesOf = async (env) => kvMachines(env, 'kv', { bucketCount: 4 }),
  ) {
    this.#machinesOf = machinesOf
    this.world = new World({ seed })
    this.network = new SimNetwork(this.world)
    this.#config = hostConfig({ hibernateAfterMs: 0, ...config })
    this.machines = Array.from({ length: hostCount }, (_, i) => {
      const machine = new SimHost(this.world, { name: `h${i + 1}`, network: this.network })
      this.network.add(machine)
      return machine
    })
  }

  machine(host: number): SimHost {
    return must(this.machines[host - 1], 'a machine')
  }

  host(host: number): CopysetHost {
    return must(this.#hosts.get(this.machine(host)), 'a running host')
  }

  replica(host: number): Replica | undefined {
    return this.#hosts.get(this.machine(host))?.replica(GROUP)
  }

  kv(host: number): KvMachine {
    return must(this.replica(host), 'a replica').machine as KvMachine
  }

  leader(): number | null {
    const leads = (n: number): boolean =>
      this.machine(n).state === 'running' && this.replica(n)?.isLeader === true
    const leaders = this.machines.map((_, i) => i + 1).filter(leads)
    const newest = (a: number, b: number): number => this.termOf(b) - this.termOf(a)
    return leaders.sort(newest)[0] ?? null
  }

  termOf(host: number): number {
    return this.replica(host)?.term ?? 0
  }

  /** Starts the hosts and founds the group on `founders`; resolves when one leads. */
  async up(founders: readonly number[]): Promise<number> {
    for (const machine of this.machines) await this.start(this.machines.indexOf(machine) + 1)
    const voters = founders.map((host) => replicaIdOf(host as HostId, 1))
    for (const [i, host] of founders.entries()) {
      await this.settle(this.host(host).found(GROUP, must(voters[i], 'voter'), voters))
    }
    return this.untilLeader()
  }

  /** Starts a host's process and waits until it has loaded what its disk has. */
  async start(host: number): Promise<void> {
    const machine = this.machine(host)
    const booted = new Promise<void>((resolve, reject) => {
      machine.start((env) => void this.#boot(env, machine).then(resolve, reject))
    })
    await this.settle(booted)
  }

  async #boot(env: Env, machine: SimHost): Promise<void> {
    const observer: Observer = {
      ...SILENT,
      emit: (name, fields) => {
        this.events.push(`${machine.name} ${name}`)
        this.fields.set(`${machine.name} ${name}`, fields)
      },
    }
    const rpc = rpcConfig()
    const server = await RpcServer.listen(env, observer, `${machine.name}:7000`, rpc)
    const host = new CopysetHost({
      env,
      observer,
      host: (this.machines.indexOf(machine) + 1) as HostId,
      config: this.#config,
      log: await RaftLog.open(env, observer, 'log', this.log),
      rpc,
      server,
      directory: { addressOf: (id) => `h${id}:7000` },
      machines: await this.#machinesOf(env),
      onFenced: (error) => void this.fenced.push(`${machine.name} ${error.code}`),
    })
    this.#hosts.set(machine, host)
    await host.load()
  }

  /** Runs something on a machine of its own that reaches the others. */
  caller(program: (env: Env) => void): void {
    const machine = new SimHost(this.world, {
      name: `caller${++this.#callers}`,
      network: this.network,
    })
    this.network.add(machine)
    machine.start(program)
  }

  async settle<T>(promise: Promise<T>): Promise<T> {
    return this.world.settle(promise, { untilUs: this.world.nowUs + PATIENCE_US })
  }

  async run(ms: number): Promise<void> {
    await this.world.run({ untilUs: this.world.nowUs + ms * 1000 })
  }

  /** Drives time until `so`; an error when it has not come to be within a virtual minute. */
  async until(what: string, so: () => boolean): Promise<void> {
    await this.world.run({ untilUs: this.world.nowUs + PATIENCE_US, until: so })
    if (!so()) throw new Error(`in vain for ${what}`)
  }

  async untilLeader(): Promise<number> {
    const leads = (): boolean => {
      const leader = this.leader()
      return leader !== null && (this.replica(leader)?.commit ?? 0) > 1
    }
    await this.until('a leader', leads)
    return must(this.leader(), 'a leader')
  }

  /** What became of a put at one host: its status, or the code of the error. */
  put(host: number, key: string, value: string): Promise<KvStatus | LemnisError['code']> {
    return this.settle(this.putting(host, key, value))
  }

  /** As put(), while time stands still until somebody drives it. */
  putting(host: number, key: string, value: string): Promise<KvStatus | LemnisError['code']> {
    const command = encodeCommand({
      op: 'put',
      key: ENCODER.encode(key),
      expected: null,
      value: ENCODER.encode(value),
      client: 1,
      sequence: 0,
    })
    return this.proposing(host, command).then((outcome) =>
      typeof outcome === 'string' ? outcome : decodeResult(outcome).status,
    )
  }

  /** What the machine answered to an entry, or the code of the error; time stands still. */
  proposing(host: number, data: Uint8Array): Promise<Uint8Array | LemnisError['code']> {
    return new Promise((resolve) => {
      this.host(host).propose(GROUP, data, (error, result) => resolve(error?.code ?? result))
    })
  }

  /** A linearizable read at one host: the value, null for none, or the code of the error. */
  get(host: number, key: string): Promise<string | null> {
    const answer = new Promise<string | null>((resolve) => {
      this.host(host).read(GROUP, (error) => {
        if (error !== null) resolve(error.code)
        else resolve(this.valueAt(host, key))
      })
    })
    return this.settle(answer)
  }

  /** What a host's machine holds now, however old. */
  valueAt(host: number, key: string): string | null {
    const item = this.kv(host).read(key)
    return item === null ? null : new TextDecoder().decode(item.value)
  }

  change(host: number, add: readonly number[], remove: readonly number[]): Promise<string> {
    return this.settle(this.changing(host, add, remove))
  }

  /** As change(), while time stands still until somebody drives it. */
  changing(host: number, add: readonly number[], remove: readonly number[]): Promise<string> {
    const goal = { add: add as never, remove: remove as never }
    return new Promise((resolve) => {
      this.host(host).change(GROUP, goal, (error) => resolve(error?.code ?? 'done'))
    })
  }
}
