// Owns a small NBD client: one connection, any number of requests at once, an error for each of them when
// the connection breaks. It does nothing again: who uses it learns the fate of every single request.

import { connect, type Socket } from 'node:net'
import {
  CMD_DISC,
  CMD_FLUSH,
  CMD_READ,
  CMD_TRIM,
  CMD_WRITE,
  CMD_WRITE_ZEROES,
  FLAG_FIXED_NEWSTYLE,
  FLAG_NO_ZEROES,
  INFO_EXPORT,
  OPT_GO,
  OPTION_MAGIC,
  REP_ACK,
  REP_INFO,
  REQUEST_MAGIC,
  SIMPLE_REPLY_MAGIC,
} from '../../src/attach/nbd-protocol.ts'

const GREETING_BYTES = 18
const OPTION_REPLY_BYTES = 20
const REPLY_BYTES = 16

interface Pending {
  readonly readBytes: number
  readonly resolve: (bytes: Buffer) => void
  readonly reject: (error: Error) => void
}

interface Want {
  readonly bytes: number
  readonly resolve: (bytes: Buffer) => void
  readonly reject: (error: Error) => void
}

export class NbdClient {
  sizeBytes = 0
  readonly #socket: Socket
  readonly #pending = new Map<number, Pending>()
  #nextCookie = 1
  #received: Buffer[] = []
  #receivedBytes = 0
  #want: Want | null = null
  #broken: Error | null = null

  private constructor(port: number) {
    this.#socket = connect({ host: '127.0.0.1', port, noDelay: true })
    this.#socket.on('data', (bytes: Buffer) => {
      this.#received.push(bytes)
      this.#receivedBytes += bytes.byteLength
      this.#serve()
    })
    this.#socket.on('error', (error) => this.#break(error))
    this.#socket.on('close', () => this.#break(new Error('the connection was closed')))
  }

  static async open(port: number, volume: string): Promise<NbdClient> {
    const client = new NbdClient(port)
    try {
      await client.#negotiate(volume)
    } catch (error) {
      client.#socket.destroy()
      throw error
    }
    void client.#replies()
    return client
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    return this.#request(CMD_READ, offset, length)
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    await this.#request(CMD_WRITE, offset, bytes.byteLength, bytes)
  }

  async discard(offset: number, length: number): Promise<void> {
    await this.#request(CMD_TRIM, offset, length)
  }

  async writeZeroes(offset: number, length: number): Promise<void> {
    await this.#request(CMD_WRITE_ZEROES, offset, length)
  }

  async flush(): Promise<void> {
    await this.#request(CMD_FLUSH, 0, 0)
  }

  async close(): Promise<void> {
    if (this.#broken !== null) return
    const gone = new Promise<void>((resolve) => this.#socket.once('close', () => resolve()))
    this.#socket.end(requestHeader(CMD_DISC, 0, 0, 0))
    await gone
  }

  #request(command: number, offset: number, length: number, payload?: Uint8Array): Promise<Buffer> {
    if (this.#broken !== null) return Promise.reject(this.#broken)
    return new Promise((resolve, reject) => {
      const cookie = this.#nextCookie++
      this.#pending.set(cookie, { readBytes: command === CMD_READ ? length : 0, resolve, reject })
      this.#socket.write(requestHeader(command, cookie, offset, length))
      if (payload !== undefined) this.#socket.write(payload)
    })
  }

  async #negotiate(volume: string): Promise<void> {
    await this.#take(GREETING_BYTES)
    const name = Buffer.from(volume)
    const hello = Buffer.alloc(4 + 16 + 6 + name.byteLength)
    hello.writeUInt32BE(FLAG_FIXED_NEWSTYLE | FLAG_NO_ZEROES, 0)
    hello.writeUInt32BE(OPTION_MAGIC[0], 4)
    hello.writeUInt32BE(OPTION_MAGIC[1], 8)
    hello.writeUInt32BE(OPT_GO, 12)
    hello.writeUInt32BE(6 + name.byteLength, 16)
    hello.writeUInt32BE(name.byteLength, 20)
    name.copy(hello, 24)
    this.#socket.write(hello)
    for (;;) {
      const reply = await this.#take(OPTION_REPLY_BYTES)
      const type = reply.readUInt32BE(12)
      const body = await this.#take(reply.readUInt32BE(16))
      if (type === REP_ACK) return
      if (type !== REP_INFO) throw new Error(`the server refuses ${volume}: ${String(body)}`)
      if (body.readUInt16BE(0) === INFO_EXPORT) this.sizeBytes = Number(body.readBigUInt64BE(2))
    }
  }

  async #replies(): Promise<void> {
    try {
      for (;;) {
        const header = await this.#take(REPLY_BYTES)
        const errno = header.readUInt32BE(4)
        const cookie = Number(header.readBigUInt64BE(8))
        const pending = this.#pending.get(cookie)
        if (header.readUInt32BE(0) !== SIMPLE_REPLY_MAGIC || pending === undefined) {
          throw new Error(`not a reply to anything: ${header.toString('hex')}`)
        }
        const bytes = errno === 0 ? await this.#take(pending.readBytes) : Buffer.alloc(0)
        this.#pending.delete(cookie)
        if (errno === 0) pending.resolve(bytes)
        else pending.reject(new NbdError(errno))
      }
    } catch (error) {
      this.#break(error as Error)
    }
  }

  #take(bytes: number): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      this.#want = { bytes, resolve, reject }
      this.#serve()
    })
  }

  #serve(): void {
    const want = this.#want
    if (want === null) return
    if (this.#receivedBytes >= want.bytes) {
      const all = this.#received.length === 1 ? this.#received[0] : Buffer.concat(this.#received)
      const rest = (all ?? Buffer.alloc(0)).subarray(want.bytes)
      this.#received = rest.byteLength === 0 ? [] : [rest]
      this.#receivedBytes = rest.byteLength
      this.#want = null
      want.resolve((all ?? Buffer.alloc(0)).subarray(0, want.bytes))
    } else if (this.#broken !== null) {
      this.#want = null
      want.reject(this.#broken)
    }
  }

  #break(error: Error): void {
    if (this.#broken !== null) return
    this.#broken = error
    this.#socket.destroy()
    this.#serve()
    for (const pending of this.#pending.values()) pending.reject(error)
    this.#pending.clear()
  }
}

/** What the server said of one request; a connection that broke gives other errors. */
export class NbdError extends Error {
  constructor(errno: number) {
    super(`NBD error ${errno}`)
  }
}

function requestHeader(command: number, cookie: number, offset: number, length: number): Buffer {
  const header = Buffer.alloc(28)
  header.writeUInt32BE(REQUEST_MAGIC, 0)
  header.writeUInt16BE(command, 6)
  header.writeBigUInt64BE(BigInt(cookie), 8)
  header.writeBigUInt64BE(BigInt(offset), 16)
  header.writeUInt32BE(length, 24)
  return header
}
