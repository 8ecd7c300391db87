// Owns the clients of the simulated cluster: each calls one operation at a time, on the register's group,
// and tells a refusal (nothing was done) from an outcome that nobody knows.

import { must } from '../base/assert.ts'
import type { LemnisError } from '../base/errors.ts'
import type { GroupId, HostId } from '../copyset/replica-id.ts'
import { encodeCommand, type KvOp, type KvResult } from '../copyset/testing/kv-codec.ts'
import { KvClient } from '../copyset/testing/kv-service.ts'
import type { Env } from '../env/env.ts'
import type { Address } from '../env/network.ts'
import { SILENT } from '../observe/observe.ts'
import { RpcClient } from '../rpc/client.ts'
import { rpcConfig } from '../rpc/config.ts'
import type { RegisterValue } from './history.ts'
import type { Outcome, RegisterClient } from './workload.ts'
import type { World } from './world.ts'

export interface SimClientsOptions {
  readonly world: World
  readonly addresses: ReadonlyMap<HostId, Address>
  readonly groups: readonly GroupId[]
  readonly count: number
}

/** By client: the impatient find a new leader soon, the patient hold on to the old one. */
const CALL_TIMEOUTS_MS = [400, 2500, 1000, 2500]
const ENCODER = new TextEncoder()
const DECODER = new TextDecoder()

/** The server says so before it does anything. */
const REFUSALS: ReadonlySet<string> = new Set([
  'NOT_LEADER',
  'NO_SUCH_GROUP',
  'OVERLOADED',
  'NO_SPACE',
])

export class SimClients {
  readonly clients: readonly RegisterClient[]
  readonly #options: SimClientsOptions
  #connections = new Map<HostId, RpcClient>()

  constructor(options: SimClientsOptions) {
    this.#options = options
    const connection = (host: HostId): RpcClient => this.#connections.get(host) as RpcClient
    const hosts = [...options.addresses.keys()]
    this.clients = Array.from({ length: options.count }, (_, i) => {
      const groups = options.groups.map((group) => new KvClient(group, hosts, connection))
      return new GroupedClient(i + 1, groups)
    })
  }

  /** The clients' own host has started. */
  start(env: Env): void {
    for (const [host, address] of this.#options.addresses) {
      const client = new RpcClient(env, SILENT, address, rpcConfig(), 'clients')
      this.#connections.set(host, client)
    }
  }
}

class GroupedClient implements RegisterClient {
  readonly #id: number
  readonly #timeoutMs: number
  readonly #groups: readonly KvClient[]
  #sequence = 0

  constructor(id: number, groups: readonly KvClient[]) {
    this.#id = id
    this.#timeoutMs = CALL_TIMEOUTS_MS[id % CALL_TIMEOUTS_MS.length] as number
    this.#groups = groups
  }

  get(key: string, done: (outcome: Outcome<RegisterValue>) => void): void {
    this.#groupOf(key).read(ENCODER.encode(key), this.#timeoutMs, (error, result) => {
      if (result?.status === 'done') done({ outcome: 'done', value: textOf(result) })
      else if (result?.status === 'absent') done({ outcome: 'done', value: null })
      else done({ outcome: outcomeOf(error) })
    })
  }

  put(key: string, value: RegisterValue, done: (outcome: Outcome<true>) => void): void {
    const text = must(value, 'a value: nothing is erased here')
    this.#command('put', key, null, text, (error, result) => {
      if (result?.status === 'done') done({ outcome: 'done', value: true })
      else done({ outcome: outcomeOf(error) })
    })
  }

  cas(
    key: string,
    expected: RegisterValue,
    value: string,
    done: (outcome: Outcome<boolean>) => void,
  ): void {
    this.#command('cas', key, expected, value, (error, result) => {
      if (result?.status === 'done') done({ outcome: 'done', value: true })
      else if (result?.status === 'mismatch') done({ outcome: 'done', value: false })
      else done({ outcome: outcomeOf(error) })
    })
  }

  #command(
    op: KvOp,
    key: string,
    expected: RegisterValue,
    value: string,
    done: (error: LemnisError | null, result: KvResult | null) => void,
  ): void {
    const command = encodeCommand({
      op,
      key: ENCODER.encode(key),
      expected: expected === null ? null : ENCODER.encode(expected),
      value: ENCODER.encode(value),
      client: this.#id,
      sequence: ++this.#sequence,
    })
    this.#groupOf(key).command(command, this.#timeoutMs, done)
  }

  #groupOf(key: string): KvClient {
    return this.#groups[Number(key.slice(1)) % this.#groups.length] as KvClient
  }
}

function textOf(result: KvResult): string {
  return DECODER.decode(result.value)
}

/** No result and no error, as for a command that was superseded, says nothing either. */
function outcomeOf(error: LemnisError | null): 'refused' | 'unknown' {
  return error !== null && REFUSALS.has(error.code) ? 'refused' : 'unknown'
}
