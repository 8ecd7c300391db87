// The RPC over real sockets: what only the system's own buffers, pieces and errors can show.

import { mkdtemp, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ask } from '../../test/rpc-world.ts'
import { bytesEqual, EMPTY, viewOf } from '../base/bytes.ts'
import type { LemnisError } from '../base/errors.ts'
import { KIB, MIB } from '../base/units.ts'
import { SILENT } from '../observe/observe.ts'
import { type Reply, RpcClient } from '../rpc/client.ts'
import { rpcConfig } from '../rpc/config.ts'
import { type IncomingCall, RpcServer } from '../rpc/server.ts'
import { nodeEnv } from './env.ts'

const ECHO = 1
const HOLD = 2

const env = nodeEnv(tmpdir())

function pattern(bytes: number, fill = 0): Uint8Array {
  return new Uint8Array(bytes).map((_, i) => i * 7 + fill)
}

function connected(client: RpcClient): Promise<void> {
  return new Promise((done) => {
    client.onStateChange = (state) => {
      if (state === 'connected') done()
    }
    client.connect()
  })
}

async function withServer(
  address: string,
  test: (server: RpcServer, client: RpcClient) => Promise<void>,
): Promise<void> {
  const server = await RpcServer.listen(env, SILENT, address, rpcConfig(), 'server')
  const client = new RpcClient(env, SILENT, server.address, rpcConfig(), 'client')
  try {
    await test(server, client)
  } finally {
    await client.close()
    await server.close()
  }
}

async function echoes(server: RpcServer, client: RpcClient): Promise<void> {
  const kept: Reply[] = []
  server.handle(ECHO, (call) => call.reply(call.body, call.payload, call.payloadCrc))
  const sizes = [0, 1, 64, 1024, 1025, 4096, 70_000, MIB]
  const wanted = Array.from({ length: 120 }, (_, i) => ({
    body: pattern(sizes[i % 5] as number, i),
    payload: pattern(sizes[(i * 3) % sizes.length] as number, i + 1),
  }))
  // In slices, as all of it at once would be more than a client may have queued.
  for (let from = 0; from < wanted.length; from += 40) {
    const slice = wanted.slice(from, from + 40)
    const calls = slice.map((w) => client.callAsync(ECHO, w.body, w.payload, 60_000))
    kept.push(...(await Promise.all(calls)))
  }
  for (const [i, { body, payload }] of wanted.entries()) {
    const reply = kept[i] as Reply
    expect(bytesEqual(reply.body, body) && bytesEqual(reply.payload, payload)).toBe(true)
  }
  expect(server.inflightBytes).toBe(0)
}

describe('the RPC over sockets', () => {
  it('carries calls of every size over TCP', () => withServer('127.0.0.1:0', echoes))

  it('carries calls of every size over a unix socket', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'lemnis-rpc-'))
    await withServer(`unix:${directory}/socket`, echoes)
    await rm(directory, { recursive: true })
  })

  it('keeps notes in order', () =>
    withServer('127.0.0.1:0', async (server, client) => {
      await connected(client)
      const seen: number[] = []
      const all = new Promise<void>((done) => {
        server.handleNotify(ECHO, (note) => {
          if (seen.push(viewOf(note.body).getUint32(0, true)) === 5000) done()
        })
      })
      for (let i = 0; i < 5000; i++) {
        const body = new Uint8Array(4)
        viewOf(body).setUint32(0, i, true)
        expect(client.notify(ECHO, body, pattern(i % 3000))).toBe(true)
      }
      await all
      expect(seen).toEqual(Array.from({ length: 5000 }, (_, i) => i))
    }))

  it('stops reading from a peer that does not read, and loses nothing of what it took', () =>
    withServer('127.0.0.1:0', async (server, client) => {
      // This client's process stands still for the server: nobody takes what comes.
      const lazy = new RpcClient(env, SILENT, server.address, rpcConfig(), 'lazy')
      await connected(lazy)
      server.handle(ECHO, (call) => call.reply(EMPTY, new Uint8Array(MIB)))
      const asked = Array.from({ length: 60 }, () => ask(lazy, ECHO, EMPTY, null, 60_000))
      const other = await client.callAsync(ECHO, EMPTY, null, 60_000)
      expect(other.payload.byteLength).toBe(MIB)
      await lazy.close()
      const sizes = asked.map((a) => a.outcome?.reply?.payload.byteLength)
      expect(sizes).toEqual(asked.map(() => MIB))
    }))

  it('tells calls in flight that the other process is gone', async () => {
    const server = await RpcServer.listen(
      env,
      SILENT,
      '127.0.0.1:0',
      rpcConfig({ closeGraceMs: 20 }),
    )
    const held: IncomingCall[] = []
    const client = new RpcClient(env, SILENT, server.address, rpcConfig(), 'client')
    const arrived = new Promise<void>((done) => {
      server.handle(HOLD, (call) => {
        held.push(call)
        done()
      })
    })
    const call = client.callAsync(HOLD, EMPTY, pattern(64 * KIB), 60_000)
    const failed = call.catch((error: LemnisError) => error.code)
    await arrived
    await server.close()
    expect(await failed).toBe('DISCONNECTED')
    await client.close()
    held[0]?.reply(EMPTY)
    expect(server.inflightBytes).toBe(0)
  })

  it('ends the connection of a stranger and goes on', () =>
    withServer('127.0.0.1:0', async (server, client) => {
      server.handle(ECHO, (call) => call.reply(EMPTY))
      await client.callAsync(ECHO, EMPTY, null, 60_000)
      const port = Number(server.address.split(':')[1])
      const stranger = connect(port, '127.0.0.1')
      stranger.on('error', () => {})
      const ended = new Promise((done) => stranger.on('close', done))
      stranger.write('GET / HTTP/1.1\r\n\r\n')
      await ended
      await client.callAsync(ECHO, EMPTY, null, 60_000)
      expect(server.connections).toBe(1)
    }))
})
