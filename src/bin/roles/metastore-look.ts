// Owns what an MDS says on its HTTP port about the store of its records: how large it is, what room it
// has, and of etcd how its members are.

import { statSync } from 'node:fs'
import { statfs } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { EtcdHealth } from '../../platform/etcd-check.ts'
import type { EtcdConfig } from '../../platform/etcd-config.ts'

export type MetastoreFacts =
  | { readonly store: 'embedded'; readonly usedBytes: number; readonly freeBytes: number }
  | ({ readonly store: 'etcd' } & EtcdHealth)

interface StoreFlags {
  readonly store: 'embedded' | 'etcd'
  readonly data?: string
  readonly etcd?: string
}

export async function lookAtMetastore(
  { store, data = '.', etcd = '' }: StoreFlags,
  config: EtcdConfig,
): Promise<MetastoreFacts> {
  if (store === 'etcd') {
    const { readEtcdHealth } = await import('../../platform/etcd-check.ts')
    return { store, ...(await readEtcdHealth(etcd.split(','), config)) }
  }
  const directory = resolve(data)
  const { bavail, bsize } = await statfs(directory)
  const usedBytes = statSync(join(directory, 'data.mdb'), { throwIfNoEntry: false })?.size ?? 0
  return { store, usedBytes, freeBytes: bavail * bsize }
}
