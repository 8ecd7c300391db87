// Owns situations that chance hardly ever brings about and that a planted bug needs to show: each is
// led step by step, again and again with other hosts and volumes, beside the workload. A sound cluster
// survives them like any fault. Invariant: stop() undoes what is under way.

import type { Prng } from '../base/prng.ts'
import { chunksOf } from '../chunkserver/chunk-machine.ts'
import type { Replica } from '../copyset/replica.ts'
import type { BlockClients } from './block-clients.ts'
import { type BlockModel, type Handle, isAlive, newest, writersOf } from './block-model.ts'
import type { SimEvent } from './event-queue.ts'
import type { SimHost } from './host.ts'
import type { SimNetwork } from './network.ts'
import type { World } from './world.ts'

export type BlockScenario =
  /** A leader dies right after it applied a fence; the old writer meets its successor, who has not. */
  | 'fence-not-applied'
  /** A client's writes wait on a wire while its copysets get other leaders, and then the old ones again. */
  | 'late-writes'
  /** A copyset loses two of its three members for longer than anybody waits for the silent. */
  | 'quorum-away'
  /** The MDS are killed again and again, and start at once. */
  | 'mds-restarts'

type Found = readonly [SimHost, Replica]

export interface BlockScenariosOptions {
  readonly scenario: BlockScenario
  readonly world: World
  readonly network: SimNetwork
  readonly random: Prng
  readonly model: BlockModel
  readonly clients: BlockClients
  readonly servers: readonly SimHost[]
  readonly clientHosts: readonly SimHost[]
  readonly mdsHosts: readonly SimHost[]
  /** Of living chunkservers. */
  readonly replicas: () => Iterable<Found>
}

const MS = 1000
const GAP_US = { min: 300 * MS, max: 1500 * MS }
/** A step that takes longer is given up with its scenario. */
const PATIENCE_US = 4000 * MS
/** For the answer to the fence to leave before its leader dies. */
const LAST_WORDS_US = 2 * MS
/** For the old writer to find the new leader. */
const WINDOW_US = 400 * MS
/** Longer than the checker of the control plane needs to know that they are dead. */
const AWAY_US = { min: 11_000 * MS, max: 14_000 * MS }
const DETOUR_US = { min: 500 * MS, max: 2500 * MS }

export class BlockScenarios {
  readonly #options: BlockScenariosOptions
  readonly #random: Prng
  readonly #undos: (() => void)[] = []
  /** Asked after every event. */
  #awaited: (() => void) | null = null
  #isStopped = false

  constructor(options: BlockScenariosOptions) {
    this.#options = options
    this.#random = options.random
    options.world.watch(() => this.#awaited?.())
  }

  start(): void {
    const delayUs = this.#random.between(GAP_US.min, GAP_US.max)
    this.#after(delayUs, () => {
      void this.#play().then(() => {
        this.#undo()
        this.start()
      })
    })
  }

  #play(): Promise<void> {
    switch (this.#options.scenario) {
      case 'fence-not-applied':
        return this.#fenceNotApplied()
      case 'late-writes':
        return this.#lateWrites()
      case 'quorum-away':
        return this.#quorumAway()
      case 'mds-restarts':
        return this.#mdsRestarts()
    }
  }

  stop(): void {
    this.#isStopped = true
    this.#awaited = null
    this.#undo()
  }

  // --- a fence that the next leader has not applied yet

  async #fenceNotApplied(): Promise<void> {
    const { clients, clientHosts, mdsHosts, world } = this.#options
    const old = this.#someWriter()
    if (old === null) return
    const taker = this.#random.pick(clientHosts.filter((host) => host !== old.host))
    // It is to hear of its successor from chunkservers only.
    this.#cutBoth(old.host, mdsHosts)
    clients.spare(old)
    this.#undos.push(() => clients.spare(null))
    clients.takeOver(old.of, taker)
    const first = await this.#await((one) => one.isLeader && this.#knowsNewer(one, old))
    if (first === null) return
    const [leaderHost, leader] = first
    const { group, term } = leader
    const others = this.#options.servers.filter((host) => host !== leaderHost)
    // What it committed must not become known: neither by appends nor by heartbeats.
    this.#cut([leaderHost], others)
    await this.#sleep(LAST_WORDS_US)
    leaderHost.crash()
    this.#undos.push(() => {
      if (leaderHost.state === 'down') leaderHost.start()
    })
    const isNext = (one: Replica): boolean =>
      one.group === group && one.isLeader && one.term > term && !this.#knowsNewer(one, old)
    // Nothing is committed until the old writer has been there.
    const next = await this.#await(isNext, ([host]) => this.#cut(others, [host]))
    if (next === null || !isAlive(old) || old.endedBy !== null) return
    world.note(old.host.name, 'late writer', `of copyset ${group}`)
    clients.writeLate(old)
    await this.#sleep(WINDOW_US)
  }

  #knowsNewer(replica: Replica, { of, epoch }: Handle): boolean {
    return chunksOf(replica).epochOf(of.id) > epoch
  }

  #someWriter(): Handle | null {
    const writers = this.#options.model
      .live()
      .map(writersOf)
      .filter((handles) => handles.length > 0)
      .map(newest)
      .filter(({ segments }) => segments.size > 0)
    return writers.length === 0 ? null : this.#random.pick(writers)
  }

  // --- writes that come late, to a leader that leads again

  async #lateWrites(): Promise<void> {
    const { replicas, servers, clientHosts } = this.#options
    const server = this.#random.pick(servers)
    const led = [...replicas()].filter(([host, one]) => host === server && one.isLeader)
    if (led.length === 0) return
    this.#cut(clientHosts, [server])
    await this.#sleep(this.#random.between(MS, 50 * MS))
    for (const [, replica] of led) {
      const { voters } = replica.membership
      replica.transferLeader(this.#random.pick(voters.filter((id) => id !== replica.id)))
    }
    await this.#sleep(this.#random.between(DETOUR_US.min, DETOUR_US.max))
    for (const [, { group, id }] of led) {
      const now = this.#find((one) => one.group === group && one.isLeader && one.id !== id)
      now?.[1].transferLeader(id)
    }
    await this.#sleep(this.#random.between(10 * MS, 100 * MS))
  }

  // --- a copyset without a quorum

  async #quorumAway(): Promise<void> {
    const { model, replicas } = this.#options
    const leaders = [...replicas()].filter(([, one]) => one.isLeader)
    if (model.live().length === 0 || leaders.length === 0) return
    const [leaderHost, { group, membership }] = this.#random.pick(leaders)
    const isOther = ([host, one]: Found): boolean =>
      host !== leaderHost && one.group === group && membership.voters.includes(one.id)
    const others = [...replicas()].filter(isOther)
    if (others.length === 0) return
    for (const host of [leaderHost, this.#random.pick(others)[0]]) {
      host.powerLoss()
      this.#undos.push(() => {
        if (host.state === 'unpowered') host.start()
      })
    }
    await this.#sleep(this.#random.between(AWAY_US.min, AWAY_US.max))
  }

  // --- an MDS that forgets what it had not written down

  async #mdsRestarts(): Promise<void> {
    const { mdsHosts, model } = this.#options
    const host = this.#random.pick(mdsHosts)
    if (model.live().length === 0 || host.state !== 'running') return
    host.crash()
    this.#undos.push(() => {
      if (host.state === 'down') host.start()
    })
    await this.#sleep(this.#random.between(10 * MS, 100 * MS))
  }

  // --- helpers

  #find(isIt: (replica: Replica) => boolean): Found | null {
    for (const found of this.#options.replicas()) if (isIt(found[1])) return found
    return null
  }

  #cutBoth(host: SimHost, others: readonly SimHost[]): void {
    this.#cut([host], others)
    this.#cut(others, [host])
  }

  #cut(from: readonly SimHost[], to: readonly SimHost[]): void {
    const { network } = this.#options
    for (const a of from) {
      for (const b of to) {
        if (a === b) continue
        network.cut(a.name, b.name)
        this.#undos.push(() => network.mend(a.name, b.name))
      }
    }
  }

  #undo(): void {
    for (const undo of this.#undos.splice(0)) undo()
  }

  /** The first such replica, and `act` on it in the same instant; null when none comes in time. */
  #await(
    isIt: (replica: Replica) => boolean,
    act: (found: Found) => void = () => {},
  ): Promise<Found | null> {
    return new Promise((resolve) => {
      const timer = this.#after(PATIENCE_US, () => {
        this.#awaited = null
        resolve(null)
      })
      this.#awaited = () => {
        const found = this.#find(isIt)
        if (found === null) return
        this.#awaited = null
        this.#options.world.cancel(timer)
        act(found)
        resolve(found)
      }
    })
  }

  #sleep(us: number): Promise<void> {
    return new Promise((resolve) => void this.#after(us, resolve))
  }

  /** Not after stop(): then a scenario under way stays where it is. */
  #after(us: number, act: () => void): SimEvent {
    return this.#options.world.after(us, 'scenario', () => {
      if (!this.#isStopped) act()
    })
  }
}
