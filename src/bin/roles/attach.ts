// The composition root of the process that holds one attached volume: its client, and the device over
// it. It ends when the device does; a stop is refused while the device is in use (platform/loop-*).

import { Scope } from '../../base/scope.ts'
import { connect, type LemnisClient } from '../../client/client.ts'
import { clientConfig } from '../../client/config.ts'
import type { Volume } from '../../client/volume.ts'
import { CLOSE_VOLUME } from '../../format/control/mds.ts'
import { nodeEnv } from '../../platform/env.ts'
import { HttpServer } from '../../platform/http.ts'
import { Log } from '../../platform/log.ts'
import { deadWriterOf, runAttach, tellStarterFailure } from '../../platform/loop-attachments.ts'
import { Metrics } from '../../platform/metrics.ts'
import { NodeObserver } from '../../platform/observer.ts'
import { rpcConfig } from '../../rpc/config.ts'
import { waitsOf } from './client-waits.ts'
import { WELL } from './flags.ts'
import { holderName } from './holder.ts'
import { openAfterPredecessor } from './predecessor.ts'
import { stopAtBugs } from './process.ts'
import { readSettings } from './settings.ts'
import { ATTACH_TABLES } from './tables.ts'

export interface AttachFlags {
  readonly force?: boolean
  readonly readOnly?: boolean
}

const HTTP_ADDRESS = '127.0.0.1:0'

export async function runAttachHost(
  volume: string,
  flags: AttachFlags,
  mds: readonly string[],
): Promise<void> {
  const metrics = new Metrics()
  const observer = new NodeObserver(new Log({ about: { role: 'attach', name: volume } }), metrics)
  stopAtBugs(observer)
  const settings = readSettings(ATTACH_TABLES, { set: [] })
  const env = nodeEnv('/')
  await using scope = new Scope()
  const configs = { config: clientConfig(settings.client), rpc: rpcConfig(settings.rpc) }
  const http = await HttpServer.listen(HTTP_ADDRESS, {
    role: 'attach',
    metrics,
    health: () => WELL,
    ready: () => WELL,
    waits: () => waitsOf(client, env.clock.monotonicMs()),
    config: () => ({ volume, mds, settings }),
  })
  scope.own(http)
  const name = holderName('attach', http.address)
  const client = scope.own(connect(env, observer, { mds, name, ...configs }))
  const device = scope.own(await open(client, volume, flags))
  const { id: volumeId, epoch, holder } = device.info
  const writer =
    holder === undefined || device.readOnly
      ? {}
      : { writer: { volumeId, epoch, client: holder.client } }
  await runAttach({ volume, device, mds, observer, ...writer })
}

async function open(client: LemnisClient, volume: string, flags: AttachFlags): Promise<Volume> {
  const mode = flags.readOnly === true ? 'read' : 'write'
  try {
    await closeForDead(client, volume)
    const force = flags.force === true
    return await openAfterPredecessor(() => client.open(volume, { mode, force }))
  } catch (error) {
    tellStarterFailure(error)
    throw error
  }
}

/** A process that died on this host can't close its volume; its lease would keep everybody waiting. */
async function closeForDead(client: LemnisClient, volume: string): Promise<void> {
  const writer = deadWriterOf(volume)
  if (writer === null) return
  const { volumeId, ...holder } = writer
  await client.ask(CLOSE_VOLUME, { volume: volumeId, ...holder }, true)
}
