// The composition root of a metadata server: alone on its embedded store, or one of several on etcd.

import { resolve } from 'node:path'
import { mdsConfig } from '../../mds/config.ts'
import { MdsServer } from '../../mds/leading/mds-server.ts'
import { nodeEnv } from '../../platform/env.ts'
import { type EtcdConfig, etcdConfig } from '../../platform/etcd-config.ts'
import type { EtcdStore } from '../../platform/etcd-store.ts'
import type { Health, Wait } from '../../platform/http.ts'
import { LmdbStore } from '../../platform/lmdb-store.ts'
import { DirectoryLock } from '../../platform/lock.ts'
import { rpcConfig } from '../../rpc/config.ts'
import { needed } from '../cli/failure.ts'
import { VERSION } from '../version.ts'
import { reachEtcd } from './etcd.ts'
import { type RoleFlags, STARTING, WELL } from './flags.ts'
import { lookAtMetastore } from './metastore-look.ts'
import { RoleProcess } from './process.ts'
import { readSettings } from './settings.ts'
import { MDS_TABLES } from './tables.ts'

export interface MdsFlags extends RoleFlags {
  readonly store: 'embedded' | 'etcd'
  readonly data?: string
  /** Members of etcd, with commas. */
  readonly etcd?: string
  readonly advertise?: string
}

export async function runMds(flags: MdsFlags): Promise<void> {
  const settings = readSettings(MDS_TABLES, flags)
  const role = new RoleProcess('mds', flags)
  const env = nodeEnv('/')
  let mds: MdsServer | null = null
  await role.run(async () => {
    const open = storeOf(flags, role, etcdConfig(settings.etcd))
    const http = await role.serveHttp(flags.http, {
      health: () => (mds === null ? STARTING : healthOf(mds)),
      ready: () => (mds === null ? STARTING : WELL),
      waits: () => (mds === null ? [] : waitsOf(mds, env.clock.wallMs())),
      config: () => ({ store: flags.store, data: flags.data, etcd: flags.etcd, settings }),
      looks: { metastore: () => lookAtMetastore(flags, etcdConfig(settings.etcd)) },
    })
    const store = role.own(await open())
    mds = role.own(
      await MdsServer.start(env, role.observer, store, {
        candidate: flags.store === 'etcd' ? { name: flags.name } : null,
        listen: flags.listen,
        address: flags.advertise ?? flags.listen,
        version: VERSION,
        httpAddress: http,
        config: mdsConfig(settings.mds),
        rpc: rpcConfig(settings.rpc),
        onFailed: (error) => role.giveUp(error),
      }),
    )
    return { address: mds.address, http }
  })
}

/** What opens the store that the flags name; refuses flags that name none. */
function storeOf(
  flags: MdsFlags,
  role: RoleProcess,
  config: EtcdConfig,
): () => Promise<LmdbStore | EtcdStore> {
  if (flags.store === 'etcd') {
    const endpoints = needed(flags.etcd, '--etcd', 'the members of etcd as host:port,...').split(
      ',',
    )
    return () => reachEtcd(endpoints, config, role.observer)
  }
  const data = resolve(needed(flags.data, '--data', 'the directory of its store'))
  role.own(DirectoryLock.take(data))
  return () => LmdbStore.open(data)
}

function healthOf(mds: MdsServer): Health {
  return mds.isLeading ? WELL : { ok: true, reasons: ['It stands by; another MDS leads.'] }
}

function waitsOf(mds: MdsServer, nowMs: number): Wait[] {
  return mds.waits().map(({ what, who, sinceMs, until }) => ({
    what: `${who}: ${what}`,
    waitsFor: until,
    lastsMs: nowMs - sinceMs,
  }))
}
