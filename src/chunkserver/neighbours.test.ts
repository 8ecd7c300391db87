import { describe, expect, it } from 'vitest'
import { must } from '../base/assert.ts'
import { LemnisError } from '../base/errors.ts'
import type { HostId } from '../copyset/replica-id.ts'
import type { Env } from '../env/env.ts'
import { SILENT } from '../observe/observe.ts'
import { rpcConfig } from '../rpc/config.ts'
import { SimHost } from '../sim/host.ts'
import { SimNetwork } from '../sim/network.ts'
import { World } from '../sim/world.ts'
import { Neighbours } from './neighbours.ts'

const HOST = 4 as HostId

/** What a chunkserver knows, in one life after the other. */
class Lives {
  readonly world = new World({ seed: 5 })
  readonly host: SimHost

  constructor() {
    const network = new SimNetwork(this.world)
    this.host = new SimHost(this.world, { name: 'h', network })
    network.add(this.host)
  }

  async live<T>(work: (neighbours: Neighbours, env: Env) => T | Promise<T>): Promise<T> {
    const result = new Promise<T>((resolve, reject) => {
      this.host.start((env) => {
        const lived = env.disk
          .makeDirectory('disk')
          .then(() => Neighbours.open(env, SILENT, rpcConfig(), 'h', 'disk'))
          .then(async (neighbours) => {
            const value = await work(neighbours, env)
            await neighbours.close()
            return value
          })
        void lived.then(resolve, reject)
      })
    })
    try {
      return await this.world.settle(result)
    } finally {
      this.host.powerLoss()
    }
  }
}

describe('neighbours', () => {
  it('are known after a restart, but asked for anew', async () => {
    const lives = new Lives()
    expect(await lives.live((neighbours) => neighbours.addressOf(HOST))).toBeUndefined()
    await lives.live((neighbours) => {
      neighbours.learn(3, [{ chunkserver: HOST, address: 'a:1' }])
      expect(neighbours.version).toBe(3)
    })
    const known = await lives.live((neighbours) => [neighbours.version, neighbours.addressOf(HOST)])
    expect(known).toEqual([0, 'a:1'])
  })

  it('are unknown when the file is damaged, and no start fails by it', async () => {
    const lives = new Lives()
    await lives.live((neighbours) => neighbours.learn(1, [{ chunkserver: 4, address: 'a:1' }]))
    lives.host.disk.flip('disk/neighbours', 5, 1)
    expect(await lives.live((neighbours) => neighbours.addressOf(HOST))).toBeUndefined()
  })

  it('have one connection each, and another one when they move', async () => {
    await new Lives().live((neighbours) => {
      expect(() => neighbours.client(HOST)).toThrow(LemnisError)
      neighbours.learn(1, [{ chunkserver: HOST, address: 'a:1' }])
      const first = must(neighbours.client(HOST), 'a client')
      expect(neighbours.client(HOST)).toBe(first)
      neighbours.learn(2, [{ chunkserver: HOST, address: 'b:2' }])
      expect(neighbours.client(HOST).address).toBe('b:2')
    })
  })
})
