// Owns the composition of all that people do with the shape of the cluster, and of what the MDS
// watches of its disks: pools and their end, chunkservers that leave, slow ones, capacity; and which
// call goes to whom.

import { LemnisError } from '../../base/errors.ts'
import type { PoolFill } from '../../format/control/mds.ts'
import {
  CLEAR_SLOW,
  DRAIN,
  GROW_POOL,
  LIST_POOLS,
  LIST_SERVERS,
  LIST_ZONES,
  REMOVE_CHUNKSERVER,
  REMOVE_POOL,
  REMOVE_SERVER,
  REMOVE_ZONE,
  SHOW_POOL,
} from '../../format/control/topology.ts'
import type { CallTable } from '../leading/calls.ts'
import type { Operators } from '../operators/operators.ts'
import type { Heartbeat } from '../reports.ts'
import { Capacity, type CapacityOptions } from './capacity.ts'
import { Departures } from './departures.ts'
import { PoolRemoval } from './pool-removal.ts'
import type { Pools } from './pools.ts'
import { Shape } from './shape.ts'
import { SlowWatch } from './slow.ts'

export interface TopologyServiceOptions extends CapacityOptions {
  readonly pools: Pools
  readonly operators: Operators
  /** Volumes of a pool, whatever their state. */
  readonly volumesIn: (pool: string) => number
  /** Whether replicas may move now. */
  readonly mayMove: () => boolean
}

export class TopologyService {
  readonly #options: TopologyServiceOptions
  readonly #capacity: Capacity
  readonly #shape: Shape
  readonly #departures: Departures
  readonly #removal: PoolRemoval
  readonly #slow: SlowWatch
  #resuming: Promise<void> = Promise.resolve()

  constructor(options: TopologyServiceOptions) {
    this.#options = options
    this.#capacity = new Capacity(options)
    this.#shape = new Shape({ ...options, fills: () => this.#capacity.fills() })
    this.#departures = new Departures(options)
    this.#removal = new PoolRemoval(options)
    this.#slow = new SlowWatch(options)
  }

  /** Answers, begins to watch, and goes on with what was not ended. */
  start(calls: CallTable): void {
    const shape = this.#shape
    const departures = this.#departures
    calls.serve(LIST_POOLS, ({ from }) => shape.pools(from))
    calls.serve(SHOW_POOL, ({ name }) => shape.pool(name))
    calls.serve(REMOVE_POOL, (request) => this.#removal.remove(request))
    calls.serve(GROW_POOL, (request) => this.#options.pools.grow(request))
    calls.serve(LIST_ZONES, ({ from }) => shape.zones(from))
    calls.serve(LIST_SERVERS, ({ zone, from }) => shape.servers(zone, from))
    calls.serve(DRAIN, (request) => departures.drain(request))
    calls.serve(REMOVE_CHUNKSERVER, async ({ chunkserver }) => {
      await departures.removeChunkserver(chunkserver)
      return {}
    })
    calls.serve(REMOVE_SERVER, (request) => departures.removeServer(request))
    calls.serve(REMOVE_ZONE, (request) => departures.removeZone(request))
    calls.serve(CLEAR_SLOW, async ({ chunkserver }) => ({
      wasSlow: await this.#slow.clear(chunkserver),
    }))
    this.#capacity.start()
    this.#resuming = this.#removal.resume().catch(unlessBroken)
  }

  /** What a heartbeat that was taken in tells besides; nobody waits for it. */
  heard(heartbeat: Heartbeat): void {
    void this.#slow.heard(heartbeat).catch(unlessBroken)
    void this.#removal.heard(heartbeat).catch(unlessBroken)
  }

  fills(): PoolFill[] {
    return this.#capacity.fills()
  }

  async close(): Promise<void> {
    this.#capacity.close()
    await this.#resuming
  }
}

/** A ledger that refuses has failed, and whoever opens it next goes on. */
function unlessBroken(error: unknown): void {
  if (!(error instanceof LemnisError)) throw error
}
