// Owns how far the replicas of a development cluster are apart: a member that is far behind the others
// can not take over from them, so that a check that kills one at a time waits for it.

import { LemnisError } from '../../src/base/errors.ts'
import { LIST_CHUNKS } from '../../src/format/control/chunkserver.ts'
import { SILENT } from '../../src/observe/observe.ts'
import { nodeEnv } from '../../src/platform/env.ts'
import { RpcClient } from '../../src/rpc/client.ts'
import { rpcConfig } from '../../src/rpc/config.ts'
import { askControl } from '../../src/rpc/control.ts'
import type { DevCluster } from './dev-cluster.ts'

const BUDGET_MS = 5000

interface Copyset {
  readonly id: number
  readonly members: readonly { readonly address: string }[]
}

/** Entries that the last member of any copyset has applied less than the first; Infinity: unknown. */
export async function replicaLag(cluster: DevCluster): Promise<number> {
  const copysets = await cluster.json<Copyset[]>('copyset', 'list')
  const env = nodeEnv('/')
  const clients = new Map<string, RpcClient>()
  const clientOf = (address: string): RpcClient => {
    const known = clients.get(address)
    if (known !== undefined) return known
    const made = new RpcClient(env, SILENT, address, rpcConfig(), 'lag')
    clients.set(address, made)
    return made
  }
  const applied = async (group: number, address: string): Promise<number> => {
    const request = { group, from: 0, count: 1, verify: false }
    return (await askControl(clientOf(address), LIST_CHUNKS, request, BUDGET_MS)).appliedIndex
  }
  try {
    let lag = 0
    for (const { id, members } of copysets) {
      const indexes = await Promise.all(members.map(({ address }) => applied(id, address)))
      lag = Math.max(lag, Math.max(...indexes) - Math.min(...indexes))
    }
    return lag
  } catch (error) {
    if (error instanceof LemnisError) return Number.POSITIVE_INFINITY
    throw error
  } finally {
    for (const client of clients.values()) await client.close()
  }
}
