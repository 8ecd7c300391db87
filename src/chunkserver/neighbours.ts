// Owns what this chunkserver knows of the others: their addresses, as the MDS last gave them, and a
// connection to those that are asked about chunks (for repair and scrub; Raft has its own).
// Invariant: without word from the MDS the last known addresses stand, over a restart as well: a file
// beside the identity has them, and whoever can't read it waits for the MDS.

import { asLemnisError, LemnisError } from '../base/errors.ts'
import type { HostDirectory } from '../copyset/peers.ts'
import type { HostId } from '../copyset/replica-id.ts'
import type { Env } from '../env/env.ts'
import type { Address } from '../env/network.ts'
import type { Observer } from '../observe/observe.ts'
import { RpcClient } from '../rpc/client.ts'
import type { RpcConfig } from '../rpc/config.ts'
import { readChecked, writeChecked } from './checked-file.ts'

const NAME = 'neighbours'

export class Neighbours implements HostDirectory {
  readonly #env: Env
  readonly #observer: Observer
  readonly #rpc: RpcConfig
  readonly #name: string
  readonly #directory: string
  readonly #addresses = new Map<number, Address>()
  readonly #clients = new Map<number, RpcClient>()
  #version = 0
  #saving: Promise<void> = Promise.resolve()

  private constructor(
    env: Env,
    observer: Observer,
    rpc: RpcConfig,
    name: string,
    directory: string,
  ) {
    this.#directory = directory
    this.#env = env
    this.#observer = observer
    this.#rpc = rpc
    this.#name = name
  }

  static async open(
    env: Env,
    observer: Observer,
    rpc: RpcConfig,
    name: string,
    directory: string,
  ): Promise<Neighbours> {
    const neighbours = new Neighbours(env, observer, rpc, name, directory)
    await neighbours.#load()
    return neighbours
  }

  /** Of the directory held, as the MDS gave it to this process; 0 before. */
  get version(): number {
    return this.#version
  }

  addressOf(host: HostId): Address | undefined {
    return this.#addresses.get(host)
  }

  learn(
    version: number,
    directory: readonly { readonly chunkserver: number; readonly address: Address }[],
  ): void {
    this.#version = version
    for (const { chunkserver, address } of directory) this.#addresses.set(chunkserver, address)
    this.#saving = this.#saving.then(() => this.#save())
  }

  async #load(): Promise<void> {
    if (!(await this.#env.disk.list(this.#directory)).includes(NAME)) return
    try {
      const { addresses } = await readChecked(this.#env, this.#directory, NAME)
      for (const [host, address] of addresses as [number, Address][]) {
        this.#addresses.set(host, address)
      }
    } catch (error) {
      // It only spares the wait for the MDS.
      if (asLemnisError(error).code !== 'CORRUPT') throw error
    }
  }

  async #save(): Promise<void> {
    try {
      await writeChecked(this.#env, this.#directory, NAME, { addresses: [...this.#addresses] })
    } catch (error) {
      // On a full disk the old file stands; a failed disk is seen by the log and the store.
      asLemnisError(error)
    }
  }

  /** The connection to a chunkserver, made at first use and anew when it has moved. */
  client(host: HostId): RpcClient {
    const address = this.#addresses.get(host)
    if (address === undefined) throw new LemnisError('DISCONNECTED', { chunkserver: host })
    const known = this.#clients.get(host)
    if (known?.address === address) return known
    const client = new RpcClient(this.#env, this.#observer, address, this.#rpc, this.#name)
    this.#clients.set(host, client)
    // Its calls go where nobody is any more; how its closing ends concerns no one.
    known?.close().catch(() => {})
    return client
  }

  async close(): Promise<void> {
    await this.#saving
    await Promise.all([...this.#clients.values()].map((client) => client.close()))
  }
}
