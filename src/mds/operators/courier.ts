// Owns the carrying of orders to chunkservers at once, so that nobody waits for the next heartbeat.
// A convenience: an order that does not arrive comes again with the answer to a heartbeat.

import type { Env } from '../../env/env.ts'
import { GIVE_ORDER, type Order } from '../../format/control/chunkserver.ts'
import type { Observer } from '../../observe/observe.ts'
import { RpcClient } from '../../rpc/client.ts'
import type { RpcConfig } from '../../rpc/config.ts'
import { askControl } from '../../rpc/control.ts'
import type { Topology } from '../topology/topology.ts'

/** Orders to one chunkserver that wait for their answer; the rest waits for its heartbeat. */
const IN_FLIGHT_MAX = 64

interface Line {
  readonly client: RpcClient
  inFlight: number
}

export class Courier {
  readonly #env: Env
  readonly #observer: Observer
  readonly #rpc: RpcConfig
  readonly #topology: Topology
  readonly #timeoutMs: number
  readonly #lines = new Map<number, Line>()
  #closed = false

  constructor(env: Env, observer: Observer, rpc: RpcConfig, topology: Topology, timeoutMs: number) {
    this.#env = env
    this.#observer = observer
    this.#rpc = rpc
    this.#topology = topology
    this.#timeoutMs = timeoutMs
  }

  give(chunkserver: number, order: Order): void {
    const line = this.#line(chunkserver)
    if (line === null || line.inFlight >= IN_FLIGHT_MAX) return
    line.inFlight++
    askControl(line.client, GIVE_ORDER, { order }, this.#timeoutMs).then(
      () => line.inFlight--,
      () => line.inFlight--,
    )
  }

  async close(): Promise<void> {
    this.#closed = true
    await Promise.all([...this.#lines.values()].map(({ client }) => client.close()))
  }

  #line(chunkserver: number): Line | null {
    if (this.#closed) return null
    const known = this.#lines.get(chunkserver)
    const address = this.#topology.addressOf(chunkserver)
    if (known?.client.address === address) return known
    void known?.client.close()
    const client = new RpcClient(this.#env, this.#observer, address, this.#rpc, 'mds')
    const line = { client, inFlight: 0 }
    this.#lines.set(chunkserver, line)
    return line
  }
}
