// Owns what every Network must do, as one suite: platform/ runs it over sockets, sim/ over its own.
// Nothing here looks at a clock: a test waits for an event by promise, and `settle` drives the
// world until that promise is done.

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { bytesEqual, concat } from '../../src/base/bytes.ts'
import { LemnisError } from '../../src/base/errors.ts'
import type {
  Address,
  Connection,
  ConnectionEvents,
  Listener,
  Network,
} from '../../src/env/network.ts'

export interface NetworkUnderTest {
  /** The network of the host that listens, and of the one that connects; may be the same. */
  readonly listening: Network
  readonly dialing: Network
  /** Where to listen; with port 0 the network picks one, and listener.address has it. */
  readonly address: Address
  /** A well-formed address where nobody listens. */
  readonly nowhere: Address
  /** Lets the world go on until `promise` is done. */
  settle<T>(promise: Promise<T>): Promise<T>
  close(): Promise<void>
}

/** One end of a stream that records what happens to it. */
class End implements ConnectionEvents {
  connection: Connection | null = null
  readonly received: Uint8Array[] = []
  receivedBytes = 0
  plain = true
  opened = 0
  closed = 0
  drained = 0
  reason = ''
  afterClose = 0
  onFirstData: (() => void) | null = null
  #waits: { readonly until: () => boolean; readonly done: () => void }[] = []

  onOpen(): void {
    this.opened++
    this.#look()
  }
  onData(bytes: Uint8Array): void {
    if (this.closed > 0) this.afterClose++
    // Node's Buffer is a Uint8Array whose slice() does not copy: whoever keeps bytes would be
    // fooled.
    this.plain &&= Object.getPrototypeOf(bytes) === Uint8Array.prototype
    this.received.push(new Uint8Array(bytes))
    this.receivedBytes += bytes.byteLength
    this.onFirstData?.()
    this.onFirstData = null
    // The memory was lent: whoever kept it would now read this.
    bytes.fill(0xee)
    this.#look()
  }
  onDrain(): void {
    if (this.closed > 0) this.afterClose++
    this.drained++
    this.#look()
  }
  onClose(reason: string): void {
    this.closed++
    this.reason = reason
    this.#look()
  }

  when(until: () => boolean): Promise<void> {
    return new Promise((done) => {
      this.#waits.push({ until, done })
      this.#look()
    })
  }

  get up(): Connection {
    if (this.connection === null) throw new Error('no connection')
    return this.connection
  }

  #look(): void {
    const waits = this.#waits
    this.#waits = waits.filter((wait) => !wait.until())
    for (const wait of waits) if (wait.until()) wait.done()
  }
}

/** Bytes whose order is visible: a word of each four bytes counts up from `start`. */
function numbered(bytes: number, start = 0): Uint8Array {
  const out = new Uint8Array(bytes)
  const view = new DataView(out.buffer)
  for (let at = 0; at + 4 <= bytes; at += 4) view.setUint32(at, start + at, true)
  return out
}

const MIB = 1024 * 1024

export function describeNetwork(name: string, make: () => Promise<NetworkUnderTest>): void {
  describe(`network contract: ${name}`, () => {
    let world: NetworkUnderTest
    let listener: Listener
    let accepted: End[]
    let onAccept: (() => void) | null

    beforeEach(async () => {
      world = await make()
      accepted = []
      onAccept = null
      listener = await world.settle(
        world.listening.listen(world.address, (connection) => {
          const end = new End()
          end.connection = connection
          accepted.push(end)
          onAccept?.()
          return end
        }),
      )
    })

    afterEach(async () => {
      for (const end of accepted) end.up.destroy('test over')
      await world.settle(listener.close())
      await world.close()
    })

    function dial(address = listener.address): End {
      const end = new End()
      end.connection = world.dialing.connect(address, end)
      return end
    }

    async function pair(): Promise<[End, End]> {
      const arrived = new Promise<void>((done) => {
        onAccept = done
      })
      const client = dial()
      await world.settle(client.when(() => client.opened > 0))
      await world.settle(arrived)
      const server = accepted.at(-1) as End
      await world.settle(server.when(() => server.opened > 0))
      return [client, server]
    }

    it('opens both ends once', async () => {
      const [client, server] = await pair()
      expect([client.opened, server.opened]).toEqual([1, 1])
      expect([client.closed, server.closed]).toEqual([0, 0])
      expect(client.up.remote).toBe(listener.address)
    })

    it('does not call any event before connect() has returned', () => {
      const end = dial()
      expect([end.opened, end.closed]).toEqual([0, 0])
      end.up.destroy('test over')
    })

    it('carries bytes in order, both ways at once, from many parts', async () => {
      const [client, server] = await pair()
      const up = numbered(MIB)
      const down = numbered(MIB, 7)
      for (let at = 0; at < MIB; at += 65_536) {
        const piece = up.subarray(at, at + 65_536)
        client.up.write([piece.subarray(0, 1), piece.subarray(1, 1000), piece.subarray(1000)])
        server.up.write([down.subarray(at, at + 65_536)])
      }
      await world.settle(server.when(() => server.receivedBytes >= MIB))
      await world.settle(client.when(() => client.receivedBytes >= MIB))
      expect(bytesEqual(concat(server.received), up)).toBe(true)
      expect(bytesEqual(concat(client.received), down)).toBe(true)
      expect([client.plain, server.plain]).toEqual([true, true])
    })

    it('takes writes of no parts and of empty parts', async () => {
      const [client, server] = await pair()
      client.up.write([])
      client.up.write([new Uint8Array(0)])
      client.up.write([new Uint8Array(0), Uint8Array.of(1), new Uint8Array(0), Uint8Array.of(2)])
      await world.settle(server.when(() => server.receivedBytes >= 2))
      expect([...concat(server.received)]).toEqual([1, 2])
    })

    it('has taken what was written when queuedBytes() is 0: its memory is free again', async () => {
      const [client, server] = await pair()
      const memory = new Uint8Array(1000).fill(1)
      client.up.write([memory])
      const sent = client.up.queuedBytes() === 0
      if (sent) memory.fill(2)
      await world.settle(server.when(() => server.receivedBytes >= 1000))
      expect(bytesEqual(concat(server.received), new Uint8Array(1000).fill(1))).toBe(true)
    })

    it('sends what is queued before close() ends the stream, on both ends once', async () => {
      const [client, server] = await pair()
      const data = numbered(MIB)
      client.up.write([data])
      client.up.close()
      await world.settle(server.when(() => server.closed > 0))
      await world.settle(client.when(() => client.closed > 0))
      expect(bytesEqual(concat(server.received), data)).toBe(true)
      expect([client.closed, server.closed]).toEqual([1, 1])
    })

    it('ends at once by destroy(), with its reason, once', async () => {
      const [client, server] = await pair()
      client.up.destroy('had enough')
      client.up.destroy('again')
      await world.settle(client.when(() => client.closed > 0))
      await world.settle(server.when(() => server.closed > 0))
      expect([client.closed, server.closed]).toEqual([1, 1])
      expect(client.reason).toBe('had enough')
    })

    it('may be destroyed from within onData; no event follows onClose', async () => {
      const [client, server] = await pair()
      server.onFirstData = () => server.up.destroy('enough')
      client.up.write([numbered(MIB)])
      await world.settle(server.when(() => server.closed > 0))
      await world.settle(client.when(() => client.closed > 0))
      expect(server.afterClose).toBe(0)
      expect(client.afterClose).toBe(0)
      expect([client.closed, server.closed]).toEqual([1, 1])
    })

    it('ignores what is done to an ended stream', async () => {
      const [client, server] = await pair()
      client.up.destroy('test')
      await world.settle(client.when(() => client.closed > 0))
      await world.settle(server.when(() => server.closed > 0))
      for (const end of [client, server]) {
        end.up.write([Uint8Array.of(1)])
        end.up.pause()
        end.up.resume()
        end.up.close()
        end.up.destroy('late')
        expect(end.closed).toBe(1)
      }
      const [again] = await pair()
      expect(again.opened).toBe(1)
      again.up.destroy('test over')
    })

    it('ends a stream that cannot be made by onClose, without onOpen', async () => {
      const end = dial(world.nowhere)
      await world.settle(end.when(() => end.closed > 0))
      expect([end.opened, end.closed]).toEqual([0, 1])
      expect(end.reason).not.toBe('')
    })

    it('does not throw at an address that is none', async () => {
      const end = dial('no address')
      await world.settle(end.when(() => end.closed > 0))
      expect([end.opened, end.closed]).toEqual([0, 1])
    })

    it('refuses to listen twice at one address', async () => {
      const second = world.listening.listen(listener.address, () => new End())
      const error = await world.settle(
        second.then(
          () => null,
          (e: unknown) => e,
        ),
      )
      expect(error).toBeInstanceOf(LemnisError)
      expect((error as LemnisError).code).toBe('INVALID_ARGUMENT')
    })

    it('refuses to listen at an address that is none', async () => {
      const second = world.listening.listen('no address', () => new End())
      const error = await world.settle(
        second.then(
          () => null,
          (e: unknown) => e,
        ),
      )
      expect((error as LemnisError).code).toBe('INVALID_ARGUMENT')
    })

    it('makes the writer wait for a reader that pauses, and tells it when to go on', async () => {
      const [client, server] = await pair()
      server.up.pause()
      const piece = new Uint8Array(MIB).fill(5)
      let written = 0
      let more = true
      while (more && written < 256) {
        more = client.up.write([piece])
        written++
        // A turn, so that the system takes what it has room for.
        await world.settle(new Promise<void>((done) => queueMicrotask(done)))
      }
      expect(more).toBe(false)
      expect(client.up.queuedBytes()).toBeGreaterThan(0)
      expect(client.drained).toBe(0)
      server.up.resume()
      await world.settle(client.when(() => client.drained > 0))
      await world.settle(server.when(() => server.receivedBytes >= written * MIB))
      expect(server.receivedBytes).toBe(written * MIB)
      expect(client.up.queuedBytes()).toBe(0)
    })

    it('pauses from within onData and loses nothing', async () => {
      const [client, server] = await pair()
      server.onFirstData = () => server.up.pause()
      const data = numbered(MIB)
      client.up.write([data])
      await world.settle(server.when(() => server.receivedBytes > 0))
      server.up.resume()
      await world.settle(server.when(() => server.receivedBytes >= MIB))
      expect(bytesEqual(concat(server.received), data)).toBe(true)
    })

    it('stops accepting when the listener closes; streams stay', async () => {
      const [client, server] = await pair()
      await world.settle(listener.close())
      const late = dial()
      await world.settle(late.when(() => late.closed > 0))
      expect(late.opened).toBe(0)
      client.up.write([Uint8Array.of(9)])
      await world.settle(server.when(() => server.receivedBytes > 0))
      expect([...concat(server.received)]).toEqual([9])
      client.up.destroy('test over')
    })

    it('keeps streams apart', async () => {
      const pairs: [End, End][] = []
      for (let i = 0; i < 5; i++) pairs.push(await pair())
      for (const [i, [client]] of pairs.entries()) client.up.write([new Uint8Array(100).fill(i)])
      for (const [i, [client, server]] of pairs.entries()) {
        await world.settle(server.when(() => server.receivedBytes >= 100))
        expect(bytesEqual(concat(server.received), new Uint8Array(100).fill(i))).toBe(true)
        client.up.destroy('test over')
      }
    })
  })
}
