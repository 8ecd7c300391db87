// Measures what the heartbeats of a large cluster cost the MDS: 1,200 chunkservers with 60,000 copysets of
// three replicas, whose reports come as bytes, are checked, taken in and answered, all on one core. Beside
// it what the MDS makes of all of them at once: the view for a pass of the planners, the counts of
// the status, and a page of the list. Nothing changes and nothing is written, as on most days. Times are
// of the processor.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type HostId, replicaIdOf } from '../src/copyset/replica-id.ts'
import { decodeControl, encodeControl } from '../src/format/control/call.ts'
import { HEARTBEAT } from '../src/format/control/chunkserver.ts'
import { NO_SCRUB } from '../src/format/control/parts.ts'
import { Answers } from '../src/mds/answers.ts'
import { ClusterViews } from '../src/mds/cluster-view.ts'
import { mdsConfig } from '../src/mds/config.ts'
import { Heartbeats } from '../src/mds/heartbeats.ts'
import { Courier } from '../src/mds/operators/courier.ts'
import { Operators } from '../src/mds/operators/operators.ts'
import { Orders } from '../src/mds/operators/orders.ts'
import { Progress } from '../src/mds/operators/progress.ts'
import { type Heartbeat, Reports } from '../src/mds/reports.ts'
import { Ledger } from '../src/mds/state.ts'
import { Topology } from '../src/mds/topology/topology.ts'
import { SILENT } from '../src/observe/observe.ts'
import { nodeEnv } from '../src/platform/env.ts'
import { LmdbStore } from '../src/platform/lmdb-store.ts'
import { rpcConfig } from '../src/rpc/config.ts'
import type { BenchOptions, BenchRow } from './table.ts'

const REPLICAS = 3
const PAGE_ITEMS = 10_000
/** Of one chunkserver. */
const INTERVAL_SECONDS = 10

interface Rig {
  readonly topology: Topology
  readonly heartbeats: Heartbeats
  readonly views: ClusterViews
  readonly answers: Answers
  /** One of each chunkserver. */
  readonly bodies: readonly Uint8Array[]
}

function addressOf(id: number): string {
  return `10.0.${id >> 8}.${id & 255}:8200`
}

/** Members of copyset `i`: one in each of three stripes of chunkservers, in ever other company. */
function membersOf(i: number, chunkservers: number): number[] {
  const stripe = Math.floor(chunkservers / REPLICAS)
  return Array.from({ length: REPLICAS }, (_, k) => {
    const step = 1 + k * (Math.floor(i / stripe) + 1)
    return 1 + k * stripe + ((i * step + k) % stripe)
  })
}

function replicaOn(chunkserver: number): number {
  return replicaIdOf(chunkserver as HostId, 1)
}

async function fill(topology: Topology, chunkservers: number, copysets: number): Promise<void> {
  await topology.ledger.change(() => {
    const draft = topology.draft()
    draft.putPool({ name: 'default', replicas: REPLICAS, copysets, createdMs: 0 })
    for (let id = 1; id <= chunkservers; id++) {
      draft.putChunkserver({
        id,
        diskId: `disk-${id}-0123456789abcdef`,
        token: '6a09e667f3bcc908bb67ae8584caa73b',
        address: addressOf(id),
        httpAddress: addressOf(id),
        pool: 'default',
        zone: `zone-${Math.floor((REPLICAS * (id - 1)) / chunkservers)}`,
        server: `server-${id % 60}`,
        capacityBytes: 4e12,
        version: '0.1.0',
        registeredMs: 0,
      })
    }
    return draft.write(() => {})
  })
  for (let first = 0; first < copysets; first += PAGE_ITEMS) {
    await topology.ledger.change(() => {
      const draft = topology.draft()
      for (let i = first; i < Math.min(copysets, first + PAGE_ITEMS); i++) {
        const voters = membersOf(i, chunkservers).map(replicaOn)
        const common = { pool: 'default', epoch: 1, learners: [], founding: false, issued: [] }
        draft.putCopyset({ id: i + 1, voters, ...common })
      }
      return draft.write(() => {})
    })
  }
}

function heartbeatOf(topology: Topology, id: number): Heartbeat {
  const replicas = Array.from(topology.copysetsOf(id), (group) => {
    const voters = topology.copysets.get(group)?.voters ?? []
    const leader = voters[group % REPLICAS] ?? 0
    const replica = replicaOn(id)
    return {
      group,
      replica,
      epoch: 1,
      term: 7,
      leads: leader === replica,
      leader,
      voters: [...voters],
      learners: [],
      appliedIndex: 1_234_567 + group,
      chunks: 85,
      usedBytes: 85 * 2 ** 24,
    }
  })
  return {
    id,
    token: '6a09e667f3bcc908bb67ae8584caa73b',
    address: addressOf(id),
    complete: true,
    upMs: 86_400_000,
    disk: {
      capacityBytes: 4e12,
      usedBytes: 2e12,
      state: 'ok',
      errors: 0,
      badBlocks: 0,
      repairedBlocks: 0,
      writeP99Us: 900,
    },
    io: { reads: 1e9, writes: 1e9, readBytes: 4e12, writtenBytes: 4e12 },
    scrub: { ...NO_SCRUB },
    replicas,
    directoryVersion: topology.cluster.directoryVersion,
  }
}

async function build(
  directory: string,
  store: LmdbStore,
  chunkservers: number,
  copysets: number,
): Promise<Rig> {
  const env = nodeEnv(directory)
  const config = mdsConfig()
  const ledger = await Ledger.open(store, SILENT, 'bench', 0)
  const topology = await Topology.load(env, ledger)
  await fill(topology, chunkservers, copysets)
  const reports = new Reports(env.clock, config)
  const views = new ClusterViews(topology, reports, config)
  const orders = new Orders(SILENT, topology, reports)
  const courier = new Courier(env, SILENT, rpcConfig(), topology, config.orderTimeoutMs)
  const progress = new Progress(env.clock)
  const parts = { env, observer: SILENT, config, topology, reports, views, orders, courier }
  const operators = new Operators({ ...parts, progress })
  const told = { intervalMs: config.heartbeatIntervalMs, limits: () => [] }
  const observer = SILENT
  const heartbeats = new Heartbeats({ observer, topology, reports, orders, operators, ...told })
  const bodies = Array.from({ length: chunkservers }, (_, i) =>
    encodeControl(heartbeatOf(topology, i + 1)),
  )
  return { topology, heartbeats, views, answers: new Answers(topology, reports, views), bodies }
}

/** Of the processor, all threads: what else runs on the machine does not count. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

/** Milliseconds of one call of `work`, in the mean, over whole rounds of all heartbeats. */
async function each(
  { bodies }: Rig,
  seconds: number,
  work: (body: Uint8Array) => unknown,
): Promise<number> {
  const startedMs = cpuMs()
  let count = 0
  while (count === 0 || cpuMs() - startedMs < seconds * 1000) {
    for (const body of bodies) await work(body)
    count += bodies.length
  }
  return (cpuMs() - startedMs) / count
}

function millisecondsOf(work: () => unknown): number {
  const times = Array.from({ length: 5 }, () => {
    const startedMs = cpuMs()
    work()
    return cpuMs() - startedMs
  })
  return times.toSorted((a, b) => a - b)[2] as number
}

async function measure(rig: Rig, seconds: number, name: string): Promise<BenchRow[]> {
  const { heartbeats, views, answers, bodies } = rig
  const decode = (body: Uint8Array): Heartbeat => decodeControl(HEARTBEAT.request, body)
  const whole = await each(rig, seconds, async (body) =>
    encodeControl(await heartbeats.take(decode(body))),
  )
  const parsing = await each(rig, seconds, (body) => JSON.parse(new TextDecoder().decode(body)))
  const decoding = await each(rig, seconds, decode)
  const bytes = bodies.reduce((sum, body) => sum + body.byteLength, 0) / bodies.length
  const perSecond = bodies.length / INTERVAL_SECONDS
  const row = (what: string, metric: string, value: number, unit: string): BenchRow => ({
    bench: 'heartbeats',
    name: `${name}: ${what}`,
    metric,
    value,
    unit,
  })
  return [
    row('a heartbeat', 'size', bytes / 1024, 'KiB'),
    row('a heartbeat, taken in and answered', 'mean', whole, 'ms'),
    row('  of that, read and checked', 'mean', decoding, 'ms'),
    row('  of that, JSON.parse', 'mean', parsing, 'ms'),
    row('all, every 10 s', 'of one core', (whole * perSecond) / 10, '%'),
    row(
      'the view for the planners',
      'median',
      millisecondsOf(() => views.cluster(() => false)),
      'ms',
    ),
    row(
      'the counts of the status',
      'median',
      millisecondsOf(() => views.survey()),
      'ms',
    ),
    row(
      'a page of chunkservers',
      'median',
      millisecondsOf(() => answers.chunkserverPage({})),
      'ms',
    ),
    row(
      'a page of copysets',
      'median',
      millisecondsOf(() => answers.copysets({ ids: [] })),
      'ms',
    ),
    row('the process', 'resident', process.memoryUsage().rss / 2 ** 20, 'MiB'),
  ]
}

export async function run({ seconds, tiny }: BenchOptions): Promise<BenchRow[]> {
  const [chunkservers, copysets] = tiny ? [30, 600] : [1200, 60_000]
  const directory = await mkdtemp(join(tmpdir(), 'lemnis-heartbeats-'))
  const store = await LmdbStore.open(directory)
  try {
    const rig = await build(directory, store, chunkservers, copysets)
    return await measure(rig, seconds, `${chunkservers} chunkservers, ${copysets} copysets`)
  } finally {
    await store.close()
    await rm(directory, { recursive: true })
  }
}
