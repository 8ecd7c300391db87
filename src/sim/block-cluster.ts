// Owns the block storage that the simulator runs: an MDS on a store that survives it, chunkservers in
// zones, hosts with volume clients, and an operator; and what a supervisor and a person with spare disks
// would do for their processes. Everything else the cluster must do by itself.

import { must } from '../base/assert.ts'
import { asLemnisError } from '../base/errors.ts'
import type { Prng } from '../base/prng.ts'
import { Chunkserver } from '../chunkserver/chunkserver.ts'
import type { ChunkserverBug } from '../chunkserver/config.ts'
import type { ChunkStoreBug } from '../chunkstore/config.ts'
import { LemnisClient } from '../client/client.ts'
import type { Replica } from '../copyset/replica.ts'
import type { Env } from '../env/env.ts'
import type { MdsBug, MdsBugs } from '../mds/bugs.ts'
import { type Observer, SILENT } from '../observe/observe.ts'
import { membersOf } from '../raft/configuration.ts'
import { rpcConfig } from '../rpc/config.ts'
import { BlockAdmin } from './block-admin.ts'
import {
  ChunkComparer,
  DamageChecker,
  MembershipChecker,
  StateComparer,
  strayChunk,
} from './block-checkers.ts'
import { BlockClients } from './block-clients.ts'
import { type BlockConfig, type BlockConfigReplaced, drawBlockConfig } from './block-config.ts'
import { BlockMds } from './block-mds.ts'
import { BlockModel } from './block-model.ts'
import { BlockOperator } from './block-operator.ts'
import { type BlockScenario, BlockScenarios } from './block-scenarios.ts'
import type { ObservedReplica } from './checkers.ts'
import type { EtcdFaultKind } from './etcd-faults.ts'
import { FAULT_KINDS, type FaultKind, type SystemActions } from './faults.ts'
import { SimHost } from './host.ts'
import type { SimNetwork } from './network.ts'
import { DurableMarks, LogPromises } from './promises.ts'
import { ReplicaView } from './replica-view.ts'
import type { LastStep, System } from './run.ts'
import { Verdict } from './verdict.ts'
import type { RegisterClient } from './workload.ts'
import type { World } from './world.ts'

export type BlockBug = ChunkserverBug | ChunkStoreBug | MdsBug

export interface BlockClusterOptions {
  readonly bugs?: ReadonlySet<BlockBug>
  readonly faultKinds?: readonly FaultKind[]
  readonly config?: BlockConfigReplaced
  /** One is alone on its store, several elect one; drawn by the seed without. */
  readonly mdsCount?: number
  /** Of the store that several MDS share, and of the MDS; drawn by the seed without. */
  readonly etcdFaults?: readonly EtcdFaultKind[]
  /** Mean time between two of those; drawn by the seed without. */
  readonly etcdGapMs?: number
  /** Longest commit of the store of one MDS. */
  readonly metaLatencyMaxMs?: number
  /** Led again and again, as long as there are faults. */
  readonly scenario?: BlockScenario
}

const SERVER_COUNT = 5
const COPYSET_COUNT = 4
const VOTER_COUNT = 3
const CLIENT_HOST_COUNT = 3
const DIRECTORY = 'disk'
/** Below what HOST_CONFIG and the leases allow for. */
const DRIFT_PPM_MAX = 10_000
const RESTART_US = 700_000
const COMPARE_US = 3_000_000
const CENSUS_US = 250_000
/** The share of seeds in which several MDS elect one, and in which a chunkserver can be added. */
const ELECTED_SHARE = 0.5
const SPARE_SHARE = 0.5
/** Entries that came while a change of members was being decided. */
const LAG_SLACK = 200
/** Members are the MDS's business here, and nobody else changes them. */
const BLOCK_FAULT_KINDS = FAULT_KINDS.filter((kind) => kind !== 'membership-change')

/** A chunkserver's process, from its start to its death. */
interface Life {
  readonly generation: number
  readonly server: Chunkserver
  readonly views: Map<Replica, ObservedReplica>
}

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
  readonly #bugs: ReadonlySet<BlockBug> | undefined
  readonly #servers: readonly SimHost[]
  readonly #clientHosts: readonly SimHost[]
  readonly #mds: BlockMds
  readonly #operatorHost: SimHost
  readonly #adminHost: SimHost
  /** Without power until somebody adds it. */
  readonly #spare: SimHost | null
  readonly #model: BlockModel
  readonly #blockClients: BlockClients
  readonly #operator: BlockOperator
  readonly #admin: BlockAdmin
  readonly #scenarios: BlockScenarios | null
  readonly #zoneCount: number
  readonly #lives = new Map<SimHost, Life>()
  /** When a process was last seen to serve for a chunkserver. */
  readonly #seenUs = new Map<number, number>()
  readonly #marks = new DurableMarks()
  readonly #promises: ReadonlyMap<SimHost, LogPromises>
  readonly #membership: MembershipChecker
  readonly #comparer = new ChunkComparer()
  readonly #damage = new DamageChecker()
  #operatorClient: LemnisClient | null = null
  #states: StateComparer | null = null
  #repairing = false

  constructor(world: World, network: SimNetwork, options: BlockClusterOptions = {}) {
    this.#world = world
    this.#random = world.random.fork('block')
    this.#config = drawBlockConfig(
      world.random.fork('config'),
      options.config,
      options.bugs as ReadonlySet<ChunkStoreBug> | undefined,
    )
    this.#bugs = options.bugs
    this.faultKinds = options.faultKinds ?? BLOCK_FAULT_KINDS
    const host = (name: string, isSound: boolean): SimHost => {
      const made = new SimHost(world, { name, network })
      network.add(made)
      Object.assign(made.disk.faults, { latencyMinMs: 0.1, latencyMaxMs: 2 })
      // What Raft must survive on its links, a client of a connection need not.
      if (isSound) network.links.keepSound(name)
      return made
    }
    this.victims = Array.from({ length: SERVER_COUNT }, (_, i) => host(`s${i + 1}`, false))
    this.#spare = this.#random.chance(SPARE_SHARE) ? host(`s${SERVER_COUNT + 1}`, false) : null
    this.#servers = this.#spare === null ? this.victims : [...this.victims, this.#spare]
    this.#mds = this.#makeMds(options, (name) => host(name, true))
    this.#clientHosts = Array.from({ length: CLIENT_HOST_COUNT }, (_, i) => host(`c${i + 1}`, true))
    this.#operatorHost = host('operator', true)
    this.#adminHost = host('admin', true)
    this.hosts = [...this.#servers, ...this.#mds.hosts, ...this.#clientHosts]
    this.#zoneCount = this.#random.between(4, SERVER_COUNT)
    this.#promises = new Map(this.#servers.map((one) => [one, new LogPromises(one, this.#marks)]))
    this.#membership = new MembershipChecker(
      this.#config.host.catchUpLagEntries + LAG_SLACK,
      VOTER_COUNT,
    )
    this.#model = new BlockModel(world.random.fork('registers'))
    this.#blockClients = new BlockClients({
      world,
      model: this.#model,
      hosts: this.#clientHosts,
      random: world.random.fork('clients'),
      mds: this.#mds.addresses,
      config: this.#config.client,
      observerOf: (one) => this.#observerOf(one),
      onFailed: (one, error) => this.#wrong(one, error),
    })
    this.clients = this.#blockClients.clients
    this.#operator = new BlockOperator({
      world,
      host: this.#operatorHost,
      random: world.random.fork('operator'),
      model: this.#model,
      clients: this.#blockClients,
      copysets: COPYSET_COUNT,
      servers: SERVER_COUNT,
      expires: this.#config.mds.trashExpiryMs < 1_000_000,
    })
    this.#admin = new BlockAdmin({
      world,
      host: this.#adminHost,
      random: world.random.fork('admin'),
      add: () => this.#addSpare(),
      onRetired: (id) => this.#renew(id),
    })
    this.#scenarios = this.#scenariosOf(options.scenario, network)
    this.actions = {
      changeMembership: () => {},
      transferLeader: () => this.#transferSomeLeader(),
      sendSnapshot: () => this.#sendSomeSnapshot(),
    }
  }

  #makeMds(options: BlockClusterOptions, makeHost: (name: string) => SimHost): BlockMds {
    const random = this.#world.random.fork('mds')
    const drawn = this.#random.chance(ELECTED_SHARE) ? random.between(2, 3) : 1
    const { mdsCount: count = drawn, etcdFaults, etcdGapMs, bugs } = options
    const { metaLatencyMaxMs: latencyMaxMs } = options
    return new BlockMds({
      world: this.#world,
      count,
      random,
      config: this.#config.mds,
      makeHost,
      observerOf: (host) => this.#observerOf(host),
      onEnded: (host, error) => this.#ended(host, error),
      deadSinceUs: (chunkserver) => this.#deadSinceUs(chunkserver),
      driftPpmMax: DRIFT_PPM_MAX,
      ...(etcdFaults === undefined ? {} : { etcdFaults }),
      ...(etcdGapMs === undefined ? {} : { etcdGapMs }),
      ...(latencyMaxMs === undefined ? {} : { latencyMaxMs }),
      ...(bugs === undefined ? {} : { bugs: bugs as MdsBugs }),
    })
  }

  #scenariosOf(scenario: BlockScenario | undefined, network: SimNetwork): BlockScenarios | null {
    if (scenario === undefined) return null
    return new BlockScenarios({
      scenario,
      world: this.#world,
      network,
      random: this.#world.random.fork('scenarios'),
      model: this.#model,
      clients: this.#blockClients,
      servers: this.#servers,
      clientHosts: this.#clientHosts,
      mdsHosts: this.#mds.hosts,
      replicas: () => this.#replicas(),
    })
  }

  start(): void {
    for (const host of this.#mds.hosts) this.#begin(host, (env) => this.#mds.boot(env, host))
    for (const host of this.#servers) this.#begin(host, (env) => this.#bootServer(env, host))
    this.#spare?.powerLoss()
    for (const host of this.#clientHosts) {
      host.start((env) => this.#blockClients.boot(env, host))
    }
    this.#operatorHost.start((env) => {
      const options = { mds: this.#mds.addresses, name: 'operator', config: this.#config.client }
      const client = new LemnisClient(env, SILENT, options)
      this.#operatorClient = client
      this.#operator.run(client).catch((error: unknown) => this.#wrong(this.#operatorHost, error))
    })
    this.#adminHost.start((env) => {
      const options = { mds: this.#mds.addresses, name: 'admin', config: this.#config.client }
      const client = new LemnisClient(env, SILENT, options)
      this.#admin
        .run(client, env.clock)
        .catch((error: unknown) => this.#wrong(this.#adminHost, error))
    })
    this.#compareLater()
    this.#takeCensus()
    this.#scenarios?.start()
  }

  #begin(host: SimHost, main: (env: Env) => Promise<void>): void {
    host.start((env) => {
      main(env).catch((error: unknown) => this.#ended(host, error))
    })
  }

  // --- the processes

  async #bootServer(env: Env, host: SimHost): Promise<void> {
    const { generation } = host
    const { chunkserver, host: hostConfig, log, store } = this.#config
    const address = `${host.name}:8200`
    const zone = `z${1 + (this.#servers.indexOf(host) % this.#zoneCount)}`
    const server = await Chunkserver.start(env, this.#observerOf(host), {
      directory: DIRECTORY,
      listen: address,
      address,
      httpAddress: '',
      mds: this.#mds.addresses,
      pool: 'default',
      zone,
      server: host.name,
      version: 'simulated',
      config: chunkserver,
      host: hostConfig,
      log,
      store,
      rpc: rpcConfig(),
      ...(this.#bugs === undefined ? {} : { bugs: this.#bugs as ReadonlySet<ChunkserverBug> }),
      onFenced: (error) => this.#ended(host, error),
    })
    if (!must(this.#promises.get(host), 'promises of each host').opened(server.host.log)) {
      this.#replaceDisk(host)
      return
    }
    this.#membership.serves(server.identity.id, zone)
    this.#lives.set(host, { generation, server, views: new Map() })
    await server.loaded
  }

  /**
   * The process ends on a failed disk or store, and its supervisor starts it again. A disk that can't
   * be started from any more is replaced, if it was made to lie; anything else is a bug.
   */
  #ended(host: SimHost, error: unknown): void {
    const { generation } = host
    const { code, message } = asLemnisError(error)
    const isHopeless = code === 'CORRUPT' || code === 'WRONG_DISK'
    if (code === 'INTERNAL' || (isHopeless && !host.diskLies)) {
      this.#wrong(host, error)
      return
    }
    this.#world.note(host.name, 'process ends', message)
    this.#world.after(0, 'exit', () => {
      if (host.generation !== generation) return
      host.crash()
      this.#world.after(RESTART_US, 'supervisor', () => {
        if (host.state !== 'down' || host.generation !== generation + 1) return
        if (isHopeless) host.replaceDisk()
        host.start()
      })
    })
  }

  #wrong(host: SimHost, error: unknown): void {
    this.#world.fail(
      `${host.name}: ${error instanceof Error ? error.message : String(error)}`,
      error,
    )
  }

  #replaceDisk(host: SimHost): void {
    host.powerLoss()
    host.replaceDisk()
    host.start()
  }

  #addSpare(): void {
    const spare = this.#spare
    if (spare !== null && !spare.powered) spare.start()
  }

  /** Where a retired chunkserver runs, the machine gets another disk and is another chunkserver. */
  #renew(id: number): void {
    for (const [host, { server }] of [...this.#alive()]) {
      if (server.identity.id === id) this.#replaceDisk(host)
    }
  }

  #observerOf(host: SimHost): Observer {
    return {
      ...SILENT,
      emit: (name, fields) => {
        const text = Object.entries(fields).map(([key, value]) => `${key}=${value}`)
        this.#world.note(host.name, name, text.join(' '))
        const verdict = this.#damage.heard(host, name, fields)
        if (verdict !== null) this.#world.fail(verdict.message, verdict)
      },
    }
  }

  // --- what the checkers see

  isUp(): boolean {
    return this.#operator.isReady
  }

  isGone(key: string): boolean {
    return this.#operator.isAtRest && this.#model.isGone(key)
  }

  *observe(name?: string): Iterable<ObservedReplica> {
    this.#comparer.throwBreach()
    for (const [host, life] of this.#alive()) {
      if ((name ?? host.name) !== host.name) continue
      for (const replica of life.server.host.replicas()) {
        // Made for a change that may never come: it knows of nothing.
        if (replica.epoch === 0) continue
        let view = life.views.get(replica)
        if (view === undefined) {
          // Chunks are compared by version: one digest of all of them at each entry costs too much.
          view = new ReplicaView(host.name, life.generation, replica, this.#marks, () => null)
          life.views.set(replica, view)
        }
        yield view
      }
      if (name !== undefined) this.#membership.look(life.views.values())
    }
  }

  *#alive(): Iterable<[SimHost, Life]> {
    for (const [host, life] of this.#lives) {
      if (host.generation === life.generation) yield [host, life]
    }
  }

  *#replicas(): Iterable<readonly [SimHost, Replica]> {
    for (const [host, life] of this.#alive()) {
      for (const replica of life.server.host.replicas()) yield [host, replica]
    }
  }

  /** Who serves now: nobody is told by an event of his own when a process dies. */
  #takeCensus(): void {
    for (const [host, { server }] of this.#alive()) {
      if (host.state === 'running') this.#seenUs.set(server.identity.id, this.#world.nowUs)
    }
    this.#world.after(CENSUS_US, 'census', () => this.#takeCensus())
  }

  #deadSinceUs(chunkserver: number): number | null {
    const seenUs = this.#seenUs.get(chunkserver)
    const isHere = seenUs === undefined || this.#world.nowUs - seenUs <= CENSUS_US
    return isHere ? null : seenUs
  }

  #compareLater(): void {
    this.#world.after(COMPARE_US, 'compare', () => {
      for (const [host, life] of this.#alive()) {
        for (const replica of life.server.host.replicas()) {
          const look = (): void => void this.#comparer.look(replica, host.name)
          this.#world.after(0, 'compare', look, host)
        }
      }
      this.#compareLater()
    })
  }

  // --- what the nemesis asks for

  #leaderOf(group: number): { life: Life; replica: Replica } | null {
    let best: { life: Life; replica: Replica } | null = null
    for (const [, life] of this.#alive()) {
      for (const replica of life.server.host.replicas()) {
        if (replica.group !== group || !replica.isLeader) continue
        if (best === null || replica.term > best.replica.term) best = { life, replica }
      }
    }
    return best
  }

  #someLeader(): { life: Life; replica: Replica } | null {
    return this.#leaderOf(this.#random.between(1, COPYSET_COUNT))
  }

  #transferSomeLeader(): void {
    const leader = this.#someLeader()
    if (leader === null) return
    leader.replica.transferLeader(this.#random.pick(leader.replica.membership.voters))
  }

  #sendSomeSnapshot(): void {
    const leader = this.#someLeader()
    if (leader === null) return
    const others = membersOf(leader.replica.membership).filter((id) => id !== leader.replica.id)
    if (others.length === 0) return
    leader.life.server.host.sendSnapshot(leader.replica, this.#random.pick(others))
  }

  // --- the end

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
    this.#replaceBadDisks()
  }

  #replaceBadDisks(): void {
    for (const [host, life] of [...this.#alive()]) {
      if (life.server.host.log.condition !== 'sound') this.#replaceDisk(host)
    }
    this.#world.after(RESTART_US, 'operator', () => this.#replaceBadDisks())
  }

  lastSteps(): readonly LastStep[] {
    return [
      {
        what: 'superseded writers to hear of it',
        begin: () => this.#blockClients.rest(),
        isDone: () => this.#blockClients.deceived().length === 0,
        missing: () =>
          this.#blockClients
            .deceived()
            .map(({ host }) => host.name)
            .join(' '),
      },
      {
        what: 'one MDS to lead',
        isDone: () => this.#mds.leaders().length === 1,
      },
      {
        what: 'everything asked for to be taken back',
        isDone: () => this.#admin.isQuiet,
      },
      {
        what: 'all copysets to be whole',
        isDone: () => this.#lack() === null,
        missing: () => this.#lack() ?? '',
      },
      {
        what: 'the chunks of deleted volumes to go',
        isDone: () => this.#stray() === null,
        missing: () => this.#stray() ?? '',
      },
      this.#scrubStep('a scrub', () => {}),
      this.#scrubStep('a scrub that finds nothing', () => this.#judgeScrub()),
      {
        what: 'all replicas to be equal',
        begin: () => this.#compareStates(),
        isDone: () => this.#areEqual(),
        missing: () => `${this.#states?.compared} states of ${this.#states?.places} indexes`,
      },
    ]
  }

  /** What copysets lack, as the MDS says and as chunkservers show; null when they are whole. */
  #lack(): string | null {
    const survey = this.#operator.survey
    if (survey === null) return 'no survey'
    if (survey.moving > 0) return `${survey.moving} operators`
    const { active } = this.#mds.control
    if (active > 0) return `${active} operators on record that nobody works on`
    const live = new Map<number, Life>()
    for (const [, life] of this.#alive()) live.set(life.server.identity.id, life)
    let count = 0
    for (const { id, health, members } of survey.copysets) {
      if (health !== 'ok') return `copyset ${id} is ${health}`
      for (const { chunkserver, replica } of members) {
        const held = [...(live.get(chunkserver)?.server.host.replicas() ?? [])]
        if (!held.some((one) => one.group === id && one.id === replica)) {
          return `copyset ${id} has no replica ${replica} on chunkserver ${chunkserver}`
        }
      }
      count += members.length
    }
    if (count !== COPYSET_COUNT * VOTER_COUNT) return `${count} members of all copysets`
    for (const [host, { server }] of this.#alive()) {
      for (const { id, group, epoch } of server.host.replicas()) {
        // One that was made for a change that was given up goes with the next change.
        if (epoch === 0) continue
        const copyset = survey.copysets.find((one) => one.id === group)
        if (copyset?.members.some((member) => member.replica === id) !== true) {
          return `replica ${id} of copyset ${group} on ${host.name} is no member`
        }
      }
      for (const group of server.host.damagedGroups().keys()) {
        const { replica } = server.host.log.group(group)
        const copyset = survey.copysets.find((one) => one.id === group)
        // One that could not even be made on a full disk, and was given up, goes with the next change too.
        if (copyset?.members.some((member) => member.replica === replica) !== true) continue
        return `damaged replica ${replica} of copyset ${group} on ${host.name}`
      }
    }
    return null
  }

  #stray(): string | null {
    const survey = this.#operator.survey
    if (survey === null) return 'no survey'
    if (survey.deletedVolumes > 0) return `${survey.deletedVolumes} volumes in the trash`
    for (const [, { server }] of this.#alive()) {
      const stray = strayChunk(server.host.replicas(), survey.chunks)
      if (stray !== null) return stray
    }
    return null
  }

  #scrubStep(what: string, judge: () => void): LastStep {
    const startedMs = new Map<Chunkserver, number>()
    let asked = 0
    const waiting = (): string[] => {
      const names: string[] = []
      for (const [host, { server }] of this.#alive()) {
        const report = server.scrub
        const isNew = report.startedMs > (startedMs.get(server) ?? -1)
        if (!isNew || report.state !== 'idle') names.push(host.name)
      }
      return names
    }
    return {
      what,
      begin: () => {
        asked = this.#operator.scrubsAsked
        for (const [, { server }] of this.#alive()) startedMs.set(server, server.scrub.startedMs)
        const client = must(this.#operatorClient, 'the operator runs')
        this.#world.after(0, 'scrub', () => this.#operator.scrub(client), this.#operatorHost)
      },
      isDone: () => {
        if (this.#operator.scrubsAsked === asked || waiting().length > 0) return false
        judge()
        return true
      },
      missing: () => waiting().join(' '),
    }
  }

  #judgeScrub(): void {
    for (const [host, { server }] of this.#alive()) {
      const { badBlocks } = server.scrub
      if (badBlocks === 0) continue
      throw new Verdict('chunks', `${host.name}: ${badBlocks} bad blocks after a scrub`)
    }
  }

  #areEqual(): boolean {
    const states = this.#states
    if (states === null || states.compared < COPYSET_COUNT * VOTER_COUNT) return false
    if (states.places === COPYSET_COUNT) return true
    // A new leader's first entry may come between two looks.
    this.#states = null
    this.#world.after(RESTART_US, 'compare', () => this.#compareStates())
    return false
  }

  #compareStates(): void {
    const states = new StateComparer()
    this.#states = states
    for (const [host, { server }] of this.#alive()) {
      for (const replica of server.host.replicas()) {
        if (replica.epoch === 0) continue
        const look = (): void => {
          states.look(replica).catch((error: unknown) => this.#wrong(host, error))
        }
        this.#world.after(0, 'compare', look, host)
      }
    }
  }
}
