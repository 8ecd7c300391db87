// Owns the simulated network: who listens where, how connections are made, and what happens to them
// when a process dies, a machine goes dark or a wire is cut and mended. Implements env/network.ts for
// each host. The streams themselves are in stream.ts, the state of the wires in links.ts.

import { LemnisError } from '../base/errors.ts'
import type { Address, Connection, ConnectionEvents, Listener, Network } from '../env/network.ts'
import type { HostNetwork, SimHost } from './host.ts'
import { Links, latencyUs } from './links.ts'
import { StreamEnd, type StreamWorld } from './stream.ts'
import type { World } from './world.ts'

type Accept = (connection: Connection) => ConnectionEvents

interface Listening {
  readonly host: SimHost
  readonly generation: number
  readonly accept: Accept
}

/** A SYN that is not answered is sent again after this, a few times, as Linux does (shortened). */
const SYN_RETRY_US = 1_000_000
const SYN_TRIES = 4

const FREE_PORT_FIRST = 40_000

/** Mended wires carry again at the sender's next retransmission. */
const MEND_US_MAX = 500_000

export class SimNetwork implements HostNetwork {
  readonly links = new Links()
  readonly #shared: StreamWorld
  readonly #hosts = new Map<string, SimHost>()
  readonly #listening = new Map<string, Listening>()
  #nextPort = FREE_PORT_FIRST

  constructor(world: World) {
    const random = world.random.fork('network')
    this.#shared = { world, links: this.links, random, ends: new Set() }
  }

  /** Makes a host reachable by its name. */
  add(host: SimHost): void {
    this.#hosts.set(host.name, host)
  }

  networkOf(host: SimHost): Network {
    return {
      listen: (address, accept) => this.#listen(host, address, accept),
      connect: (address, events) => this.#connect(host, address, events),
    }
  }

  // --- what happens to machines

  processDied(host: SimHost): void {
    for (const end of this.#endsOf(host)) end.died(true)
    this.#dropListeners(host)
  }

  powerLost(host: SimHost): void {
    for (const end of this.#endsOf(host)) end.died(false)
    this.#dropListeners(host)
  }

  /** A machine is back: what was sent to its former life meets a kernel that knows no such stream. */
  started(host: SimHost): void {
    for (const end of this.#shared.ends) {
      if (end.remoteHost === host) end.pipe.wake(this.#shared.random.below(MEND_US_MAX))
    }
  }

  resumed(host: SimHost): void {
    for (const end of this.#endsOf(host)) end.peer?.pipe.resumed()
  }

  // --- what happens to wires

  cut(from: string, to: string): void {
    this.#shared.world.note(from, 'cut', `to ${to}`)
    this.links.cut(from, to)
  }

  mend(from: string, to: string): void {
    this.#shared.world.note(from, 'mend', `to ${to}`)
    this.links.mend(from, to)
    this.#wakeAll()
  }

  /** Every wire whole and calm. */
  heal(): void {
    this.#shared.world.note('', 'network healed')
    this.links.heal()
    this.#wakeAll()
  }

  #wakeAll(): void {
    for (const end of this.#shared.ends) end.pipe.wake(this.#shared.random.below(MEND_US_MAX))
  }

  #endsOf(host: SimHost): StreamEnd[] {
    return [...this.#shared.ends].filter((end) => end.host === host)
  }

  #dropListeners(host: SimHost): void {
    for (const [key, listening] of this.#listening) {
      if (listening.host === host) this.#listening.delete(key)
    }
  }

  // --- listening and connecting

  async #listen(host: SimHost, address: Address, accept: Accept): Promise<Listener> {
    const target = parse(address, host.name)
    if (target === null || (target.host !== host.name && target.host !== '')) {
      throw new LemnisError('INVALID_ARGUMENT', { address, expected: 'an address of this host' })
    }
    const port = target.port === '0' ? String(this.#nextPort++) : target.port
    const key = `${host.name}|${port}`
    if (this.#listening.has(key))
      throw new LemnisError('INVALID_ARGUMENT', { address, errno: 'EADDRINUSE' })
    const listening: Listening = { host, generation: host.generation, accept }
    this.#listening.set(key, listening)
    return {
      address: port.startsWith('/') ? address : `${host.name}:${port}`,
      close: async () => {
        if (this.#listening.get(key) === listening) this.#listening.delete(key)
      },
    }
  }

  #connect(host: SimHost, address: Address, events: ConnectionEvents): Connection {
    const target = parse(address, host.name)
    const remote = target === null ? undefined : this.#hosts.get(target.host)
    const end = new StreamEnd(this.#shared, host, remote ?? host, address)
    end.attach(events)
    if (target === null || remote === undefined) end.kill('no such address')
    else this.#syn(end, `${remote.name}|${target.port}`, SYN_TRIES)
    return end
  }

  #syn(end: StreamEnd, key: string, triesLeft: number): void {
    const { world, random } = this.#shared
    const there = this.links.conditions(end.host.name, end.remoteHost.name)
    world.after(latencyUs(there, random), 'syn', () => {
      if (end.gone) return
      if (this.#reaches(end.host, end.remoteHost)) this.#answerSyn(end, key)
      else if (triesLeft > 1) {
        world.after(SYN_RETRY_US, 'syn again', () => this.#syn(end, key, triesLeft - 1))
      } else end.kill('timed out')
    })
  }

  /** Both ways whole and somebody there to answer. */
  #reaches(from: SimHost, to: SimHost): boolean {
    const { links } = this
    return to.powered && !links.isCut(from.name, to.name) && !links.isCut(to.name, from.name)
  }

  #answerSyn(end: StreamEnd, key: string): void {
    const { world, random } = this.#shared
    const back = this.links.conditions(end.remoteHost.name, end.host.name)
    const listening = this.#listening.get(key)
    if (listening === undefined || random.chance(back.refuseChance)) {
      world.after(latencyUs(back, random), 'refuse', () => end.kill('refused'))
      return
    }
    const other = new StreamEnd(
      this.#shared,
      end.remoteHost,
      end.host,
      `${end.host.name}:${this.#nextPort++}`,
    )
    other.peer = end
    end.peer = other
    const accept = (): void => {
      // Aborted before it was accepted: the process never hears of it.
      if (other.gone) return
      if (this.#listening.get(key) !== listening) return other.destroy('not accepted')
      other.attach(listening.accept(other))
      other.opened()
    }
    world.after(0, 'accept', accept, end.remoteHost)
    world.after(latencyUs(back, random), 'open', () => end.opened(), end.host)
  }
}

/** The host and the port of `host:port`, `[v6]:port` or `unix:/path` (its port is the path); null if none. */
function parse(address: Address, local: string): { host: string; port: string } | null {
  if (address.startsWith('unix:/')) return { host: local, port: address.slice('unix:'.length) }
  const match = /^(\[[0-9A-Fa-f:.%]+\]|[^\s:[\]]+):(\d{1,5})$/.exec(address)
  return match === null ? null : { host: match[1] as string, port: match[2] as string }
}
