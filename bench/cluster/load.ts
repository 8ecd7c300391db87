// Owns the load on a replica cluster: a fixed number of puts in flight from this process, each finished
// one followed by the next, and what came of them.

import { Histogram } from '../../src/base/histogram.ts'
import type { GroupId, HostId } from '../../src/copyset/replica-id.ts'
import { encodeCommand, type KvResult } from '../../src/copyset/testing/kv-codec.ts'
import { KvClient } from '../../src/copyset/testing/kv-service.ts'
import type { Env } from '../../src/env/env.ts'
import { SILENT } from '../../src/observe/observe.ts'
import { RpcClient } from '../../src/rpc/client.ts'
import { rpcConfig } from '../../src/rpc/config.ts'
import type { ReplicaCluster } from './cluster.ts'

const CALL_TIMEOUT_MS = 10_000
const RETRY_PAUSE_MS = 20

export interface LoadResult {
  readonly done: number
  readonly failed: number
  readonly seconds: number
  readonly latencyUs: Histogram
}

/** Connections to all hosts, and one client a group. */
export class LoadClients {
  readonly env: Env
  readonly #connections = new Map<HostId, RpcClient>()
  readonly clients: readonly KvClient[]

  constructor(env: Env, cluster: ReplicaCluster, groups: number) {
    this.env = env
    const hosts = cluster.hosts as readonly HostId[]
    for (const host of hosts) {
      const address = cluster.addressOf(host) as string
      this.#connections.set(host, new RpcClient(env, SILENT, address, rpcConfig(), 'load'))
    }
    this.clients = Array.from(
      { length: groups },
      (_, i) =>
        new KvClient((i + 1) as GroupId, hosts, (h) => this.#connections.get(h) as RpcClient),
    )
  }

  /** Resolves when every group takes a write. */
  async ready(): Promise<void> {
    for (const client of this.clients) {
      while (!(await this.#put(client, 'ready', new Uint8Array(1)))) await this.#pause()
    }
  }

  #put(client: KvClient, key: string, value: Uint8Array): Promise<boolean> {
    return new Promise((resolve) => {
      client.command(encodePut(key, value), CALL_TIMEOUT_MS, (error) => resolve(error === null))
    })
  }

  /** The value under `key` in the group that the n-th write went to; null when there is none. */
  async get(n: number, key: string): Promise<Uint8Array | null> {
    const client = this.clients[n % this.clients.length] as KvClient
    for (;;) {
      const result = await new Promise<KvResult | null>((resolve) => {
        client.read(ENCODER.encode(key), CALL_TIMEOUT_MS, (_error, found) => resolve(found))
      })
      if (result !== null) return result.status === 'done' ? result.value : null
      await this.#pause()
    }
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => this.env.clock.after(RETRY_PAUSE_MS, resolve))
  }

  /**
   * `depth` puts in flight for `seconds`; `next` makes the key and value of the n-th one and hears of
   * every acknowledged one.
   */
  run(
    depth: number,
    seconds: number,
    next: (n: number) => { key: string; value: Uint8Array },
    acknowledged: (n: number) => void = () => {},
  ): Promise<LoadResult> {
    const { clock } = this.env
    const latencyUs = new Histogram()
    const startMs = clock.monotonicMs()
    const endMs = startMs + seconds * 1000
    let issued = 0
    let done = 0
    let failed = 0
    let inFlight = 0
    return new Promise((resolve) => {
      const finish = (): void => {
        resolve({ done, failed, seconds: (clock.monotonicMs() - startMs) / 1000, latencyUs })
      }
      const issue = (): void => {
        const n = issued++
        const { key, value } = next(n)
        const client = this.clients[n % this.clients.length] as KvClient
        const sentMs = clock.monotonicMs()
        inFlight++
        client.command(encodePut(key, value), CALL_TIMEOUT_MS, (error) => {
          inFlight--
          const nowMs = clock.monotonicMs()
          if (error === null) {
            done++
            latencyUs.record((nowMs - sentMs) * 1000)
            acknowledged(n)
          } else failed++
          if (nowMs >= endMs) {
            if (inFlight === 0) finish()
          } else if (error === null) issue()
          else clock.after(RETRY_PAUSE_MS, issue)
        })
      }
      for (let i = 0; i < depth; i++) issue()
    })
  }

  async close(): Promise<void> {
    await Promise.all([...this.#connections.values()].map((connection) => connection.close()))
  }
}

const ENCODER = new TextEncoder()

function encodePut(key: string, value: Uint8Array): Uint8Array {
  return encodeCommand({
    op: 'put',
    key: ENCODER.encode(key),
    expected: null,
    value,
    client: 1,
    sequence: 0,
  })
}
