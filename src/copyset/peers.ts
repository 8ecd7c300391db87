// Owns the links to the other hosts: one connection to each, over which everything that a turn of the
// host has to say to it leaves as one note (heartbeats of all groups among it).
// Invariant: nothing is queued for a peer that can't be reached; Raft repeats what matters.

import type { Env } from '../env/env.ts'
import type { Address } from '../env/network.ts'
import { METHODS } from '../format/methods.ts'
import type { Observer } from '../observe/observe.ts'
import { RpcClient } from '../rpc/client.ts'
import type { RpcConfig } from '../rpc/config.ts'
import type { GroupId, HostId } from './replica-id.ts'
import { hostOf } from './replica-id.ts'
import { type BatchedMessage, encodeBatch, type Packet } from './wire.ts'

/** Where hosts are; the metadata service's knowledge, or a fixed list. */
export interface HostDirectory {
  addressOf(host: HostId): Address | undefined
}

export interface PeersOptions {
  readonly env: Env
  readonly observer: Observer
  readonly rpc: RpcConfig
  readonly self: HostId
  readonly directory: HostDirectory
  /** The connection to `host` was lost, or could not be made. */
  readonly onDown: (host: HostId) => void
  /** The packet could not be sent. */
  readonly onUndelivered: (packet: Packet) => void
}

/** Entry bytes after which a note is full; a single message may exceed it. */
const NOTE_BYTES_MAX = 1024 * 1024

interface Outbox {
  packets: Packet[]
  dataBytes: number
}

export class Peers {
  readonly #options: PeersOptions
  readonly #clients = new Map<HostId, RpcClient>()
  readonly #outboxes = new Map<HostId, Outbox>()

  constructor(options: PeersOptions) {
    this.#options = options
  }

  /** Queues for the end of this turn. */
  send(group: GroupId, message: BatchedMessage): void {
    const host = hostOf(message.to)
    let outbox = this.#outboxes.get(host)
    if (outbox === undefined) {
      outbox = { packets: [], dataBytes: 0 }
      this.#outboxes.set(host, outbox)
    }
    outbox.packets.push({ group, message })
    if (message.kind === 'append') {
      for (const entry of message.entries) outbox.dataBytes += entry.data.byteLength
      if (outbox.dataBytes >= NOTE_BYTES_MAX) this.#flushOne(host, outbox)
    }
  }

  /** The end of a turn: what is queued leaves. */
  flush(): void {
    for (const [host, outbox] of this.#outboxes) {
      if (outbox.packets.length > 0) this.#flushOne(host, outbox)
    }
  }

  #flushOne(host: HostId, outbox: Outbox): void {
    const { packets } = outbox
    outbox.packets = []
    outbox.dataBytes = 0
    const { body, payload } = encodeBatch(packets)
    const sent = this.client(host)?.notify(METHODS.RAFT_BATCH, body, payload) ?? false
    if (!sent) for (const packet of packets) this.#options.onUndelivered(packet)
  }

  /** The link to `host`, made at first use, and anew when it has moved; undefined while nobody knows where. */
  client(host: HostId): RpcClient | undefined {
    const { env, observer, rpc, self, directory, onDown } = this.#options
    const known = this.#clients.get(host)
    const address = directory.addressOf(host)
    if (address === undefined || known?.address === address) return known
    const client = new RpcClient(env, observer, address, rpc, `host-${self}`)
    client.onStateChange = (state) => {
      if (state === 'backoff' || state === 'leaving') onDown(host)
    }
    this.#clients.set(host, client)
    // Its calls go where nobody is any more; how its closing ends concerns no one.
    known?.close().catch(() => {})
    return client
  }

  async close(): Promise<void> {
    await Promise.all([...this.#clients.values()].map((client) => client.close()))
  }
}
