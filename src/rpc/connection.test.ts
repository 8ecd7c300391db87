// The life of a connection: made, greeted, kept alive, lost, made again, closed.

import { describe, expect, it } from 'vitest'
import { ask, RpcWorld } from '../../test/rpc-world.ts'
import { EMPTY } from '../base/bytes.ts'
import type { ClientState, RpcClient } from './client.ts'
import type { IncomingCall } from './server.ts'

const ECHO = 1
const HOLD = 2

function statesOf(client: RpcClient): ClientState[] {
  const states: ClientState[] = []
  client.onStateChange = (state) => {
    expect(client.state).toBe(state)
    states.push(state)
  }
  return states
}

async function connected(world: RpcWorld, client: RpcClient): Promise<void> {
  client.connect()
  await world.until(() => client.state === 'connected')
}

describe('a client', () => {
  it('connects at its first call, or when told', async () => {
    const world = new RpcWorld()
    const server = await world.serve()
    server.handle(ECHO, (call) => call.reply(EMPTY))
    const lazy = await world.client()
    await world.runMs(1000)
    expect([lazy.state, server.connections]).toEqual(['idle', 0])
    const states = statesOf(lazy)
    await world.settle(lazy.callAsync(ECHO, EMPTY, null, 1000))
    expect(states).toEqual(['connecting', 'connected'])
    const eager = await world.client()
    await connected(world, eager)
    eager.connect()
    expect(server.connections).toBe(2)
    expect(world.clientCounts.events.map((e) => e.name)).toEqual(['rpc_connected', 'rpc_connected'])
  })

  it('fails calls where nobody listens, at once in a pause, and finds a server that comes', async () => {
    const world = new RpcWorld()
    await world.env('server')
    const client = await world.client()
    const states = statesOf(client)
    const first = ask(client, ECHO, EMPTY, null, 60_000)
    await world.until(() => first.outcome !== null)
    expect(first.outcome?.error?.code).toBe('DISCONNECTED')
    expect(first.outcome?.error?.detail).toMatchObject({ reason: 'connect-failed' })
    expect(client.state).toBe('backoff')
    const second = ask(client, ECHO, EMPTY, null, 60_000)
    expect(second.outcome).toBeNull()
    await world.runMs(1)
    expect(second.outcome?.error?.code).toBe('DISCONNECTED')
    expect(second.outcome?.error?.detail['hintMs']).toBeGreaterThan(0)
    expect(client.notify(ECHO, EMPTY, null)).toBe(false)

    const server = await world.serve()
    server.handle(ECHO, (call) => call.reply(EMPTY))
    await world.until(() => client.state === 'connected')
    await world.settle(client.callAsync(ECHO, EMPTY, null, 1000))
    expect(states.slice(0, 2)).toEqual(['connecting', 'backoff'])
  })

  it('pauses twice as long after each attempt, by chance, up to a bound', async () => {
    const world = new RpcWorld()
    const env = await world.env('client')
    await world.env('server')
    const client = await world.client({ backoffMinMs: 100, backoffMaxMs: 1000 })
    const pausesMs: number[] = []
    let sinceMs = 0
    client.onStateChange = (state) => {
      const nowMs = env.clock.monotonicMs()
      if (state === 'backoff') sinceMs = nowMs
      else if (pausesMs.push(nowMs - sinceMs) === 0) throw new Error('unreachable')
    }
    client.connect()
    await world.runMs(30_000)
    const [, ...pauses] = pausesMs
    for (const [i, pauseMs] of pauses.entries()) {
      const longestMs = Math.min(1000, 100 * 2 ** i)
      expect(pauseMs).toBeGreaterThanOrEqual(longestMs / 2)
      expect(pauseMs).toBeLessThanOrEqual(longestMs + 1)
    }
    expect(pauses.length).toBeGreaterThan(30)
    expect(new Set(pauses.slice(5).map(Math.round)).size).toBeGreaterThan(10)
    expect(world.clientCounts.of('rpc_connections_closed_total', 'connect-failed')).toBe(
      pauses.length + (client.state === 'backoff' ? 1 : 0),
    )
  })

  it('begins with short pauses again once it was connected', async () => {
    const world = new RpcWorld()
    await world.env('server')
    const env = await world.env('client')
    const client = await world.client({ backoffMinMs: 100, backoffMaxMs: 10_000 })
    client.connect()
    await world.runMs(30_000)
    await world.serve()
    await world.until(() => client.state === 'connected')
    world.host('server').crash()
    await world.until(() => client.state === 'backoff')
    const startMs = env.clock.monotonicMs()
    await world.until(() => client.state === 'connecting')
    expect(env.clock.monotonicMs() - startMs).toBeLessThan(110)
  })

  it('gives up an attempt that gets no answer in time', async () => {
    const world = new RpcWorld()
    await world.env('server')
    await world.env('client')
    world.network.cut('client', 'server')
    const client = await world.client({ connectTimeoutMs: 700 })
    const asked = ask(client, ECHO, EMPTY, null, 60_000)
    await world.until(() => asked.outcome !== null)
    expect(asked.outcome?.error?.detail).toMatchObject({ reason: 'connect-timeout' })
    expect(world.world.nowUs).toBeLessThan(800_000)
  })

  it('fails what is in flight when the server dies, and comes back after its restart', async () => {
    const world = new RpcWorld()
    const first = await world.serve()
    first.handle(HOLD, () => {})
    const client = await world.client()
    await connected(world, client)
    const asked = [ask(client, HOLD), ask(client, HOLD)]
    await world.runMs(10)
    world.host('server').crash()
    await world.until(() => asked.every((a) => a.outcome !== null))
    for (const { outcome } of asked) expect(outcome?.error?.code).toBe('DISCONNECTED')
    await world.restart('server')
    const second = await world.serve()
    second.handle(ECHO, (call) => call.reply(EMPTY))
    await world.until(() => client.state === 'connected')
    await world.settle(client.callAsync(ECHO, EMPTY, null, 1000))
    const names = world.clientCounts.events.map((e) => e.name)
    expect(names).toEqual(['rpc_connected', 'rpc_disconnected', 'rpc_connected'])
  })

  it('may be asked again from within the failure of a call', async () => {
    const world = new RpcWorld()
    const server = await world.serve()
    server.handle(HOLD, () => {})
    const client = await world.client()
    await connected(world, client)
    const codes: string[] = []
    const again = (): void => {
      client.call(HOLD, EMPTY, null, 60_000, (error) => {
        codes.push(error?.code ?? 'done')
        if (codes.length < 5) again()
      })
    }
    again()
    await world.runMs(10)
    world.host('server').crash()
    await world.runMs(20)
    expect(codes).toEqual(Array(5).fill('DISCONNECTED'))
    expect(client.pendingCalls).toBe(0)
  })
})

describe('keep-alive', () => {
  it('holds an idle connection', async () => {
    const world = new RpcWorld()
    const server = await world.serve()
    const client = await world.client()
    await connected(world, client)
    await world.runMs(120_000)
    expect([client.state, server.connections]).toEqual(['connected', 1])
    expect(world.serverCounts.events.length).toBe(1)
    // About one ping and one pong a second.
    expect(world.clientCounts.of('rpc_frames_sent_total')).toBeLessThan(260)
  })

  it('finds on both sides that the other one is gone without a word', async () => {
    const world = new RpcWorld()
    const server = await world.serve()
    server.handle(HOLD, () => {})
    const client = await world.client()
    await connected(world, client)
    const asked = ask(client, HOLD, EMPTY, null, 60_000)
    await world.runMs(10)
    world.network.cut('client', 'server')
    world.network.cut('server', 'client')
    await world.runMs(5100)
    expect(asked.outcome?.error?.code).toBe('DISCONNECTED')
    expect(server.connections).toBe(0)
    for (const counts of [world.clientCounts, world.serverCounts]) {
      expect(counts.of('rpc_connections_closed_total', 'silent')).toBe(1)
      expect(counts.events.filter((e) => e.name === 'rpc_peer_silent').length).toBe(1)
    }
  })

  it('does not take its own standstill for the silence of the other side', async () => {
    const world = new RpcWorld()
    const server = await world.serve({ peerSilenceMs: 60_000 })
    const client = await world.client()
    await connected(world, client)
    await world.runMs(1500)
    world.host('client').pause()
    await world.runMs(30_000)
    world.host('client').resume()
    await world.runMs(10_000)
    expect([client.state, server.connections]).toEqual(['connected', 1])
    expect(world.clientCounts.events.length).toBe(1)
  })
})

describe('a graceful close of the server', () => {
  it('lets calls in flight finish, takes no new ones and ends', async () => {
    const world = new RpcWorld()
    const server = await world.serve()
    const held: IncomingCall[] = []
    server.handle(HOLD, (call) => void held.push(call))
    const client = await world.client()
    await connected(world, client)
    const states = statesOf(client)
    const asked = [ask(client, HOLD, EMPTY, null, 60_000), ask(client, HOLD, EMPTY, null, 60_000)]
    await world.until(() => held.length === 2)
    const closed = server.close()
    expect(server.close()).toBe(closed)
    // This one crosses the goodbye on the wire.
    const crossing = ask(client, HOLD)
    await world.runMs(10)
    expect(crossing.outcome?.error?.code).toBe('CLOSED')
    expect(client.state).toBe('leaving')
    const late = ask(client, HOLD)
    expect(client.notify(ECHO, EMPTY, null)).toBe(false)
    await world.runMs(10)
    expect(late.outcome?.error?.code).toBe('DISCONNECTED')
    for (const call of held) call.reply(Uint8Array.of(9))
    await world.settle(closed)
    await world.runMs(10)
    for (const { outcome } of asked) expect(outcome?.reply?.body).toEqual(Uint8Array.of(9))
    expect(server.connections).toBe(0)
    expect(states.slice(0, 2)).toEqual(['leaving', 'backoff'])
    expect(world.serverCounts.of('rpc_connections_closed_total', 'closed')).toBe(1)
  })

  it('waits no longer than its grace for a handler', async () => {
    const world = new RpcWorld()
    const server = await world.serve({ closeGraceMs: 300 })
    let held: IncomingCall | null = null
    server.handle(HOLD, (call) => {
      held = call
    })
    const client = await world.client()
    const asked = ask(client, HOLD, EMPTY, null, 60_000)
    await world.until(() => held !== null)
    const startUs = world.world.nowUs
    await world.settle(server.close())
    expect(world.world.nowUs - startUs).toBeLessThan(310_000)
    await world.runMs(10)
    expect(asked.outcome?.error?.code).toBe('DISCONNECTED')
    // The handler comes too late; that harms nobody.
    const late = held as IncomingCall | null
    late?.reply(EMPTY)
    expect(server.inflightBytes).toBe(0)
  })

  it('ends connections that were never greeted, and refuses ones that come', async () => {
    const world = new RpcWorld()
    const server = await world.serve()
    server.handle(HOLD, () => {})
    const greeted = await world.client()
    ask(greeted, HOLD)
    await world.runMs(5)
    const raw = await world.raw()
    await world.until(() => server.connections === 2)
    const closed = server.close()
    await world.until(() => raw.isClosed)
    const late = await world.raw()
    await world.until(() => late.isClosed)
    await world.settle(closed)
    expect(server.connections).toBe(0)
  })

  it('with nothing connected is done at once', async () => {
    const world = new RpcWorld()
    const server = await world.serve()
    await world.settle(server.close())
    expect(server.connections).toBe(0)
  })
})

describe('a graceful close of a client', () => {
  it('lets calls in flight finish and takes no new ones', async () => {
    const world = new RpcWorld()
    const server = await world.serve()
    const held: IncomingCall[] = []
    server.handle(HOLD, (call) => void held.push(call))
    const client = await world.client()
    const asked = ask(client, HOLD)
    await world.until(() => held.length === 1)
    const closed = client.close()
    expect(client.close()).toBe(closed)
    const late = ask(client, HOLD)
    await world.runMs(10)
    expect(late.outcome?.error?.code).toBe('CLOSED')
    expect(client.notify(ECHO, EMPTY, null)).toBe(true)
    held[0]?.reply(EMPTY)
    await world.settle(closed)
    await world.runMs(5000)
    expect(asked.outcome?.error).toBeNull()
    expect([client.state, server.connections]).toEqual(['closed', 0])
    expect(world.serverCounts.of('rpc_connections_closed_total', 'closed')).toBe(1)
    client.connect()
    expect(client.state).toBe('closed')
  })

  it('waits no longer than its grace for an answer', async () => {
    const world = new RpcWorld()
    const server = await world.serve()
    server.handle(HOLD, () => {})
    const client = await world.client({ closeGraceMs: 300 })
    const asked = ask(client, HOLD, EMPTY, null, 60_000)
    await world.runMs(10)
    await world.settle(client.close())
    expect(asked.outcome?.error?.code).toBe('CLOSED')
    expect(client.state).toBe('closed')
  })

  it('ends whatever state it is in', async () => {
    const world = new RpcWorld()
    const idle = await world.client()
    await world.settle(idle.close())
    expect(idle.state).toBe('closed')

    await world.env('server')
    const pausing = await world.client()
    pausing.connect()
    await world.until(() => pausing.state === 'backoff')
    await world.settle(pausing.close())
    await world.runMs(10_000)
    expect(pausing.state).toBe('closed')

    const connecting = await world.client()
    connecting.connect()
    expect(connecting.state).toBe('connecting')
    world.network.cut('client', 'server')
    const startUs = world.world.nowUs
    await world.settle(connecting.close())
    expect(connecting.state).toBe('closed')
    expect(world.world.nowUs - startUs).toBeLessThan(1_000_000)
  })

  it('ends when the connection is lost meanwhile', async () => {
    const world = new RpcWorld()
    const server = await world.serve()
    server.handle(HOLD, () => {})
    const client = await world.client({ closeGraceMs: 60_000 })
    ask(client, HOLD, EMPTY, null, 120_000)
    await world.runMs(10)
    const closed = client.close()
    world.host('server').crash()
    await world.settle(closed)
    expect(client.state).toBe('closed')
    expect(world.world.nowUs).toBeLessThan(1_000_000)
    const states = statesOf(client)
    await world.runMs(10_000)
    expect(states).toEqual([])
  })

  it('does not wait for a server that takes nothing any more', async () => {
    const world = new RpcWorld()
    await world.serve()
    const client = await world.client({ closeGraceMs: 300 })
    await connected(world, client)
    world.host('server').pause()
    await world.settle(client.close())
    expect(client.state).toBe('closed')
    expect(world.world.nowUs).toBeLessThan(1_000_000)
  })
})

describe('the handshake', () => {
  it('keeps clusters apart, with the reason', async () => {
    const world = new RpcWorld()
    const server = await world.serve({ clusterId: 'blue' })
    server.handle(ECHO, (call) => call.reply(EMPTY))
    const stranger = await world.client({ clusterId: 'red' })
    const asked = ask(stranger, ECHO, EMPTY, null, 60_000)
    await world.until(() => asked.outcome !== null)
    expect(asked.outcome?.error?.code).toBe('WRONG_CLUSTER')
    expect(asked.outcome?.error?.detail).toMatchObject({ clusterId: 'blue' })
    expect(world.clientCounts.of('rpc_connections_closed_total', 'wrong-cluster')).toBe(1)
    for (const clusterId of ['blue', '']) {
      const friend = await world.client({ clusterId })
      await world.settle(friend.callAsync(ECHO, EMPTY, null, 1000))
    }
  })
})
