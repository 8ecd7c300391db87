// The composition root of a chunkserver: one disk, served by one process.

import { resolve } from 'node:path'
import { LemnisError } from '../../base/errors.ts'
import { Chunkserver } from '../../chunkserver/chunkserver.ts'
import { checkReserve, chunkserverConfig } from '../../chunkserver/config.ts'
import { chunkStoreConfig } from '../../chunkstore/config.ts'
import { hostConfig } from '../../copyset/config.ts'
import { nodeEnv } from '../../platform/env.ts'
import { DirectoryLock } from '../../platform/lock.ts'
import { raftLogConfig } from '../../raftlog/config.ts'
import { rpcConfig } from '../../rpc/config.ts'
import { needed } from '../cli/failure.ts'
import { VERSION } from '../version.ts'
import { type RoleFlags, STARTING } from './flags.ts'
import { RoleProcess } from './process.ts'
import { readSettings } from './settings.ts'
import { CHUNKSERVER_TABLES } from './tables.ts'

export interface ChunkserverFlags extends RoleFlags {
  readonly data?: string
  readonly advertise?: string
  readonly pool: string
  readonly zone: string
  readonly server: string
}

export async function runChunkserver(
  flags: ChunkserverFlags,
  mds: readonly string[],
): Promise<void> {
  const data = resolve(needed(flags.data, '--data', 'the directory of its disk'))
  const settings = readSettings(CHUNKSERVER_TABLES, flags)
  checkReserve(settings.raftlog, settings.chunkstore)
  const role = new RoleProcess('chunkserver', flags)
  let chunkserver: Chunkserver | null = null
  await role.run(async () => {
    role.own(DirectoryLock.take(data))
    const http = await role.serveHttp(flags.http, {
      health: () => chunkserver?.health() ?? STARTING,
      ready: () => chunkserver?.ready() ?? STARTING,
      waits: () => chunkserver?.waits() ?? [],
      config: () => ({ data, mds, settings }),
    })
    const started = await Chunkserver.start(nodeEnv(data), role.observer, {
      directory: '.',
      listen: flags.listen,
      address: flags.advertise ?? flags.listen,
      httpAddress: http,
      mds,
      pool: flags.pool,
      zone: flags.zone,
      server: flags.server,
      version: VERSION,
      config: chunkserverConfig(settings.chunkserver),
      host: hostConfig(settings.copyset),
      log: raftLogConfig(settings.raftlog),
      store: chunkStoreConfig(settings.chunkstore),
      rpc: rpcConfig(settings.rpc),
      onFenced: (error) => role.giveUp(error),
    }).catch((error: unknown) => {
      throw withPath(error, data)
    })
    chunkserver = role.own(started)
    return { address: flags.listen, http }
  })
}

/** Below it the disk's root has no name; a person wants to know which directory it is. */
function withPath(error: unknown, data: string): unknown {
  if (!(error instanceof LemnisError) || error.detail['directory'] !== '.') return error
  return new LemnisError(error.code, { ...error.detail, directory: data }, error)
}
