import { beforeEach, describe, expect, it } from 'vitest'
import { must } from '../../base/assert.ts'
import { type HostId, replicaIdOf } from '../../copyset/replica-id.ts'
import type { Env } from '../../env/env.ts'
import type { Order, ReplicaReport } from '../../format/control/chunkserver.ts'
import type { CopysetRecord, OperatorRecord } from '../../format/records/topology.ts'
import { type Observer, SILENT } from '../../observe/observe.ts'
import type { PlannedOperator } from '../../placement/operator.ts'
import { rpcConfig } from '../../rpc/config.ts'
import { SimHost } from '../../sim/host.ts'
import { SimMetaDisk } from '../../sim/metastore.ts'
import { SimNetwork } from '../../sim/network.ts'
import { World } from '../../sim/world.ts'
import { ClusterViews } from '../cluster-view.ts'
import { mdsConfig } from '../config.ts'
import { Heartbeats } from '../heartbeats.ts'
import { Reports } from '../reports.ts'
import { Ledger } from '../state.ts'
import { Topology } from '../topology/topology.ts'
import { Courier } from './courier.ts'
import { Operators } from './operators.ts'
import { Orders } from './orders.ts'
import { Progress } from './progress.ts'

const GROUP = 5

function r(chunkserver: number, incarnation = 1): number {
  return replicaIdOf(chunkserver as HostId, incarnation)
}

function report(replica: number, replaced: Partial<ReplicaReport> = {}): ReplicaReport {
  return {
    group: GROUP,
    replica,
    epoch: 1,
    term: 1,
    leads: false,
    leader: r(1),
    voters: [r(1), r(2), r(3)],
    learners: [],
    appliedIndex: 1,
    chunks: 0,
    usedBytes: 0,
    ...replaced,
  }
}

/** What is recorded of the group, and heartbeats one at a time. */
class Rig {
  readonly world = new World({ seed: 1 })
  readonly events: { name: string; fields: Readonly<Record<string, unknown>> }[] = []
  #topology: Topology | null = null
  #heartbeats: Heartbeats | null = null
  #operators: Operators | null = null

  get operators(): Operators {
    return must(this.#operators, 'operators')
  }

  get topology(): Topology {
    return must(this.#topology, 'a topology')
  }

  get record(): CopysetRecord {
    return must(this.topology.copysets.get(GROUP), 'the copyset')
  }

  async up(replaced: Partial<CopysetRecord> = {}): Promise<void> {
    const network = new SimNetwork(this.world)
    const host = new SimHost(this.world, { name: 'mds', network })
    network.add(host)
    const store = new SimMetaDisk(host)
    const booted = new Promise<Env>((resolve) => {
      host.start(resolve)
    })
    const env = await this.world.settle(booted)
    const observer: Observer = {
      ...SILENT,
      emit: (name, fields) => void this.events.push({ name, fields }),
    }
    const open = async (): Promise<Topology> =>
      Topology.load(env, await Ledger.open(store.mount(), observer, 'test', 0))
    const topology = await this.world.settle(open())
    this.#topology = topology
    const reports = new Reports(env.clock, { onlineMs: 60_000, offlineMs: 120_000 })
    const orders = new Orders(observer, topology, reports)
    const config = mdsConfig()
    const views = new ClusterViews(topology, reports, config)
    const courier = new Courier(env, observer, rpcConfig(), topology, config.orderTimeoutMs)
    const progress = new Progress(env.clock)
    const world = { env, observer, config, topology, reports, views, orders, courier, progress }
    const operators = new Operators(world)
    this.#operators = operators
    const told = { intervalMs: 1000, limits: () => [] }
    this.#heartbeats = new Heartbeats({ observer, topology, reports, orders, operators, ...told })
    await this.write((draft) => {
      for (let id = 1; id <= 4; id++) draft.putChunkserver(chunkserver(id))
      draft.putCopyset({
        id: GROUP,
        pool: 'default',
        epoch: 1,
        voters: [r(1), r(2), r(3)],
        learners: [],
        founding: false,
        issued: [1, 2, 3].map((id) => ({ chunkserver: id, incarnation: 1, epoch: 1 })),
        ...replaced,
      })
    })
  }

  async write(fill: (draft: ReturnType<Topology['draft']>) => void): Promise<void> {
    const { topology } = this
    await this.world.settle(
      topology.ledger.change(() => {
        const draft = topology.draft()
        fill(draft)
        return draft.write(() => {})
      }),
    )
  }

  /** The orders that a heartbeat with these replicas is answered with. */
  async beat(id: number, ...replicas: readonly ReplicaReport[]): Promise<readonly Order[]> {
    const heartbeat = {
      id,
      token: 'token',
      address: `c${id}:1`,
      complete: true,
      disk: {
        capacityBytes: 1000,
        usedBytes: 0,
        state: 'ok' as const,
        errors: 0,
        badBlocks: 0,
        repairedBlocks: 0,
        writeP99Us: 0,
      },
      io: { reads: 0, writes: 0, readBytes: 0, writtenBytes: 0 },
      scrub: {
        state: 'idle' as const,
        startedMs: 0,
        finishedMs: 0,
        chunksDone: 0,
        chunksTotal: 0,
        badBlocks: 0,
        repairedBlocks: 0,
      },
      replicas: [...replicas],
      directoryVersion: 0,
    }
    const taking = must(this.#heartbeats, 'heartbeats').take(heartbeat)
    return (await this.world.settle(taking)).orders
  }

  count(event: string): number {
    return this.events.filter(({ name }) => name === event).length
  }
}

function chunkserver(id: number) {
  return {
    id,
    diskId: `disk-${id}-0123456789abcdef`,
    token: 'token',
    address: `c${id}:1`,
    httpAddress: '',
    pool: 'default',
    zone: `z${id}`,
    server: `s${id}`,
    capacityBytes: 1000,
    version: 'test',
    registeredMs: 0,
  }
}

function operator(
  kind: OperatorRecord['kind'],
  from: number | null,
  to: number | null,
  epoch: number,
): OperatorRecord {
  return {
    copyset: GROUP,
    ...(from === null ? {} : { from }),
    ...(to === null ? {} : { to }),
    why: 'offline',
    epoch,
    sinceMs: 0,
    id: 1,
    kind,
    priority: 'high',
    limitMs: 60_000,
  }
}

type Distributed<T> = T extends unknown ? Omit<T, 'copyset' | 'priority'> : never
type Planned = Distributed<PlannedOperator>

/** Chunkserver 4 has taken the place of 3. */
const AFTER = { epoch: 5, voters: [r(1), r(2), r(4)] }

describe('a replica that is no member any more', () => {
  let rig: Rig
  beforeEach(async () => {
    rig = new Rig()
    await rig.up(AFTER)
  })

  it('is ended when leader and majority have applied the configuration without it', async () => {
    const stale = report(r(3), { epoch: 3 })
    expect(await rig.beat(3, stale)).toEqual([])
    await rig.beat(1, report(r(1), { ...AFTER, leads: true }))
    expect(await rig.beat(3, stale)).toEqual([])
    // In the joint phase still: it may need the stale one's vote.
    await rig.beat(2, report(r(2), { ...AFTER, epoch: 4 }))
    expect(await rig.beat(3, stale)).toEqual([])
    await rig.beat(2, report(r(2), AFTER))
    const order = { kind: 'destroy', group: GROUP, replica: r(3), epoch: 5 }
    expect(await rig.beat(3, stale)).toEqual([order])
  })

  it('is left alone while nobody leads, or only followers were heard', async () => {
    await rig.beat(1, report(r(1), AFTER))
    await rig.beat(2, report(r(2), AFTER))
    await rig.beat(4, report(r(4), AFTER))
    expect(await rig.beat(3, report(r(3), { epoch: 3 }))).toEqual([])
  })

  it('is left alone when it knows as much or more, or is made for a change under way', async () => {
    await rig.beat(1, report(r(1), { ...AFTER, leads: true }))
    await rig.beat(2, report(r(2), AFTER))
    const without = { voters: AFTER.voters }
    expect(await rig.beat(3, report(r(3), { epoch: 5, ...without }))).toEqual([])
    const created = report(r(3, 2), { epoch: 0, voters: [] })
    await rig.write((draft) => {
      const issued = [{ chunkserver: 3, incarnation: 2, epoch: 5 }]
      draft.putCopyset({ ...rig.record, issued })
    })
    expect(await rig.beat(3, created)).toEqual([])
    await rig.beat(1, report(r(1), { ...AFTER, epoch: 7, leads: true }))
    await rig.beat(2, report(r(2), { ...AFTER, epoch: 7 }))
    await rig.write((draft) => draft.putOperator(operator('move', r(4), r(3, 2), 7)))
    expect(await rig.beat(3, created)).toEqual([])
    await rig.write((draft) => draft.removeOperator(GROUP))
    expect((await rig.beat(3, created)).map(({ kind }) => kind)).toEqual(['destroy'])
  })

  it('is left alone when its copyset is not known, which is told once', async () => {
    const unknown = report(r(3), { group: 77 })
    expect(await rig.beat(3, unknown)).toEqual([])
    expect(await rig.beat(3, unknown)).toEqual([])
    expect(rig.count('mds_replica_unknown')).toBe(1)
  })
})

describe('a reported configuration', () => {
  let rig: Rig
  beforeEach(async () => {
    rig = new Rig()
    await rig.up()
  })

  it('is recorded when it is newer and settled, whoever reports it', async () => {
    const learners = [r(4)]
    await rig.beat(2, report(r(2), { epoch: 2, learners }))
    expect(rig.record).toMatchObject({ epoch: 1, learners: [] })
    await rig.beat(2, report(r(2), { epoch: 3, learners }))
    expect(rig.record).toMatchObject({ epoch: 3, learners, voters: [r(1), r(2), r(3)] })
    await rig.beat(1, report(r(1), { epoch: 4, voters: AFTER.voters }))
    expect(rig.record.epoch).toBe(3)
    await rig.beat(1, report(r(1), AFTER))
    expect(rig.record).toMatchObject({ ...AFTER, learners: [] })
    await rig.beat(2, report(r(2), { epoch: 3, learners }))
    expect(rig.record).toMatchObject(AFTER)
  })

  it('with other members for a known epoch changes nothing, and is told once', async () => {
    await rig.beat(2, report(r(2), { voters: [r(1), r(2), r(4)] }))
    await rig.beat(2, report(r(2), { voters: [r(1), r(2), r(4)] }))
    expect(rig.record.voters).toEqual([r(1), r(2), r(3)])
    expect(rig.count('mds_membership_conflict')).toBe(1)
  })

  it('is cleared of learners that no operator wants', async () => {
    const changed = { epoch: 3, learners: [r(4)] }
    const leader = report(r(1), { ...changed, leads: true })
    expect(await rig.beat(1, { ...leader, changing: 'catch-up' })).toEqual([])
    const voters = [r(1), r(2), r(3)]
    expect(await rig.beat(1, leader)).toEqual([{ kind: 'change', group: GROUP, epoch: 3, voters }])
    await rig.write((draft) => draft.putOperator(operator('move', r(3), r(4), 1)))
    expect(await rig.beat(1, leader)).toEqual([
      { kind: 'change', group: GROUP, epoch: 3, voters: [r(1), r(2), r(4)] },
    ])
    // One that has been deposed does not know it yet.
    await rig.beat(2, report(r(2), { ...changed, leads: true, term: 2 }))
    expect(await rig.beat(1, leader)).toEqual([])
  })

  it('of a damaged replica is not believed', async () => {
    await rig.beat(2, report(r(2), { epoch: 9, voters: [], damage: 'CORRUPT' }))
    expect(rig.record.epoch).toBe(1)
  })
})

describe('a founding replica', () => {
  it('is ordered until it was seen, only from who has loaded all that it has', async () => {
    const rig = new Rig()
    await rig.up({ founding: true })
    const voters = [r(1), r(2), r(3)]
    const order = { kind: 'found', group: GROUP, replica: r(2), voters }
    expect(await rig.beat(2)).toEqual([order])
    expect(await rig.beat(4)).toEqual([])
    await rig.beat(1, report(r(1)))
    await rig.beat(2, report(r(2)))
    expect(rig.record.founding).toBe(true)
    await rig.beat(3, report(r(3)))
    expect(rig.record.founding).toBe(false)
    // Whoever loses it later is not given an empty one under the same name.
    expect(await rig.beat(2)).toEqual([])
  })
})

describe('founding replicas', () => {
  it('that are to lead first are ordered first', async () => {
    const rig = new Rig()
    await rig.up({ founding: true })
    await rig.write((draft) => {
      for (const [id, first, ...others] of [
        [GROUP + 1, 3, 1, 2],
        [GROUP + 2, 2, 1, 3],
      ] as const) {
        const voters = [first, ...others].map((chunkserver) => r(chunkserver))
        draft.putCopyset({ ...rig.record, id, voters })
      }
    })
    const firsts = (await rig.beat(2)).map((order) => order.kind === 'found' && order.group)
    expect(firsts).toEqual([GROUP + 2, GROUP, GROUP + 1])
  })
})

describe('a leader', () => {
  const leader = report(r(1), { leads: true, appliedIndex: 100 })
  let rig: Rig
  beforeEach(async () => {
    rig = new Rig()
    await rig.up()
    await rig.beat(2, report(r(2), { appliedIndex: 90 }))
    await rig.beat(3, report(r(3), { appliedIndex: 95 }))
  })

  const put = (record: OperatorRecord): Promise<void> =>
    rig.write((draft) => draft.putOperator(record))

  it('is told to add a member, and to remove one', async () => {
    await put(operator('add', null, r(4), 1))
    expect(await rig.beat(1, leader)).toEqual([
      { kind: 'change', group: GROUP, epoch: 1, voters: [r(1), r(2), r(3), r(4)] },
    ])
    await put(operator('remove', r(2), null, 1))
    expect(await rig.beat(1, leader)).toEqual([
      { kind: 'change', group: GROUP, epoch: 1, voters: [r(1), r(3)] },
    ])
  })

  it('is told nothing when who is to leave has left by a change before', async () => {
    await put(operator('move', r(3), r(4), 1))
    await rig.write((draft) => draft.putCopyset({ ...rig.record, voters: [r(1), r(2), r(5)] }))
    const voters = [r(1), r(2), r(5)]
    expect(await rig.beat(1, { ...leader, voters })).toEqual([])
  })

  describe('of a plan that is out of date', () => {
    const begin = (planned: Planned): Promise<number> => {
      const operator: PlannedOperator = { copyset: GROUP, priority: 'high', ...planned }
      const seen = new Map([[GROUP, rig.record]])
      return rig.world.settle(rig.operators.beginAll([operator], seen, () => true))
    }

    it('is never told to add a second replica where one stays', async () => {
      expect(await begin({ kind: 'move', from: 1, to: 3, why: 'damaged' })).toBe(0)
      expect(rig.topology.operators.size).toBe(0)
      // A damaged one is made anew where it is.
      expect(await begin({ kind: 'move', from: 1, to: 1, why: 'damaged' })).toBe(1)
    })

    it('is never told to remove what its pool wants', async () => {
      await rig.write((draft) => {
        draft.putPool({ name: 'default', replicas: 3, copysets: 1, createdMs: 0 })
      })
      expect(await begin({ kind: 'remove', from: 3, why: 'too-many' })).toBe(0)
      expect(await begin({ kind: 'add', to: 4, why: 'too-few' })).toBe(0)
      await rig.write((draft) => {
        draft.putCopyset({ ...rig.record, voters: [r(1), r(2), r(3), r(4)] })
      })
      expect(await begin({ kind: 'remove', from: 3, why: 'too-many' })).toBe(1)
    })
  })

  it('hands over before it is removed itself, to the one that has most', async () => {
    await put(operator('remove', r(1), null, 1))
    expect(await rig.beat(1, leader)).toEqual([{ kind: 'lead', group: GROUP, replica: r(3) }])
    await rig.write((draft) => {
      const slow = { sinceMs: 0, why: 'latency' as const, says: 'slow' }
      draft.putChunkserver({ ...chunkserver(3), slow })
    })
    expect(await rig.beat(1, leader)).toEqual([{ kind: 'lead', group: GROUP, replica: r(2) }])
    // Nobody else can: then it goes without.
    await rig.beat(2, report(r(2), { damage: 'CORRUPT', voters: [] }))
    expect(await rig.beat(1, leader)).toMatchObject([{ kind: 'change', voters: [r(2), r(3)] }])
  })

  it('hands over only to a member that serves, is as new, and lags little', async () => {
    const order = { kind: 'lead', group: GROUP, replica: r(2) }
    await put(operator('lead', r(1), r(2), 1))
    expect(await rig.beat(1, leader)).toEqual([order])
    expect(await rig.beat(1, { ...leader, appliedIndex: 1_000_000 })).toEqual([])
    await rig.beat(2, report(r(2), { damage: 'CORRUPT', voters: [] }))
    expect(await rig.beat(1, leader)).toEqual([])
    await rig.beat(2, report(r(2), { appliedIndex: 90, leads: true, term: 2 }))
    expect(rig.topology.operators.size).toBe(0)
    expect(rig.topology.endedOperator(1)).toMatchObject({ kind: 'lead', state: 'finished' })
    expect(await rig.beat(1, leader)).toEqual([])
  })
})
