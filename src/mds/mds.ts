// Owns the composition of a metadata server that has the right to serve: what it knows (ledger, topology,
// reports), who decides (scheduler, namespace) and what it answers. Invariant: nothing is served before
// all records are read, and nothing after the ledger has failed: then only reading anew says what is true.
// Leaves to mds-server.ts when that is, and the wire.

import type { LemnisError } from '../base/errors.ts'
import type { Env } from '../env/env.ts'
import type { MetaStore } from '../env/metastore.ts'
import type { Address } from '../env/network.ts'
import type { ReplyOf } from '../format/control/call.ts'
import { HEARTBEAT, REGISTER_CHUNKSERVER } from '../format/control/chunkserver.ts'
import {
  CREATE_POOL,
  LIST_CHUNKSERVERS,
  LIST_COPYSETS,
  LOCATE_COPYSETS,
  START_SCRUB,
  STATUS,
  type Status,
} from '../format/control/mds.ts'
import type { Chunkserver } from '../format/control/parts.ts'
import type { Observer } from '../observe/observe.ts'
import { type RpcConfig, rpcConfig } from '../rpc/config.ts'
import { Answers } from './answers.ts'
import { type MdsBugs, NO_MDS_BUGS } from './bugs.ts'
import { ClusterViews } from './cluster-view.ts'
import { type MdsConfig, mdsConfig } from './config.ts'
import { type ChunkserverFacts, guardSays, type HealthFacts, judge } from './health.ts'
import { Heartbeats } from './heartbeats.ts'
import type { CallTable } from './leading/calls.ts'
import { Courier } from './operators/courier.ts'
import { Maintenance } from './operators/maintenance.ts'
import { Operators } from './operators/operators.ts'
import { Orders } from './operators/orders.ts'
import { Progress } from './operators/progress.ts'
import { Scheduler, type SchedulerOptions } from './operators/scheduler.ts'
import { Scrubs } from './operators/scrubs.ts'
import { OperatorsService } from './operators/service.ts'
import { OperatorViews } from './operators/views.ts'
import { Reports } from './reports.ts'
import { type Elected, Ledger } from './state.ts'
import { Pools } from './topology/pools.ts'
import { Registration } from './topology/registration.ts'
import { TopologyService } from './topology/service.ts'
import { Topology } from './topology/topology.ts'
import { VolumeService } from './volumes/service.ts'

export interface MdsOptions {
  /** Where callers reach it. */
  readonly address: Address
  /** Of the program, for people. */
  readonly version: string
  /** Of its HTTP port, told to people; empty for none. */
  readonly httpAddress?: string
  readonly config?: MdsConfig
  readonly rpc?: RpcConfig
  /** Planted bugs; given by the simulator only. */
  readonly bugs?: MdsBugs
}

/** Something that has lasted longer than a second, for people. */
export interface MdsWait {
  readonly what: string
  readonly who: string
  /** By this host's wall clock. */
  readonly sinceMs: number
  readonly until: string
}

interface Parts extends SchedulerOptions {
  readonly pools: Pools
}

function partsOf(
  env: Env,
  observer: Observer,
  config: MdsConfig,
  rpc: RpcConfig,
  topology: Topology,
  bugs: MdsBugs,
): Parts {
  const reports = new Reports(env.clock, config)
  const views = new ClusterViews(topology, reports, config)
  const orders = new Orders(observer, topology, reports)
  const maintenance = new Maintenance(env, observer, topology, reports)
  const scrubs = new Scrubs(env, topology, reports)
  const progress = new Progress(env.clock)
  const courier = new Courier(env, observer, rpc, topology, config.orderTimeoutMs)
  const pools = new Pools({ env, observer, topology, views, orders, courier })
  const world = { env, observer, config, topology, reports, views, orders, courier, progress, bugs }
  const operators = new Operators(world)
  return { ...world, operators, maintenance, scrubs, pools }
}

export class Mds {
  /** Called once, when it can write nothing more: nobody may hear anything from it after this. */
  onFailed: ((error: LemnisError) => void) | null = null
  readonly #options: MdsOptions
  readonly #topology: Topology
  readonly #reports: Reports
  readonly #views: ClusterViews
  readonly #answers: Answers
  readonly #pools: Pools
  readonly #registration: Registration
  readonly #heartbeats: Heartbeats
  readonly #scheduler: Scheduler
  readonly #operatorViews: OperatorViews
  readonly #operatorsService: OperatorsService
  readonly #maintenance: Maintenance
  readonly #scrubs: Scrubs
  readonly #courier: Courier
  readonly #volumes: VolumeService
  readonly #topologyService: TopologyService
  #closed: Promise<void> | null = null

  private constructor(parts: Parts, options: MdsOptions, volumes: VolumeService) {
    const { env, observer, config, topology, reports, views, orders } = parts
    this.#options = options
    this.#topology = topology
    this.#reports = reports
    this.#views = views
    this.#courier = parts.courier
    this.#pools = parts.pools
    this.#volumes = volumes
    this.#answers = new Answers(topology, reports, views)
    this.#registration = new Registration(env, observer, topology)
    this.#heartbeats = new Heartbeats({
      observer,
      topology,
      reports,
      orders,
      operators: parts.operators,
      intervalMs: config.heartbeatIntervalMs,
      limits: () => volumes.volumes.limits(),
    })
    this.#scheduler = new Scheduler(parts)
    const { operators, maintenance, scrubs, progress } = parts
    const scheduler = this.#scheduler
    this.#maintenance = maintenance
    this.#scrubs = scrubs
    this.#topologyService = new TopologyService({
      ...parts,
      volumesIn: (pool) => volumes.volumes.countIn(pool),
      mayMove: () => scheduler.guard.reasons.length === 0,
    })
    const { clock } = env
    const waiting = (): number => scheduler.rebuildsWaiting
    this.#operatorViews = new OperatorViews({
      clock,
      topology,
      reports,
      operators,
      progress,
      waiting,
    })
    const operatorViews = this.#operatorViews
    this.#operatorsService = new OperatorsService({
      operators,
      views: operatorViews,
      scheduler,
      maintenance,
      scrubs,
    })
    this.#measure(observer)
  }

  /**
   * Takes the store over and reads all records. `elected` is null for a store that one MDS has alone.
   * The caller closes `store` after the MDS.
   */
  static async load(
    env: Env,
    observer: Observer,
    store: MetaStore,
    options: MdsOptions,
    elected: Elected | null,
  ): Promise<Mds> {
    const { config = mdsConfig(), bugs = NO_MDS_BUGS, address } = options
    const ledger = await Ledger.open(store, observer, address, env.clock.wallMs(), elected, bugs)
    const topology = await Topology.load(env, ledger, bugs)
    const { clusterId } = topology.cluster
    const rpc = { ...(options.rpc ?? rpcConfig()), clusterId }
    const parts = partsOf(env, observer, config, rpc, topology, bugs)
    await parts.operators.adopt()
    const context = { env, observer, config, rpc, ledger, topology: parts.pools, bugs }
    const volumes = await VolumeService.load(context)
    const mds = new Mds(parts, options, volumes)
    ledger.onFailed = (error) => mds.onFailed?.(error)
    return mds
  }

  /** Answers, and begins to schedule. */
  serve(calls: CallTable): void {
    calls.serve(REGISTER_CHUNKSERVER, (request) => this.#register(request))
    calls.serve(HEARTBEAT, async (request) => {
      const reply = await this.#heartbeats.take(request)
      this.#topologyService.heard(request)
      return reply
    })
    calls.serve(CREATE_POOL, (request) => this.#pools.create(request))
    calls.serve(LIST_CHUNKSERVERS, (request) => this.#answers.chunkserverPage(request))
    calls.serve(LIST_COPYSETS, (request) => this.#answers.copysets(request))
    calls.serve(LOCATE_COPYSETS, ({ groups }) => this.#answers.locate(groups))
    calls.serve(STATUS, () => this.status())
    calls.serve(START_SCRUB, async () => {
      await this.#scrubs.startAll()
      return {}
    })
    this.#operatorsService.serve(calls)
    this.#topologyService.start(calls)
    this.#volumes.start(calls)
    this.#scheduler.start()
  }

  /** Why nothing is written any more, or null. */
  get failure(): LemnisError | null {
    return this.#topology.ledger.failure
  }

  /** It was read from what a standby had at hand. */
  get wasWarm(): boolean {
    return this.#topology.ledger.isWarm
  }

  get clusterId(): string {
    return this.#topology.cluster.clusterId
  }

  /** Writes nothing more: what waits is refused. */
  seal(): void {
    this.#topology.ledger.close()
  }

  /** Ends all that it does by itself, and writes nothing more. */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    this.seal()
    await Promise.all([
      this.#scheduler.close(),
      this.#volumes.close(),
      this.#courier.close(),
      this.#topologyService.close(),
    ])
  }

  async #register(
    request: Parameters<Registration['register']>[0],
  ): Promise<ReplyOf<typeof REGISTER_CHUNKSERVER>> {
    const reply = await this.#registration.register(request)
    this.#reports.registered(reply.id)
    return reply
  }

  status(): Status {
    const { version, httpAddress = '' } = this.#options
    const { volumes } = this.#volumes
    const chunkservers = this.#answers.chunkservers()
    const { counts: healths, lagging } = this.#views.survey()
    const { ok, degraded, broken, moving, unknown } = healths
    const fills = this.#topologyService.fills()
    const counts = { online: 0, unstable: 0, offline: 0 }
    let capacityBytes = 0
    let usedBytes = 0
    for (const { state, disk } of chunkservers) {
      if (state === 'retired') continue
      counts[state]++
      capacityBytes += disk.capacityBytes
      usedBytes += disk.usedBytes
    }
    return {
      clusterId: this.clusterId,
      version,
      ...(httpAddress === '' ? {} : { httpAddress }),
      health: judge({
        pools: this.#topology.pools.size,
        chunkservers: chunkservers.map((one) => this.#chunkserverFacts(one)),
        copysets: { ok, degraded, broken, moving, unknown },
        founding: this.#founding().length,
        guard: this.#scheduler.guard,
        maintenance: this.#maintenanceFacts(),
        waiting: this.#scheduler.waiting,
        fills,
        lagging,
      }),
      chunkservers: counts,
      copysets: { total: this.#topology.copysets.size, ok, degraded, broken, moving },
      volumes: volumes.count,
      deletedVolumes: volumes.deletedCount,
      capacityBytes,
      usedBytes,
      moving: this.#operatorViews.moving(),
      operators: this.#operatorViews.summary(),
      ...this.#holds(),
      pools: fills,
      slow: chunkservers.filter(({ slow }) => slow !== undefined).map(({ id }) => id),
    }
  }

  #chunkserverFacts({ id, state, disk, pool, slow, draining }: Chunkserver): ChunkserverFacts {
    const view = this.#views.chunkserver(id)
    const isOutside = view !== undefined && !this.#topology.pools.has(view.pool)
    return {
      id,
      state,
      isLost: view?.isLost ?? false,
      isFull: view?.isFull ?? false,
      badBlocks: disk.badBlocks,
      repairedBlocks: disk.repairedBlocks,
      isDraining: draining !== undefined,
      ...(slow === undefined ? {} : { slow }),
      ...(isOutside ? { outside: pool } : {}),
    }
  }

  #maintenanceFacts(): HealthFacts['maintenance'] {
    const current = this.#maintenance.current
    if (current === null) return null
    return { by: current.by, reason: current.reason, leftMs: this.#maintenance.leftMs }
  }

  /** What keeps everything from moving. */
  #holds(): Pick<Status, 'maintenance' | 'guard'> {
    const maintenance = this.#maintenance.current
    const guard = guardSays(this.#scheduler.guard)
    return {
      ...(maintenance === null ? {} : { maintenance }),
      ...(guard === null ? {} : { guard }),
    }
  }

  /** What lasts, for people. */
  waits(): MdsWait[] {
    const waits: MdsWait[] = this.#operatorViews
      .moving()
      .map(({ copyset, what, why, sinceMs }) => ({
        what,
        who: `copyset ${copyset}, as ${why}`,
        sinceMs,
        until: 'the new replica has caught up and is a member',
      }))
    for (const { name, createdMs } of this.#topology.pools.values()) {
      const founding = this.#founding().filter(({ pool }) => pool === name).length
      if (founding === 0) continue
      waits.push({
        what: `${founding} copysets are being founded`,
        who: `pool ${name}`,
        sinceMs: createdMs,
        until: 'their chunkservers have reported all replicas',
      })
    }
    return [...waits, ...this.#volumes.waits()]
  }

  #founding(): { pool: string }[] {
    return [...this.#topology.copysets.values()].filter((copyset) => copyset.founding)
  }

  #measure(observer: Observer): void {
    observer.gauge('mds_chunkservers_online', () => {
      const ids = [...this.#topology.chunkservers.keys()]
      return ids.filter((id) => this.#reports.presenceOf(id) === 'online').length
    })
    observer.gauge('mds_copysets_impaired', () => {
      const { degraded, broken } = this.#views.survey().counts
      return degraded + broken
    })
    observer.gauge('mds_operators', () => this.#topology.operators.size)
    observer.gauge('mds_guarded', () => (this.#scheduler.guard.reasons.length > 0 ? 1 : 0))
  }
}
