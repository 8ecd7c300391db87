// Owns the NBD server: a listener and its clients. Every volume is an export under its name; fixed
// newstyle negotiation, no encryption, so that it belongs on loopback, a unix socket or a private net.
// Invariant: a client that breaks the rules loses its own connection and nothing else.

import { must } from '../base/assert.ts'
import type { Address, Connection, ConnectionEvents, Listener } from '../env/network.ts'
import type { Observer } from '../observe/observe.ts'
import type { NbdConfig } from './config.ts'
import { type Exports, SharedExports } from './exports.ts'
import { NbdConnection } from './nbd-connection.ts'
import { NbdCore, type NbdEnv } from './nbd-core.ts'

export interface NbdOptions {
  readonly exports: Exports
  readonly config: NbdConfig
  /** Volumes are opened for reading only. */
  readonly readOnly?: boolean
}

/** The events of a connection that is refused. */
const IGNORED: ConnectionEvents = { onOpen() {}, onData() {}, onDrain() {}, onClose() {} }

export class NbdServer {
  readonly #core: NbdCore
  readonly #connections = new Set<NbdConnection>()
  #listener: Listener | null = null
  #isClosing = false
  #onGone: () => void = () => {}
  #closed: Promise<void> | null = null

  private constructor(core: NbdCore) {
    this.#core = core
  }

  static async listen(
    env: NbdEnv,
    observer: Observer,
    address: Address,
    options: NbdOptions,
  ): Promise<NbdServer> {
    const { exports, config, readOnly = false } = options
    const shared = new SharedExports(exports, env.clock, config.nbdLingerMs, readOnly)
    const core = new NbdCore(env, observer, config, shared)
    const server = new NbdServer(core)
    server.#listener = await env.network.listen(address, (connection) => server.#accept(connection))
    observer.gauge('nbd_connections', () => server.#connections.size)
    observer.gauge('nbd_inflight_bytes', () => core.inflight.claimedBytes)
    return server
  }

  /** The address listened at, with the port that was picked. */
  get address(): Address {
    return must(this.#listener, 'the server listens').address
  }

  get connections(): number {
    return this.#connections.size
  }

  /** What requests under way claim of nbdServerInflightBytesMax. */
  get inflightBytes(): number {
    return this.#core.inflight.claimedBytes
  }

  /**
   * Takes no new clients and requests, answers what is under way within nbdCloseGraceMs, ends every
   * connection and closes the volumes.
   */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    this.#isClosing = true
    await this.#listener?.close()
    for (const connection of [...this.#connections]) connection.leave('closed')
    if (this.#connections.size > 0) await this.#allGone()
    await this.#core.exports.close()
  }

  #allGone(): Promise<void> {
    const { clock } = this.#core.env
    return new Promise<void>((done) => {
      const timer = clock.after(this.#core.config.nbdCloseGraceMs, () => {
        for (const connection of [...this.#connections]) connection.abandon()
      })
      this.#onGone = () => {
        if (this.#connections.size > 0) return
        timer.cancel()
        done()
      }
    })
  }

  #accept(connection: Connection): ConnectionEvents {
    const reason = this.#isClosing ? 'closed' : 'too-many-connections'
    if (this.#isClosing || this.#connections.size >= this.#core.config.nbdConnectionsMax) {
      this.#core.ended(reason)
      connection.destroy(reason)
      return IGNORED
    }
    const client = new NbdConnection(this.#core, connection, (gone) => {
      this.#connections.delete(gone)
      this.#onGone()
    })
    this.#connections.add(client)
    return client
  }
}
