// Owns the block storage that the simulator runs, put together: an MDS on a store that survives it,
// chunkservers in zones, hosts with volume clients, an operator and an administrator; and how a run starts,
// disturbs and heals it. Whether it did well is the judge's to say.

import type { Prng } from '../base/prng.ts'
import type { ChunkserverBug } from '../chunkserver/config.ts'
import type { ChunkStoreBug } from '../chunkstore/config.ts'
import { LemnisClient } from '../client/client.ts'
import type { Clock } from '../env/clock.ts'
import type { MdsBug, MdsBugs } from '../mds/bugs.ts'
import { SILENT } from '../observe/observe.ts'
import { BlockAdmin } from './block-admin.ts'
import { BlockClients } from './block-clients.ts'
import { type BlockConfig, type BlockConfigReplaced, drawBlockConfig } from './block-config.ts'
import { BlockJudge } from './block-judge.ts'
import { BlockMds, type MdsWeather } from './block-mds.ts'
import { BlockModel } from './block-model.ts'
import { BlockOperator } from './block-operator.ts'
import { type BlockScenario, BlockScenarios } from './block-scenarios.ts'
import { BlockServers } from './block-servers.ts'
import type { ObservedReplica } from './checkers.ts'
import { FAULT_KINDS, type FaultKind } from './fault-plan.ts'
import type { SimHost } from './host.ts'
import type { SystemActions } from './nemesis.ts'
import type { SimNetwork } from './network.ts'
import type { LastStep, System } from './run.ts'
import { Supervisor } from './supervisor.ts'
import type { RegisterClient } from './workload.ts'
import type { World } from './world.ts'

export type BlockBug = ChunkserverBug | ChunkStoreBug | MdsBug

export interface BlockClusterOptions extends MdsWeather {
  readonly bugs?: ReadonlySet<BlockBug>
  readonly faultKinds?: readonly FaultKind[]
  readonly config?: BlockConfigReplaced
  /** One is alone on its store, several elect one; drawn by the seed without. */
  readonly mdsCount?: number
  /** Led again and again, as long as there are faults. */
  readonly scenario?: BlockScenario
}

const SERVER_COUNT = 5
const COPYSET_COUNT = 4
const VOTER_COUNT = 3
const CLIENT_HOST_COUNT = 3
/** Below what HOST_CONFIG and the leases allow for. */
const DRIFT_PPM_MAX = 10_000
const RESTART_US = 700_000
/** The share of seeds in which several MDS elect one, and in which a chunkserver can be added. */
const ELECTED_SHARE = 0.5
const SPARE_SHARE = 0.5
/** Entries that came while a change of members was being decided. */
const LAG_SLACK = 200
/** Members are the MDS's business here, and nobody else changes them. */
const BLOCK_FAULT_KINDS = FAULT_KINDS.filter((kind) => kind !== 'membership-change')

export class BlockCluster implements System {
  readonly hosts: readonly SimHost[]
  readonly victims: readonly SimHost[]
  readonly clients: readonly RegisterClient[]
  readonly actions: SystemActions
  readonly faultKinds: readonly FaultKind[]
  readonly victimCountMax = 1
  readonly driftPpmMax = DRIFT_PPM_MAX
  readonly mix = 'erase'
  readonly #world: World
  readonly #random: Prng
  readonly #config: BlockConfig
  readonly #supervisor: Supervisor
  readonly #clientHosts: readonly SimHost[]
  readonly #operatorHost: SimHost
  readonly #adminHost: SimHost
  readonly #mds: BlockMds
  readonly #servers: BlockServers
  readonly #model: BlockModel
  readonly #blockClients: BlockClients
  readonly #operator: BlockOperator
  readonly #admin: BlockAdmin
  readonly #judge: BlockJudge
  readonly #scenarios: BlockScenarios | null
  #repairing = false

  constructor(world: World, network: SimNetwork, options: BlockClusterOptions = {}) {
    const { bugs, scenario } = options
    this.#world = world
    this.#random = world.random.fork('block')
    this.#config = drawBlockConfig(
      world.random.fork('config'),
      options.config,
      bugs as ReadonlySet<ChunkStoreBug> | undefined,
    )
    this.faultKinds = options.faultKinds ?? BLOCK_FAULT_KINDS
    this.#supervisor = new Supervisor({
      world,
      network,
      restartUs: RESTART_US,
      onEvent: (host, name, fields) => this.#judge.heard(host, name, fields),
    })
    const bare = (name: string): SimHost => this.#supervisor.addHost(name)
    // What Raft must survive on its links, a client of a connection need not.
    const sound = (name: string): SimHost => {
      network.links.keepSound(name)
      return bare(name)
    }
    this.victims = Array.from({ length: SERVER_COUNT }, (_, i) => bare(`s${i + 1}`))
    const spare = this.#random.chance(SPARE_SHARE) ? bare(`s${SERVER_COUNT + 1}`) : null
    const serverHosts = spare === null ? this.victims : [...this.victims, spare]
    this.#mds = this.#makeMds(options, sound)
    this.#clientHosts = Array.from({ length: CLIENT_HOST_COUNT }, (_, i) => sound(`c${i + 1}`))
    this.#operatorHost = sound('operator')
    this.#adminHost = sound('admin')
    this.hosts = [...serverHosts, ...this.#mds.hosts, ...this.#clientHosts]
    this.#servers = this.#makeServers(serverHosts, spare, bugs)
    this.#model = new BlockModel(world.random.fork('registers'))
    this.#blockClients = this.#makeClients()
    this.clients = this.#blockClients.clients
    this.#operator = this.#makeOperator()
    this.#admin = new BlockAdmin({
      world,
      host: this.#adminHost,
      random: world.random.fork('admin'),
      add: () => this.#servers.addSpare(),
      onRetired: (id) => this.#servers.renew(id),
    })
    this.#judge = this.#makeJudge()
    this.#scenarios =
      scenario === undefined ? null : this.#makeScenarios(scenario, network, serverHosts)
    this.actions = {
      changeMembership: () => {},
      transferLeader: () => this.#servers.transferSomeLeader(),
      sendSnapshot: () => this.#servers.sendSomeSnapshot(),
    }
  }

  // --- its parts

  #makeMds(options: BlockClusterOptions, makeHost: (name: string) => SimHost): BlockMds {
    const random = this.#world.random.fork('mds')
    const drawn = this.#random.chance(ELECTED_SHARE) ? random.between(2, 3) : 1
    return new BlockMds({
      world: this.#world,
      count: options.mdsCount ?? drawn,
      random,
      config: this.#config.mds,
      makeHost,
      observerOf: (host) => this.#supervisor.observerOf(host),
      onEnded: (host, error) => this.#supervisor.ended(host, error),
      deadSinceUs: (chunkserver) => this.#servers.deadSinceUs(chunkserver),
      driftPpmMax: DRIFT_PPM_MAX,
      weather: options,
      bugs: options.bugs as MdsBugs | undefined,
    })
  }

  #makeServers(
    hosts: readonly SimHost[],
    spare: SimHost | null,
    bugs: ReadonlySet<BlockBug> | undefined,
  ): BlockServers {
    return new BlockServers({
      world: this.#world,
      supervisor: this.#supervisor,
      random: this.#random,
      config: this.#config,
      hosts,
      spare,
      zoneCount: this.#random.between(4, SERVER_COUNT),
      copysetCount: COPYSET_COUNT,
      mds: this.#mds.addresses,
      ...(bugs === undefined ? {} : { bugs: bugs as ReadonlySet<ChunkserverBug> }),
      onServing: (chunkserver, zone) => this.#judge.serves(chunkserver, zone),
    })
  }

  #makeClients(): BlockClients {
    return new BlockClients({
      world: this.#world,
      model: this.#model,
      hosts: this.#clientHosts,
      random: this.#world.random.fork('clients'),
      mds: this.#mds.addresses,
      config: this.#config.client,
      observerOf: (host) => this.#supervisor.observerOf(host),
      onFailed: (host, error) => this.#supervisor.wrong(host, error),
    })
  }

  #makeOperator(): BlockOperator {
    return new BlockOperator({
      world: this.#world,
      host: this.#operatorHost,
      random: this.#world.random.fork('operator'),
      model: this.#model,
      clients: this.#blockClients,
      copysets: COPYSET_COUNT,
      servers: SERVER_COUNT,
      expires: this.#config.mds.trashExpiryMs < 1_000_000,
    })
  }

  #makeJudge(): BlockJudge {
    return new BlockJudge({
      world: this.#world,
      supervisor: this.#supervisor,
      lives: this.#servers.lives,
      mds: this.#mds,
      clients: this.#blockClients,
      operator: this.#operator,
      admin: this.#admin,
      copysetCount: COPYSET_COUNT,
      voterCount: VOTER_COUNT,
      lagMax: this.#config.host.catchUpLagEntries + LAG_SLACK,
    })
  }

  #makeScenarios(
    scenario: BlockScenario,
    network: SimNetwork,
    servers: readonly SimHost[],
  ): BlockScenarios {
    return new BlockScenarios({
      scenario,
      world: this.#world,
      network,
      random: this.#world.random.fork('scenarios'),
      model: this.#model,
      clients: this.#blockClients,
      servers,
      clientHosts: this.#clientHosts,
      mdsHosts: this.#mds.hosts,
      replicas: () => this.#servers.lives.replicas(),
    })
  }

  // --- the run

  start(): void {
    for (const host of this.#mds.hosts) {
      this.#supervisor.begin(host, (env) => this.#mds.boot(env, host))
    }
    this.#servers.start()
    for (const host of this.#clientHosts) {
      host.start((env) => this.#blockClients.boot(env, host))
    }
    this.#seat(this.#operatorHost, (client) => this.#operator.run(client))
    this.#seat(this.#adminHost, (client, clock) => this.#admin.run(client, clock))
    this.#judge.start()
    this.#servers.takeCensus()
    this.#scenarios?.start()
  }

  /** Somebody sits at that host and has a client. */
  #seat(host: SimHost, work: (client: LemnisClient, clock: Clock) => Promise<void>): void {
    host.start((env) => {
      const options = { mds: this.#mds.addresses, name: host.name, config: this.#config.client }
      const client = new LemnisClient(env, SILENT, options)
      work(client, env.clock).catch((error: unknown) => this.#supervisor.wrong(host, error))
    })
  }

  isUp(): boolean {
    return this.#operator.isReady
  }

  isGone(key: string): boolean {
    return this.#operator.isAtRest && this.#model.isGone(key)
  }

  observe(name?: string): Iterable<ObservedReplica> {
    return this.#judge.observe(name)
  }

  disturb(): void {
    this.#mds.disturb()
    this.#admin.start()
  }

  counts(): ReadonlyMap<string, number> {
    return new Map([...this.#mds.counts, ...this.#admin.counts])
  }

  /** The operator tidies up, and disks whose log can't be used any more are replaced. */
  repair(): void {
    if (this.#repairing) return
    this.#repairing = true
    this.#scenarios?.stop()
    this.#mds.heal()
    this.#admin.makePeace()
    this.#operator.makePeace()
    this.#servers.replaceBadDisks()
  }

  lastSteps(): readonly LastStep[] {
    return this.#judge.lastSteps()
  }
}
