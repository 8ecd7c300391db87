// Owns the answering side: a listener, what all its connections share, and the table of methods.
// Invariants: every admitted request is answered once or its connection ends; a connection that
// breaks the rules ends alone. Bounds are bytes: of requests taken in and not answered, per
// connection and for the server, and of answers not sent, per connection. Past them the answer is
// OVERLOADED before any memory is taken; nothing waits. Notes are handled when they arrive and hold
// no budget: they carry what lets requests finish.

import { must } from '../base/assert.ts'
import type { Env } from '../env/env.ts'
import type { Address, Connection, ConnectionEvents, Listener } from '../env/network.ts'
import type { Observer } from '../observe/observe.ts'
import type { RpcConfig } from './config.ts'
import type { CallHandler, IncomingCall, NotifyHandler } from './incoming.ts'
import { MethodCounts, methodName, NoteCounts } from './methods-served.ts'
import { ServerCore, ServerPeer } from './server-peer.ts'

export type { IncomingCall }

/** The events of a connection that is refused. */
const IGNORED: ConnectionEvents = { onOpen() {}, onData() {}, onDrain() {}, onClose() {} }

export class RpcServer {
  readonly #core: ServerCore
  #listener: Listener | null = null
  #closed: Promise<void> | null = null

  private constructor(core: ServerCore) {
    this.#core = core
  }

  /** `name` is what clients are told; the address when it is empty. */
  static async listen(
    env: Env,
    observer: Observer,
    address: Address,
    config: RpcConfig,
    name = '',
  ): Promise<RpcServer> {
    const core = new ServerCore(env, observer, config, name === '' ? address : name)
    const server = new RpcServer(core)
    server.#listener = await env.network.listen(address, (connection) => server.#accept(connection))
    observer.gauge('rpc_connections', () => core.peers.size)
    observer.gauge('rpc_inflight_bytes', () => core.inflight.claimedBytes)
    return server
  }

  /** The address listened at, with the port that was picked. */
  get address(): Address {
    return must(this.#listener, 'the server listens').address
  }

  get connections(): number {
    return this.#core.peers.size
  }

  /** What requests that were taken in and not answered yet claim of serverInflightBytesMax. */
  get inflightBytes(): number {
    return this.#core.inflight.claimedBytes
  }

  /** A method without a handler is answered by UNKNOWN_METHOD. `name` is for metrics. */
  handle(method: number, handler: CallHandler, name = methodName(method)): void {
    const counts = new MethodCounts(this.#core.observer, name)
    this.#core.calls.set(method, { handler, counts })
  }

  /** Notes without a handler are dropped and counted. */
  handleNotify(method: number, handler: NotifyHandler): void {
    const counts = new NoteCounts(this.#core.observer, methodName(method))
    this.#core.notes.set(method, { handler, counts })
  }

  /**
   * Takes no new calls, says goodbye, lets the ones in flight finish within closeGraceMs, and ends
   * every connection.
   */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    const core = this.#core
    core.isClosing = true
    await this.#listener?.close()
    for (const peer of [...core.peers]) peer.leave()
    if (core.peers.size === 0) return
    await new Promise<void>((done) => {
      const timer = core.env.clock.after(core.config.closeGraceMs, () => {
        for (const peer of [...core.peers]) peer.abandon()
      })
      core.onPeerGone = () => {
        if (core.peers.size > 0) return
        timer.cancel()
        done()
      }
    })
  }

  #accept(connection: Connection): ConnectionEvents {
    const core = this.#core
    const reason = core.isClosing ? 'closed' : 'too-many-connections'
    if (core.isClosing || core.peers.size >= core.config.connectionsMax) {
      core.counters.closed(reason)
      connection.destroy(reason)
      return IGNORED
    }
    const peer = new ServerPeer(core, connection)
    core.peers.add(peer)
    return peer.link
  }
}
