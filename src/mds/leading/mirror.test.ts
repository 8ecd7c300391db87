import { describe, expect, it } from 'vitest'
import { must } from '../../base/assert.ts'
import type { Clock } from '../../env/clock.ts'
import type { MetaChange, MetaStore } from '../../env/metastore.ts'
import { SimEtcd } from '../../sim/etcd.ts'
import { SimEtcdClient } from '../../sim/etcd-client.ts'
import { EtcdNemesis } from '../../sim/etcd-faults.ts'
import { SimHost } from '../../sim/host.ts'
import { SimNetwork } from '../../sim/network.ts'
import { World } from '../../sim/world.ts'
import { Mirror } from './mirror.ts'

interface Rig {
  readonly world: World
  readonly etcd: SimEtcd
  readonly host: SimHost
  readonly store: MetaStore
  readonly mirror: Mirror
}

async function makeRig(seed: number): Promise<Rig> {
  const world = new World({ seed })
  const network = new SimNetwork(world)
  const etcd = new SimEtcd(world)
  const host = new SimHost(world, { name: 'standby', network })
  network.add(host)
  let clock: Clock | null = null
  host.start((env) => {
    clock = env.clock
  })
  await world.run({ until: () => clock !== null })
  const store = new SimEtcdClient(etcd, host)
  return { world, etcd, host, store, mirror: new Mirror(store, must<Clock>(clock, 'it runs')) }
}

const put = (key: string, value: string): MetaChange => ({ kind: 'put', key, value })

describe('Mirror', () => {
  it('has everything up to a commit when that was told, whatever the links and the store do', async () => {
    let sizes = 0
    for (let seed = 1; seed <= 30; seed++) {
      const { world, etcd, host, mirror } = await makeRig(seed)
      const random = world.random.fork('records')
      const key = (): string => `record/${random.below(3000)}`
      // More than a page is there before it looks.
      const first = Array.from({ length: 1500 }, (_, i) => put(`record/${i}`, 'old'))
      etcd.records.land([], first)
      mirror.start()
      const nemesis = new EtcdNemesis({
        world,
        etcd,
        hosts: [host],
        random,
        kinds: ['pause', 'cut', 'store-down', 'compaction', 'lost-answers', 'lagging-watches'],
        gapMs: 800,
        driftPpmMax: 0,
      })
      nemesis.start()
      for (let i = 0; i < 300; i++) {
        const isRemoval = random.chance(0.3)
        etcd.records.land([], [isRemoval ? { kind: 'remove', key: key() } : put(key(), `v${i}`)])
        await world.run({ untilUs: world.nowUs + random.below(60_000) })
      }
      nemesis.heal()
      // As the one that takes over does.
      const revision = must(etcd.records.land([], [put('owner', 'me')]), 'no condition')
      expect(await world.settle(mirror.reached(revision, 20_000)), `seed ${seed}`).toBe(true)
      const wanted = etcd.records.range('', '\x7f', 100_000)
      expect(mirror.items('', '\x7f'), `seed ${seed}`).toEqual(wanted)
      sizes += wanted.length
    }
    expect(sizes).toBeGreaterThan(30_000)
  })

  it('says in time that it did not get there', async () => {
    const { world, etcd, host, mirror } = await makeRig(1)
    expect(await world.settle(mirror.reached(1, 1000))).toBe(false)
    mirror.start()
    await world.run({ untilUs: world.nowUs + 1_000_000 })
    expect(mirror.isLoaded).toBe(true)
    etcd.cut(host)
    const revision = must(etcd.records.land([], [put('owner', 'me')]), 'no condition')
    const startUs = world.nowUs
    expect(await world.settle(mirror.reached(revision, 500))).toBe(false)
    expect(world.nowUs - startUs).toBeLessThan(510_000)
  })

  it('is empty and silent once it was stopped, and begins anew', async () => {
    const { world, etcd, mirror } = await makeRig(2)
    etcd.records.land([], [put('a', '1')])
    mirror.start()
    await world.run({ untilUs: world.nowUs + 1_000_000 })
    expect(mirror.get('a')?.value).toBe('1')
    const waiting = mirror.reached(99, 60_000)
    mirror.stop()
    expect(await world.settle(waiting)).toBe(false)
    etcd.records.land([], [put('a', '2')])
    await world.run({ untilUs: world.nowUs + 1_000_000 })
    expect(mirror.items('', '\x7f')).toEqual([])
    mirror.start()
    await world.run({ untilUs: world.nowUs + 1_000_000 })
    expect(mirror.get('a')?.value).toBe('2')
  })
})
