// Owns the connections to chunkservers, one each, shared by all volumes of a client, and what is known
// about how well they answer. A chunkserver that let many requests in a row time out is unstable: the
// copysets that it leads are asked about elsewhere, until it answers anything.

import type { Env } from '../env/env.ts'
import type { Address } from '../env/network.ts'
import type { Observer } from '../observe/observe.ts'
import { RpcClient } from '../rpc/client.ts'
import type { RpcConfig } from '../rpc/config.ts'
import type { ClientConfig } from './config.ts'

export class Server {
  readonly id: number
  rpc: RpcClient
  timeoutsInRow = 0
  isUnstable = false

  constructor(id: number, rpc: RpcClient) {
    this.id = id
    this.rpc = rpc
  }

  /** A call would fail at once. */
  get isDown(): boolean {
    const { state } = this.rpc
    return state === 'backoff' || state === 'leaving' || state === 'closed'
  }
}

export class Servers {
  /** Told of a server that has become unstable. */
  onUnstable: (server: Server) => void = () => {}
  readonly #env: Env
  readonly #observer: Observer
  readonly #rpc: RpcConfig
  readonly #config: ClientConfig
  readonly #name: string
  readonly #servers = new Map<number, Server>()
  /** Connections to addresses where a chunkserver was before. */
  readonly #leaving = new Set<Promise<void>>()

  constructor(env: Env, observer: Observer, rpc: RpcConfig, config: ClientConfig, name: string) {
    this.#env = env
    this.#observer = observer
    this.#rpc = rpc
    this.#config = config
    this.#name = name
    observer.gauge('client_chunkservers_unstable', () => {
      let unstable = 0
      for (const server of this.#servers.values()) if (server.isUnstable) unstable++
      return unstable
    })
  }

  /** The chunkserver, which is at `address` as the MDS says. */
  at(id: number, address: Address): Server {
    const known = this.#servers.get(id)
    if (known === undefined) {
      const server = new Server(id, this.#connection(address))
      this.#servers.set(id, server)
      return server
    }
    if (known.rpc.address !== address) {
      const closed: Promise<void> = known.rpc.close().then(() => {
        this.#leaving.delete(closed)
      })
      this.#leaving.add(closed)
      known.rpc = this.#connection(address)
    }
    return known
  }

  /** It answered a request, whatever it said. */
  answered(server: Server): void {
    if (server.timeoutsInRow === 0) return
    server.timeoutsInRow = 0
    server.isUnstable = false
  }

  timedOut(server: Server): void {
    server.timeoutsInRow++
    if (server.isUnstable || server.timeoutsInRow < this.#config.unstableTimeouts) return
    server.isUnstable = true
    this.#observer.emit('client_chunkserver_unstable', {
      chunkserver: server.id,
      address: server.rpc.address,
      timeouts: server.timeoutsInRow,
    })
    this.onUnstable(server)
  }

  async close(): Promise<void> {
    const connections = [...this.#servers.values()].map((server) => server.rpc.close())
    await Promise.all([...connections, ...this.#leaving])
  }

  #connection(address: Address): RpcClient {
    return new RpcClient(this.#env, this.#observer, address, this.#rpc, this.#name)
  }
}
