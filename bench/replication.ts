// Three replicas, each a process with its own log on disk, over loopback: 4 KiB entries committed,
// applied and acknowledged a second, their latency, and the CPU that all processes spend on one.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { nodeEnv } from '../src/platform/env.ts'
import { ReplicaCluster } from './cluster/cluster.ts'
import { LoadClients } from './cluster/load.ts'
import type { BenchOptions, BenchRow } from './table.ts'

const VALUE_BYTES = 4096
const KEYS = 4096
const DEPTHS = [1, 32, 128]

export async function run(options: BenchOptions): Promise<BenchRow[]> {
  const directory = mkdtempSync(`${process.env['LEMNIS_BENCH_DIR'] ?? tmpdir()}/lemnis-bench-`)
  const cluster = new ReplicaCluster({ directory, groups: 1 })
  try {
    await cluster.start()
    const load = new LoadClients(nodeEnv(directory), cluster, 1)
    await load.ready()
    const rows: BenchRow[] = []
    for (const depth of DEPTHS) rows.push(...(await measure(cluster, load, depth, options.seconds)))
    await load.close()
    return rows
  } finally {
    await cluster.close()
    rmSync(directory, { recursive: true, force: true })
  }
}

async function measure(
  cluster: ReplicaCluster,
  load: LoadClients,
  depth: number,
  seconds: number,
): Promise<BenchRow[]> {
  const value = new Uint8Array(VALUE_BYTES).fill(7)
  const next = (n: number): { key: string; value: Uint8Array } => ({ key: `k${n % KEYS}`, value })
  // The first moments fill caches and let the compiler see the path.
  await load.run(depth, Math.min(1, seconds), next)
  const before = (await cluster.cpuMicros()) + ownCpuMicros()
  const result = await load.run(depth, seconds, next)
  const cpuMicros = (await cluster.cpuMicros()) + ownCpuMicros() - before
  const row = (metric: string, amount: number, unit: string): BenchRow => ({
    bench: 'replication',
    name: `4 KiB entries, 3 replicas, depth ${depth}`,
    metric,
    value: amount,
    unit,
  })
  return [
    row('rate', result.done / result.seconds, 'entries/s'),
    row('p50', result.latencyUs.percentile(0.5), 'us'),
    row('p99', result.latencyUs.percentile(0.99), 'us'),
    row('cpu, all processes', cpuMicros / result.done, 'us/entry'),
    row('failed', result.failed, 'entries'),
  ]
}

function ownCpuMicros(): number {
  const { user, system } = process.cpuUsage()
  return user + system
}
