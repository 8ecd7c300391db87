// Owns the composition of a metadata server: what it knows (ledger, topology, reports), who decides
// (scheduler, namespace) and how it is asked. Invariant: nothing is served before all records are
// read, and nothing after the ledger has failed: then only a new start says what is true.

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
import type { Observer } from '../observe/observe.ts'
import { type RpcConfig, rpcConfig } from '../rpc/config.ts'
import { serveControl } from '../rpc/control.ts'
import { RpcServer } from '../rpc/server.ts'
import { Answers } from './answers.ts'
import { ClusterViews } from './cluster-view.ts'
import { type MdsConfig, mdsConfig } from './config.ts'
import { Courier } from './courier.ts'
import { judge } from './health.ts'
import { Heartbeats } from './heartbeats.ts'
import { Orders } from './orders.ts'
import { Pools } from './pools.ts'
import type { MdsBug } from './records.ts'
import { Registration } from './registration.ts'
import { Reports } from './reports.ts'
import { Scheduler, type SchedulerOptions } from './scheduler.ts'
import { Ledger } from './state.ts'
import { Topology } from './topology.ts'
import { VolumeService } from './volumes-service.ts'

export interface MdsOptions {
  /** Where it listens; port 0 picks a free one. */
  readonly address: Address
  /** Of the program, for people. */
  readonly version: string
  /** Of its HTTP port, told to people; empty for none. */
  readonly httpAddress?: string
  readonly config?: MdsConfig
  readonly rpc?: RpcConfig
  /** Nothing can be written any more: the process should report, end, and start anew. */
  readonly onFailed?: (error: LemnisError) => void
  /** Planted bugs; given by the simulator only. */
  readonly bugs?: ReadonlySet<MdsBug>
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
): Parts {
  const reports = new Reports(env.clock, config)
  const views = new ClusterViews(topology, reports, config.fullPercent)
  const orders = new Orders(observer, topology, reports)
  const courier = new Courier(env, observer, rpc, topology, config.orderTimeoutMs)
  const pools = new Pools({ env, observer, topology, views, orders, courier })
  return { env, observer, config, topology, reports, views, orders, courier, pools }
}

export class Mds {
  readonly #env: Env
  readonly #options: MdsOptions
  readonly #topology: Topology
  readonly #reports: Reports
  readonly #views: ClusterViews
  readonly #answers: Answers
  readonly #pools: Pools
  readonly #registration: Registration
  readonly #heartbeats: Heartbeats
  readonly #scheduler: Scheduler
  readonly #courier: Courier
  readonly #volumes: VolumeService
  readonly #server: RpcServer
  #closed: Promise<void> | null = null

  private constructor(
    parts: Parts,
    options: MdsOptions,
    volumes: VolumeService,
    server: RpcServer,
  ) {
    const { env, observer, config, topology, reports, views, orders } = parts
    this.#env = env
    this.#options = options
    this.#topology = topology
    this.#reports = reports
    this.#views = views
    this.#courier = parts.courier
    this.#pools = parts.pools
    this.#volumes = volumes
    this.#server = server
    this.#answers = new Answers(topology, reports, views)
    this.#registration = new Registration(env, observer, topology)
    this.#heartbeats = new Heartbeats({
      observer,
      topology,
      reports,
      orders,
      intervalMs: config.heartbeatIntervalMs,
      limits: () => volumes.volumes.limits(),
    })
    this.#scheduler = new Scheduler(parts)
    this.#measure(observer)
  }

  /**
   * Reads all records, begins to serve and to schedule. The caller closes `store` after the MDS.
   */
  static async start(
    env: Env,
    observer: Observer,
    store: MetaStore,
    options: MdsOptions,
  ): Promise<Mds> {
    const config = options.config ?? mdsConfig()
    const ledger = await Ledger.open(store, observer, options.address, env.clock.wallMs())
    const topology = await Topology.load(env, ledger)
    const { clusterId } = topology.cluster
    const rpc = { ...(options.rpc ?? rpcConfig()), clusterId }
    const parts = partsOf(env, observer, config, rpc, topology)
    const bugs = options.bugs ?? new Set()
    const context = { env, observer, config, rpc, ledger, topology: parts.pools, bugs }
    const volumes = await VolumeService.load(context)
    const server = await RpcServer.listen(env, observer, options.address, rpc, 'mds')
    const mds = new Mds(parts, options, volumes, server)
    ledger.onFailed = (error) => {
      void mds.close()
      options.onFailed?.(error)
    }
    mds.#serve()
    mds.#scheduler.start()
    observer.emit('mds_started', { address: server.address, clusterId })
    return mds
  }

  /** The address listened at, with the port that was picked. */
  get address(): Address {
    return this.#server.address
  }

  get clusterId(): string {
    return this.#topology.cluster.clusterId
  }

  /** Ends what waits, answers what is in flight, and writes nothing more. */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    this.#topology.ledger.close()
    await this.#server.close()
    await Promise.all([this.#scheduler.close(), this.#volumes.close(), this.#courier.close()])
  }

  #serve(): void {
    const server = this.#server
    serveControl(server, REGISTER_CHUNKSERVER, (request) => this.#register(request))
    serveControl(server, HEARTBEAT, (request) => this.#heartbeats.take(request))
    serveControl(server, CREATE_POOL, (request) => this.#pools.create(request))
    serveControl(server, LIST_CHUNKSERVERS, () => ({ chunkservers: this.#answers.chunkservers() }))
    serveControl(server, LIST_COPYSETS, (request) => this.#answers.copysets(request))
    serveControl(server, LOCATE_COPYSETS, ({ groups }) => this.#answers.locate(groups))
    serveControl(server, STATUS, () => this.status())
    serveControl(server, START_SCRUB, () => this.#startScrub())
    this.#volumes.start(server)
  }

  async #register(
    request: Parameters<Registration['register']>[0],
  ): Promise<ReplyOf<typeof REGISTER_CHUNKSERVER>> {
    const reply = await this.#registration.register(request)
    this.#reports.registered(reply.id)
    return reply
  }

  /** Every chunkserver hears of it with its next heartbeat, also one that is away now. */
  async #startScrub(): Promise<Record<string, never>> {
    await this.#topology.ledger.change(() => {
      const draft = this.#topology.draft()
      const before = draft.cluster.scrubMs
      draft.patchCluster({ scrubMs: Math.max(before + 1, this.#env.clock.wallMs()) })
      return draft.write(() => {})
    })
    return {}
  }

  status(): Status {
    const { version, httpAddress = '' } = this.#options
    const { volumes } = this.#volumes
    const chunkservers = this.#answers.chunkservers()
    const { ok, degraded, broken, moving, unknown } = this.#answers.healthCounts()
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
        chunkservers: chunkservers.map(({ id, state, disk }) => ({
          id,
          state,
          isLost: this.#views.chunkserver(id)?.isLost ?? false,
          isFull: this.#views.chunkserver(id)?.isFull ?? false,
          badBlocks: disk.badBlocks,
          repairedBlocks: disk.repairedBlocks,
        })),
        copysets: { ok, degraded, broken, moving, unknown },
        founding: this.#founding().length,
        zonesAway: this.#scheduler.zonesAway,
        waiting: this.#scheduler.waiting,
      }),
      chunkservers: counts,
      copysets: { total: this.#topology.copysets.size, ok, degraded, broken, moving },
      volumes: volumes.count,
      deletedVolumes: volumes.deletedCount,
      capacityBytes,
      usedBytes,
      moving: this.#answers.moving(),
    }
  }

  /** What lasts, for people. */
  waits(): MdsWait[] {
    const waits: MdsWait[] = this.#answers.moving().map(({ copyset, what, why, sinceMs }) => ({
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
      const { degraded, broken } = this.#answers.healthCounts()
      return degraded + broken
    })
    observer.gauge('mds_operators', () => this.#topology.operators.size)
  }
}
