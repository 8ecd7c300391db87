// Owns what lies between the members of a test's etcd: a proxy before each, so that one can be cut off
// from the others while clients still reach it. Who a connection comes from is read in /proc.

import { once } from 'node:events'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

interface Carried {
  readonly from: number
  readonly to: number
  readonly sockets: readonly Socket[]
}

export class EtcdPeers {
  readonly #pids: () => readonly number[]
  readonly #proxies: Server[] = []
  readonly #carried = new Set<Carried>()
  readonly #isolated = new Set<number>()

  /** `pids` are those of the members, 0 for one that does not run. */
  constructor(pids: () => readonly number[]) {
    this.#pids = pids
  }

  /** The port that leads to member `to`, whose own is `port`. */
  async open(to: number, port: number): Promise<number> {
    const proxy = createServer((socket) => this.#carry(socket, to, port))
    this.#proxies.push(proxy.listen(0, '127.0.0.1'))
    await once(proxy, 'listening')
    return (proxy.address() as AddressInfo).port
  }

  isolate(member: number): void {
    this.#isolated.add(member)
    for (const { from, to, sockets } of this.#carried) {
      if (from === member || to === member) for (const socket of sockets) socket.destroy()
    }
  }

  join(member: number): void {
    this.#isolated.delete(member)
  }

  close(): void {
    for (const proxy of this.#proxies) proxy.close()
    for (const { sockets } of this.#carried) for (const socket of sockets) socket.destroy()
  }

  #carry(socket: Socket, to: number, port: number): void {
    const from = this.#memberOf(socket)
    socket.on('error', () => {})
    // One whose end is closed leads nowhere, whoever opened it.
    if (from < 0 || this.#isolated.has(from) || this.#isolated.has(to)) {
      socket.destroy()
      return
    }
    const inner = connect(port, '127.0.0.1')
    inner.on('error', () => {})
    const carried = { from, to, sockets: [socket, inner] }
    this.#carried.add(carried)
    socket.pipe(inner).pipe(socket)
    const end = (): void => {
      this.#carried.delete(carried)
      socket.destroy()
      inner.destroy()
    }
    socket.on('close', end)
    inner.on('close', end)
  }

  /** Whose end of this connection is; -1 when that is closed already. */
  #memberOf(socket: Socket): number {
    const address = (port = 0): string =>
      `0100007F:${port.toString(16).toUpperCase().padStart(4, '0')}`
    const [local, remote] = [address(socket.remotePort), address(socket.localPort)]
    const rows = readFileSync('/proc/net/tcp', 'utf8').split('\n')
    const row = rows
      .map((line) => line.trim().split(/\s+/))
      .find((cells) => cells[1] === local && cells[2] === remote && cells[9] !== '0')
    const link = `socket:[${row?.[9]}]`
    return this.#pids().findIndex((pid) => pid !== 0 && linksOf(pid).includes(link))
  }
}

/** What its descriptors lead to; those that are gone meanwhile lead nowhere. */
function linksOf(pid: number): string[] {
  const directory = `/proc/${pid}/fd`
  const orNothing = <T>(read: () => T, nothing: T): T => {
    try {
      return read()
    } catch {
      return nothing
    }
  }
  const names = orNothing(() => readdirSync(directory), [])
  return names.map((fd) => orNothing(() => readlinkSync(`${directory}/${fd}`), ''))
}
