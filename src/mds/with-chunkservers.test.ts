import { describe, expect, it } from 'vitest'
import { must } from '../base/assert.ts'
import { asLemnisError } from '../base/errors.ts'
import { MIB } from '../base/units.ts'
import { chunksOf } from '../chunkserver/chunk-machine.ts'
import { Chunkserver } from '../chunkserver/chunkserver.ts'
import { chunkserverConfig } from '../chunkserver/config.ts'
import { chunkStoreConfig } from '../chunkstore/config.ts'
import { connect, type LemnisClient } from '../client/client.ts'
import { hostConfig } from '../copyset/config.ts'
import type { Env } from '../env/env.ts'
import { LIST_CHUNKSERVERS } from '../format/control/mds.ts'
import { START_LEADER_BALANCE } from '../format/control/operators.ts'
import { DRAIN, GROW_POOL } from '../format/control/topology.ts'
import { SILENT } from '../observe/observe.ts'
import { raftLogConfig } from '../raftlog/config.ts'
import { rpcConfig } from '../rpc/config.ts'
import type { SimHost } from '../sim/host.ts'
import { Fleet } from './testing/fleet.ts'

/** The real chunkservers instead of scripted ones, as far as the MDS is concerned. */
class RealFleet extends Fleet {
  readonly hosts: SimHost[] = []
  readonly servers: (Chunkserver | null)[] = []

  addReal(zone: string): void {
    const n = this.hosts.length
    const host = this.host(`r${n + 1}`)
    this.hosts.push(host)
    this.servers.push(null)
    host.start((env) => void this.#boot(env, n, zone))
  }

  async #boot(env: Env, n: number, zone: string): Promise<void> {
    const name = `r${n + 1}`
    const rpc = rpcConfig()
    this.servers[n] = await Chunkserver.start(env, SILENT, {
      directory: 'disk',
      listen: `${name}:8200`,
      address: `${name}:8200`,
      httpAddress: '',
      mds: ['mds:7400'],
      pool: 'default',
      zone,
      server: name,
      version: 'test',
      config: chunkserverConfig(),
      host: hostConfig(),
      log: raftLogConfig({
        segmentBytes: 8 * MIB,
        batchBytesMax: 4 * MIB,
        entryBytesMax: 2 * MIB,
        queuedBytesMax: 16 * MIB,
      }),
      store: chunkStoreConfig({ reserveBytes: 0, capacityBytes: 512 * MIB }),
      rpc,
    })
  }

  server(n: number): Chunkserver {
    return must(this.servers[n], 'a running chunkserver')
  }

  async upReal(zones: number, perZone: number): Promise<void> {
    this.startMds()
    for (let i = 0; i < zones * perZone; i++) this.addReal(`z${(i % zones) + 1}`)
    await this.until('registration', () => this.servers.every((server) => server !== null))
    await this.run(2000)
  }

  async client(name: string): Promise<LemnisClient> {
    const host = this.host(name)
    let client: LemnisClient | null = null
    host.start((env) => void (client = connect(env, SILENT, { mds: ['mds:7400'], name })))
    await this.until('a client', () => client !== null)
    return must(client as LemnisClient | null, 'a client')
  }

  settle<T>(promise: Promise<T>): Promise<T> {
    return this.world.settle(promise, { untilUs: this.world.nowUs + 120_000_000 })
  }

  chunks(): number {
    let chunks = 0
    for (const server of this.servers) {
      for (const replica of server?.host.replicas() ?? [])
        chunks += chunksOf(replica).usage().chunks
    }
    return chunks
  }

  replicasOn(n: number): number {
    return [...this.server(n).host.replicas()].length
  }
}

const SLOWER = { heartbeatIntervalMs: 300, onlineMs: 1500, offlineMs: 6000 }

describe('the MDS and real chunkservers', () => {
  it('found a pool, rebuild what is gone, and end what comes back', async () => {
    const fleet = new RealFleet(1, SLOWER)
    await fleet.upReal(3, 2)
    await fleet.createPool(8)
    await fleet.untilAll('ok')
    const gone = must(fleet.hosts[0], 'a host')
    const id = fleet.server(0).identity.id
    expect(fleet.replicasOn(0)).toBeGreaterThan(0)
    gone.crash()
    const isEmpty = async (): Promise<boolean> => {
      const { chunkservers } = await fleet.ask(LIST_CHUNKSERVERS, {})
      return chunkservers.find((one) => one.id === id)?.copysets === 0
    }
    for (let i = 0; i < 300 && !(await isEmpty()); i++) await fleet.run(200)
    await fleet.untilAll('ok')
    expect(await isEmpty()).toBe(true)
    expect(fleet.eventsOf('mds_operator_finished').length).toBeGreaterThan(0)
    expect(fleet.eventsOf('mds_operator_dropped')).toEqual([])
    gone.start()
    await fleet.run(3000)
    await fleet.until('the end of stale replicas', () => fleet.replicasOn(0) === 0)
    await fleet.untilAll('ok')
    expect(fleet.eventsOf('mds_membership_conflict')).toEqual([])
    expect((await fleet.status()).health).toEqual({ state: 'ok', reasons: [] })
  })

  it('have leaders that are even from the first moment, also when a pool grows', async () => {
    const fleet = new RealFleet(2, { ...SLOWER, balanceIntervalMs: 300_000 })
    await fleet.upReal(3, 2)
    const leads = async (): Promise<number[]> => {
      await fleet.untilAll('ok')
      const { chunkservers } = await fleet.ask(LIST_CHUNKSERVERS, {})
      return chunkservers.map(({ leaders }) => leaders)
    }
    await fleet.createPool(60)
    expect(await leads()).toEqual([10, 10, 10, 10, 10, 10])
    await fleet.ask(GROW_POOL, { name: 'default', copysets: 30 })
    expect(await leads()).toEqual([15, 15, 15, 15, 15, 15])
    expect(fleet.eventsOf('mds_operator_finished')).toEqual([])
  })

  it('hand leaders over when asked, and what a drained one holds', async () => {
    const fleet = new RealFleet(3, { ...SLOWER, balanceIntervalMs: 300_000 })
    await fleet.upReal(3, 2)
    await fleet.createPool(12)
    await fleet.untilAll('ok')
    const away = must(fleet.hosts[0], 'a host')
    away.crash()
    await fleet.run(3000)
    away.start()
    await fleet.run(3000)
    await fleet.untilAll('ok')
    const leaders = async (): Promise<number[]> => {
      const { chunkservers } = await fleet.ask(LIST_CHUNKSERVERS, {})
      return chunkservers.map((one) => one.leaders)
    }
    expect(Math.min(...(await leaders()))).toBe(0)
    const { operators } = await fleet.ask(START_LEADER_BALANCE, {})
    expect(operators).toBeGreaterThan(0)
    await fleet.run(4000)
    const counts = await leaders()
    expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1)
    const { id } = fleet.server(0).identity
    await fleet.ask(DRAIN, { what: 'chunkserver', chunkserver: id, on: true })
    await fleet.until('its retirement', () => fleet.eventsOf('mds_chunkserver_retired').length > 0)
    expect(fleet.replicasOn(0)).toBe(0)
    await fleet.untilAll('ok')
    expect(fleet.eventsOf('mds_operator_dropped')).toEqual([])
  })

  it('make a replica anew whose disk lost it', async () => {
    const fleet = new RealFleet(2, SLOWER)
    await fleet.upReal(3, 1)
    await fleet.createPool(4)
    await fleet.untilAll('ok')
    const server = fleet.server(0)
    const replica = must([...server.host.replicas()][0], 'a replica')
    const { group, id } = replica
    server.host.damaged(replica, asLemnisError(new Error('planted')))
    await fleet.until('its end', () => fleet.eventsOf('mds_operator_finished').length > 0)
    await fleet.untilAll('ok')
    expect(server.host.replica(group)?.id).toBe(id + 1)
    expect((await fleet.status()).health).toEqual({ state: 'ok', reasons: [] })
  })

  it('let a writer that hears nothing of the end of its volume make nothing', async () => {
    const fleet = new RealFleet(5)
    await fleet.upReal(3, 1)
    await fleet.createPool(2)
    await fleet.untilAll('ok')
    const [writer, admin] = [await fleet.client('writer'), await fleet.client('person')]
    await fleet.settle(admin.volumes.create('v', { sizeBytes: 64 * MIB }))
    const volume = await fleet.settle(writer.open('v'))
    await fleet.settle(volume.write(0, new Uint8Array(4096).fill(1)))
    await fleet.until('a chunk on each', () => fleet.chunks() === 3)
    // It goes on without an MDS, as it may.
    fleet.network.cut('writer', 'mds')
    fleet.network.cut('mds', 'writer')
    await fleet.run(30_000)
    await fleet.settle(admin.volumes.delete('v'))
    await fleet.settle(admin.volumes.emptyTrash())
    await fleet.until('the end of the volume', () => fleet.eventsOf('mds_volume_gone').length > 0)
    expect(fleet.chunks()).toBe(0)
    const late = volume.write(0, new Uint8Array(4096).fill(2)).catch(asLemnisError)
    expect(await fleet.settle(late)).toMatchObject({ code: 'FENCED' })
    await fleet.run(2000)
    expect(fleet.chunks()).toBe(0)
  })
})
