// Owns the wait for an etcd that is not there yet: it may be started later, or be electing.

import { LemnisError } from '../../base/errors.ts'
import type { Observer } from '../../observe/observe.ts'
import type { EtcdConfig } from '../../platform/etcd-config.ts'
import { EtcdStore } from '../../platform/etcd-store.ts'

const RETRY_MS = 500
const AWAY: ReadonlySet<string> = new Set(['DISCONNECTED', 'DEADLINE_EXCEEDED'])

export async function reachEtcd(
  endpoints: readonly string[],
  config: EtcdConfig,
  observer: Observer,
): Promise<EtcdStore> {
  for (let isFirst = true; ; isFirst = false) {
    try {
      return await EtcdStore.open(endpoints, config, observer)
    } catch (error) {
      const isAway = error instanceof LemnisError && AWAY.has(error.code)
      if (!isAway) throw error
      if (isFirst) observer.emit('mds_store_awaited', { reason: error.message })
    }
    await new Promise((done) => setTimeout(done, RETRY_MS))
  }
}
