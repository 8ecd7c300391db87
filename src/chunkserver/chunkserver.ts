// Owns the putting together of a chunkserver: identity, log, store, RPC, copyset host, and the work on
// top of them, from an empty or known disk to a clean end. Invariant: after an error of the disk nothing
// is served any more, the MDS is told, and the process is asked to end.

import { asLemnisError, type LemnisError } from '../base/errors.ts'
import { Scope } from '../base/scope.ts'
import { ChunkStore, type LogBytes } from '../chunkstore/chunk-store.ts'
import type { ChunkStoreConfig } from '../chunkstore/config.ts'
import type { HostConfig } from '../copyset/config.ts'
import { CopysetHost } from '../copyset/host.ts'
import type { GroupId, HostId } from '../copyset/replica-id.ts'
import type { Wait } from '../copyset/waits.ts'
import type { Env } from '../env/env.ts'
import type { Address } from '../env/network.ts'
import { GIVE_ORDER } from '../format/control/chunkserver.ts'
import type { Observer } from '../observe/observe.ts'
import type { RaftLogConfig } from '../raftlog/config.ts'
import { RaftLog } from '../raftlog/raftlog.ts'
import type { RpcConfig } from '../rpc/config.ts'
import { serveControl } from '../rpc/control.ts'
import { RpcServer } from '../rpc/server.ts'
import { ChunkIo } from './chunk-io.ts'
import { type BrokenMachines, chunkMachines } from './chunk-machine.ts'
import type { ChunkserverBug, ChunkserverConfig } from './config.ts'
import { handOver } from './hand-over.ts'
import {
  type Heartbeat,
  type HeartbeatReply,
  Heartbeats,
  type Registration,
  registerNew,
} from './heartbeats.ts'
import { type Identity, openIdentity, writeIdentity } from './identity.ts'
import { VolumeLimits } from './limits.ts'
import { MdsLink } from './mds-link.ts'
import { Mending } from './mending.ts'
import { Neighbours } from './neighbours.ts'
import { Orders } from './orders.ts'
import { Pulse } from './pulse.ts'
import { Repairer } from './repair.ts'
import { replicaReports } from './report.ts'
import { Scrub } from './scrub.ts'
import { Settling } from './settling.ts'
import { TimedDisk } from './timed-disk.ts'
import { Upkeep } from './upkeep.ts'
import { type Health, healthOf, type Watched, waitsOf } from './watch.ts'

export interface ChunkserverOptions {
  /** Of the disk, below the root of env.disk; nobody else uses it (bin/ holds a lock on it). */
  readonly directory: string
  /** `host:port` to listen at; the port is fixed, as the others must find it again. */
  readonly listen: Address
  /** What others reach it by; the same as `listen` unless that is a wildcard. */
  readonly address: Address
  /** Of its HTTP port, told to people; may be empty. */
  readonly httpAddress: string
  readonly mds: readonly Address[]
  readonly pool: string
  readonly zone: string
  readonly server: string
  /** Of the program, told to the MDS. */
  readonly version: string
  readonly config: ChunkserverConfig
  readonly host: HostConfig
  readonly log: RaftLogConfig
  readonly store: ChunkStoreConfig
  /** Its clusterId is replaced by the one of the disk's identity. */
  readonly rpc: RpcConfig
  /** The disk failed and nothing is served any more: the process should report and end. */
  readonly onFenced?: (error: LemnisError) => void
  /** Planted bugs; given by the simulator only. */
  readonly bugs?: ReadonlySet<ChunkserverBug>
}

interface Parts {
  readonly identity: Identity
  readonly timed: TimedDisk
  readonly log: RaftLog
  readonly store: ChunkStore
  readonly server: RpcServer
  readonly mds: MdsLink
  readonly neighbours: Neighbours
}

/** Beside the identity in the disk's directory. */
const LOG = 'log'
const CHUNKS = 'chunks'
/** Room, in segments of the log, with which it may keep what only others need: more than goes in a second. */
const HELD_ROOM_SEGMENTS = 8

export class Chunkserver {
  /** Settles when every replica that the log knows is in service or known to be damaged. */
  readonly loaded: Promise<void>
  readonly identity: Identity
  readonly host: CopysetHost
  readonly store: ChunkStore
  readonly #env: Env
  readonly #observer: Observer
  readonly #options: ChunkserverOptions
  readonly #scope: Scope
  readonly #server: RpcServer
  readonly #neighbours: Neighbours
  readonly #limits: VolumeLimits
  readonly #io: ChunkIo
  readonly #scrub: Scrub
  readonly #orders: Orders
  readonly #heartbeats: Heartbeats
  readonly #pulse: Pulse
  #following: Promise<void> | null = null
  #fullSinceMs: number | null = null
  #isLoaded = false
  readonly #startedMs: number
  #failure: LemnisError | null = null

  /** Resolves when the disk is open and served; its replicas are still being loaded (`loaded`). */
  static async start(
    env: Env,
    observer: Observer,
    options: ChunkserverOptions,
  ): Promise<Chunkserver> {
    const scope = new Scope()
    try {
      return await Chunkserver.#start(env, observer, options, scope)
    } catch (error) {
      await scope.close()
      throw error
    }
  }

  static async #start(
    env: Env,
    observer: Observer,
    options: ChunkserverOptions,
    scope: Scope,
  ): Promise<Chunkserver> {
    const { directory, listen, config } = options
    const identity = await identify(env, observer, options)
    const rpc = { ...options.rpc, clusterId: identity.clusterId }
    const name = `chunkserver-${identity.id}`
    const timed = new TimedDisk(env.disk, env.clock)
    const logEnv = { ...env, disk: timed }
    const log = scope.own(await RaftLog.open(logEnv, observer, `${directory}/${LOG}`, options.log))
    const path = `${directory}/${CHUNKS}`
    const logBytes = (): LogBytes => {
      return { ownBytes: log.fileBytes - log.heldFileBytes, heldBytes: log.heldFileBytes }
    }
    const store = scope.own(await ChunkStore.open(env, observer, path, options.store, logBytes))
    const mds = new MdsLink(env, observer, rpc, options.mds, name, config.mdsTimeoutMs)
    scope.own(mds)
    const neighbours = scope.own(await Neighbours.open(env, observer, rpc, name, directory))
    const server = scope.own(await RpcServer.listen(env, observer, listen, rpc, name))
    const parts = { identity, timed, log, store, server, mds, neighbours }
    return new Chunkserver(env, observer, { ...options, rpc }, scope, parts)
  }

  private constructor(
    env: Env,
    observer: Observer,
    options: ChunkserverOptions,
    scope: Scope,
    parts: Parts,
  ) {
    const { identity, timed, log, store, server, mds, neighbours } = parts
    const { config } = options
    const heldRoomBytes = HELD_ROOM_SEGMENTS * options.log.segmentBytes
    this.#env = env
    this.#startedMs = env.clock.monotonicMs()
    this.#observer = observer
    this.#options = options
    this.#scope = scope
    this.#server = server
    this.#neighbours = neighbours
    this.identity = identity
    this.store = store
    store.onFailed = (error) => this.#fail(error)
    this.host = new CopysetHost({
      env,
      observer,
      host: identity.id as HostId,
      config: options.host,
      log,
      rpc: options.rpc,
      server,
      directory: neighbours,
      machines: chunkMachines(store, this.#broken()),
      mayEnd: (replica, leaving) => mending.mayEnd(replica, leaving),
      mayHoldLog: () => store.roomBytes() - log.heldFileBytes >= heldRoomBytes,
      onFenced: (error) => this.#fail(error),
    })
    const { host } = this
    scope.own(host)
    const settling = new Settling({ clock: env.clock, host, config, neighbours })
    const repairer = new Repairer({ env, observer, host, config, neighbours, settling })
    const mending = new Mending({ clock: env.clock, host, config, neighbours, repairer })
    scope.own(mending)
    mending.serve(server)
    this.#limits = new VolumeLimits(env.clock, config.qosBurstMs)
    const { bugs = new Set() } = options
    this.#io = new ChunkIo({ env, observer, host, config, limits: this.#limits, repairer, bugs })
    this.#scrub = new Scrub({ env, observer, host, config, neighbours, repairer, settling })
    scope.own(this.#scrub)
    scope.own(repairer)
    this.#pulse = this.#makePulse(timed)
    scope.own(this.#pulse)
    this.#orders = this.#makeOrders()
    this.#heartbeats = new Heartbeats({
      env,
      observer,
      config,
      mds,
      identity,
      registration: registrationOf(options, store),
      report: () => this.#report(),
      onReply: (reply) => this.#replied(reply),
    })
    scope.own(this.#heartbeats)
    const isFull = (): boolean => store.usage().state === 'full'
    scope.own(new Upkeep({ clock: env.clock, host, config, isFull }))
    repairer.serve(server)
    this.#serve()
    observer.gauge('chunkserver_mds_silence_seconds', () => this.#heartbeats.silenceMs() / 1000)
    this.loaded = this.#load()
    this.#heartbeats.start()
  }

  #serve(): void {
    const server = this.#server
    this.#io.serve(server)
    this.#scrub.serve(server)
    serveControl(server, GIVE_ORDER, async ({ order }) => {
      await this.#orders.obey(order)
      return {}
    })
  }

  #makeOrders(): Orders {
    return new Orders({
      observer: this.#observer,
      host: this.host,
      self: this.identity.id as HostId,
      scrub: (startedMs) => this.#scrub.start(startedMs),
      onDestroyed: (group) => this.#io.forget(group),
    })
  }

  #makePulse(timed: TimedDisk): Pulse {
    const { config, directory } = this.#options
    return new Pulse({
      clock: this.#env.clock,
      observer: this.#observer,
      host: this.host,
      config,
      timed,
      directory,
      takeWriteP99Us: () => this.#io.takeWriteP99Us(),
      takeReadP99Us: () => this.#io.takeReadP99Us(),
    })
  }

  #broken(): BrokenMachines | undefined {
    const { bugs } = this.#options
    if (bugs === undefined) return undefined
    return { bugs, leads: (group) => this.host.replica(group as GroupId)?.isLeader === true }
  }

  async #load(): Promise<void> {
    const { host } = this
    if (host.log.condition === 'corrupt') this.#failure = logCorrupt(host.log)
    await host.load()
    this.#isLoaded = true
    const replicas = [...host.replicas()].length
    const damaged = host.damagedGroups().size
    this.#observer.emit('chunkserver_started', { id: this.identity.id, replicas, damaged })
  }

  /** Where it listens. */
  get address(): Address {
    return this.#server.address
  }

  /** How far a scrub is, or what the last one found. */
  get scrub(): ReturnType<Scrub['report']> {
    return this.#scrub.report()
  }

  /** Whether the process can do its work; when it can not, a person is needed. */
  health(): Health {
    return healthOf(this.#watched())
  }

  /** Whether it does its work now: all is loaded and it is known to the cluster. */
  ready(): Health {
    const health = this.health()
    return this.#isLoaded
      ? health
      : { ok: false, reasons: ['Replicas are being loaded.', ...health.reasons] }
  }

  /** What waits for longer than a second. */
  waits(): Wait[] {
    return waitsOf(this.#watched())
  }

  /**
   * Ends without haste: others lead, no new calls come in, those under way are answered. What was
   * acknowledged is durable anyway.
   */
  async close(): Promise<void> {
    await this.#heartbeats.close()
    await this.#following
    await handOver(this.#env.clock, this.host, this.#options.config.handOverMs)
    await this.#server.close()
    await this.#scope.close()
  }

  #watched(): Watched {
    const { config } = this.#options
    return {
      afterMs: config.waitsAfterMs,
      host: this.host,
      usage: this.store.usage(),
      fullMs: this.#fullMs(),
      failure: this.#failure,
      isRetired: this.#heartbeats.isRetired,
      mdsSilenceMs: this.#heartbeats.silenceMs(),
      mdsSilenceMaxMs: 3 * this.#heartbeats.intervalMs + config.mdsTimeoutMs,
    }
  }

  /** As seen by heartbeats and whoever asks: nothing tells when a disk becomes full. */
  #fullMs(): number {
    const nowMs = this.#env.clock.monotonicMs()
    if (this.store.usage().state !== 'full') this.#fullSinceMs = null
    else this.#fullSinceMs ??= nowMs
    return this.#fullSinceMs === null ? 0 : nowMs - this.#fullSinceMs
  }

  // --- the MDS

  #report(): Heartbeat {
    const { identity, host, store } = this
    const usage = store.usage()
    this.#fullMs()
    return {
      id: identity.id,
      token: identity.token,
      address: this.#options.address,
      complete: this.#isLoaded,
      upMs: Math.floor(this.#env.clock.monotonicMs() - this.#startedMs),
      disk: {
        capacityBytes: usage.capacityBytes,
        usedBytes: usage.usedBytes,
        state: this.#failure === null ? usage.state : 'failed',
        errors: this.#pulse.errors + (this.#failure === null ? 0 : 1),
        badBlocks: usage.badBlocks,
        repairedBlocks: usage.repairedBlocks,
        writeP99Us: this.#pulse.takeWriteP99Us(),
      },
      windows: this.#pulse.takeWindows(),
      recovery: this.#pulse.recovery,
      io: this.#io.counts(),
      scrub: this.#scrub.report(),
      replicas: replicaReports(host),
      directoryVersion: this.#neighbours.version,
    }
  }

  #replied(reply: HeartbeatReply): void {
    const { directory, directoryVersion, limits, orders, full = [] } = reply
    if (directory !== undefined) this.#neighbours.learn(directoryVersion, directory)
    this.#limits.set(limits)
    this.#io.setFull(full)
    // Orders that are still being followed come again with the next heartbeat, if they are wanted.
    if (orders.length === 0 || this.#following !== null || this.#failure !== null) return
    this.#following = this.#orders.follow(orders).finally(() => {
      this.#following = null
    })
  }

  // --- the end of a disk

  #fail(error: LemnisError): void {
    if (this.#failure !== null) return
    this.#failure = error
    this.#observer.emit('chunkserver_fenced', { code: error.code, error: error.message })
    this.#io.fail(error)
    for (const replica of [...this.host.replicas()]) this.host.damaged(replica, error)
    // The copysets move as soon as the MDS knows; if it can't be told, it will miss the heartbeats.
    void this.#heartbeats.tell().then(() => this.#options.onFenced?.(error))
  }
}

function logCorrupt(log: RaftLog): LemnisError {
  return asLemnisError(log.refusal())
}

/** The identity of the disk, completed by the MDS when it is new. */
async function identify(
  env: Env,
  observer: Observer,
  options: ChunkserverOptions,
): Promise<Identity> {
  const { directory, zone, server, config, mds: addresses } = options
  let identity = await openIdentity(env, directory, zone, server)
  if (identity.id === 0) {
    const { diskId } = identity
    const name = `disk-${diskId}`
    const mds = new MdsLink(env, observer, options.rpc, addresses, name, config.mdsTimeoutMs)
    try {
      const about = registrationOf(options, null)
      identity = await registerNew(env, observer, mds, identity, about, config.registerRetryMs)
    } finally {
      await mds.close()
    }
    observer.emit('chunkserver_registered', { id: identity.id, diskId })
  } else if (identity.zone === zone && identity.server === server) {
    return identity
  } else {
    const { zone: fromZone, server: fromServer } = identity
    observer.emit('chunkserver_moved', { zone, server, fromZone, fromServer })
  }
  identity = { ...identity, zone, server }
  await writeIdentity(env, directory, identity)
  return identity
}

function registrationOf(options: ChunkserverOptions, store: ChunkStore | null): Registration {
  const { address, httpAddress, pool, zone, server, version } = options
  const capacityBytes = store?.usage().capacityBytes ?? options.store.capacityBytes
  return { address, httpAddress, pool, zone, server, version, capacityBytes }
}
