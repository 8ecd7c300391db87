// The server against raw bytes: what clients send and expect, what they may not, and its bounds.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { concat, hexOf, viewOf } from '../base/bytes.ts'
import { LemnisError } from '../base/errors.ts'
import { MIB } from '../base/units.ts'
import {
  clientBytes,
  GREETING_BYTES,
  NbdWorld,
  requestBytes,
  serverBytes,
} from './testing/nbd-world.ts'
import { RamDevice } from './testing/ram-device.ts'

const CLOSED = 'nbd_connections_closed_total'

/** The error of the reply, simple or a chunk. */
function errorOf(reply: Uint8Array): number {
  const view = viewOf(reply)
  return view.getUint32(0) === 0x67446698 ? view.getUint32(4) : view.getUint32(20)
}

describe('negotiation', () => {
  it('is what the protocol says, to the byte', async () => {
    const world = new NbdWorld()
    await world.serve()
    const client = await world.client()
    expect(hexOf(client.bytes)).toBe(hexOf(serverBytes('greeting')))
    client.send(clientBytes('flags'))
    const options = ['list', 'structured', 'info', 'list-context', 'set-context']
    for (const name of [...options, 'unknown-option', 'starttls', 'go']) {
      const answer = await world.ask({ client, start: 0 }, clientBytes(name))
      expect(`${name} ${hexOf(answer)}`).toBe(`${name} ${hexOf(serverBytes(name))}`)
    }
  })

  it('answers an option after the other, also when they come at once', async () => {
    const world = new NbdWorld()
    await world.serve()
    const client = await world.client()
    const names = ['structured', 'list', 'info', 'set-context', 'go', 'flush']
    client.send(clientBytes('flags', ...names))
    await world.rpc.runMs(100)
    expect(hexOf(client.after(GREETING_BYTES))).toBe(hexOf(serverBytes(...names)))
  })

  it('ends by EXPORT_NAME with or without the reserved bytes', async () => {
    const world = new NbdWorld()
    await world.serve()
    for (const [flags, reserved] of [
      [3, 0],
      [1, 124],
    ] as const) {
      const client = await world.client()
      const answer = await world.ask(
        { client, start: 0 },
        Uint8Array.of(0, 0, 0, flags),
        clientBytes('export-name'),
      )
      const expected = concat([serverBytes('export-name'), new Uint8Array(reserved)])
      expect(hexOf(answer)).toBe(hexOf(expected))
      const user = { client, start: 0 }
      expect(await world.ask(user, clientBytes('read'))).toHaveLength(16 + 7)
    }
  })

  it('says in words that an export is not there, and goes on', async () => {
    const world = new NbdWorld()
    await world.serve()
    const client = await world.client()
    const answer = await world.ask({ client, start: 0 }, clientBytes('flags', 'go-missing'))
    expect(viewOf(answer).getUint32(12)).toBe(0x8000_0006)
    expect(new TextDecoder().decode(answer.subarray(20))).toMatch(/^NOT_FOUND: .*none/)
    const list = await world.ask({ client, start: 0 }, clientBytes('list'))
    expect(hexOf(list)).toBe(hexOf(serverBytes('list')))
  })

  it('tells a read-only export, and lets nothing change it', async () => {
    const world = new NbdWorld()
    await world.serve()
    const client = await world.client()
    client.send(clientBytes('flags'))
    const go = clientBytes('go')
    go.set(new TextEncoder().encode('othr'), 20)
    world.volumes.set('othr', new RamDevice(MIB, true))
    const answer = await world.ask({ client, start: 0 }, go)
    expect((viewOf(answer).getUint16(30) & 2) !== 0).toBe(true)
    for (const name of ['write', 'trim', 'write-zeroes']) {
      expect(errorOf(await world.ask({ client, start: 0 }, clientBytes(name)))).toBe(1)
    }
  })

  it.each([
    ['flags that are not known', Uint8Array.of(0, 0, 0, 4), 'bad-client-flags'],
    ['no option', concat([clientBytes('flags'), new Uint8Array(16)]), 'bad-option-magic'],
    ['an unknown EXPORT_NAME', concat([clientBytes('flags'), unknownName()]), 'no-such-export'],
    ['NBD_OPT_ABORT', clientBytes('flags', 'abort'), 'finished'],
  ])('ends with %s', async (_, bytes, reason) => {
    const world = new NbdWorld()
    const server = await world.serve()
    const client = await world.client()
    client.send(bytes)
    await world.rpc.runMs(6000)
    expect(client.isClosed).toBe(true)
    expect(world.counts.of(CLOSED, reason)).toBe(1)
    expect(server.connections).toBe(0)
  })

  it('ends when a client takes too long, not when its volume does', async () => {
    const world = new NbdWorld()
    await world.serve({ nbdHandshakeTimeoutMs: 500 })
    const idle = await world.client()
    await world.rpc.runMs(1000)
    expect(idle.isClosed).toBe(true)
    expect(world.counts.of(CLOSED, 'handshake-timeout')).toBe(1)
  })
})

function unknownName(): Uint8Array {
  const bytes = clientBytes('export-name')
  bytes.set([0x78], 16)
  return bytes
}

describe('requests', () => {
  it('are answered as the protocol says, to the byte', async () => {
    const world = new NbdWorld()
    await world.serve()
    const user = await world.user()
    for (const name of [
      'write',
      'read',
      'read-nothing',
      'flush',
      'status',
      'status-one',
      'cache',
    ]) {
      const answer = await world.ask(user, clientBytes(name))
      expect(`${name} ${hexOf(answer)}`).toBe(`${name} ${hexOf(serverBytes(name))}`)
    }
    expect(world.disk.calls).toMatchObject({ write: 1, fua: 1, flush: 1 })
    for (const name of ['write-zeroes', 'trim']) {
      const answer = await world.ask(user, clientBytes(name))
      expect(hexOf(answer)).toBe(hexOf(serverBytes(name)))
      expect(world.disk.bytes[4096]).toBe(0)
    }
    // FUA of a trim is a flush after it.
    expect(world.disk.calls).toMatchObject({ writeZeroes: 1, discard: 1, flush: 2 })
  })

  it('get simple replies when nothing else was agreed on', async () => {
    const world = new NbdWorld()
    await world.serve()
    const user = await world.user('export-name')
    expect(hexOf(await world.ask(user, clientBytes('write')))).toBe(hexOf(serverBytes('write')))
    const read = await world.ask(user, clientBytes('read'))
    expect(hexOf(read)).toBe(hexOf(serverBytes('read-simple')))
    const nothing = await world.ask(user, clientBytes('read-nothing'))
    expect(hexOf(nothing)).toBe(hexOf(serverBytes('read-nothing-simple')))
    expect(errorOf(await world.ask(user, clientBytes('status')))).toBe(22)
  })

  it('write zeros as data when the client wants no hole', async () => {
    const world = new NbdWorld()
    await world.serve()
    const user = await world.user()
    const noHole = requestBytes({ command: 6, offset: 0, length: 8192, flags: 2 })
    expect(errorOf(await world.ask(user, noHole))).toBe(0)
    expect(world.disk.calls).toMatchObject({ write: 1, writeZeroes: 0 })
    const fast = requestBytes({ command: 6, offset: 0, length: 8192, flags: 2 | 16 })
    expect(errorOf(await world.ask(user, fast))).toBe(95)
    const fastHole = requestBytes({ command: 6, offset: 0, length: 8192, flags: 16 })
    expect(errorOf(await world.ask(user, fastHole))).toBe(0)
  })

  it.each([
    ['a read beyond the end', { command: 0, offset: MIB - 1, length: 2 }, 22],
    ['a read far beyond', { command: 0, offset: 2 ** 63, length: 2 }, 22],
    ['a read that is too long', { command: 0, offset: 0, length: 33 * MIB }, 22],
    [
      'a write beyond the end',
      { command: 1, offset: MIB, length: 1, payload: Uint8Array.of(1) },
      28,
    ],
    ['zeros beyond the end', { command: 6, offset: MIB, length: 1 }, 28],
    ['a trim beyond the end', { command: 4, offset: MIB, length: 1 }, 22],
    ['an unknown command', { command: 8 }, 22],
    ['an unknown flag', { command: 0, length: 1, flags: 2 }, 22],
    ['a flush of a range', { command: 3, offset: 4096, length: 1 }, 22],
    ['the status of nothing', { command: 7, offset: 0, length: 0 }, 22],
  ])('refuse %s', async (_, parts, error) => {
    const world = new NbdWorld()
    await world.serve()
    const user = await world.user()
    const answer = await world.ask(user, requestBytes(parts))
    expect(errorOf(answer)).toBe(error)
    expect(user.client.isClosed).toBe(false)
    expect(hexOf(await world.ask(user, clientBytes('flush')))).toBe(hexOf(serverBytes('flush')))
  })

  it('refuse a read of more than 32 MiB, and take one of 32 MiB', async () => {
    const world = new NbdWorld()
    world.volumes.set('disk', new RamDevice(64 * MIB))
    await world.serve()
    const user = await world.user()
    const over = requestBytes({ command: 0, offset: 0, length: 32 * MIB + 1 })
    expect(errorOf(await world.ask(user, over))).toBe(75)
    user.client.send(requestBytes({ command: 0, offset: 0, length: 32 * MIB }))
    await world.rpc.until(() => user.client.bytes.byteLength >= user.start + 32 * MIB)
  })

  it.each([
    ['FENCED', 1],
    ['NO_SPACE', 28],
    ['CLOSED', 108],
    ['INVALID_ARGUMENT', 22],
    ['DISK_FAILED', 5],
  ] as const)('say %s as the error %i, with the sentence', async (code, error) => {
    const world = new NbdWorld()
    await world.serve()
    const user = await world.user()
    world.disk.failure = new LemnisError(code)
    const answer = await world.ask(user, clientBytes('write'))
    expect(errorOf(answer)).toBe(error)
    expect(new TextDecoder().decode(answer.subarray(26))).toBe(world.disk.failure.message)
    expect(world.counts.of('nbd_requests_failed_total', code)).toBe(1)
  })

  it('are answered as they end', async () => {
    const world = new NbdWorld()
    await world.serve()
    const user = await world.user()
    let open = (): void => {}
    world.disk.gate = new Promise((resolve) => (open = resolve))
    user.client.send(requestBytes({ command: 0, cookie: 1, length: 1 }))
    await world.rpc.runMs(20)
    world.disk.gate = null
    const second = await world.ask(user, requestBytes({ command: 0, cookie: 2, length: 1 }))
    expect(viewOf(second).getUint32(12)).toBe(2)
    open()
    // A packet of another client moves virtual time on.
    const third = await world.ask(user, requestBytes({ command: 0, cookie: 3, length: 1 }))
    expect(viewOf(third).getUint32(12)).toBe(1)
  })
})

describe('bounds', () => {
  it('stop the reading of a client that has too much under way', async () => {
    const world = new NbdWorld()
    const server = await world.serve({
      nbdConnectionInflightBytesMax: 33 * MIB,
      nbdServerInflightBytesMax: 33 * MIB,
    })
    const user = await world.user()
    let open = (): void => {}
    world.disk.gate = new Promise((resolve) => (open = resolve))
    const reads = Array.from({ length: 40 }, (_, i) =>
      requestBytes({ command: 0, cookie: i, length: MIB }),
    )
    user.client.send(...reads)
    await world.rpc.runMs(100)
    expect(world.disk.calls.read).toBe(32)
    expect(server.inflightBytes).toBeLessThanOrEqual(33 * MIB)
    world.disk.gate = null
    open()
    await world.rpc.until(() => user.client.bytes.byteLength >= user.start + 40 * (MIB + 28))
    expect(world.disk.calls.read).toBe(40)
    expect(server.inflightBytes).toBe(0)
  })

  it('are shared fairly by clients that meet the bound of the server', async () => {
    const world = new NbdWorld()
    const server = await world.serve({
      nbdConnectionInflightBytesMax: 33 * MIB,
      nbdServerInflightBytesMax: 33 * MIB,
    })
    const users = [await world.user(), await world.user(), await world.user()]
    let open = (): void => {}
    world.disk.gate = new Promise((resolve) => (open = resolve))
    for (const { client } of users) {
      client.send(...Array.from({ length: 12 }, () => requestBytes({ command: 0, length: MIB })))
    }
    await world.rpc.runMs(100)
    expect(world.disk.calls.read).toBe(32)
    world.disk.gate = null
    open()
    const wanted = 12 * (MIB + 28)
    await world.rpc.until(() => users.every((u) => u.client.bytes.byteLength >= u.start + wanted))
    expect(server.inflightBytes).toBe(0)
  })

  it('hold for a client that does not read its answers', async () => {
    const world = new NbdWorld()
    const server = await world.serve({ nbdConnectionInflightBytesMax: 33 * MIB })
    const user = await world.user()
    user.client.connection?.pause()
    user.client.send(...Array.from({ length: 45 }, () => requestBytes({ command: 0, length: MIB })))
    await world.rpc.runMs(500)
    expect(world.disk.calls.read).toBeLessThan(40)
    expect(server.inflightBytes).toBe(0)
    user.client.connection?.resume()
    const wanted = 45 * (MIB + 28)
    await world.rpc.until(() => user.client.bytes.byteLength >= user.start + wanted)
  })

  it('send clients away above the number that is served', async () => {
    const world = new NbdWorld()
    const server = await world.serve({ nbdConnectionsMax: 2 })
    await world.client()
    await world.client()
    expect((await world.client()).isClosed).toBe(true)
    expect(server.connections).toBe(2)
    expect(world.counts.of(CLOSED, 'too-many-connections')).toBe(1)
  })
})

describe('the volume of an export', () => {
  it('is opened once for all its clients and closed a while after the last', async () => {
    const world = new NbdWorld()
    await world.serve({ nbdLingerMs: 1000 })
    const one = await world.user()
    const two = await world.user()
    await world.ask(one, clientBytes('write'))
    expect(hexOf(await world.ask(two, clientBytes('read')))).toBe(hexOf(serverBytes('read')))
    expect(world.opened).toEqual(['disk'])
    one.client.connection?.destroy('gone')
    two.client.send(clientBytes('disconnect'))
    await world.rpc.runMs(500)
    const three = await world.user()
    expect(world.opened).toEqual(['disk'])
    three.client.connection?.destroy('gone')
    await world.rpc.runMs(2000)
    expect(world.disk.isClosed).toBe(true)
    await world.user()
    expect(world.opened).toEqual(['disk', 'disk'])
  })

  it('is opened anew after another client took it over', async () => {
    const world = new NbdWorld()
    await world.serve()
    const one = await world.user()
    world.disk.failure = new LemnisError('FENCED')
    expect(errorOf(await world.ask(one, clientBytes('write')))).toBe(1)
    world.volumes.set('disk', new RamDevice(MIB))
    const two = await world.user()
    expect(world.opened).toEqual(['disk', 'disk'])
    expect(hexOf(await world.ask(two, clientBytes('write')))).toBe(hexOf(serverBytes('write')))
  })

  it('is given back only when its last request has ended', async () => {
    const world = new NbdWorld()
    const server = await world.serve({ nbdLingerMs: 10 })
    const user = await world.user()
    let open = (): void => {}
    world.disk.gate = new Promise((resolve) => (open = resolve))
    user.client.send(clientBytes('write'))
    // A payload that never comes in full is given up with its client.
    user.client.send(requestBytes({ command: 1, length: 1000, payload: new Uint8Array(10) }))
    await world.rpc.runMs(20)
    expect(server.inflightBytes).toBeGreaterThan(1000)
    user.client.connection?.destroy('gone')
    await world.rpc.runMs(1000)
    expect(server.connections).toBe(0)
    expect(world.disk.isClosed).toBe(false)
    open()
    await world.client()
    await world.rpc.runMs(1000)
    expect(world.disk.isClosed).toBe(true)
    expect(server.inflightBytes).toBe(0)
    expect(world.disk.bytes[4096]).toBe('h'.charCodeAt(0))
  })
})

describe('the end', () => {
  it('of a client comes after its answers', async () => {
    const world = new NbdWorld()
    await world.serve()
    const user = await world.user()
    const answer = await world.ask(user, clientBytes('write', 'read', 'disconnect'))
    expect(answer.byteLength).toBe(serverBytes('write', 'read').byteLength)
    expect(user.client.isClosed).toBe(true)
    expect(world.counts.of(CLOSED, 'finished')).toBe(1)
  })

  it('of the server answers what is under way and closes the volumes', async () => {
    const world = new NbdWorld()
    const server = await world.serve()
    const user = await world.user()
    let open = (): void => {}
    world.disk.gate = new Promise((resolve) => (open = resolve))
    user.client.send(clientBytes('write'))
    await world.rpc.runMs(20)
    const closed = server.close()
    await world.rpc.runMs(100)
    expect(world.disk.isClosed).toBe(false)
    open()
    await world.rpc.settle(closed)
    expect(hexOf(user.client.after(user.start))).toBe(hexOf(serverBytes('write')))
    expect(world.disk.isClosed).toBe(true)
    expect(server.connections).toBe(0)
  })

  it('of the server does not wait for ever', async () => {
    const world = new NbdWorld()
    const server = await world.serve({ nbdCloseGraceMs: 300 })
    const user = await world.user()
    world.disk.gate = new Promise(() => {})
    user.client.send(clientBytes('write'))
    await world.rpc.runMs(20)
    await world.rpc.settle(server.close())
    expect(server.connections).toBe(0)
    await world.rpc.runMs(20)
    expect(user.client.isClosed).toBe(true)
  })
})

describe('hostile clients', () => {
  it('lose their own connection at most', async () => {
    const stream = clientBytes(
      'flags',
      'structured',
      'set-context',
      'go',
      'write',
      'read',
      'status',
    )
    const world = new NbdWorld()
    const server = await world.serve()
    const change = fc.tuple(fc.nat(stream.byteLength - 1), fc.integer({ min: 0, max: 255 }))
    await fc.assert(
      fc.asyncProperty(fc.array(change, { maxLength: 4 }), async (changes) => {
        const copy = stream.slice()
        for (const [at, byte] of changes) copy[at] = byte
        const client = await world.client()
        client.send(copy)
        await world.rpc.runMs(20)
        client.connection?.destroy('gone')
      }),
      { numRuns: 100 },
    )
    const user = await world.user()
    expect(hexOf(await world.ask(user, clientBytes('flush')))).toBe(hexOf(serverBytes('flush')))
    expect(server.inflightBytes).toBe(0)
  })

  it('are refused options whose lengths are lies', async () => {
    const world = new NbdWorld()
    await world.serve()
    for (const name of ['info', 'set-context', 'list-context']) {
      const client = await world.client()
      client.send(clientBytes('flags', 'structured'))
      await world.rpc.runMs(20)
      const option = clientBytes(name)
      option.set([0, 0, 0xff, 0xff], 16)
      const answer = await world.ask({ client, start: 0 }, option)
      expect(viewOf(answer).getUint32(12)).toBe(0x8000_0003)
    }
  })
})
