// Calls and notes between a client and a server that both behave.

import { describe, expect, it } from 'vitest'
import { ask, RpcWorld, SERVER_ADDRESS } from '../../test/rpc-world.ts'
import { bytesEqual, EMPTY } from '../base/bytes.ts'
import { crc32cPure } from '../base/crc32c.ts'
import { LemnisError } from '../base/errors.ts'
import { KIB, MIB } from '../base/units.ts'
import type { Env } from '../env/env.ts'
import { METHODS } from '../format/methods.ts'
import { SILENT } from '../observe/observe.ts'
import { CALM } from '../sim/links.ts'
import { RpcClient } from './client.ts'
import { rpcConfig } from './config.ts'
import { type IncomingCall, RpcServer } from './server.ts'

const ECHO = 1
const HOLD = 2
const FAIL = 3

function pattern(bytes: number, fill = 0): Uint8Array {
  return new Uint8Array(bytes).map((_, i) => i * 7 + fill)
}

describe('calls', () => {
  it('carry body and payload of every size there and back, with the name of the caller', async () => {
    const world = new RpcWorld()
    const server = await world.serve()
    const client = await world.client()
    server.handle(ECHO, (call) => {
      expect([call.peerName, call.method]).toEqual(['client', ECHO])
      expect(call.payloadCrc).toBe(crc32cPure(call.payload))
      call.reply(call.body, call.payload, call.payloadCrc)
    })
    for (const bodyBytes of [0, 1, 1024, 1025, 70_000]) {
      for (const payloadBytes of [0, 1, 1024, 4096, MIB]) {
        const body = pattern(bodyBytes, 1)
        const payload = pattern(payloadBytes, 2)
        const reply = await world.settle(client.callAsync(ECHO, body, payload, 60_000))
        expect(bytesEqual(reply.body, body) && bytesEqual(reply.payload, payload)).toBe(true)
        expect(reply.payloadCrc).toBe(crc32cPure(payload))
      }
    }
    expect(client.peerName).toBe('the server')
    expect([server.connections, server.inflightBytes]).toEqual([1, 0])
    expect(world.serverCounts.gauges.get('rpc_connections')?.()).toBe(1)
    expect(world.serverCounts.gauges.get('rpc_inflight_bytes')?.()).toBe(0)
    expect(world.clientCounts.of('rpc_call_seconds')).toBe(25)
  })

  it('are counted by their method at the server, with their time, failures and bytes', async () => {
    const world = new RpcWorld()
    const server = await world.serve()
    const client = await world.client()
    server.handle(ECHO, (call) => call.reply(EMPTY, pattern(300)), 'echo')
    server.handle(FAIL, (call) => call.fail(new LemnisError('IN_USE')))
    for (let i = 0; i < 3; i++) {
      await world.settle(client.callAsync(ECHO, pattern(10), pattern(100), 60_000))
    }
    await expect(world.settle(client.callAsync(FAIL, EMPTY, null, 60_000))).rejects.toThrow(
      'IN_USE',
    )
    const unknown = client.callAsync(METHODS.CHUNK_READ, EMPTY, null, 60_000)
    await expect(world.settle(unknown)).rejects.toThrow('UNKNOWN_METHOD')
    const counts = (method: string): number[] =>
      [
        'rpc_server_seconds',
        'rpc_server_failed_total',
        'rpc_server_received_bytes_total',
        'rpc_server_sent_bytes_total',
      ].map((name) => world.serverCounts.of(name, method))
    expect(counts('echo')).toEqual([3, 0, 330, 900])
    expect(counts('0x0003')).toEqual([1, 1, 0, 0])
    expect(counts('unknown')).toEqual([1, 1, 0, 0])
    server.handleNotify(METHODS.RAFT_BATCH, () => {})
    client.notify(METHODS.RAFT_BATCH, pattern(5), pattern(7))
    await world.until(() => world.serverCounts.of('rpc_server_notes_total', 'raft.batch') === 1)
    expect(world.serverCounts.of('rpc_server_received_bytes_total', 'raft.batch')).toBe(12)
  })

  it('come through when both sides have more to send than any buffer holds', async () => {
    const world = new RpcWorld()
    const server = await world.serve()
    const client = await world.client()
    server.handle(ECHO, (call) => call.reply(EMPTY, call.payload, call.payloadCrc))
    client.connect()
    await world.until(() => client.state === 'connected')
    const payload = pattern(MIB)
    const asked: ReturnType<typeof ask>[] = []
    // Turn by turn, so that the streams are full of many pieces.
    for (let i = 0; i < 50; i++) {
      asked.push(ask(client, ECHO, EMPTY, payload, 60_000))
      await world.runMs(0)
    }
    await world.until(() => asked.every((a) => a.outcome !== null))
    expect(asked.map((a) => a.outcome?.error?.code ?? 'done')).toEqual(asked.map(() => 'done'))
  })

  it('are answered in any order, each to its own', async () => {
    const world = new RpcWorld()
    const server = await world.serve()
    const client = await world.client()
    const env = await world.env('server')
    server.handle(ECHO, (call) => {
      env.clock.after(env.random.between(0, 50), () => call.reply(call.body, call.payload))
    })
    const asked = Array.from({ length: 300 }, (_, i) =>
      ask(client, ECHO, pattern(i, i), pattern(i * 9, i), 10_000),
    )
    await world.until(() => asked.every((a) => a.outcome !== null))
    for (const [i, { outcome }] of asked.entries()) {
      expect(bytesEqual(outcome?.reply?.body ?? EMPTY, pattern(i, i))).toBe(true)
      expect(bytesEqual(outcome?.reply?.payload ?? EMPTY, pattern(i * 9, i))).toBe(true)
    }
    expect(client.pendingCalls).toBe(0)
  })

  it('leave memory that handlers and callers may keep', async () => {
    const world = new RpcWorld()
    const server = await world.serve()
    const client = await world.client()
    const kept: IncomingCall[] = []
    server.handle(ECHO, (call) => {
      kept.push(call)
      call.reply(call.body, call.payload)
    })
    const replies = []
    for (let i = 0; i < 50; i++) {
      const bytes = [10, 1000, 5000][i % 3] as number
      replies.push(
        await world.settle(client.callAsync(ECHO, pattern(20, i), pattern(bytes, i), 1000)),
      )
    }
    for (let i = 0; i < 50; i++) {
      const bytes = [10, 1000, 5000][i % 3] as number
      for (const side of [kept[i], replies[i]]) {
        expect(bytesEqual(side?.body ?? EMPTY, pattern(20, i))).toBe(true)
        expect(bytesEqual(side?.payload ?? EMPTY, pattern(bytes, i))).toBe(true)
      }
    }
  })

  it('bring errors with their code, detail and hint', async () => {
    const world = new RpcWorld()
    const server = await world.serve()
    const client = await world.client()
    server.handle(FAIL, (call) => call.fail(new LemnisError('NOT_LEADER', { leader: 3 }), 70))
    server.handle(HOLD, () => {
      throw new LemnisError('NO_SPACE', { disk: 'a' })
    })
    const asked = [ask(client, FAIL), ask(client, HOLD), ask(client, 99)]
    await world.until(() => asked.every((a) => a.outcome !== null))
    const [failed, thrown, unknown] = asked.map((a) => a.outcome?.error)
    expect(failed?.code).toBe('NOT_LEADER')
    expect(failed?.detail).toEqual({ leader: 3, hintMs: 70, peer: 'the server' })
    expect(thrown?.code).toBe('NO_SPACE')
    expect(thrown?.detail).toEqual({ disk: 'a', peer: 'the server' })
    expect(unknown?.code).toBe('UNKNOWN_METHOD')
    expect(unknown?.detail).toMatchObject({ method: 99 })
    for (const code of ['NOT_LEADER', 'NO_SPACE', 'UNKNOWN_METHOD']) {
      expect(world.clientCounts.of('rpc_calls_failed_total', code)).toBe(1)
    }
    await expect(world.settle(client.callAsync(FAIL, EMPTY, null, 100))).rejects.toMatchObject({
      code: 'NOT_LEADER',
    })
    expect(server.inflightBytes).toBe(0)
  })

  it('do not hide a bug of a handler', async () => {
    for (const handler of [
      () => {
        throw new TypeError('a bug')
      },
      (call: IncomingCall) => {
        call.reply(EMPTY)
        call.reply(EMPTY)
      },
    ]) {
      const world = new RpcWorld()
      const server = await world.serve()
      const client = await world.client()
      server.handle(ECHO, handler)
      ask(client, ECHO)
      await expect(world.runMs(1000)).rejects.toThrow(/a bug|answered once/)
    }
  })

  it('leave in one gathered write a turn, and so do their answers', async () => {
    const world = new RpcWorld()
    const server = await world.serve()
    const real = await world.env('client')
    let writes = 0
    const counting: Env = {
      ...real,
      network: {
        listen: (address, accept) => real.network.listen(address, accept),
        connect: (address, events) => {
          const connection = real.network.connect(address, events)
          const write = connection.write.bind(connection)
          connection.write = (parts) => {
            writes++
            return write(parts)
          }
          return connection
        },
      },
    }
    const client = new RpcClient(counting, SILENT, SERVER_ADDRESS, rpcConfig(), 'client')
    server.handle(ECHO, (call) => call.reply(call.body))
    await world.settle(client.callAsync(ECHO, EMPTY, null, 1000))
    const before = writes
    const asked = Array.from({ length: 20 }, () => ask(client, ECHO, pattern(10), pattern(4096)))
    await world.until(() => asked.every((a) => a.outcome !== null))
    expect(writes - before).toBe(1)
  })

  it('believe a CRC that is given, so that damage before the client is found', async () => {
    const world = new RpcWorld()
    const server = await world.serve()
    const client = await world.client()
    server.handle(ECHO, (call) => call.reply(EMPTY))
    let outcome = ''
    const payload = pattern(4096)
    client.call(ECHO, EMPTY, payload, 1000, (error) => (outcome = error?.code ?? 'done'), 12_345)
    await world.until(() => outcome !== '')
    expect(outcome).toBe('DISCONNECTED')
    expect(world.serverCounts.of('rpc_connections_closed_total', 'bad-payload')).toBe(1)
    client.call(ECHO, EMPTY, payload, 1000, () => {}, crc32cPure(payload))
    await world.runMs(200)
    const fine = ask(client, ECHO)
    await world.until(() => fine.outcome !== null)
    expect(fine.outcome?.error).toBeNull()
  })

  it('too large for the other side are refused here, without harm to the connection', async () => {
    const world = new RpcWorld()
    const server = await world.serve({ bodyBytesMax: KIB, payloadBytesMax: 4 * KIB })
    const client = await world.client()
    server.handle(ECHO, (call) => call.reply(EMPTY, pattern(call.body[0] === 1 ? 20 * MIB : 10)))
    // The first one waits for the connection and learns the limits only then.
    const early = ask(client, ECHO, EMPTY, pattern(4 * KIB + 1))
    await world.until(() => early.outcome !== null)
    expect(early.outcome?.error?.code).toBe('INVALID_ARGUMENT')
    const bodies = [
      ask(client, ECHO, pattern(KIB + 1)),
      ask(client, ECHO, EMPTY, pattern(4 * KIB + 1)),
      ask(client, ECHO, pattern(KIB), pattern(4 * KIB)),
      ask(client, ECHO, Uint8Array.of(1)),
    ]
    expect(client.notify(ECHO, EMPTY, pattern(4 * KIB + 1))).toBe(false)
    await world.until(() => bodies.every((a) => a.outcome !== null))
    const codes = bodies.map((a) => a.outcome?.error?.code ?? 'done')
    expect(codes).toEqual(['INVALID_ARGUMENT', 'INVALID_ARGUMENT', 'done', 'INTERNAL'])
    expect(client.state).toBe('connected')
  })
})

describe('deadlines', () => {
  it('end a call that nobody answers, and its late answer is dropped', async () => {
    const world = new RpcWorld()
    const server = await world.serve()
    const client = await world.client()
    const held: IncomingCall[] = []
    server.handle(HOLD, (call) => void held.push(call))
    server.handle(ECHO, (call) => call.reply(EMPTY))
    await world.settle(client.callAsync(ECHO, EMPTY, null, 1000))
    const env = await world.env('client')
    const startMs = env.clock.monotonicMs()
    const asked = ask(client, HOLD, EMPTY, null, 500)
    await world.until(() => asked.outcome !== null)
    expect(asked.outcome?.error?.code).toBe('DEADLINE_EXCEEDED')
    expect(asked.outcome?.error?.detail).toMatchObject({ budgetMs: 500 })
    const waitedMs = env.clock.monotonicMs() - startMs
    expect(waitedMs).toBeGreaterThanOrEqual(500)
    expect(waitedMs).toBeLessThan(520)

    held[0]?.reply(EMPTY, pattern(100))
    await world.runMs(100)
    expect(world.clientCounts.of('rpc_replies_unexpected_total')).toBe(1)
    expect(client.state).toBe('connected')
  })

  it('are told to the handler on its own clock; without one it may take for ever', async () => {
    const world = new RpcWorld()
    const server = await world.serve()
    const client = await world.client()
    const env = await world.env('server')
    const left: number[] = []
    server.handle(HOLD, (call) => {
      left.push(call.deadlineMs - env.clock.monotonicMs())
      if (left.length === 3) env.clock.after(3_600_000, () => call.reply(EMPTY))
      else call.reply(EMPTY)
    })
    await world.settle(client.callAsync(HOLD, EMPTY, null, 400))
    await world.settle(client.callAsync(HOLD, EMPTY, null, 2 ** 40))
    expect(left[0]).toBeLessThanOrEqual(400)
    expect(left[0]).toBeGreaterThan(390)
    expect(left[1]).toBe(Number.POSITIVE_INFINITY)
    await world.settle(client.callAsync(HOLD, EMPTY, null, Number.POSITIVE_INFINITY))
    expect(left[2]).toBe(Number.POSITIVE_INFINITY)
  })

  it('that have passed refuse the call here, later and not from within', async () => {
    const world = new RpcWorld()
    await world.serve()
    const client = await world.client()
    for (const budgetMs of [0, -5, Number.NaN]) {
      const asked = ask(client, ECHO, EMPTY, null, budgetMs)
      expect(asked.outcome).toBeNull()
      await world.until(() => asked.outcome !== null)
      expect(asked.outcome?.error?.code).toBe('DEADLINE_EXCEEDED')
    }
    expect(client.state).toBe('idle')
  })

  it('run while the connection is being made, and what ran out is not sent', async () => {
    const world = new RpcWorld()
    const server = await world.serve()
    const handled: number[] = []
    server.handle(ECHO, (call) => {
      handled.push(call.body[0] as number)
      call.reply(EMPTY)
    })
    await world.env('client')
    world.network.cut('client', 'server')
    const client = await world.client()
    const short = ask(client, ECHO, Uint8Array.of(1), null, 300)
    const long = ask(client, ECHO, Uint8Array.of(2), null, 10_000)
    await world.runMs(400)
    expect(short.outcome?.error?.code).toBe('DEADLINE_EXCEEDED')
    expect([client.state, long.outcome]).toEqual(['connecting', null])
    world.network.mend('client', 'server')
    await world.until(() => long.outcome !== null)
    expect(long.outcome?.error).toBeNull()
    expect(handled).toEqual([2])
  })
})

describe('bounds', () => {
  it('refuse requests over the bytes of a connection at once, and take them again later', async () => {
    const world = new RpcWorld()
    const config = { bodyBytesMax: KIB, payloadBytesMax: 64 * KIB }
    const limit = { connectionInflightBytesMax: 256 * KIB, serverInflightBytesMax: MIB }
    const server = await world.serve({ ...config, ...limit })
    const client = await world.client()
    const held: IncomingCall[] = []
    server.handle(HOLD, (call) => void held.push(call))
    const asked = Array.from({ length: 6 }, () => ask(client, HOLD, EMPTY, pattern(60 * KIB), 9000))
    await world.runMs(500)
    expect(held.length).toBe(4)
    for (const { outcome } of asked.slice(4)) {
      expect(outcome?.error?.code).toBe('OVERLOADED')
      expect(outcome?.error?.detail['hintMs']).toBe(20)
    }
    expect(server.inflightBytes).toBe(4 * (60 * KIB + 256))
    expect(world.serverCounts.of('rpc_overloaded_total')).toBe(2)
    // Notes pass: they carry what lets requests finish.
    let notes = 0
    server.handleNotify(ECHO, () => notes++)
    expect(client.notify(ECHO, EMPTY, pattern(60 * KIB))).toBe(true)
    await world.runMs(100)
    expect(notes).toBe(1)

    held[0]?.reply(EMPTY)
    held[1]?.fail(new LemnisError('NO_SPACE'))
    const again = [ask(client, HOLD, EMPTY, pattern(60 * KIB)), ask(client, HOLD)]
    await world.runMs(100)
    expect(held.length).toBe(6)
    for (const call of held.slice(2)) call.reply(EMPTY)
    await world.until(() => again.every((a) => a.outcome !== null))
    expect(server.inflightBytes).toBe(0)
  })

  it('count answers that are not sent yet among the bytes of their connection', async () => {
    const world = new RpcWorld()
    const server = await world.serve({
      bodyBytesMax: KIB,
      payloadBytesMax: 64 * KIB,
      connectionInflightBytesMax: 256 * KIB,
    })
    server.handle(ECHO, (call) => call.reply(EMPTY, new Uint8Array(50 * KIB)))
    const client = await world.client()
    // All in one piece, so that the answers of the first ones are still there at the last ones.
    const asked = Array.from({ length: 30 }, () => ask(client, ECHO, EMPTY, null, 9000))
    await world.until(() => asked.every((a) => a.outcome !== null))
    const done = asked.filter((a) => a.outcome?.error === null).length
    const refused = asked.filter((a) => a.outcome?.error?.code === 'OVERLOADED').length
    expect(done + refused).toBe(30)
    expect(done).toBeGreaterThanOrEqual(5)
    expect(done).toBeLessThanOrEqual(10)
  })

  it('hold for all connections of a server together, and for empty requests too', async () => {
    const world = new RpcWorld()
    const config = { bodyBytesMax: KIB, payloadBytesMax: KIB }
    const limit = { connectionInflightBytesMax: 8 * KIB, serverInflightBytesMax: 12 * KIB }
    const server = await world.serve({ ...config, ...limit })
    const held: IncomingCall[] = []
    server.handle(HOLD, (call) => void held.push(call))
    const asked: ReturnType<typeof ask>[] = []
    for (const host of ['one', 'two']) {
      const client = await world.client({}, host)
      for (let i = 0; i < 40; i++) asked.push(ask(client, HOLD, EMPTY, null, 60_000))
      await world.runMs(500)
    }
    // 256 bytes a call: 32 on the first connection, then what the server has left.
    expect(held.length).toBe(48)
    expect(asked.filter((a) => a.outcome?.error?.code === 'OVERLOADED').length).toBe(32)
    for (const call of held) call.reply(EMPTY)
    await world.until(() => asked.every((a) => a.outcome !== null))
    expect(server.inflightBytes).toBe(0)
  })

  it('keep the claim of a request whose connection is gone until its handler is done', async () => {
    const world = new RpcWorld()
    const server = await world.serve()
    const client = await world.client()
    const held: IncomingCall[] = []
    server.handle(HOLD, (call) => void held.push(call))
    ask(client, HOLD, EMPTY, pattern(KIB), 60_000)
    await world.until(() => held.length === 1)
    world.host('client').crash()
    await world.runMs(100)
    expect([server.connections, server.inflightBytes]).toEqual([0, KIB + 256])
    held[0]?.reply(EMPTY, pattern(10))
    expect(server.inflightBytes).toBe(0)
  })

  it('refuse calls and notes of a client that has too much queued or waiting', async () => {
    const world = new RpcWorld()
    const small = { bodyBytesMax: KIB, payloadBytesMax: 64 * KIB, clientQueuedBytesMax: 256 * KIB }
    const server = await world.serve()
    server.handle(HOLD, () => {})
    server.handle(ECHO, (call) => call.reply(EMPTY))
    const client = await world.client({ ...small, clientCallsMax: 10 })
    // While connecting, bytes that wait count.
    const asked = Array.from({ length: 5 }, () => ask(client, ECHO, EMPTY, pattern(60 * KIB)))
    expect(client.notify(ECHO, EMPTY, null)).toBe(false)
    await world.until(() => asked.every((a) => a.outcome !== null))
    expect(asked.map((a) => a.outcome?.error?.code ?? 'done')).toEqual([
      ...['done', 'done', 'done', 'done'],
      'OVERLOADED',
    ])
    // Connected, what the system has not taken yet counts.
    const more = Array.from({ length: 5 }, () => ask(client, ECHO, EMPTY, pattern(60 * KIB)))
    expect(client.notify(ECHO, EMPTY, pattern(60 * KIB))).toBe(false)
    expect(client.notify(ECHO, EMPTY, pattern(KIB))).toBe(true)
    await world.until(() => more.every((a) => a.outcome !== null))
    expect(more.filter((a) => a.outcome?.error?.code === 'OVERLOADED').length).toBe(1)
    expect(world.clientCounts.of('rpc_notes_dropped_total', 'not-connected')).toBe(1)
    expect(world.clientCounts.of('rpc_notes_dropped_total', 'queue-full')).toBe(1)
    // Calls count too.
    const held = Array.from({ length: 12 }, () => ask(client, HOLD))
    await world.runMs(50)
    expect(held.filter((a) => a.outcome?.error?.code === 'OVERLOADED').length).toBe(2)
    expect(client.pendingCalls).toBe(10)
  })
})

describe('notes', () => {
  it('arrive in order; what nobody handles or a handler refuses is counted', async () => {
    const world = new RpcWorld()
    const server = await world.serve()
    const client = await world.client()
    const seen: number[] = []
    server.handleNotify(1, (note) => {
      expect([note.peerName, note.method]).toEqual(['client', 1])
      expect(note.payloadCrc).toBe(crc32cPure(note.payload))
      seen.push(note.body[0] as number)
    })
    server.handleNotify(2, () => {
      throw new LemnisError('CORRUPT')
    })
    // The first one starts the connection and is dropped.
    expect(client.notify(1, Uint8Array.of(0), null)).toBe(false)
    await world.until(() => client.state === 'connected')
    for (let i = 1; i <= 100; i++) {
      expect(client.notify(1, Uint8Array.of(i), pattern(i * 20))).toBe(true)
    }
    client.notify(2, EMPTY, null)
    client.notify(3, EMPTY, null)
    await world.runMs(100)
    expect(seen).toEqual(Array.from({ length: 100 }, (_, i) => i + 1))
    expect(world.serverCounts.of('rpc_notes_dropped_total', 'CORRUPT')).toBe(1)
    expect(world.serverCounts.of('rpc_notes_dropped_total', 'unknown-method')).toBe(1)
  })

  it('do not hide a bug of a handler', async () => {
    const world = new RpcWorld()
    const server = await world.serve()
    const client = await world.client()
    server.handleNotify(1, () => {
      throw new TypeError('a bug')
    })
    client.connect()
    await world.until(() => client.state === 'connected')
    client.notify(1, EMPTY, null)
    await expect(world.runMs(100)).rejects.toThrow(/a bug/)
  })
})

describe('many hosts', () => {
  it('call each other over a bad network, and every call ends once', async () => {
    for (const seed of [1, 2, 3, 4, 5]) {
      const world = new RpcWorld(seed)
      const server = await world.serve()
      server.handle(ECHO, (call) => call.reply(call.body, call.payload, call.payloadCrc))
      world.network.links.change({
        splitChance: 0.5,
        stallChance: 0.01,
        resetChance: 0.005,
        loseWriteChance: 0.01,
        duplicateWriteChance: 0.01,
        reorderWriteChance: 0.01,
      })
      const asked: ReturnType<typeof ask>[] = []
      const wanted: Uint8Array[] = []
      const clients = []
      for (const host of ['a', 'b', 'c']) clients.push(await world.client({}, host))
      for (let round = 0; round < 100; round++) {
        for (const client of clients) {
          const body = pattern(round * 3, asked.length)
          wanted.push(body)
          asked.push(ask(client, ECHO, body, pattern(round * 100), 500))
        }
        await world.runMs(20)
      }
      await world.until(() => asked.every((a) => a.outcome !== null))
      const done = asked.filter((a) => a.outcome?.reply !== null).length
      expect(done).toBeGreaterThan(30)
      for (const [i, { outcome }] of asked.entries()) {
        if (outcome?.reply) expect(bytesEqual(outcome.reply.body, wanted[i] ?? EMPTY)).toBe(true)
        else expect(['DISCONNECTED', 'DEADLINE_EXCEEDED']).toContain(outcome?.error?.code)
      }
      expect(server.inflightBytes).toBe(0)

      world.network.links.change(CALM)
      await world.runMs(10_000)
      for (const client of clients) {
        await world.settle(client.callAsync(ECHO, EMPTY, null, 5000))
      }
    }
  })

  it('may listen under the address as a name', async () => {
    const world = new RpcWorld()
    const env = await world.env('server')
    const server = await world.settle(RpcServer.listen(env, SILENT, SERVER_ADDRESS, rpcConfig()))
    expect(server.address).toBe(SERVER_ADDRESS)
    const client = await world.client()
    client.connect()
    await world.until(() => client.state === 'connected')
    expect(client.peerName).toBe(SERVER_ADDRESS)
  })
})
