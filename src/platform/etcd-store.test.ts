import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe } from 'vitest'
import { describeMetaStore } from '../../test/contract/metastore.ts'
import { HAS_ETCD, TestEtcd } from '../../test/harness/etcd.ts'
import { EtcdStore } from './etcd-store.ts'

describe.skipIf(!HAS_ETCD)('on etcd of one member', () => {
  let etcd: TestEtcd
  let worlds = 0

  beforeAll(async () => {
    etcd = await TestEtcd.start()
  })
  afterAll(() => etcd.stop())

  describeMetaStore('etcd', async () => {
    // One etcd serves all these worlds, each with its own prefix.
    const prefix = `world-${++worlds}/`
    const store = await EtcdStore.open(etcd.endpoints, { prefix })
    const opened = [store]
    return {
      store,
      settle: (promise) => promise,
      pause: (ms) => sleep(ms),
      reopen: async () => {
        const again = await EtcdStore.open(etcd.endpoints, { prefix })
        opened.push(again)
        return again
      },
      end: async () => {
        for (const each of opened) await each.close()
      },
    }
  })
})
