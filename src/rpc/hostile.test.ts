// Peers that break the rules: each loses its own connection, for a counted reason, and nobody else
// notices.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  ask,
  type FrameParts,
  framesOf,
  helloFrame,
  type RawFrame,
  RawStream,
  RpcWorld,
  SERVER_ADDRESS,
} from '../../test/rpc-world.ts'
import { concat, EMPTY, viewOf } from '../base/bytes.ts'
import { crc32cPure } from '../base/crc32c.ts'
import { LemnisError } from '../base/errors.ts'
import { KIB, MIB } from '../base/units.ts'
import { decodeError, encodeError, encodeHello } from '../format/frame-bodies.ts'
import type { CloseReason } from './link.ts'
import type { IncomingCall } from './server.ts'

const ECHO = 1
const HOLD = 2

const REQUEST: FrameParts = {
  kind: 'request',
  method: ECHO,
  callId: 1,
  body: Uint8Array.of(1, 2, 3, 4),
  payload: new Uint8Array(100).fill(5),
}

/**
 * The bytes with one byte changed and, unless told otherwise, the header's CRC made right again.
 */
function changed(bytes: Uint8Array, at: number, value: number, mend = true): Uint8Array {
  const copy = bytes.slice()
  copy[at] = value
  if (mend) viewOf(copy).setUint32(36, crc32cPure(copy.subarray(0, 36)), true)
  return copy
}

const HELLO = framesOf(helloFrame())
const request = framesOf(REQUEST)

const VIOLATIONS: readonly (readonly [string, CloseReason, Uint8Array])[] = [
  [
    'another protocol',
    'bad-magic',
    new TextEncoder().encode('GET / HTTP/1.1\r\nHost: somewhere\r\n\r\n'),
  ],
  ['another frame version', 'bad-version', changed(HELLO, 3, 2)],
  ['a hello with a damaged header', 'bad-header', changed(HELLO, 20, 99, false)],
  ['a hello with a damaged body', 'bad-body', changed(HELLO, 41, 99, false)],
  ['a hello that ends early', 'bad-hello', framesOf({ kind: 'hello', body: Uint8Array.of(1, 0) })],
  ['a huge hello', 'unexpected-frame', framesOf({ kind: 'hello', body: new Uint8Array(5000) })],
  ['a request before a hello', 'unexpected-frame', request],
  ['a ping before a hello', 'unexpected-frame', framesOf({ kind: 'ping' })],
  [
    'a future version',
    'no-common-version',
    framesOf(helloFrame({ versions: { oldest: 9, newest: 9 } })),
  ],
  ['an unknown kind', 'bad-kind', concat([HELLO, changed(request, 4, 77)])],
  ['a second hello', 'unexpected-frame', concat([HELLO, HELLO])],
  ['a hello-reply', 'unexpected-frame', concat([HELLO, framesOf({ kind: 'hello-reply' })])],
  ['a reply', 'unexpected-frame', concat([HELLO, framesOf({ kind: 'reply', callId: 1 })])],
  ['an error', 'unexpected-frame', concat([HELLO, framesOf({ kind: 'error', callId: 1 })])],
  [
    'a huge ping',
    'unexpected-frame',
    concat([HELLO, framesOf({ kind: 'ping', payload: new Uint8Array(5000) })]),
  ],
  ['a damaged payload', 'bad-payload', concat([HELLO, framesOf({ ...REQUEST, payloadCrc: 1 })])],
  ['a damaged body', 'bad-body', concat([HELLO, changed(request, 40, 99, false)])],
  ['a call id over 2^53', 'bad-header', concat([HELLO, changed(request, 15, 0xff)])],
  ['a body of 4 GiB', 'too-large', concat([HELLO, changed(request, 23, 0xff)])],
  ['a payload of 4 GiB', 'too-large', concat([HELLO, changed(request, 27, 0xff)])],
]

describe('a server', () => {
  it.each(VIOLATIONS)('ends the connection that says %s: %s', async (_what, reason, bytes) => {
    for (const cuts of [[], [1], [39], [41], [HELLO.byteLength + 1]]) {
      const world = new RpcWorld()
      const server = await world.serve()
      server.handle(ECHO, (call) => call.reply(call.body))
      const friend = await world.client()
      await world.settle(friend.callAsync(ECHO, EMPTY, null, 1000))
      const raw = await world.raw()
      let from = 0
      for (const cut of [...cuts, bytes.byteLength]) {
        raw.send(bytes.subarray(from, cut))
        from = cut
        await world.runMs(2)
      }
      await world.until(() => raw.isClosed && server.connections === 1)
      expect(world.serverCounts.of('rpc_connections_closed_total', reason)).toBe(1)
      expect(server.inflightBytes).toBe(0)
      await world.settle(friend.callAsync(ECHO, EMPTY, null, 1000))
      expect(world.clientCounts.events.length).toBe(1)
    }
  })

  it('says why to a peer of another version', async () => {
    const world = new RpcWorld()
    await world.serve()
    const raw = await world.raw()
    raw.send(framesOf(helloFrame({ versions: { oldest: 9, newest: 12 } })))
    await world.until(() => raw.isClosed)
    const [answer] = raw.frames
    expect(decodeError((answer as RawFrame).body).error.code).toBe('VERSION_MISMATCH')
  })

  it('ends a connection that never says hello', async () => {
    const world = new RpcWorld()
    const server = await world.serve({ handshakeTimeoutMs: 800 })
    const mute = await world.raw()
    const slow = await world.raw()
    for (let i = 0; i < 7; i++) {
      slow.send(HELLO.subarray(i, i + 1))
      await world.runMs(100)
    }
    expect(server.connections).toBe(2)
    await world.runMs(200)
    expect([mute.isClosed, slow.isClosed, server.connections]).toEqual([true, true, 0])
    expect(world.serverCounts.of('rpc_connections_closed_total', 'handshake-timeout')).toBe(2)
  })

  it('ends a connection whose frame never gets whole, and gives back what it claimed', async () => {
    const world = new RpcWorld()
    const server = await world.serve({ partialFrameTimeoutMs: 6000 })
    const raw = await world.raw()
    const frame = framesOf({ ...REQUEST, payload: new Uint8Array(10_000) })
    raw.send(concat([HELLO, frame.subarray(0, 50)]))
    let at = 50
    while (!raw.isClosed && at < 200) {
      raw.send(frame.subarray(at, ++at))
      await world.runMs(200)
      if (at < 60) expect(server.inflightBytes).toBeGreaterThan(10_000)
    }
    expect(world.serverCounts.of('rpc_connections_closed_total', 'slow-frame')).toBe(1)
    expect([server.connections, server.inflightBytes]).toEqual([0, 0])
    expect(at).toBeGreaterThan(75)
    expect(at).toBeLessThan(100)
  })

  it('gives back what a broken-off request had claimed', async () => {
    const world = new RpcWorld()
    const server = await world.serve()
    const raw = await world.raw()
    const frame = framesOf({ ...REQUEST, payload: new Uint8Array(10_000) })
    raw.send(concat([HELLO, frame.subarray(0, 5000)]))
    await world.runMs(10)
    expect(server.inflightBytes).toBe(256 + 4 + 10_000)
    raw.connection?.destroy('enough')
    await world.runMs(10)
    expect([server.connections, server.inflightBytes]).toEqual([0, 0])
    expect(world.serverCounts.of('rpc_connections_closed_total', 'peer-ended')).toBe(1)
  })

  it('does not execute a request whose time was up before it was whole', async () => {
    const world = new RpcWorld()
    const server = await world.serve()
    let handled = 0
    server.handle(ECHO, (call) => {
      handled++
      call.reply(EMPTY)
    })
    const raw = await world.raw()
    const frame = framesOf({ ...REQUEST, budgetMs: 50 })
    raw.send(concat([HELLO, frame.subarray(0, 100)]))
    await world.runMs(60)
    raw.send(frame.subarray(100))
    await world.until(() => raw.frames.length === 2)
    const answer = raw.frames[1] as RawFrame
    expect([answer.kind, answer.callId, handled]).toEqual(['error', 1, 0])
    const { error } = decodeError(answer.body)
    expect([error.code, error.detail]).toEqual(['DEADLINE_EXCEEDED', { executed: false }])
    expect(world.serverCounts.of('rpc_requests_expired_total')).toBe(1)
    expect(server.inflightBytes).toBe(0)
  })

  it('holds so many connections and ends the others at once', async () => {
    const world = new RpcWorld()
    const server = await world.serve({ connectionsMax: 3 })
    server.handle(ECHO, (call) => call.reply(EMPTY))
    const friend = await world.client()
    await world.settle(friend.callAsync(ECHO, EMPTY, null, 1000))
    const flood = await Promise.all(Array.from({ length: 1 }, () => world.raw()))
    for (let i = 0; i < 50; i++) flood.push(await world.raw())
    await world.runMs(10)
    expect(flood.filter((raw) => !raw.isClosed).length).toBe(2)
    expect(world.serverCounts.of('rpc_connections_closed_total', 'too-many-connections')).toBe(49)
    await world.settle(friend.callAsync(ECHO, EMPTY, null, 1000))
    for (const raw of flood) raw.connection?.destroy('over')
    await world.runMs(10)
    expect(server.connections).toBe(1)
    const late = await world.client({}, 'late')
    await world.settle(late.callAsync(ECHO, EMPTY, null, 1000))
  })

  it('stops reading from a peer that does not read its answers', async () => {
    const world = new RpcWorld()
    const server = await world.serve()
    let handled = 0
    server.handle(ECHO, (call) => {
      handled++
      call.reply(EMPTY, new Uint8Array(64 * KIB))
    })
    const raw = await world.raw()
    raw.send(HELLO)
    await world.until(() => raw.frames.length === 1)
    raw.connection?.pause()
    for (let i = 0; i < 500; i++) {
      raw.send(framesOf({ ...REQUEST, callId: i + 1 }))
      if (i % 10 === 0) await world.runMs(1)
    }
    await world.runMs(1000)
    const handledWhilePaused = handled
    // A megabyte or two of answers, not the 31 that were asked for.
    expect(handledWhilePaused).toBeLessThan(60)
    raw.connection?.resume()
    await world.until(() => raw.frames.length === 501)
    expect(handled).toBe(500)
    expect(server.inflightBytes).toBe(0)
  })

  it('gives up a peer that reads nothing for too long, not one that reads slowly', async () => {
    for (const reads of [false, true]) {
      const world = new RpcWorld()
      const server = await world.serve()
      const held: IncomingCall[] = []
      server.handle(HOLD, (call) => void held.push(call))
      const raw = await world.raw()
      const asked = Array.from({ length: 20 }, (_, callId) => ({
        ...REQUEST,
        method: HOLD,
        callId,
      }))
      raw.send(concat([HELLO, framesOf(...asked)]))
      await world.until(() => held.length === 20)
      if (reads) world.network.links.setOwn('server', 'raw', { bytesPerSecond: MIB })
      else raw.connection?.pause()
      for (const call of held) {
        call.reply(EMPTY, new Uint8Array(MIB))
        await world.runMs(1)
      }
      await world.runMs(10_000)
      expect(server.connections).toBe(reads ? 1 : 0)
      const silent = world.serverCounts.of('rpc_connections_closed_total', 'silent')
      expect(silent).toBe(reads ? 0 : 1)
    }
  })

  it('answers the pings of a peer, with their number', async () => {
    const world = new RpcWorld()
    await world.serve()
    const raw = await world.raw()
    raw.send(concat([HELLO, framesOf({ kind: 'ping', callId: 77 }), framesOf({ kind: 'pong' })]))
    await world.until(() => raw.frames.length === 2)
    expect(raw.frames[1]).toMatchObject({ kind: 'pong', callId: 77 })
  })

  it('ends when a peer has said goodbye and has its answers', async () => {
    const world = new RpcWorld()
    const server = await world.serve()
    const held: IncomingCall[] = []
    server.handle(HOLD, (call) => void held.push(call))
    const raw = await world.raw()
    const asked = framesOf({ ...REQUEST, method: HOLD })
    raw.send(concat([HELLO, asked, framesOf({ kind: 'goodbye' })]))
    await world.runMs(100)
    expect(raw.isClosed).toBe(false)
    held[0]?.reply(EMPTY)
    await world.until(() => raw.isClosed)
    await world.runMs(10)
    expect(raw.frames.map((f) => f.kind)).toEqual(['hello-reply', 'reply'])
    expect(world.serverCounts.of('rpc_connections_closed_total', 'closed')).toBe(1)
  })

  it('survives any damage to a conversation, cut anywhere', async () => {
    const world = new RpcWorld()
    const server = await world.serve({ handshakeTimeoutMs: 100, partialFrameTimeoutMs: 2000 })
    server.handle(ECHO, (call) => call.reply(call.body, call.payload))
    server.handleNotify(ECHO, () => {})
    const friend = await world.client()
    const conversation = concat([
      HELLO,
      request,
      framesOf({ kind: 'notify', method: ECHO, payload: new Uint8Array(3000) }),
      framesOf({ kind: 'ping' }),
      framesOf({ ...REQUEST, callId: 2, payload: new Uint8Array(70_000) }),
    ])
    const damage = fc.record({
      changes: fc.array(
        fc.record({
          at: fc.nat({ max: conversation.byteLength - 1 }),
          by: fc.integer({ min: 1, max: 255 }),
        }),
        { maxLength: 4 },
      ),
      headerChanges: fc.array(fc.record({ at: fc.nat({ max: 35 }), to: fc.nat({ max: 255 }) }), {
        maxLength: 2,
      }),
      cuts: fc.array(fc.nat({ max: conversation.byteLength }), { maxLength: 6 }),
      end: fc.nat({ max: conversation.byteLength }),
    })
    await fc.assert(
      fc.asyncProperty(damage, async ({ changes, headerChanges, cuts, end }) => {
        const bytes = conversation.slice()
        for (const { at, by } of changes) bytes[at] = (bytes[at] as number) ^ by
        // A header that is wrong and yet has the right CRC, as a hostile sender can make.
        const start = HELLO.byteLength
        for (const { at, to } of headerChanges) {
          bytes.set(changed(bytes.slice(start), at, to), start)
        }
        const raw = await world.raw()
        let from = 0
        for (const cut of [...cuts.sort((a, b) => a - b), end]) {
          if (cut <= from) continue
          raw.send(bytes.subarray(from, cut))
          from = cut
          await world.runMs(1)
        }
        await world.runMs(5)
        raw.connection?.destroy('over')
        await world.runMs(5)
        const asked = ask(friend, ECHO, Uint8Array.of(7))
        await world.until(() => asked.outcome !== null)
        expect(asked.outcome?.reply?.body).toEqual(Uint8Array.of(7))
        expect([server.connections, server.inflightBytes]).toEqual([1, 0])
      }),
      { numRuns: 300 },
    )
  })
})

/** A server in the hands of a test: `script` is what it does with each connection. */
async function rawServer(world: RpcWorld, script: (stream: RawStream) => void): Promise<void> {
  const env = await world.env('server')
  await world.settle(
    env.network.listen(SERVER_ADDRESS, (connection) => {
      const stream = new RawStream()
      stream.connection = connection
      script(stream)
      return stream
    }),
  )
}

const HELLO_REPLY = framesOf({ ...helloFrame(), kind: 'hello-reply' })

const BAD_SERVERS: readonly (readonly [string, CloseReason, Uint8Array])[] = [
  [
    'noise',
    'bad-magic',
    new TextEncoder().encode('SSH-2.0-OpenSSH_9.2p1 and some more to fill a header'),
  ],
  ['a reply before its hello', 'unexpected-frame', framesOf({ kind: 'reply', callId: 1 })],
  [
    'a hello that ends early',
    'bad-hello',
    framesOf({ kind: 'hello-reply', body: Uint8Array.of(1) }),
  ],
  [
    'a version that is not spoken here',
    'no-common-version',
    framesOf({ ...helloFrame({ versions: { oldest: 9, newest: 9 } }), kind: 'hello-reply' }),
  ],
  ['a request', 'unexpected-frame', concat([HELLO_REPLY, request])],
  ['a second hello', 'unexpected-frame', concat([HELLO_REPLY, HELLO_REPLY])],
  [
    'an error that cannot be read',
    'bad-body',
    concat([HELLO_REPLY, framesOf({ kind: 'error', callId: 1 })]),
  ],
  [
    'a damaged reply',
    'bad-payload',
    concat([HELLO_REPLY, framesOf({ kind: 'reply', callId: 1, payload: EMPTY, payloadCrc: 4 })]),
  ],
  [
    'a reply of 4 GiB',
    'too-large',
    concat([HELLO_REPLY, changed(framesOf({ kind: 'reply', callId: 1 }), 27, 0xff)]),
  ],
]

describe('a client', () => {
  it.each(BAD_SERVERS)('leaves a server that says %s: %s', async (_what, reason, bytes) => {
    const world = new RpcWorld()
    await rawServer(world, (stream) => {
      stream.onFrame = () => {
        stream.send(bytes)
        stream.onFrame = () => {}
      }
    })
    const client = await world.client()
    const asked = ask(client, ECHO, EMPTY, null, 60_000)
    await world.until(() => asked.outcome !== null)
    const code = reason === 'no-common-version' ? 'VERSION_MISMATCH' : 'DISCONNECTED'
    expect(asked.outcome?.error?.code).toBe(code)
    expect(world.clientCounts.of('rpc_connections_closed_total', reason)).toBe(1)
    expect(client.state).toBe('backoff')
  })

  it('leaves a server of another cluster that does not mind itself', async () => {
    const world = new RpcWorld()
    const reply = { ...helloFrame({ clusterId: 'red' }), kind: 'hello-reply' as const }
    await rawServer(world, (stream) => {
      stream.onFrame = () => stream.send(framesOf(reply))
    })
    const client = await world.client({ clusterId: 'blue' })
    const asked = ask(client, ECHO)
    await world.until(() => asked.outcome !== null)
    expect(asked.outcome?.error?.code).toBe('WRONG_CLUSTER')
  })

  it('learns why its hello was refused', async () => {
    const world = new RpcWorld()
    await rawServer(world, (stream) => {
      stream.onFrame = () => {
        const body = encodeError(new LemnisError('VERSION_MISMATCH', { newest: 9 }), 0)
        stream.send(framesOf({ kind: 'error', body }))
      }
    })
    const client = await world.client()
    const asked = ask(client, ECHO)
    await world.until(() => asked.outcome !== null)
    expect(asked.outcome?.error?.code).toBe('VERSION_MISMATCH')
    expect(asked.outcome?.error?.detail).toMatchObject({ newest: 9 })
  })

  it('ignores answers that nobody waits for, double ones among them, and counts them', async () => {
    const world = new RpcWorld()
    await rawServer(world, (stream) => {
      stream.onFrame = (frame) => {
        if (frame.kind === 'hello') {
          stream.send(framesOf({ ...helloFrame(), kind: 'hello-reply' }))
          return
        }
        const reply = { kind: 'reply' as const, callId: frame.callId, body: frame.body }
        const stranger = { ...reply, callId: 4711, payload: new Uint8Array(100_000) }
        const error = encodeError(new LemnisError('CLOSED'), 0)
        stream.send(framesOf(stranger, reply, reply, { kind: 'error', callId: 4712, body: error }))
      }
    })
    const client = await world.client()
    for (let i = 0; i < 3; i++) {
      const reply = await world.settle(client.callAsync(ECHO, Uint8Array.of(i), null, 1000))
      expect(reply.body).toEqual(Uint8Array.of(i))
    }
    await world.runMs(10)
    expect(world.clientCounts.of('rpc_replies_unexpected_total')).toBe(9)
    expect(client.state).toBe('connected')
  })

  it('does not answer pings of a server that takes nothing', async () => {
    const world = new RpcWorld()
    let pings: RawStream | null = null
    await rawServer(world, (stream) => {
      stream.onFrame = () => {
        pings = stream
        stream.send(HELLO_REPLY)
        stream.connection?.pause()
      }
    })
    const client = await world.client()
    client.connect()
    await world.until(() => client.state === 'connected')
    for (let i = 0; i < 4; i++) client.notify(ECHO, EMPTY, new Uint8Array(MIB))
    await world.runMs(10)
    const sent = world.clientCounts.of('rpc_frames_sent_total')
    const flood = framesOf(...Array.from({ length: 100 }, () => ({ kind: 'ping' as const })))
    for (let i = 0; i < 20; i++) (pings as RawStream | null)?.send(flood)
    await world.runMs(100)
    expect(world.clientCounts.of('rpc_frames_received_total')).toBe(2001)
    expect(world.clientCounts.of('rpc_frames_sent_total')).toBe(sent)
  })

  it('understands a server of a later version that says more in its hello', async () => {
    const world = new RpcWorld()
    const hello = encodeHello({
      versions: { oldest: 1, newest: 1 },
      bodyBytesMax: 100,
      payloadBytesMax: 100,
      name: 'newer',
      clusterId: '',
    })
    await rawServer(world, (stream) => {
      stream.onFrame = () =>
        stream.send(framesOf({ kind: 'hello-reply', body: concat([hello, new Uint8Array(50)]) }))
    })
    const client = await world.client()
    client.connect()
    await world.until(() => client.state === 'connected')
    expect(client.peerName).toBe('newer')
  })
})
