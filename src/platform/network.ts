// Owns byte streams by Node: TCP and unix sockets behind env/network.ts.
// Invariant: no event before listen() or connect() has returned control, none after onClose, which
// comes once. Liveness and framing are rpc's; nothing here times out by itself.

import { unlink } from 'node:fs/promises'
import {
  connect as connectSocket,
  createServer,
  type NetConnectOpts,
  type Server,
  type Socket,
} from 'node:net'
import { LemnisError } from '../base/errors.ts'
import type { Address, Connection, ConnectionEvents, Listener, Network } from '../env/network.ts'

/**
 * Above this many queued bytes write() says false. One megabyte is 256 blocks of 4 KiB: what a busy
 * connection gathers in a turn, so that only a peer that does not read gets there.
 */
const HIGH_WATER_BYTES = 1024 * 1024

/** What is read from a socket by one system call at most. */
const READ_BYTES = 256 * 1024

/** Connections that wait in the kernel to be accepted. */
const BACKLOG = 512

type Target = { readonly path: string } | { readonly host: string; readonly port: number }

/** `host:port`, `[v6]:port` or `unix:/path`. */
export function parseAddress(address: Address): Target {
  if (address.startsWith('unix:') && address.length > 5) return { path: address.slice(5) }
  const match = /^(?:\[([0-9A-Fa-f:.%]+)\]|([^\s:[\]]+)):(\d{1,5})$/.exec(address)
  const host = match?.[1] ?? match?.[2]
  const port = Number(match?.[3])
  if (host === undefined || port > 65_535) {
    throw new LemnisError('INVALID_ARGUMENT', { address, expected: 'host:port or unix:/path' })
  }
  return { host, port }
}

function addressOf(host: string, port: number): Address {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/**
 * The same memory without Buffer's methods: its slice() is a view, where Uint8Array's is a copy.
 */
function plain(chunk: Buffer): Uint8Array {
  return new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength)
}

class NodeConnection implements Connection {
  readonly remote: Address
  readonly #socket: Socket
  #events: ConnectionEvents | null = null
  #reason = ''
  #ended = false

  constructor(socket: Socket, remote: Address) {
    this.remote = remote
    this.#socket = socket
    socket.setNoDelay(true)
    socket.on('drain', () => this.#events?.onDrain())
    socket.on('error', (error: NodeJS.ErrnoException) => {
      this.#reason ||= error.code ?? error.message
    })
    socket.on('end', () => {
      this.#reason ||= 'ended by the peer'
      this.#ended = true
    })
    socket.on('close', () => {
      const events = this.#events
      this.#events = null
      events?.onClose(this.#reason || 'closed')
    })
  }

  attach(events: ConnectionEvents): void {
    this.#events = events
  }

  opened(): void {
    this.#events?.onOpen()
  }

  received(bytes: Uint8Array): void {
    if (!this.#socket.destroyed) this.#events?.onData(bytes)
  }

  write(parts: readonly Uint8Array[]): boolean {
    const socket = this.#socket
    if (this.#ended || !socket.writable) return false
    if (parts.length === 1) {
      socket.write(parts[0] as Uint8Array)
    } else {
      // Corked writes leave as one writev.
      socket.cork()
      for (const part of parts) socket.write(part)
      socket.uncork()
    }
    return socket.writableLength <= HIGH_WATER_BYTES
  }

  queuedBytes(): number {
    return this.#socket.writableLength
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  close(): void {
    this.#reason ||= 'closed here'
    this.#socket.end()
    // A stream that does not read any more never learns that the peer ended too.
    this.#socket.resume()
  }

  destroy(reason: string): void {
    this.#reason ||= reason
    this.#socket.destroy()
  }
}

/** A connection that cannot even be tried. */
class NoConnection implements Connection {
  readonly remote: Address

  constructor(remote: Address, events: ConnectionEvents, reason: string) {
    this.remote = remote
    setImmediate(() => events.onClose(reason))
  }
  write(): boolean {
    return false
  }
  queuedBytes(): number {
    return 0
  }
  pause(): void {}
  resume(): void {}
  close(): void {}
  destroy(): void {}
}

export class NodeNetwork implements Network {
  async listen(
    address: Address,
    accept: (connection: Connection) => ConnectionEvents,
  ): Promise<Listener> {
    const target = parseAddress(address)
    const server = createServer({ highWaterMark: HIGH_WATER_BYTES }, (socket) => {
      const remote = addressOf(socket.remoteAddress ?? address, socket.remotePort ?? 0)
      const connection = new NodeConnection(socket, 'path' in target ? address : remote)
      connection.attach(accept(connection))
      socket.on('data', (chunk: Buffer) => connection.received(plain(chunk)))
      connection.opened()
    })
    await listenAt(server, target, address)
    // Later errors are of single accepts (descriptors used up): that stream is lost, listening goes
    // on.
    server.on('error', () => {})
    return new NodeListener(server, boundAddress(server, address))
  }

  connect(address: Address, events: ConnectionEvents): Connection {
    let target: Target
    try {
      target = parseAddress(address)
    } catch {
      return new NoConnection(address, events, 'not an address')
    }
    const buffer = new Uint8Array(READ_BYTES)
    const options: NetConnectOpts & { readonly writableHighWaterMark: number } = {
      ...target,
      writableHighWaterMark: HIGH_WATER_BYTES,
      onread: {
        buffer,
        callback: (bytes: number): boolean => {
          connection.received(buffer.subarray(0, bytes))
          return true
        },
      },
    }
    const socket = connectSocket(options)
    const connection = new NodeConnection(socket, address)
    connection.attach(events)
    socket.on('connect', () => connection.opened())
    return connection
  }
}

class NodeListener implements Listener {
  readonly address: Address
  readonly #server: Server

  constructor(server: Server, address: Address) {
    this.#server = server
    this.address = address
  }

  close(): Promise<void> {
    // Its callback waits for the last stream to end; that is not what closing a listener means
    // here.
    this.#server.close()
    return Promise.resolve()
  }
}

function boundAddress(server: Server, address: Address): Address {
  const bound = server.address()
  if (bound === null || typeof bound === 'string') return address
  return addressOf(bound.address, bound.port)
}

async function listenAt(server: Server, target: Target, address: Address): Promise<void> {
  let code = await tryListen(server, target)
  if (code === 'EADDRINUSE' && 'path' in target && (await isStale(target.path))) {
    await unlink(target.path)
    code = await tryListen(server, target)
  }
  if (code !== null) throw new LemnisError('INVALID_ARGUMENT', { address, errno: code })
}

/** Null, or the system's name of the error. */
function tryListen(server: Server, target: Target): Promise<string | null> {
  return new Promise((done) => {
    const failed = (error: NodeJS.ErrnoException): void => done(error.code ?? error.message)
    server.once('error', failed)
    server.listen({ ...target, backlog: BACKLOG }, () => {
      server.removeListener('error', failed)
      done(null)
    })
  })
}

/** Whether the path is a socket that a dead process left: nobody answers there. */
function isStale(path: string): Promise<boolean> {
  return new Promise((done) => {
    const probe = connectSocket({ path })
    probe.once('connect', () => {
      probe.destroy()
      done(false)
    })
    probe.once('error', (error: NodeJS.ErrnoException) => done(error.code === 'ECONNREFUSED'))
  })
}
