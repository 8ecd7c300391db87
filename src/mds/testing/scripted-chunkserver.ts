// Owns one scripted chunkserver of the tests of the MDS: it registers, sends heartbeats and follows
// orders over real RPC; what it reports of its replicas comes from scripted groups. Its disk
// outlives its processes, may be emptied, and may say that it failed.

import { asLemnisError, LemnisError } from '../../base/errors.ts'
import type { Clock } from '../../env/clock.ts'
import type { Env } from '../../env/env.ts'
import {
  GIVE_ORDER,
  HEARTBEAT,
  type Order,
  REGISTER_CHUNKSERVER,
  type ReplicaReport,
  type SendingReport,
} from '../../format/control/chunkserver.ts'
import { SILENT } from '../../observe/observe.ts'
import { RpcClient } from '../../rpc/client.ts'
import { rpcConfig } from '../../rpc/config.ts'
import { askControl, serveControl } from '../../rpc/control.ts'
import { RpcServer } from '../../rpc/server.ts'
import type { SimHost } from '../../sim/host.ts'
import type { ScriptedGroups } from './scripted-groups.ts'

export interface Place {
  readonly zone: string
  readonly server: string
  readonly pool: string
}

interface HeldReplica {
  readonly replica: number
  readonly createdEpoch: number
  /** Of the configuration that it has applied. */
  epoch: number
  damage: string | undefined
}

/** What is on the disk. */
export class ScriptedDisk {
  readonly diskId: string
  clusterId = ''
  id = 0
  token = ''
  readonly replicas = new Map<number, HeldReplica>()

  constructor(diskId: string) {
    this.diskId = diskId
  }
}

const MDS_ADDRESS = 'mds:7400'
const TIMEOUT_MS = 2000
const GIB = 1024 ** 3

export class ScriptedChunkserver {
  readonly host: SimHost
  place: Place
  readonly #groups: ScriptedGroups
  disk: ScriptedDisk
  address: string
  capacityBytes = 100 * GIB
  usedBytes = GIB
  diskState: 'ok' | 'full' | 'failed' = 'ok'
  /** Of its disk, one second with each heartbeat; 0 for a disk that says nothing. */
  writeMeanUs = 0
  badBlocks = 0
  /** As each of its replicas has it. */
  appliedIndex = 1
  /** Says so in its heartbeats. */
  complete = true
  /** Makes no replicas. */
  refusesNew = false
  /** What its replicas hold, and how far the state is that one of them sends to a new one. */
  replicaBytes = 0
  sends: Omit<SendingReport, 'to'> | null = null
  /** Hands no leadership over. */
  refusesLead = false
  scrubStartedMs = 0
  /** How long a scrub takes. */
  scrubMs = 0
  isScrubbing = false
  /** Every order that came, the newest last. */
  readonly orders: Order[] = []
  directory: readonly { chunkserver: number; address: string }[] = []
  full: readonly number[] = []
  /** Codes of the errors that the MDS answered with. */
  readonly refusals: string[] = []
  #directoryVersion = 0
  #intervalMs = 100
  #clock: Clock | null = null

  constructor(host: SimHost, place: Place, groups: ScriptedGroups, diskId: string) {
    this.host = host
    this.place = place
    this.#groups = groups
    this.disk = new ScriptedDisk(diskId)
    this.address = `${host.name}:7500`
  }

  get id(): number {
    return this.disk.id
  }
  get isUp(): boolean {
    return this.host.state === 'running'
  }

  start(): void {
    this.host.start((env) => void this.#run(env))
  }

  serves(group: number, replica: number): boolean {
    const held = this.disk.replicas.get(group)
    const isHere = this.isUp && held?.replica === replica && held.damage === undefined
    return isHere && this.diskState !== 'failed'
  }

  make(group: number, replica: number, epoch: number): boolean {
    if (!this.isUp || this.diskState === 'failed' || this.refusesNew) return false
    if (this.disk.replicas.get(group)?.replica === replica) return true
    const held = { replica, createdEpoch: epoch, epoch: 0, damage: undefined }
    this.disk.replicas.set(group, held)
    return true
  }

  async #run(env: Env): Promise<void> {
    this.#clock = env.clock
    this.isScrubbing = false
    const server = await RpcServer.listen(env, SILENT, this.address, rpcConfig())
    serveControl(server, GIVE_ORDER, ({ order }) => {
      this.#obey(order)
      return {}
    })
    const client = new RpcClient(env, SILENT, MDS_ADDRESS, rpcConfig(), this.host.name)
    this.#directoryVersion = 0
    const life = { isRegistered: false }
    const beat = (): void => {
      this.#beat(client, life).then(
        () => void env.clock.after(this.#intervalMs, beat),
        (thrown: unknown) => {
          const { code } = asLemnisError(thrown)
          this.refusals.push(code)
          if (code === 'NOT_FOUND' || code === 'WRONG_DISK') life.isRegistered = false
          env.clock.after(this.#intervalMs, beat)
        },
      )
    }
    beat()
  }

  async #beat(client: RpcClient, life: { isRegistered: boolean }): Promise<void> {
    const { disk, address } = this
    if (!life.isRegistered) {
      const { diskId, clusterId, id, token } = disk
      const reply = await askControl(
        client,
        REGISTER_CHUNKSERVER,
        {
          ...this.place,
          diskId,
          clusterId,
          id,
          token,
          address,
          httpAddress: '',
          capacityBytes: this.capacityBytes,
          version: 'test',
        },
        TIMEOUT_MS,
      )
      if (id !== 0 && id !== reply.id) throw new LemnisError('WRONG_DISK')
      Object.assign(disk, reply)
      life.isRegistered = true
    }
    const reply = await askControl(
      client,
      HEARTBEAT,
      {
        id: disk.id,
        token: disk.token,
        address,
        complete: this.complete,
        disk: this.#diskReport(),
        windows:
          this.writeMeanUs === 0
            ? []
            : [{ writes: 10, meanUs: this.writeMeanUs, maxUs: 2 * this.writeMeanUs }],
        io: { reads: 0, writes: 0, readBytes: 0, writtenBytes: 0 },
        scrub: this.#scrubReport(),
        replicas: this.reports(),
        directoryVersion: this.#directoryVersion,
      },
      TIMEOUT_MS,
    )
    this.#intervalMs = reply.intervalMs
    this.#directoryVersion = reply.directoryVersion
    this.directory = reply.directory ?? this.directory
    this.full = reply.full ?? []
    for (const order of reply.orders) this.#obey(order)
  }

  #diskReport() {
    return {
      capacityBytes: this.capacityBytes,
      usedBytes: this.usedBytes,
      state: this.diskState,
      errors: 0,
      badBlocks: this.badBlocks,
      repairedBlocks: 0,
      writeP99Us: 0,
    }
  }

  #scrubReport() {
    const counts = { chunksDone: 0, chunksTotal: 0, badBlocks: 0, repairedBlocks: 0 }
    const isOver = this.scrubStartedMs > 0 && !this.isScrubbing
    return {
      state: this.isScrubbing ? ('running' as const) : ('idle' as const),
      startedMs: this.scrubStartedMs,
      finishedMs: isOver ? this.scrubStartedMs + 1 : 0,
      ...counts,
    }
  }

  /** What it says of its replicas. */
  reports(): ReplicaReport[] {
    return Array.from(this.disk.replicas, ([group, held]) => this.#report(group, held))
  }

  #report(group: number, held: HeldReplica): ReplicaReport {
    const { replica, damage } = held
    const truth = this.#groups.all.get(group)
    const isMember =
      truth !== undefined &&
      [...truth.voters, ...truth.outgoing, ...truth.learners].includes(replica)
    if (isMember && truth.leader !== 0 && damage === undefined) held.epoch = truth.epoch
    const leads = truth?.leader === replica && damage === undefined
    const isNew = held.epoch !== 0 && damage === undefined && isMember
    return {
      group,
      replica,
      epoch: damage === undefined ? held.epoch : held.createdEpoch,
      term: truth?.term ?? 0,
      leads,
      leader: truth?.leader ?? 0,
      voters: isNew ? [...truth.voters] : [],
      learners: isNew ? [...truth.learners] : [],
      appliedIndex: this.appliedIndex,
      chunks: 0,
      usedBytes: this.replicaBytes,
      ...(leads && this.sends !== null ? { sending: sendings(truth, this.sends) } : {}),
      ...(damage === undefined ? {} : { damage }),
      ...(leads && truth.goal !== null ? { changing: 'catch-up' } : {}),
    }
  }

  #scrub(startedMs: number): void {
    if (startedMs <= this.scrubStartedMs) return
    this.scrubStartedMs = startedMs
    this.isScrubbing = this.scrubMs > 0
    this.#clock?.after(this.scrubMs, () => {
      this.isScrubbing = false
    })
  }

  #obey(order: Order): void {
    this.orders.push(order)
    const { replicas } = this.disk
    switch (order.kind) {
      case 'found':
        this.#groups.found(order.group, order.voters)
        if (!replicas.has(order.group)) this.make(order.group, order.replica, 0)
        return
      case 'change': {
        const replica = replicas.get(order.group)?.replica ?? 0
        this.#groups.change(order.group, replica, order.epoch, order.voters)
        return
      }
      case 'destroy': {
        const held = replicas.get(order.group)
        const isIt = held?.replica === order.replica
        const isOld = isIt && Math.max(held.epoch, held.createdEpoch) < order.epoch
        if (!isIt || (!isOld && held.damage === undefined)) return
        replicas.delete(order.group)
        this.#groups.ended(order.group, order.replica)
        return
      }
      case 'scrub':
        this.#scrub(order.startedMs)
        return
      case 'lead': {
        const replica = replicas.get(order.group)?.replica ?? 0
        if (!this.refusesLead) this.#groups.lead(order.group, replica, order.replica)
      }
    }
  }
}

/** To everybody that is to become a member. */
function sendings(
  { goal, voters }: { goal: number[] | null; voters: number[] },
  how: Omit<SendingReport, 'to'>,
): SendingReport[] {
  const added = (goal ?? []).filter((replica) => !voters.includes(replica))
  return added.map((to) => ({ ...how, to }))
}
