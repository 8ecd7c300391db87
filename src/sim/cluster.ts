// Owns the replicated system that the simulator runs: hosts with real logs, wires and copyset hosts over
// the simulated world, clients that write to a few groups, and the part of an operator, who exchanges
// members and rebuilds what a bad disk has destroyed.
// Invariant: a replica is founded once; a host whose disk was lost comes back without it.

import { must } from '../base/assert.ts'
import type { LemnisError } from '../base/errors.ts'
import type { Prng } from '../base/prng.ts'
import { KIB } from '../base/units.ts'
import { type HostConfig, hostConfig } from '../copyset/config.ts'
import { CopysetHost } from '../copyset/host.ts'
import type { MembershipGoal } from '../copyset/membership.ts'
import type { HostBug } from '../copyset/replica.ts'
import { type GroupId, type HostId, hostOf, replicaIdOf } from '../copyset/replica-id.ts'
import { kvMachines } from '../copyset/testing/kv-machines.ts'
import { serveKv } from '../copyset/testing/kv-service.ts'
import { smallLog } from '../copyset/testing/small-log.ts'
import type { Env } from '../env/env.ts'
import { membersOf } from '../raft/configuration.ts'
import type { ReplicaId } from '../raft/types.ts'
import type { RaftLogBug } from '../raftlog/config.ts'
import { RaftLog } from '../raftlog/raftlog.ts'
import { rpcConfig } from '../rpc/config.ts'
import { RpcServer } from '../rpc/server.ts'
import type { ObservedReplica } from './checkers.ts'
import { SimClients } from './clients.ts'
import { CopysetLives } from './copyset-lives.ts'
import { FAULT_KINDS, type FaultKind } from './fault-plan.ts'
import type { SimHost } from './host.ts'
import type { SystemActions } from './nemesis.ts'
import type { SimNetwork } from './network.ts'
import type { System } from './run.ts'
import { Supervisor } from './supervisor.ts'
import type { RegisterClient } from './workload.ts'
import type { World } from './world.ts'

export type ClusterBug = HostBug | RaftLogBug

export interface ClusterOptions {
  readonly bugs: ReadonlySet<ClusterBug>
  readonly faultKinds?: readonly FaultKind[]
  /** Takes the place of what the seed would draw. */
  readonly config?: Partial<HostConfig>
}

const HOST_COUNT = 5
const GROUP_COUNT = 2
const VOTER_COUNT = 3
const CLIENT_COUNT = 8
const RPC_PORT = 7000
/** Below what HOST_CONFIG allows for: clockDriftPermille is 50, one percent each way is 20. */
const DRIFT_PPM_MAX = 10_000
const RESTART_US = 1_000_000
const REPAIR_GAP_US = 500_000
const BUCKET_COUNT = 8

export class SimCluster implements System {
  readonly hosts: readonly SimHost[]
  readonly clients: readonly RegisterClient[]
  readonly actions: SystemActions
  readonly faultKinds: readonly FaultKind[]
  readonly victimCountMax = 1
  readonly driftPpmMax = DRIFT_PPM_MAX
  readonly #world: World
  readonly #random: Prng
  readonly #bugs: ReadonlySet<ClusterBug>
  readonly #config: HostConfig
  readonly #clientHost: SimHost
  readonly #simClients: SimClients
  readonly #supervisor: Supervisor
  readonly #lives: CopysetLives<{ readonly host: CopysetHost }>
  /** `group/host` of the founding replicas that are known to be durable. */
  readonly #founded = new Set<string>()
  readonly #incarnations = new Map<string, number>()
  #repairing = false

  constructor(world: World, network: SimNetwork, options: ClusterOptions) {
    this.#world = world
    this.#random = world.random.fork('operator')
    this.#bugs = options.bugs
    this.faultKinds = options.faultKinds ?? FAULT_KINDS
    this.#config = drawConfig(world.random.fork('config'), options.config)
    const supervisor = new Supervisor({ world, network, restartUs: RESTART_US })
    this.#supervisor = supervisor
    this.hosts = Array.from({ length: HOST_COUNT }, (_, i) => supervisor.addHost(`h${i + 1}`))
    this.#lives = new CopysetLives({ hosts: this.hosts })
    this.#clientHost = supervisor.addHost('clients')
    this.#calmClientLinks(network)
    this.#simClients = new SimClients({
      world,
      addresses: new Map(this.hosts.map((host, i) => [(i + 1) as HostId, addressOf(host)])),
      groups: this.#groups(),
      count: CLIENT_COUNT,
    })
    this.clients = this.#simClients.clients
    this.actions = {
      changeMembership: () => this.#changeSomeGroup(),
      transferLeader: () => this.#lives.transferLeader(this.#someGroup(), this.#random),
      sendSnapshot: () => this.#lives.sendSnapshot(this.#someGroup(), this.#random),
    }
  }

  /**
   * No TCP loses, doubles or swaps whole writes. Raft must survive it; a client can't tell a doubled
   * command's refusal from its own, so its links have every fault but these.
   */
  #calmClientLinks(network: SimNetwork): void {
    for (const host of this.hosts) {
      network.links.setOwn(host.name, 'clients', {})
      network.links.setOwn('clients', host.name, {})
    }
  }

  #groups(): GroupId[] {
    return Array.from({ length: GROUP_COUNT }, (_, i) => (i + 1) as GroupId)
  }

  #someGroup(): GroupId {
    return this.#random.pick(this.#groups())
  }

  start(): void {
    this.#clientHost.start((env) => this.#simClients.start(env))
    for (const host of this.hosts) this.#supervisor.begin(host, (env) => this.#boot(env, host))
  }

  // --- one host's program

  async #boot(env: Env, host: SimHost): Promise<void> {
    const { generation } = host
    const self = this.#idOf(host)
    const observer = this.#supervisor.observerOf(host)
    const rpc = rpcConfig()
    const server = await RpcServer.listen(env, observer, addressOf(host), rpc)
    const log = await RaftLog.open(
      env,
      observer,
      'log',
      smallLog(this.#bugs as ReadonlySet<RaftLogBug>),
    )
    if (!this.#lives.isFit(host, log)) {
      this.#supervisor.replaceDisk(host)
      return
    }
    const copysets = new CopysetHost({
      env,
      observer,
      host: self,
      config: this.#config,
      log,
      rpc,
      server,
      directory: { addressOf: (id) => addressOf(must(this.hosts[id - 1], 'a host')) },
      machines: kvMachines(env, 'kv', { bucketCount: BUCKET_COUNT }),
      onFenced: (error) => this.#supervisor.ended(host, error),
      bugs: this.#bugs as ReadonlySet<HostBug>,
    })
    this.#lives.began(host, generation, { host: copysets })
    serveKv(copysets, server)
    await copysets.load()
    for (const group of this.#groups()) await this.#foundOnce(host, copysets, group)
  }

  async #foundOnce(host: SimHost, copysets: CopysetHost, group: GroupId): Promise<void> {
    const voters = this.#founders(group)
    const own = voters.find((voter) => hostOf(voter) === this.#idOf(host))
    const key = `${group}/${host.name}`
    if (own === undefined || this.#founded.has(key)) return
    if (copysets.log.group(group).replica === 0) await copysets.found(group, own, voters)
    this.#founded.add(key)
  }

  #founders(group: GroupId): ReplicaId[] {
    return Array.from({ length: VOTER_COUNT }, (_, i) =>
      replicaIdOf((((group + i) % HOST_COUNT) + 1) as HostId, 1),
    )
  }

  // --- what the checkers see

  isUp(): boolean {
    return this.#founded.size === GROUP_COUNT * VOTER_COUNT
  }

  observe(name?: string): Iterable<ObservedReplica> {
    return this.#lives.observe(name)
  }

  // --- the operator

  #idOf(host: SimHost): HostId {
    return (this.hosts.indexOf(host) + 1) as HostId
  }

  #liveHosts(): CopysetHost[] {
    return Array.from(this.#lives.alive(), ([, { host }]) => host)
  }

  /** A new id on `host`, which no replica of the group has had. */
  #newReplica(group: GroupId, host: HostId): ReplicaId {
    const key = `${group}/${host}`
    const incarnation = (this.#incarnations.get(key) ?? 1) + 1
    this.#incarnations.set(key, incarnation)
    return replicaIdOf(host, incarnation)
  }

  #changeSomeGroup(): void {
    const group = this.#someGroup()
    const leader = this.#lives.leaderOf(group)
    if (leader === null) return
    const { voters } = leader.replica.membership
    const members = membersOf(leader.replica.membership).map(hostOf)
    const strangers = this.hosts.map((h) => this.#idOf(h)).filter((id) => !members.includes(id))
    // Two at a time now and then: then a majority of the new members holds none of the old ones.
    const pairs = this.#random.chance(0.4) ? 2 : 1
    const add: ReplicaId[] = []
    const remove: ReplicaId[] = []
    const dice = this.#random.below(10)
    const turned = this.#random.below(Math.max(1, strangers.length))
    const from = [...strangers.slice(turned), ...strangers.slice(0, turned)]
    for (const host of from.slice(0, dice < 8 ? pairs : 0)) {
      add.push(this.#newReplica(group, host))
    }
    const shrinks = dice < 6 || voters.length > VOTER_COUNT
    const spare = voters.length + add.length - VOTER_COUNT
    const first = this.#random.below(voters.length)
    for (let i = 0; shrinks && i < Math.min(pairs, spare); i++) {
      remove.push(voters[(first + i) % voters.length] as ReplicaId)
    }
    this.#change(leader.host, group, { add, remove }, () => {})
  }

  #change(
    host: CopysetHost,
    group: GroupId,
    goal: MembershipGoal,
    done: (error: LemnisError | null) => void,
  ): void {
    if (goal.add.length + goal.remove.length === 0) return
    this.#world.note(
      'operator',
      'change',
      `group ${group} +${goal.add.join(' ')} -${goal.remove.join(' ')}`,
    )
    host.change(group, goal, (error) => {
      this.#world.note('operator', 'changed', `group ${group}: ${error?.message ?? 'done'}`)
      done(error)
    })
  }

  /** Everything runs: hosts with unusable logs get empty disks, and lost replicas are replaced. */
  repair(): void {
    if (this.#repairing) return
    this.#repairing = true
    this.#repairRound()
  }

  #repairRound(): void {
    for (const host of [...this.#lives.withBadLogs()]) this.#supervisor.replaceDisk(host)
    for (const group of this.#groups()) {
      this.#rebuild(group)
      this.#sweep(group)
    }
    this.#world.after(REPAIR_GAP_US, 'operator', () => this.#repairRound())
  }

  /** Ends replicas that were made for changes which never came to be. */
  #sweep(group: GroupId): void {
    const leader = this.#lives.leaderOf(group)
    if (leader === null || this.#liveHosts().some((host) => host.changes().length > 0)) return
    for (const host of this.#liveHosts()) {
      const replica = host.replica(group)
      if (replica === undefined || leader.replica.knows(replica.id)) continue
      void host.destroy(group, leader.replica.epoch)
    }
  }

  /** Replaces the members that nobody holds any more, by new ones on the same hosts. */
  #rebuild(group: GroupId): void {
    const leader = this.#lives.leaderOf(group)
    if (leader === null) return
    const held = new Set(this.#liveHosts().map((host) => host.replica(group)?.id))
    const lost = membersOf(leader.replica.membership).filter((member) => !held.has(member))
    if (lost.length === 0 || leader.host.changes().some((change) => change.group === group)) return
    if (this.#liveHosts().length < HOST_COUNT) return
    const add = lost.map((member) => this.#newReplica(group, hostOf(member)))
    this.#change(leader.host, group, { add, remove: lost }, () => {})
  }
}

function addressOf(host: SimHost): string {
  return `${host.name}:${RPC_PORT}`
}

/** Small sizes and varied times, so that a short run meets every mechanism. */
function drawConfig(random: Prng, replaced: Partial<HostConfig> = {}): HostConfig {
  return hostConfig({
    hibernateAfterMs: random.pick([0, 2000, 3000]),
    appendBytesMax: random.pick([512, 4 * KIB]),
    inflightBytesMax: random.pick([4 * KIB, 64 * KIB]),
    inflightMessagesMax: random.pick([2, 16]),
    uncommittedBytesMax: 32 * KIB,
    committedBytesMax: random.pick([1 * KIB, 32 * KIB]),
    proposalBytesMax: 64 * KIB,
    entryBytesMax: 16 * KIB,
    checkpointBytes: random.pick([1 * KIB, 4 * KIB, 16 * KIB]),
    transferPieceBytes: random.pick([64, 1024]),
    transferBytesPerSecond: random.pick([4 * KIB, 1024 * KIB]),
    catchUpLagEntries: random.pick([0, 10, 100]),
    changeTimeoutMs: 20_000,
    ...replaced,
  })
}
