// The composition root of a metadata server on its embedded store.

import { resolve } from 'node:path'
import { mdsConfig } from '../../mds/config.ts'
import { Mds } from '../../mds/mds.ts'
import { nodeEnv } from '../../platform/env.ts'
import type { Wait } from '../../platform/http.ts'
import { LmdbStore } from '../../platform/lmdb-store.ts'
import { DirectoryLock } from '../../platform/lock.ts'
import { rpcConfig } from '../../rpc/config.ts'
import { needed } from '../cli/failure.ts'
import { VERSION } from '../version.ts'
import { type RoleFlags, STARTING, WELL } from './flags.ts'
import { RoleProcess } from './process.ts'
import { readSettings } from './settings.ts'
import { MDS_TABLES } from './tables.ts'

export interface MdsFlags extends RoleFlags {
  readonly data?: string
}

export async function runMds(flags: MdsFlags): Promise<void> {
  const data = resolve(needed(flags.data, '--data', 'the directory of its store'))
  const settings = readSettings(MDS_TABLES, flags)
  const role = new RoleProcess('mds', flags)
  const env = nodeEnv(data)
  let mds: Mds | null = null
  await role.run(async () => {
    role.own(DirectoryLock.take(data))
    const http = await role.serveHttp(flags.http, {
      health: () => (mds === null ? STARTING : WELL),
      ready: () => (mds === null ? STARTING : WELL),
      waits: () => (mds === null ? [] : waitsOf(mds, env.clock.wallMs())),
      config: () => ({ data, settings }),
    })
    const store = role.own(await LmdbStore.open(data))
    mds = role.own(
      await Mds.start(env, role.observer, store, {
        address: flags.listen,
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

function waitsOf(mds: Mds, nowMs: number): Wait[] {
  return mds.waits().map(({ what, who, sinceMs, until }) => ({
    what: `${who}: ${what}`,
    waitsFor: until,
    lastsMs: nowMs - sinceMs,
  }))
}
