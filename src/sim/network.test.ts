import { describe, expect, it } from 'vitest'
import { describeNetwork } from '../../test/contract/network.ts'
import { concat } from '../base/bytes.ts'
import type { Connection, ConnectionEvents, Network } from '../env/network.ts'
import { SimHost } from './host.ts'
import { SimNetwork } from './network.ts'
import { World } from './world.ts'

interface Pair {
  readonly world: World
  readonly network: SimNetwork
  readonly a: SimHost
  readonly b: SimHost
  readonly netA: Network
  readonly netB: Network
}

async function twoHosts(seed = 1): Promise<Pair> {
  const world = new World({ seed })
  const network = new SimNetwork(world)
  const nets: Network[] = []
  const hosts = ['a', 'b'].map((name) => {
    const host = new SimHost(world, { name, network })
    network.add(host)
    host.start((env) => nets.push(env.network))
    return host
  })
  await world.run({ untilUs: 0 })
  const [a, b] = hosts as [SimHost, SimHost]
  return { world, network, a, b, netA: nets[0] as Network, netB: nets[1] as Network }
}

describeNetwork('sim', async () => {
  const { world, netA, netB } = await twoHosts()
  return {
    listening: netB,
    dialing: netA,
    address: 'b:0',
    nowhere: 'b:9',
    settle: (promise) => world.settle(promise),
    close: async () => {},
  }
})

class Recorder implements ConnectionEvents {
  readonly seen: string[] = []
  readonly received: Uint8Array[] = []
  connection: Connection | null = null
  onOpen(): void {
    this.seen.push('open')
  }
  onData(bytes: Uint8Array): void {
    this.received.push(bytes.slice())
  }
  onDrain(): void {
    this.seen.push('drain')
  }
  onClose(reason: string): void {
    this.seen.push(reason)
  }
  text(): string {
    return new TextDecoder().decode(concat(this.received))
  }
}

function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

async function connected(pair: Pair): Promise<[Recorder, Recorder]> {
  const server = new Recorder()
  await pair.world.settle(
    pair.netB.listen('b:700', (connection) => {
      server.connection = connection
      return server
    }),
  )
  const client = new Recorder()
  client.connection = pair.netA.connect('b:700', client)
  await pair.world.run({ until: () => client.seen.length > 0 && server.seen.length > 0 })
  return [client, server]
}

const SECOND = 1_000_000

describe('simulated network', () => {
  it('stalls over a cut and goes on when it is mended in time', async () => {
    const pair = await twoHosts()
    const [client, server] = await connected(pair)
    pair.network.cut('a', 'b')
    client.connection?.write([bytesOf('hello')])
    await pair.world.run({ untilUs: pair.world.nowUs + 3 * SECOND })
    expect(server.text()).toBe('')
    pair.network.mend('a', 'b')
    await pair.world.run({ untilUs: pair.world.nowUs + SECOND })
    expect(server.text()).toBe('hello')
    expect(client.seen).toEqual(['open'])
  })

  it('breaks the sender over a long cut; the receiver learns it only when it writes', async () => {
    const pair = await twoHosts()
    const [client, server] = await connected(pair)
    pair.network.cut('a', 'b')
    client.connection?.write([bytesOf('hello')])
    await pair.world.run({ untilUs: pair.world.nowUs + 20 * SECOND })
    expect(client.seen).toEqual(['open', 'timed out'])
    expect(server.seen).toEqual(['open'])
    pair.network.mend('a', 'b')
    server.connection?.write([bytesOf('are you there?')])
    await pair.world.run({ untilUs: pair.world.nowUs + SECOND })
    expect(server.seen).toEqual(['open', 'reset by the peer'])
    expect(server.text()).toBe('')
  })

  it('carries the other direction of a one-way cut, whose acknowledgements are lost', async () => {
    const pair = await twoHosts()
    const [client, server] = await connected(pair)
    pair.network.cut('b', 'a')
    client.connection?.write([bytesOf('one way')])
    await pair.world.run({ untilUs: pair.world.nowUs + SECOND })
    expect(server.text()).toBe('one way')
    expect(client.seen).toEqual(['open'])
    await pair.world.run({ untilUs: pair.world.nowUs + 20 * SECOND })
    expect(client.seen).toEqual(['open', 'timed out'])
  })

  it('resets streams of a crashed process, and refuses until somebody listens again', async () => {
    const pair = await twoHosts()
    const [client, server] = await connected(pair)
    pair.b.crash()
    await pair.world.run({ untilUs: pair.world.nowUs + SECOND })
    expect(client.seen).toEqual(['open', 'reset by the peer'])
    expect(server.seen).toEqual(['open'])
    const again = new Recorder()
    pair.netA.connect('b:700', again)
    await pair.world.run({ untilUs: pair.world.nowUs + SECOND })
    expect(again.seen).toEqual(['refused'])
  })

  it('says nothing when the power goes; the next life answers with a reset', async () => {
    const pair = await twoHosts()
    const [client] = await connected(pair)
    pair.b.powerLoss()
    await pair.world.run({ untilUs: pair.world.nowUs + 10 * SECOND })
    expect(client.seen).toEqual(['open'])
    client.connection?.write([bytesOf('hello')])
    const dialing = new Recorder()
    pair.netA.connect('b:700', dialing)
    await pair.world.run({ untilUs: pair.world.nowUs + SECOND })
    expect(client.seen).toEqual(['open'])
    pair.b.start()
    await pair.world.run({ untilUs: pair.world.nowUs + 5 * SECOND })
    expect(client.seen).toEqual(['open', 'reset by the peer'])
    expect(dialing.seen).toEqual(['refused'])
  })

  it('takes in connections and data for a paused process, which sees them when it goes on', async () => {
    const pair = await twoHosts()
    const [client, server] = await connected(pair)
    pair.b.pause()
    client.connection?.write([bytesOf('wait')])
    const late = new Recorder()
    pair.netA.connect('b:700', late)
    await pair.world.run({ untilUs: pair.world.nowUs + 2 * SECOND })
    expect(server.text()).toBe('')
    expect(late.seen).toEqual(['open'])
    pair.b.resume()
    await pair.world.run({ untilUs: pair.world.nowUs + SECOND })
    // Both streams report to the one recorder of the listener.
    expect(server.text()).toBe('wait')
    expect(server.seen).toEqual(['open', 'open'])
  })

  it('loses, doubles and swaps whole writes', async () => {
    const write = async (conditions: object): Promise<string> => {
      const pair = await twoHosts(3)
      const [client, server] = await connected(pair)
      Object.assign(pair.network.links.all, conditions)
      for (const text of ['one ', 'two ', 'three ', 'four '])
        client.connection?.write([bytesOf(text)])
      await pair.world.run({ untilUs: pair.world.nowUs + 20 * SECOND })
      expect(client.seen).toEqual(['open'])
      return server.text()
    }
    expect(await write({})).toBe('one two three four ')
    expect(await write({ loseWriteChance: 1 })).toBe('')
    expect(await write({ duplicateWriteChance: 1 })).toBe('one one two two three three four four ')
    expect((await write({ reorderWriteChance: 0.7 })).split(' ').sort()).toEqual([
      '',
      'four',
      'one',
      'three',
      'two',
    ])
    expect(await write({ reorderWriteChance: 1 })).not.toBe('one two three four ')
    expect(await write({ stallChance: 1, splitChance: 1 })).toBe('one two three four ')
  })

  it('resets both ends at some byte of a write', async () => {
    const pair = await twoHosts(4)
    const [client, server] = await connected(pair)
    pair.network.links.all.resetChance = 1
    client.connection?.write([bytesOf('a long enough text')])
    await pair.world.run({ untilUs: pair.world.nowUs + SECOND })
    expect('a long enough text'.startsWith(server.text())).toBe(true)
    expect(server.seen).toEqual(['open', 'reset by the peer'])
    expect(client.seen).toEqual(['open', 'reset by the peer'])
  })

  it('refuses, gives up and slows down as told', async () => {
    const pair = await twoHosts(5)
    const [client, server] = await connected(pair)
    pair.network.links.all.refuseChance = 1
    const refused = new Recorder()
    pair.netA.connect('b:700', refused)
    await pair.world.run({ untilUs: pair.world.nowUs + SECOND })
    expect(refused.seen).toEqual(['refused'])
    pair.network.links.setOwn('a', 'b', { bytesPerSecond: 1000, refuseChance: 0 })
    client.connection?.write([new Uint8Array(5000)])
    await pair.world.run({ untilUs: pair.world.nowUs + 4 * SECOND })
    expect(server.received.length).toBe(0)
    await pair.world.run({ untilUs: pair.world.nowUs + 2 * SECOND })
    expect(concat(server.received).byteLength).toBe(5000)
    pair.network.cut('b', 'a')
    const unheard = new Recorder()
    pair.netA.connect('b:700', unheard)
    await pair.world.run({ untilUs: pair.world.nowUs + 6 * SECOND })
    expect(unheard.seen).toEqual(['timed out'])
    pair.network.heal()
    const fine = new Recorder()
    pair.netA.connect('b:700', fine)
    await pair.world.run({ untilUs: pair.world.nowUs + SECOND })
    expect(fine.seen).toEqual(['open'])
  })

  it('gives no event to a process that died, and none of its next life to an old stream', async () => {
    const pair = await twoHosts()
    const [client, server] = await connected(pair)
    client.connection?.write([bytesOf('too late')])
    pair.b.crash()
    pair.b.start()
    await pair.world.run({ untilUs: pair.world.nowUs + SECOND })
    expect(server.text()).toBe('')
    expect(server.seen).toEqual(['open'])
    expect(server.connection?.write([bytesOf('ghost')])).toBe(false)
    await pair.world.run({ untilUs: pair.world.nowUs + SECOND })
    expect(client.text()).toBe('')
  })

  it('overwrites lent memory, so that who kept it reads garbage', async () => {
    const pair = await twoHosts()
    const kept: Uint8Array[] = []
    await pair.world.settle(
      pair.netB.listen('b:701', () => ({
        onOpen: () => {},
        onData: (bytes) => kept.push(bytes),
        onDrain: () => {},
        onClose: () => {},
      })),
    )
    const client = new Recorder()
    pair.netA.connect('b:701', client).write([bytesOf('mine')])
    await pair.world.run({ untilUs: pair.world.nowUs + SECOND })
    expect(concat(kept)).toEqual(new Uint8Array(4).fill(0xdb))
  })
})
