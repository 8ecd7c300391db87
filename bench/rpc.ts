// Measures calls between two processes over TCP on loopback: their rate and latency by how many are
// in flight, as writes (payload there, nothing back) and reads (nothing there, payload back).
// Payloads are summed by the sender and checked by the receiver.

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { fileURLToPath } from 'node:url'
import { EMPTY, viewOf } from '../src/base/bytes.ts'
import { Histogram } from '../src/base/histogram.ts'
import type { Env } from '../src/env/env.ts'
import { SILENT } from '../src/observe/observe.ts'
import { nodeEnv } from '../src/platform/env.ts'
import { RpcClient } from '../src/rpc/client.ts'
import { rpcConfig } from '../src/rpc/config.ts'
import { BENCH_METHODS } from './rpc-methods.ts'
import type { BenchOptions, BenchRow } from './table.ts'

const SERVER = fileURLToPath(new URL('./rpc-server.js', import.meta.url))
const DEPTHS = [1, 16, 64, 256]
const BUDGET_MS = 30_000
/** Runs before a figure is taken, so that the engine has compiled what is measured. */
const WARM_UP_SHARE = 0.2

interface Load {
  readonly name: string
  readonly method: number
  readonly body: Uint8Array
  readonly payload: Uint8Array | null
}

interface Measured {
  readonly callsPerSecond: number
  readonly latencyUs: Histogram
}

function loads(): Load[] {
  return [64, 4096].flatMap((bytes) => {
    const wanted = new Uint8Array(4)
    viewOf(wanted).setUint32(0, bytes, true)
    const label = bytes === 4096 ? '4 KiB' : `${bytes} B`
    return [
      {
        name: `write ${label}`,
        method: BENCH_METHODS.TAKE,
        body: EMPTY,
        payload: new Uint8Array(bytes).fill(3),
      },
      { name: `read ${label}`, method: BENCH_METHODS.GIVE, body: wanted, payload: null },
    ]
  })
}

/** Keeps `depth` calls in flight for `seconds`. */
function measure(
  env: Env,
  client: RpcClient,
  load: Load,
  depth: number,
  seconds: number,
): Promise<Measured> {
  const { clock } = env
  const latencyUs = new Histogram()
  const startMs = clock.monotonicMs()
  const endMs = startMs + seconds * 1000
  let inFlight = 0
  return new Promise((resolve, reject) => {
    const issue = (): void => {
      const sentMs = clock.monotonicMs()
      inFlight++
      client.call(load.method, load.body, load.payload, BUDGET_MS, (error) => {
        inFlight--
        const nowMs = clock.monotonicMs()
        if (error !== null) reject(error)
        latencyUs.record((nowMs - sentMs) * 1000)
        if (nowMs < endMs) issue()
        else if (inFlight === 0) {
          resolve({ callsPerSecond: (latencyUs.count / (nowMs - startMs)) * 1000, latencyUs })
        }
      })
    }
    for (let i = 0; i < depth; i++) issue()
  })
}

function rowsOf(name: string, { callsPerSecond, latencyUs }: Measured): BenchRow[] {
  const bench = 'rpc'
  const at = (quantile: number): number => latencyUs.percentile(quantile)
  return [
    { bench, name, metric: 'rate', value: callsPerSecond, unit: 'calls/s' },
    { bench, name, metric: 'p50', value: at(0.5), unit: 'us' },
    { bench, name, metric: 'p99', value: at(0.99), unit: 'us' },
    { bench, name, metric: 'p999', value: at(0.999), unit: 'us' },
  ]
}

export async function run({ seconds, tiny }: BenchOptions): Promise<BenchRow[]> {
  const server = fork(SERVER)
  const env = nodeEnv(tmpdir())
  try {
    const [{ address }] = (await once(server, 'message')) as [{ address: string }]
    const client = new RpcClient(env, SILENT, address, rpcConfig(), 'bench')
    const rows: BenchRow[] = []
    const each = seconds / (loads().length * DEPTHS.length)
    for (const load of loads()) {
      for (const depth of DEPTHS) {
        if (!tiny) await measure(env, client, load, depth, each * WARM_UP_SHARE)
        const measured = await measure(env, client, load, depth, each)
        rows.push(...rowsOf(`${load.name}, ${depth} in flight`, measured))
      }
    }
    await client.close()
    return rows
  } finally {
    server.disconnect()
  }
}
