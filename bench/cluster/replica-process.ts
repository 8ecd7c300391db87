// One host of a replicated key-value store as a process of its own, on real disk and network: what the
// replication bench and the kill check fork. Settings come as JSON in the first argument.

import { Scope } from '../../src/base/scope.ts'
import { hostConfig } from '../../src/copyset/config.ts'
import { CopysetHost } from '../../src/copyset/host.ts'
import { type GroupId, type HostId, replicaIdOf } from '../../src/copyset/replica-id.ts'
import { kvMachines } from '../../src/copyset/testing/kv-machines.ts'
import { serveKv } from '../../src/copyset/testing/kv-service.ts'
import { nodeEnv } from '../../src/platform/env.ts'
import { Log } from '../../src/platform/log.ts'
import { Metrics } from '../../src/platform/metrics.ts'
import { NodeObserver } from '../../src/platform/observer.ts'
import { raftLogConfig } from '../../src/raftlog/config.ts'
import { RaftLog } from '../../src/raftlog/raftlog.ts'
import { rpcConfig } from '../../src/rpc/config.ts'
import { RpcServer } from '../../src/rpc/server.ts'
import type { FromReplica, ReplicaSettings, ToReplica } from './messages.ts'

const settings = JSON.parse(process.argv[2] ?? '') as ReplicaSettings
const env = nodeEnv(settings.directory)
const addresses = new Map<number, string>()
const self = settings.host as HostId

function say(message: FromReplica): void {
  process.send?.(message)
}

const scope = new Scope()
const observer = new NodeObserver(new Log({ level: 'warn', about: { host: self } }), new Metrics())
const rpc = rpcConfig()
const log = scope.own(await RaftLog.open(env, observer, 'log', raftLogConfig()))
const server = scope.own(
  await RpcServer.listen(env, observer, `127.0.0.1:${settings.port}`, rpc, `host-${self}`),
)
const { checkpointBytes } = settings
const host = scope.own(
  new CopysetHost({
    env,
    observer,
    host: self,
    config: hostConfig(checkpointBytes === undefined ? {} : { checkpointBytes }),
    log,
    rpc,
    server,
    directory: { addressOf: (id) => addresses.get(id) },
    machines: kvMachines(env, 'kv'),
  }),
)
serveKv(host, server)

/** Loads what is there and founds what is not, once it is known where the others are. */
async function start(): Promise<void> {
  await host.load()
  const voters = settings.hosts.map((id) => replicaIdOf(id as HostId, 1))
  for (let group = 1; group <= settings.groups; group++) {
    if (host.replica(group as GroupId) !== undefined) continue
    await host.found(group as GroupId, replicaIdOf(self, 1), voters)
  }
  say({ kind: 'up' })
}

function sayCpu(): void {
  const { user, system } = process.cpuUsage()
  say({ kind: 'cpu', micros: user + system, rssBytes: process.memoryUsage().rss })
}

async function sayStatus(): Promise<void> {
  const groups = [...host.replicas()].map(async (replica) => {
    const { role, term, commit, applied } = replica.status()
    const digest = await replica.machine.digest()
    return { group: replica.group, role, term, commit, applied, asleep: replica.asleep, digest }
  })
  say({ kind: 'status', groups: await Promise.all(groups) })
}

async function close(): Promise<void> {
  await scope.close()
  process.disconnect()
}

process.on('message', (message: ToReplica) => {
  switch (message.kind) {
    case 'addresses':
      for (const [id, address] of Object.entries(message.addresses))
        addresses.set(Number(id), address)
      void start()
      return
    case 'cpu':
      return sayCpu()
    case 'status':
      void sayStatus()
      return
    case 'close':
      void close()
  }
})
// A parent that is gone needs no replica.
process.on('disconnect', () => process.exit(0))
say({ kind: 'listening', address: server.address })
