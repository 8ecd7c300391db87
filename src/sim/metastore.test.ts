import { describe, expect, it } from 'vitest'
import { describeMetaStore } from '../../test/contract/metastore.ts'
import { SimHost } from './host.ts'
import { SimMetaDisk, type SimMetaStore } from './metastore.ts'
import { SimNetwork } from './network.ts'
import { World } from './world.ts'

function makeRig(seed = 1): {
  world: World
  host: SimHost
  disk: SimMetaDisk
  start: () => SimMetaStore
} {
  const world = new World({ seed })
  const network = new SimNetwork(world)
  const host = new SimHost(world, { name: 'mds', network })
  network.add(host)
  const disk = new SimMetaDisk(host)
  const start = (): SimMetaStore => {
    host.start(() => {})
    return disk.mount()
  }
  return { world, host, disk, start }
}

describeMetaStore('simulated', async () => {
  const { world, disk, start } = makeRig()
  const store = start()
  return {
    store,
    settle: (promise) => world.settle(promise),
    pause: (ms) => new Promise((done) => void world.after(Math.ceil(ms * 1000), 'pause', done)),
    reopen: async () => disk.mount(),
    end: async () => {},
  }
})

describe('SimMetaStore', () => {
  const put = (store: SimMetaStore, key: string): Promise<number | null> =>
    store.commit([], [{ kind: 'put', key, value: '' }])
  const keysOf = (disk: SimMetaDisk): string[] => disk.range('', '\x7f', 99).map((item) => item.key)

  it('a crash keeps what was answered; what was under way is there or is not, the first one only', async () => {
    const seen = new Set<string>()
    for (let seed = 1; seed <= 40; seed++) {
      const { world, host, disk, start } = makeRig(seed)
      const store = start()
      await world.settle(put(store, 'answered'))
      const answers: string[] = []
      for (const key of ['first', 'second']) void put(store, key).then(() => answers.push(key))
      await world.run({ untilUs: world.nowUs + 10 })
      host.crash()
      await world.run()
      expect(answers).toEqual([])
      start()
      seen.add(keysOf(disk).join(' '))
    }
    expect([...seen].sort()).toEqual(['answered', 'answered first'])
  })

  it('a crash right before a commit lands loses it, right after keeps it; neither is answered', async () => {
    for (const at of ['before', 'after'] as const) {
      const { world, host, disk, start } = makeRig()
      disk.onLanding = (when) => {
        if (when === at) host.crash()
      }
      let isAnswered = false
      void put(start(), 'k').then(() => {
        isAnswered = true
      })
      await world.run()
      start()
      expect([isAnswered, keysOf(disk)]).toEqual([false, at === 'after' ? ['k'] : []])
    }
  })

  it('a stopped process hears of its commit when it goes on', async () => {
    const { world, host, disk, start } = makeRig()
    const answer = put(start(), 'k')
    await world.run({ untilUs: world.nowUs + 10 })
    host.pause()
    await world.run({ untilUs: world.nowUs + 1_000_000 })
    expect(keysOf(disk)).toEqual(['k'])
    host.resume()
    expect(await world.settle(answer)).toBe(1)
  })

  it('after a failure nobody knows, and nothing more is taken', async () => {
    const seen = new Set<number>()
    for (let seed = 1; seed <= 20; seed++) {
      const { world, disk, start } = makeRig(seed)
      disk.faults.failChance = 1
      const store = start()
      const both = [put(store, 'k'), put(store, 'l')].map((p) => p.catch((e) => e.code))
      expect(await world.settle(Promise.all(both))).toEqual(['DISK_FAILED', 'DISK_FAILED'])
      seen.add(keysOf(disk).length)
      await expect(world.settle(store.get('k'))).rejects.toMatchObject({ code: 'DISK_FAILED' })
      await world.settle(store.close())
    }
    expect(seen).toEqual(new Set([0, 1]))
  })
})
