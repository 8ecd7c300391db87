// The composition root of the NBD server: every volume under its name.

import { nbdConfig } from '../../attach/config.ts'
import type { Exports } from '../../attach/exports.ts'
import { NbdServer } from '../../attach/nbd-server.ts'
import { connect, type LemnisClient } from '../../client/client.ts'
import { clientConfig } from '../../client/config.ts'
import { nodeEnv } from '../../platform/env.ts'
import { rpcConfig } from '../../rpc/config.ts'
import { waitsOf } from './client-waits.ts'
import { type RoleFlags, STARTING, WELL } from './flags.ts'
import { holderName } from './holder.ts'
import { openAfterPredecessor } from './predecessor.ts'
import { RoleProcess } from './process.ts'
import { readSettings } from './settings.ts'
import { NBD_TABLES } from './tables.ts'

export interface NbdFlags extends RoleFlags {
  readonly readOnly?: boolean
}

export async function runNbd(flags: NbdFlags, mds: readonly string[]): Promise<void> {
  const settings = readSettings(NBD_TABLES, flags)
  const role = new RoleProcess('nbd', flags)
  const env = nodeEnv('/')
  let client: LemnisClient | null = null
  await role.run(async () => {
    const http = await role.serveHttp(flags.http, {
      health: () => WELL,
      ready: () => (client === null ? STARTING : WELL),
      waits: () => (client === null ? [] : waitsOf(client, env.clock.monotonicMs())),
      config: () => ({ mds, settings }),
    })
    const name = holderName('nbd', http)
    const options = {
      mds,
      name,
      config: clientConfig(settings.client),
      rpc: rpcConfig(settings.rpc),
    }
    client = role.own(connect(env, role.observer, options))
    const config = nbdConfig(settings.nbd)
    const served = { exports: exportsOf(client), config, readOnly: flags.readOnly === true }
    const server = role.own(await NbdServer.listen(env, role.observer, flags.listen, served))
    return { address: server.address, http }
  })
}

function exportsOf(client: LemnisClient): Exports {
  return {
    list: async () => (await client.volumes.list()).map((volume) => volume.name),
    open: (name, readOnly) =>
      openAfterPredecessor(() => client.open(name, { mode: readOnly ? 'read' : 'write' })),
  }
}
