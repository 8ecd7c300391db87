// Owns the metadata servers of the simulated block cluster: one on a store that it has alone, or two or
// three that elect a leader through a simulated etcd with all of its faults. Watches that one leads at a
// time, and hands every commit of the store to the checker of the control plane.

import { asLemnisError } from '../base/errors.ts'
import type { Prng } from '../base/prng.ts'
import type { Env } from '../env/env.ts'
import type { MetaStore } from '../env/metastore.ts'
import type { MdsBugs } from '../mds/bugs.ts'
import type { MdsConfig } from '../mds/config.ts'
import { MdsServer } from '../mds/leading/mds-server.ts'
import type { Field, Observer } from '../observe/observe.ts'
import { ControlChecker } from './control-checkers.ts'
import { SimEtcd } from './etcd.ts'
import { SimEtcdClient } from './etcd-client.ts'
import { ETCD_FAULT_KINDS, type EtcdFaultKind, EtcdNemesis } from './etcd-faults.ts'
import type { SimHost } from './host.ts'
import { LeaderChecker } from './leaders.ts'
import { SimMetaDisk } from './metastore.ts'
import type { World } from './world.ts'

/** What befalls the MDS and their store. */
export interface MdsWeather {
  /** Of the store that several share, and of the MDS; drawn by the seed without. */
  readonly etcdFaults?: readonly EtcdFaultKind[]
  /** Mean time between two of those; drawn by the seed without. */
  readonly etcdGapMs?: number
  /** Longest commit of the store that one has alone. */
  readonly metaLatencyMaxMs?: number
}

export interface BlockMdsOptions {
  readonly world: World
  /** One is alone on an embedded store; several are elected through etcd. */
  readonly count: number
  readonly random: Prng
  readonly config: MdsConfig
  readonly makeHost: (name: string) => SimHost
  readonly observerOf: (host: SimHost) => Observer
  readonly onEnded: (host: SimHost, error: unknown) => void
  readonly deadSinceUs: (chunkserver: number) => number | null
  readonly driftPpmMax: number
  readonly weather: MdsWeather
  readonly bugs: MdsBugs | undefined
}

const PORT = 7400
/** The share of the etcd's fault kinds that a seed has. */
const FAULT_SHARE = 0.4
const GAP_MS = { min: 700, max: 4000 }
/** All that can go wrong must fit into a run, many times. */
const FAULT_MS_MAX = 5000

export class BlockMds {
  readonly hosts: readonly SimHost[]
  readonly control: ControlChecker
  readonly #options: BlockMdsOptions
  readonly #leaders = new LeaderChecker()
  readonly #etcd: SimEtcd | null
  readonly #disk: SimMetaDisk | null
  readonly #nemesis: EtcdNemesis | null
  #elections = 0

  constructor(options: BlockMdsOptions) {
    const { world, count, makeHost } = options
    const isAlone = count === 1
    this.#options = options
    this.hosts = Array.from({ length: count }, (_, i) => makeHost(`m${i + 1}`))
    this.control = new ControlChecker({ world, deadSinceUs: options.deadSinceUs })
    this.#etcd = isAlone ? null : new SimEtcd(world)
    this.#disk = isAlone ? this.#ownDisk() : null
    this.#nemesis = this.#etcd === null ? null : this.#makeNemesis(this.#etcd)
    const records = this.#etcd?.records ?? this.#disk
    records?.listen((changes) => this.control.changed(changes))
    world.watch(() => {
      this.control.check()
      this.#leaders.check()
    })
  }

  #ownDisk(): SimMetaDisk | null {
    const [host] = this.hosts
    if (host === undefined) return null
    const disk = new SimMetaDisk(host)
    const { metaLatencyMaxMs } = this.#options.weather
    if (metaLatencyMaxMs !== undefined) disk.faults.latencyMaxMs = metaLatencyMaxMs
    return disk
  }

  #makeNemesis(etcd: SimEtcd): EtcdNemesis {
    const { world, random, weather, driftPpmMax } = this.#options
    etcd.onCommitted = (by) => this.control.committed(etcd, by)
    const drawn = ETCD_FAULT_KINDS.filter(() => random.chance(FAULT_SHARE))
    const faultRandom = random.fork('etcd faults')
    const drawnGapMs = random.between(GAP_MS.min, GAP_MS.max)
    return new EtcdNemesis({
      world,
      etcd,
      hosts: this.hosts,
      random: faultRandom,
      kinds: weather.etcdFaults ?? drawn,
      gapMs: weather.etcdGapMs ?? drawnGapMs,
      driftPpmMax,
      longestMs: FAULT_MS_MAX,
    })
  }

  get addresses(): string[] {
    return this.hosts.map(({ name }) => addressOf(name))
  }

  /** The hosts whose MDS leads now. */
  leaders(): SimHost[] {
    return this.#leaders.leaders()
  }

  /** What happened, by name. */
  get counts(): ReadonlyMap<string, number> {
    const counts = new Map<string, number>(this.#nemesis?.counts)
    if (this.#etcd !== null) counts.set('mds-election', this.#elections)
    counts.set('operator', this.control.begun)
    return counts
  }

  // --- life

  async boot(env: Env, host: SimHost): Promise<void> {
    const { config, bugs, onEnded } = this.#options
    const store = this.#storeOf(host)
    if (store === null) return
    let server: MdsServer | null = null
    this.#leaders.elected(host, { term: 0, isValid: () => server?.isLeading === true })
    server = await MdsServer.start(env, this.#observerOf(host), store, {
      candidate: this.#etcd === null ? null : { name: host.name },
      address: addressOf(host.name),
      version: 'simulated',
      config,
      ...(bugs === undefined ? {} : { bugs }),
      onFailed: (error) => onEnded(host, asLemnisError(error)),
    })
  }

  #storeOf(host: SimHost): MetaStore | null {
    if (this.#etcd !== null) return new SimEtcdClient(this.#etcd, host)
    return this.#disk?.mount() ?? null
  }

  #observerOf(host: SimHost): Observer {
    const observer = this.#options.observerOf(host)
    const emit = (name: Parameters<Observer['emit']>[0], fields: Fields): void => {
      observer.emit(name, fields)
      if (name === 'mds_elected') this.#elections++
      this.control.heard(host, name, fields)
    }
    return { ...observer, emit }
  }

  /** From now on its store and its hosts fail. */
  disturb(): void {
    this.#nemesis?.start()
  }

  heal(): void {
    this.#nemesis?.heal()
  }
}

type Fields = Readonly<Record<string, Field>>

function addressOf(name: string): string {
  return `${name}:${PORT}`
}
