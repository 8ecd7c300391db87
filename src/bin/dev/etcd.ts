// Owns the etcd members of a development cluster: three of them on loopback, with the limits that large
// changes of the MDS need, and the ports that a cluster keeps for its life, as etcd remembers them.

import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { CommandError } from '../cli/failure.ts'
import { type DevOptions, type DevRole, HOST } from './role.ts'

export const ETCD_MEMBERS = 3
/** Above the ports of the MDS and the chunkservers. */
const CLIENT_OFFSET = 50
const PEER_OFFSET = 60
const PEERS_FILE = 'etcd-port-base'
const POLL_MS = 50

/** An MDS commits the copysets of a pool at once: etcd allows 128 changes and 1.5 MiB by default. */
const LIMITS = [
  ['--max-txn-ops', '65536'],
  ['--max-request-bytes', String(32 * 1024 * 1024)],
  ['--quota-backend-bytes', String(8 * 1024 ** 3)],
  ['--auto-compaction-mode', 'periodic'],
  ['--auto-compaction-retention', '5m'],
  ['--heartbeat-interval', '100'],
  ['--election-timeout', '1000'],
  ['--logger', 'zap'],
  ['--log-outputs', 'stderr'],
  ['--log-level', 'warn'],
]

export function etcdClientsOf({ portBase }: DevOptions): string[] {
  return members().map((n) => `${HOST}:${portBase + CLIENT_OFFSET + n}`)
}

function members(): number[] {
  return Array.from({ length: ETCD_MEMBERS }, (_, i) => i + 1)
}

export function etcdNameOf(n: number): string {
  return `etcd-${n}`
}

/** Whether the cluster that lies in `data` was made with etcd. */
export function hasEtcd(data: string): boolean {
  return existsSync(join(data, PEERS_FILE))
}

/** Members find each other where they were when the cluster was made. */
function peerBaseOf({ data, portBase }: DevOptions): number {
  return hasEtcd(data) ? Number(readFileSync(join(data, PEERS_FILE), 'utf8')) : portBase
}

/** To be called once for a new cluster, before its first start. */
export function keepEtcdPorts({ data, portBase }: DevOptions): void {
  if (!hasEtcd(data)) writeFileSync(join(data, PEERS_FILE), `${portBase}\n`)
}

export function etcdRolesOf(options: DevOptions): DevRole[] {
  const peerBase = peerBaseOf(options) + PEER_OFFSET
  const peers = members().map((n) => `${etcdNameOf(n)}=http://${HOST}:${peerBase + n}`)
  return etcdClientsOf(options).map((address, i) => {
    const name = etcdNameOf(i + 1)
    const peer = `${HOST}:${peerBase + i + 1}`
    const words = [
      ['--name', name],
      ['--data-dir', join(options.data, name)],
      ['--listen-client-urls', `http://${address}`],
      ['--advertise-client-urls', `http://${address}`],
      ['--listen-peer-urls', `http://${peer}`],
      ['--initial-advertise-peer-urls', `http://${peer}`],
      ['--initial-cluster', peers.join(',')],
      ['--initial-cluster-state', 'new'],
      '--pre-vote',
      ...LIMITS,
    ].flat()
    return { name, kind: 'etcd', address, http: address, peer, about: 'records of the MDS', words }
  })
}

export function findEtcd(): string {
  const folders = (process.env['PATH'] ?? '').split(delimiter)
  const found = folders.map((folder) => join(folder, 'etcd')).find((path) => existsSync(path))
  if (found !== undefined) return found
  throw new CommandError(
    'The program etcd is not on this machine; nothing was started.',
    'Install it, on Debian by `apt-get install etcd-server`, or leave --etcd out: one MDS needs none.',
  )
}

/** Resolves when the member answers reads, which takes a majority; never rejects. */
export async function untilHealthy(address: string, isWanted: () => boolean): Promise<boolean> {
  while (isWanted()) {
    const health = await fetch(`http://${address}/health`)
      .then((reply) => reply.json() as Promise<{ readonly health?: unknown }>)
      .catch(() => ({ health: 'false' }))
    if (health.health === 'true') return true
    await new Promise<void>((resume) => setTimeout(resume, POLL_MS))
  }
  return false
}
