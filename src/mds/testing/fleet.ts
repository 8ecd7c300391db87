// Owns a simulated cluster for tests of the MDS: the real MDS on a simulated host and metadata
// store, scripted chunkservers on hosts of their own, and somebody who asks.

import { must } from '../../base/assert.ts'
import type { LemnisError } from '../../base/errors.ts'
import { asLemnisError, type ErrorCode } from '../../base/errors.ts'
import type { Env } from '../../env/env.ts'
import type { ControlCall, ReplyOf, RequestOf } from '../../format/control/call.ts'
import { CREATE_POOL, LIST_COPYSETS, STATUS, type Status } from '../../format/control/mds.ts'
import type { Copyset } from '../../format/control/parts.ts'
import { type Observer, SILENT } from '../../observe/observe.ts'
import { RpcClient } from '../../rpc/client.ts'
import { rpcConfig } from '../../rpc/config.ts'
import { askControl } from '../../rpc/control.ts'
import { SimHost } from '../../sim/host.ts'
import { SimMetaDisk } from '../../sim/metastore.ts'
import { SimNetwork } from '../../sim/network.ts'
import { World } from '../../sim/world.ts'
import { type MdsConfig, mdsConfig } from '../config.ts'
import { MdsServer } from '../leading/mds-server.ts'
import { chunkserverOf } from '../topology/topology.ts'
import { ScriptedChunkserver } from './scripted-chunkserver.ts'
import { ScriptedGroups } from './scripted-groups.ts'

const PATIENCE_US = 120_000_000
const STEP_MS = 50
const CALL_MS = 3000
const TRIES = 50
const PAUSE_MS = 100

/** Short times, in their usual relations. */
const CONFIG: Partial<MdsConfig> = {
  heartbeatIntervalMs: 100,
  onlineMs: 500,
  offlineMs: 3000,
  scheduleIntervalMs: 100,
  operatorTimeoutMs: 20_000,
  operatorRetryMs: 1000,
}

export class Fleet {
  readonly world: World
  readonly network: SimNetwork
  readonly mdsHost: SimHost
  readonly store: SimMetaDisk
  readonly chunkservers: ScriptedChunkserver[] = []
  readonly groups: ScriptedGroups
  /** Events of the MDS, as `name {fields}`. */
  readonly events: { name: string; fields: Readonly<Record<string, unknown>> }[] = []
  readonly failures: ErrorCode[] = []
  mds: MdsServer | null = null
  readonly #config: MdsConfig
  #client: RpcClient | null = null
  #mdsEnv: Env | null = null

  constructor(seed = 1, config: Partial<MdsConfig> = {}) {
    this.world = new World({ seed })
    this.network = new SimNetwork(this.world)
    this.#config = mdsConfig({ ...CONFIG, ...config })
    this.mdsHost = this.host('mds')
    this.store = new SimMetaDisk(this.mdsHost)
    this.groups = new ScriptedGroups({
      isLive: (group, replica) => this.#holder(replica)?.serves(group, replica) ?? false,
      make: (group, replica, epoch) => this.#holder(replica)?.make(group, replica, epoch) ?? false,
    })
    this.host('admin').start((env) => {
      this.#client = new RpcClient(env, SILENT, 'mds:7400', rpcConfig(), 'admin')
    })
    this.#step()
  }

  /** A machine on the network, on which nothing runs yet. */
  host(name: string): SimHost {
    const host = new SimHost(this.world, { name, network: this.network })
    this.network.add(host)
    return host
  }

  #step(): void {
    this.world.after(STEP_MS * 1000, 'groups', () => {
      this.groups.step()
      this.#step()
    })
  }

  /** A disk that was replaced is not found any more. */
  #holder(replica: number): ScriptedChunkserver | undefined {
    return this.chunkservers.find(({ id }) => id === chunkserverOf(replica))
  }

  // --- life

  startMds(): void {
    this.mdsHost.start((env) => void this.#boot(env))
  }

  async #boot(env: Env): Promise<void> {
    this.#mdsEnv = env
    const observer: Observer = {
      ...SILENT,
      emit: (name, fields) => void this.events.push({ name, fields }),
    }
    try {
      this.mds = await MdsServer.start(env, observer, this.store.mount(), {
        candidate: null,
        address: 'mds:7400',
        version: 'test',
        config: this.#config,
        onFailed: (error: LemnisError) => void this.failures.push(error.code),
      })
    } catch (error) {
      this.failures.push(asLemnisError(error).code)
    }
  }

  crashMds(): void {
    this.mds = null
    this.mdsHost.crash()
  }

  /** A chunkserver of its own server, unless another is named; started. */
  add(zone: string, server = '', pool = 'default'): ScriptedChunkserver {
    const name = `c${this.chunkservers.length + 1}`
    const place = { zone, server: server === '' ? name : server, pool }
    const diskId = `disk-${name}-0123456789`
    const chunkserver = new ScriptedChunkserver(this.host(name), place, this.groups, diskId)
    this.chunkservers.push(chunkserver)
    chunkserver.start()
    return chunkserver
  }

  /** `perZone` chunkservers in each of `zones` zones, registered. */
  async up(zones: number, perZone: number): Promise<void> {
    this.startMds()
    for (let i = 0; i < zones * perZone; i++) this.add(`z${(i % zones) + 1}`)
    await this.until('registration', () => this.chunkservers.every(({ id }) => id > 0))
    await this.run(300)
  }

  /** As up(), with a pool of three replicas whose copysets all serve. */
  async serving(zones: number, perZone: number, copysets = 0): Promise<void> {
    await this.up(zones, perZone)
    await this.createPool(copysets)
    await this.untilAll('ok')
  }

  async createPool(copysets = 0): Promise<void> {
    await this.ask(CREATE_POOL, { name: 'default', replicas: 3, copysets })
  }

  // --- time

  /** As the MDS's host believes. */
  wallMs(): number {
    return must(this.#mdsEnv, 'an MDS').clock.wallMs()
  }

  async run(ms: number): Promise<void> {
    await this.world.run({ untilUs: this.world.nowUs + ms * 1000 })
  }

  async until(what: string, so: () => boolean): Promise<void> {
    await this.world.run({ untilUs: this.world.nowUs + PATIENCE_US, until: so })
    if (!so()) throw new Error(`in vain for ${what}`)
  }

  /** Until every copyset has this health. */
  async untilAll(health: Copyset['health']): Promise<void> {
    for (let i = 0; i < 600; i++) {
      const copysets = await this.copysets().catch(() => [])
      if (copysets.length > 0 && copysets.every((one) => one.health === health)) return
      await this.run(100)
    }
    const found = (await this.copysets()).map(({ id, health: is }) => `${id} ${is}`)
    throw new Error(`in vain for ${health}: ${found.join(', ')}`)
  }

  // --- what holds

  /** What is wrong now: members not in zones of their own, or replicas that are no members. */
  wrongs(): string[] {
    const wrongs = [...this.groups.wrongs]
    for (const { id, voters, learners } of this.groups.all.values()) {
      const zones = voters.map((replica) => this.#holder(replica)?.place.zone ?? 'nowhere')
      if (new Set(zones).size < zones.length) wrongs.push(`copyset ${id} in ${zones.join(' ')}`)
      if (learners.length > 0) wrongs.push(`copyset ${id} still has learners`)
    }
    for (const { disk, isUp } of this.chunkservers) {
      for (const [group, { replica }] of disk.replicas) {
        const isMember = this.groups.all.get(group)?.voters.includes(replica) === true
        if (isUp && !isMember) wrongs.push(`chunkserver ${disk.id} keeps ${replica} of ${group}`)
      }
    }
    return wrongs
  }

  // --- questions

  /** Asks until the MDS is there. */
  async ask<C extends ControlCall>(call: C, request: RequestOf<C>): Promise<ReplyOf<C>> {
    for (let triesLeft = TRIES; ; triesLeft--) {
      try {
        return await this.asking(call, request)
      } catch (error) {
        if (asLemnisError(error).code !== 'DISCONNECTED' || triesLeft === 0) throw error
        await this.run(PAUSE_MS)
      }
    }
  }

  /** Asks once. */
  asking<C extends ControlCall>(call: C, request: RequestOf<C>): Promise<ReplyOf<C>> {
    const client = must(this.#client, 'somebody who asks')
    const limits = { untilUs: this.world.nowUs + PATIENCE_US }
    return this.world.settle(askControl(client, call, request, CALL_MS), limits)
  }

  /** The code of the error that a question is answered with; null for none. */
  async refusal<C extends ControlCall>(call: C, request: RequestOf<C>): Promise<ErrorCode | null> {
    try {
      await this.ask(call, request)
      return null
    } catch (error) {
      return asLemnisError(error).code
    }
  }

  async status(): Promise<Status> {
    return this.ask(STATUS, {})
  }

  async copysets(): Promise<Copyset[]> {
    return (await this.ask(LIST_COPYSETS, { ids: [] })).copysets
  }

  /** Operators under way, as their events tell. */
  moves(): { group: number; to: number }[] {
    const moves = new Map<number, number>()
    for (const { name, fields } of this.events) {
      const group = Number(fields['group'])
      if (name === 'mds_operator_begun') moves.set(group, Number(fields['to']))
      if (name === 'mds_operator_finished' || name === 'mds_operator_dropped') moves.delete(group)
    }
    return [...moves].map(([group, to]) => ({ group, to }))
  }

  eventsOf(name: string): Readonly<Record<string, unknown>>[] {
    return this.events.filter((event) => event.name === name).map(({ fields }) => fields)
  }
}
