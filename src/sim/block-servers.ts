// Owns the chunkservers of the simulated block cluster: each on its host in a zone, and perhaps one that
// somebody adds later; who of them was seen alive and when; and what a person with spare disks does for
// those whose disk is of no use any more. Everything else they must do by themselves.

import type { Prng } from '../base/prng.ts'
import { Chunkserver } from '../chunkserver/chunkserver.ts'
import type { ChunkserverBug } from '../chunkserver/config.ts'
import type { GroupId } from '../copyset/replica-id.ts'
import type { Env } from '../env/env.ts'
import type { Address } from '../env/network.ts'
import { rpcConfig } from '../rpc/config.ts'
import type { BlockConfig } from './block-config.ts'
import { CopysetLives } from './copyset-lives.ts'
import type { SimHost } from './host.ts'
import type { Supervisor } from './supervisor.ts'
import type { World } from './world.ts'

export interface BlockServersOptions {
  readonly world: World
  readonly supervisor: Supervisor
  readonly random: Prng
  readonly config: BlockConfig
  /** All on which a chunkserver can run, the spare one too. */
  readonly hosts: readonly SimHost[]
  /** Without power until somebody adds it. */
  readonly spare: SimHost | null
  readonly zoneCount: number
  readonly copysetCount: number
  readonly mds: readonly Address[]
  readonly bugs?: ReadonlySet<ChunkserverBug>
  /** A chunkserver begins to serve in that zone. */
  readonly onServing: (chunkserver: number, zone: string) => void
}

const DIRECTORY = 'disk'
const CENSUS_US = 250_000
/** How often somebody looks for bad disks in the end. */
const REPLACE_US = 700_000

export class BlockServers {
  readonly lives: CopysetLives<Chunkserver>
  readonly #options: BlockServersOptions
  readonly #world: World
  readonly #supervisor: Supervisor
  /** When a process was last seen to serve for a chunkserver. */
  readonly #seenUs = new Map<number, number>()

  constructor(options: BlockServersOptions) {
    this.#options = options
    this.#world = options.world
    this.#supervisor = options.supervisor
    this.lives = new CopysetLives<Chunkserver>({
      hosts: options.hosts,
      // Chunks are compared by version: one digest of all of them at each entry costs too much.
      digest: () => null,
      // Made for a change that may never come: it knows of nothing.
      isInService: ({ epoch }) => epoch !== 0,
    })
  }

  start(): void {
    const { hosts, spare } = this.#options
    for (const host of hosts) this.#supervisor.begin(host, (env) => this.#boot(env, host))
    spare?.powerLoss()
  }

  async #boot(env: Env, host: SimHost): Promise<void> {
    const { generation } = host
    const { config, hosts, zoneCount, mds, bugs, onServing } = this.#options
    const address = `${host.name}:8200`
    const zone = `z${1 + (hosts.indexOf(host) % zoneCount)}`
    const server = await Chunkserver.start(env, this.#supervisor.observerOf(host), {
      directory: DIRECTORY,
      listen: address,
      address,
      httpAddress: '',
      mds,
      pool: 'default',
      zone,
      server: host.name,
      version: 'simulated',
      config: config.chunkserver,
      host: config.host,
      log: config.log,
      store: config.store,
      rpc: rpcConfig(),
      ...(bugs === undefined ? {} : { bugs }),
      onFenced: (error) => this.#supervisor.ended(host, error),
    })
    if (!this.lives.isFit(host, server.host.log)) {
      this.#supervisor.replaceDisk(host)
      return
    }
    onServing(server.identity.id, zone)
    this.lives.began(host, generation, server)
    await server.loaded
  }

  // --- who is there

  /** Looks around from now on: nobody is told by an event of his own when a process dies. */
  takeCensus(): void {
    for (const [host, { identity }] of this.lives.alive()) {
      if (host.state === 'running') this.#seenUs.set(identity.id, this.#world.nowUs)
    }
    this.#world.after(CENSUS_US, 'census', () => this.takeCensus())
  }

  /** Null for one that serves, and for one that never did. */
  deadSinceUs(chunkserver: number): number | null {
    const seenUs = this.#seenUs.get(chunkserver)
    const isHere = seenUs === undefined || this.#world.nowUs - seenUs <= CENSUS_US
    return isHere ? null : seenUs
  }

  // --- what the nemesis asks for

  transferSomeLeader(): void {
    this.lives.transferLeader(this.#someCopyset(), this.#options.random)
  }

  sendSomeSnapshot(): void {
    this.lives.sendSnapshot(this.#someCopyset(), this.#options.random)
  }

  #someCopyset(): GroupId {
    return this.#options.random.between(1, this.#options.copysetCount) as GroupId
  }

  // --- the person with spare disks

  addSpare(): void {
    const { spare } = this.#options
    if (spare !== null && !spare.powered) spare.start()
  }

  /** Where a retired chunkserver runs, the machine gets another disk and is another chunkserver. */
  renew(id: number): void {
    for (const [host, { identity }] of [...this.lives.alive()]) {
      if (identity.id === id) this.#supervisor.replaceDisk(host)
    }
  }

  /** From now on every disk is replaced whose log can't be used. */
  replaceBadDisks(): void {
    for (const host of [...this.lives.withBadLogs()]) this.#supervisor.replaceDisk(host)
    this.#world.after(REPLACE_US, 'operator', () => this.replaceBadDisks())
  }
}
