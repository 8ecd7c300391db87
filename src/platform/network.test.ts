import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { describeNetwork } from '../../test/contract/network.ts'
import { LemnisError } from '../base/errors.ts'
import type { ConnectionEvents } from '../env/network.ts'
import { NodeNetwork, parseAddress } from './network.ts'

const QUIET: ConnectionEvents = { onOpen() {}, onData() {}, onDrain() {}, onClose() {} }

/** A port that was free a moment ago and that nobody was given since. */
async function unusedPort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const { port } = server.address() as { port: number }
  await new Promise((done) => server.close(done))
  return port
}

describeNetwork('tcp', async () => {
  const network = new NodeNetwork()
  return {
    listening: network,
    dialing: network,
    address: '127.0.0.1:0',
    nowhere: `127.0.0.1:${await unusedPort()}`,
    settle: (promise) => promise,
    close: async () => {},
  }
})

describeNetwork('unix sockets', async () => {
  const network = new NodeNetwork()
  const directory = await mkdtemp(join(tmpdir(), 'lemnis-net-'))
  return {
    listening: network,
    dialing: network,
    address: `unix:${directory}/socket`,
    nowhere: `unix:${directory}/nobody`,
    settle: (promise) => promise,
    close: () => rm(directory, { recursive: true }),
  }
})

describe('addresses', () => {
  it('are host:port, [v6]:port or unix:/path', () => {
    expect(parseAddress('127.0.0.1:80')).toEqual({ host: '127.0.0.1', port: 80 })
    expect(parseAddress('node-1.example:0')).toEqual({ host: 'node-1.example', port: 0 })
    expect(parseAddress('[::1]:65535')).toEqual({ host: '::1', port: 65535 })
    expect(parseAddress('unix:/run/x')).toEqual({ path: '/run/x' })
  })

  it('are refused in any other form', () => {
    const bad = ['', ':1', 'a', 'a:', 'a:b', 'a:65536', 'a:-1', '::1:80', 'unix:', 'a b:1', 'a:1 ']
    for (const address of bad) expect(() => parseAddress(address), address).toThrow(LemnisError)
  })

  it('tell the port that was picked, for IPv4 and IPv6', async () => {
    const network = new NodeNetwork()
    const four = await network.listen('127.0.0.1:0', () => QUIET)
    expect(four.address).toMatch(/^127\.0\.0\.1:[1-9]\d*$/)
    await four.close()
    const six = await network.listen('[::1]:0', () => QUIET)
    expect(six.address).toMatch(/^\[::1\]:[1-9]\d*$/)
    await six.close()
  })
})

describe('a unix socket that a dead process left', () => {
  it('is replaced; a live one is not', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'lemnis-net-'))
    const path = join(directory, 'socket')
    const network = new NodeNetwork()
    // A listener closed behind Node's back leaves its name, as a killed process does.
    const { spawnSync } = await import('node:child_process')
    const script = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`
    spawnSync(process.execPath, ['-e', script])
    expect(await readdir(directory)).toEqual(['socket'])

    const listener = await network.listen(`unix:${path}`, () => QUIET)
    await expect(network.listen(`unix:${path}`, () => QUIET)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      detail: { errno: 'EADDRINUSE' },
    })
    await listener.close()
    await rm(directory, { recursive: true })
  })
})
