// Owns a simulated electorate: hosts that stand for election on one simulated etcd and, while they
// lead, write to it under their leadership again and again. What must never be is checked after each event.

import { asLemnisError, LemnisError } from '../../base/errors.ts'
import type { Env } from '../../env/env.ts'
import type { MetaStore } from '../../env/metastore.ts'
import { SILENT } from '../../observe/observe.ts'
import { SimEtcd } from '../../sim/etcd.ts'
import { SimEtcdClient } from '../../sim/etcd-client.ts'
import { SimHost } from '../../sim/host.ts'
import { LeaderChecker } from '../../sim/leaders.ts'
import { SimNetwork } from '../../sim/network.ts'
import { World } from '../../sim/world.ts'
import { Election, type Leadership } from '../leading/election.ts'
import type { ElectionConfig } from '../leading/election-config.ts'

export const ELECTORATE_CONFIG: ElectionConfig = {
  leaderLeaseMs: 5000,
  leaderMarginMs: 500,
  leaderKeepAliveMs: 1000,
}
const DATA_KEY = 'data'
const WRITE_PAUSE_MS = 40

interface Member {
  readonly host: SimHost
  election: Election | null
  leadership: Leadership | null
}

export class Electorate {
  readonly world: World
  readonly etcd: SimEtcd
  readonly members: readonly Member[]
  readonly checker = new LeaderChecker()
  /** Writes that were answered, and that were refused as from a former leader. */
  written = 0
  refused = 0
  elections = 0
  readonly #config: ElectionConfig
  readonly #isFenced: boolean

  constructor(seed: number, options: { config?: ElectionConfig; isFenced?: boolean } = {}) {
    this.world = new World({ seed })
    this.etcd = new SimEtcd(this.world)
    this.#config = options.config ?? ELECTORATE_CONFIG
    this.#isFenced = options.isFenced ?? true
    const network = new SimNetwork(this.world)
    this.members = ['m1', 'm2', 'm3'].map((name) => {
      const host = new SimHost(this.world, { name, network })
      network.add(host)
      return { host, election: null, leadership: null }
    })
    this.etcd.records.listen((changes) => {
      for (const change of changes) {
        if (change.kind !== 'put' || change.item.key !== DATA_KEY) continue
        this.checker.landed(Number(change.item.value))
      }
    })
    this.world.watch(() => this.checker.check())
    for (const member of this.members) member.host.start((env) => void this.#live(env, member))
  }

  get hosts(): SimHost[] {
    return this.members.map(({ host }) => host)
  }

  /** The one that leads now, if it is not stopped. */
  get leader(): Member | null {
    const [host] = this.checker.leaders()
    return this.members.find((member) => member.host === host) ?? null
  }

  async #live(env: Env, member: Member): Promise<void> {
    const { host } = member
    const store = new SimEtcdClient(this.etcd, host)
    const election = new Election({
      clock: env.clock,
      random: env.random,
      observer: SILENT,
      store,
      config: this.#config,
      candidate: { name: host.name, address: `${host.name}:7400` },
    })
    member.election = election
    for (;;) {
      try {
        const leadership = await election.campaign()
        this.elections++
        this.world.note(host.name, 'elected', leadership.term)
        member.leadership = leadership
        this.checker.elected(host, leadership)
        await this.#lead(env, store, leadership)
        await leadership.resign()
      } catch (thrown) {
        if (asLemnisError(thrown).code === 'CLOSED') return
        throw thrown
      }
    }
  }

  /** Writes as long as it believes that it leads, and once more after. */
  async #lead(env: Env, store: MetaStore, leadership: Leadership): Promise<void> {
    const { condition, term } = leadership
    for (let isLast = false; !isLast; ) {
      isLast = !leadership.isValid()
      try {
        const conditions = this.#isFenced ? [condition] : []
        const value = String(term)
        const revision = await store.commit(conditions, [{ kind: 'put', key: DATA_KEY, value }])
        if (revision === null) this.refused++
        else this.written++
        if (revision === null) return
      } catch (thrown) {
        if (!(thrown instanceof LemnisError)) throw thrown
      }
      await new Promise<void>((done) => void env.clock.after(WRITE_PAUSE_MS, done))
    }
  }

  runMs(ms: number): Promise<void> {
    return this.world.run({ untilUs: this.world.nowUs + Math.round(ms * 1000) })
  }

  /** How long it took until one leads and has written, in milliseconds; Infinity past `limitMs`. */
  async untilWritten(limitMs: number): Promise<number> {
    const startUs = this.world.nowUs
    const before = this.written
    const isDone = (): boolean => this.written > before && this.leader !== null
    await this.world.run({ untilUs: startUs + limitMs * 1000, until: isDone })
    return isDone() ? (this.world.nowUs - startUs) / 1000 : Number.POSITIVE_INFINITY
  }
}
