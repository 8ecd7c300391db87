// Owns the world in which the NBD server is tested: a server host in the simulator over volumes in
// memory, and raw clients that send what a test wants and keep what comes back.

import { Counts, RpcWorld } from '../../../test/rpc-world.ts'
import { vectorsOf } from '../../../test/vectors.ts'
import { must } from '../../base/assert.ts'
import { concat, EMPTY, viewOf } from '../../base/bytes.ts'
import { LemnisError } from '../../base/errors.ts'
import { MIB } from '../../base/units.ts'
import type { Connection, ConnectionEvents } from '../../env/network.ts'
import { type NbdConfig, nbdConfig } from '../config.ts'
import { NbdServer } from '../nbd-server.ts'
import { RamDevice } from './ram-device.ts'

const ADDRESS = 'server:10809'
const REQUEST_MAGIC = 0x25609513

export const GREETING_BYTES = 18

function exchange(side: string, name: string): Uint8Array {
  const vectors = vectorsOf<{ name: string }>('nbd.txt', side)
  return must(
    vectors.find((v) => v.fields.name === name),
    `${side} ${name}`,
  ).bytes
}

/** What a client sends in an exchange of the vectors. */
export const clientBytes = (...names: string[]): Uint8Array =>
  concat(names.map((name) => exchange('client', name)))

export const serverBytes = (...names: string[]): Uint8Array =>
  concat(names.map((name) => exchange('server', name)))

export interface RequestParts {
  readonly command: number
  readonly cookie?: number
  readonly offset?: number
  readonly length?: number
  readonly flags?: number
  readonly payload?: Uint8Array
}

export function requestBytes(parts: RequestParts): Uint8Array {
  const { command, cookie = 1, offset = 0, length = 0, flags = 0, payload = EMPTY } = parts
  const out = new Uint8Array(28)
  const view = viewOf(out)
  view.setUint32(0, REQUEST_MAGIC)
  view.setUint16(4, flags)
  view.setUint16(6, command)
  view.setUint32(12, cookie)
  view.setUint32(16, Math.floor(offset / 2 ** 32))
  view.setUint32(20, offset >>> 0)
  view.setUint32(24, length)
  return concat([out, payload])
}

/** A client's end of a stream. */
export class RawClient implements ConnectionEvents {
  connection: Connection | null = null
  isOpen = false
  isClosed = false
  readonly #received: Uint8Array[] = []

  get bytes(): Uint8Array {
    return concat(this.#received)
  }

  /** What came behind the first `count` bytes. */
  after(count: number): Uint8Array {
    return this.bytes.subarray(count)
  }

  send(...parts: Uint8Array[]): void {
    must(this.connection, 'a connection').write([concat(parts)])
  }
  onOpen(): void {
    this.isOpen = true
  }
  onData(bytes: Uint8Array): void {
    this.#received.push(bytes.slice())
  }
  onDrain(): void {}
  onClose(): void {
    this.isClosed = true
  }
}

export class NbdWorld {
  readonly rpc = new RpcWorld()
  readonly counts = new Counts()
  /** Volumes by name, as they are opened. */
  readonly volumes = new Map([
    ['disk', new RamDevice(MIB)],
    ['other', new RamDevice(MIB, true)],
  ])
  readonly opened: string[] = []

  get disk(): RamDevice {
    return must(this.volumes.get('disk'), 'the volume')
  }

  async serve(config: Partial<NbdConfig> = {}): Promise<NbdServer> {
    const env = await this.rpc.env('server')
    const exports = {
      list: () => Promise.resolve([...this.volumes.keys()]),
      open: async (name: string) => {
        await Promise.resolve()
        this.opened.push(name)
        const device = this.volumes.get(name)
        if (device === undefined) throw new LemnisError('NOT_FOUND', { volume: name })
        device.isClosed = false
        return device
      },
    }
    const options = { exports, config: nbdConfig(config) }
    return this.rpc.settle(NbdServer.listen(env, this.counts, ADDRESS, options))
  }

  async client(): Promise<RawClient> {
    const env = await this.rpc.env('client')
    const client = new RawClient()
    client.connection = env.network.connect(ADDRESS, client)
    await this.rpc.world.run({ until: () => client.isClosed || client.bytes.byteLength > 0 })
    return client
  }

  /** A client in transmission, with structured replies and the context unless told otherwise. */
  async user(...options: string[]): Promise<{ client: RawClient; start: number }> {
    const client = await this.client()
    const names = options.length > 0 ? options : ['structured', 'set-context', 'go']
    // One option at a time, as the protocol wants it.
    client.send(clientBytes('flags'))
    let start = GREETING_BYTES
    for (const name of names) {
      client.send(clientBytes(name))
      await this.rpc.runMs(20)
    }
    start = client.bytes.byteLength
    return { client, start }
  }

  /** What the server says to these bytes. */
  async ask(
    user: { client: RawClient; start: number },
    ...sent: Uint8Array[]
  ): Promise<Uint8Array> {
    const before = user.client.bytes.byteLength
    user.client.send(...sent)
    await this.rpc.runMs(50)
    return user.client.after(before)
  }
}
