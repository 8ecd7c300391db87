import { describe, expect, it } from 'vitest'
import { describeMetaStore } from '../../test/contract/metastore.ts'
import type { MetaStore } from '../env/metastore.ts'
import { SimEtcd } from './etcd.ts'
import { SimEtcdClient } from './etcd-client.ts'
import { SimHost } from './host.ts'
import { SimNetwork } from './network.ts'
import { World } from './world.ts'

function makeRig(seed = 1): {
  world: World
  etcd: SimEtcd
  hosts: SimHost[]
  stores: MetaStore[]
} {
  const world = new World({ seed })
  const network = new SimNetwork(world)
  const etcd = new SimEtcd(world)
  const hosts = ['a', 'b'].map((name) => {
    const host = new SimHost(world, { name, network })
    network.add(host)
    host.start(() => {})
    return host
  })
  return { world, etcd, hosts, stores: hosts.map((host) => new SimEtcdClient(etcd, host)) }
}

describeMetaStore('simulated etcd', async () => {
  const { world, etcd, hosts, stores } = makeRig()
  return {
    store: stores[0] as MetaStore,
    settle: (promise) => world.settle(promise),
    pause: (ms) => new Promise((done) => void world.after(Math.ceil(ms * 1000), 'pause', done)),
    reopen: async () => new SimEtcdClient(etcd, hosts[0] as SimHost),
    end: async () => {},
  }
})

describe('SimEtcd', () => {
  const runMs = (world: World, ms: number): Promise<void> =>
    world.run({ untilUs: world.nowUs + ms * 1000 })
  const put = (store: MetaStore, key: string): Promise<number | null> =>
    store.commit([], [{ kind: 'put', key, value: '' }])
  const codeOf = (work: Promise<unknown>): Promise<string> =>
    work.then(
      () => 'done',
      (error) => error.code,
    )

  it('an answer that was lost leaves both outcomes open, and a late request lands after all', async () => {
    const seen = new Set<string>()
    for (let seed = 1; seed <= 40; seed++) {
      const { world, etcd, stores } = makeRig(seed)
      Object.assign(etcd.faults, { lossChance: 0.5, lateChance: 0.3 })
      const code = await world.settle(codeOf(put(stores[0] as MetaStore, 'k')))
      const isThere = etcd.records.get('k') !== null
      await runMs(world, 10_000)
      const isThereLater = etcd.records.get('k') !== null
      seen.add(`${code} ${isThere} ${isThereLater}`)
    }
    expect(seen).toEqual(
      new Set([
        'done true true',
        'DEADLINE_EXCEEDED true true',
        'DEADLINE_EXCEEDED false false',
        'DEADLINE_EXCEEDED false true',
      ]),
    )
  })

  it('an answer to a process that has died is not heard by its successor', async () => {
    const { world, etcd, hosts, stores } = makeRig()
    const host = hosts[0] as SimHost
    let heard = ''
    void codeOf(put(stores[0] as MetaStore, 'k')).then((code) => {
      heard = code
    })
    host.crash()
    host.start()
    await runMs(world, 10_000)
    expect(etcd.records.get('k')).not.toBeNull()
    expect(heard).toBe('')
  })

  it('a cut keeps one host away and not the other; its lease ends meanwhile', async () => {
    const { world, etcd, hosts, stores } = makeRig()
    const [a, b] = stores as [MetaStore, MetaStore]
    const lease = await world.settle(a.grantLease(3000))
    await world.settle(a.commit([], [{ kind: 'put', key: 'k', value: '', lease }]))
    etcd.cut(hosts[0] as SimHost)
    expect(['DISCONNECTED', 'DEADLINE_EXCEEDED']).toContain(await world.settle(codeOf(put(a, 'x'))))
    expect((await world.settle(b.get('k')))?.key).toBe('k')
    await runMs(world, 4000)
    expect(await world.settle(b.get('k'))).toBeNull()
    etcd.mend(hosts[0] as SimHost)
    expect(await world.settle(codeOf(a.keepLease(lease)))).toBe('NOT_FOUND')
  })

  it('while it is down no lease ends, and each has its time anew after', async () => {
    const { world, etcd, stores } = makeRig()
    const [a] = stores as [MetaStore]
    const lease = await world.settle(a.grantLease(3000))
    await world.settle(a.commit([], [{ kind: 'put', key: 'k', value: '', lease }]))
    etcd.stop()
    await runMs(world, 20_000)
    etcd.start()
    await runMs(world, 3900)
    expect(etcd.records.get('k')).not.toBeNull()
    await runMs(world, 1000)
    expect(etcd.records.get('k')).toBeNull()
  })

  it('a watch goes on after a cut without a gap, and begins anew when the past is gone', async () => {
    for (const isCompacted of [false, true]) {
      const { world, etcd, hosts, stores } = makeRig()
      const [a, b] = stores as [MetaStore, MetaStore]
      const told: string[] = []
      a.watch('', '\x7f', {
        onStarted: (revision) => told.push(`from ${revision}`),
        onChanges: (_, revision) => told.push(`${revision}`),
      })
      await runMs(world, 100)
      await world.settle(put(b, 'one'))
      await runMs(world, 100)
      etcd.cut(hosts[0] as SimHost)
      await world.settle(put(b, 'two'))
      if (isCompacted) etcd.compact()
      await world.settle(put(b, 'three'))
      await runMs(world, 1000)
      expect(told).toEqual(['from 0', '1'])
      etcd.mend(hosts[0] as SimHost)
      await runMs(world, 1000)
      expect(told).toEqual(isCompacted ? ['from 0', '1', 'from 3'] : ['from 0', '1', '2', '3'])
    }
  })

  it('a stopped process hears what came meanwhile when it goes on', async () => {
    const { world, hosts, stores } = makeRig()
    const [a, b] = stores as [MetaStore, MetaStore]
    const told: number[] = []
    a.watch('', '\x7f', { onStarted: () => {}, onChanges: (_, revision) => told.push(revision) })
    await runMs(world, 100)
    hosts[0]?.pause()
    await world.settle(put(b, 'one'))
    await world.settle(put(b, 'two'))
    await runMs(world, 5000)
    expect(told).toEqual([])
    hosts[0]?.resume()
    await runMs(world, 100)
    expect(told).toEqual([1, 2])
  })
})
