// A chunkserver that does not come back, and one that does, under writes and reads: what the first one
// held is rebuilt on the others, and the second one gets only what changed meanwhile. No operation ever
// fails. Usage: node dist/test/e2e/recover.js [--short]

import { setTimeout as pause } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { LIST_CHUNKS } from '../../src/format/control/chunkserver.ts'
import { check, mib, say, seconds } from '../harness/proof.ts'
import { RoleCluster } from '../harness/role-cluster.ts'
import { Writer } from '../harness/writer.ts'

const { values } = parseArgs({ options: { short: { type: 'boolean', default: false } } })
const MIB = 1024 * 1024
const AWAY_MS = values.short ? 10_000 : 120_000
const VOLUME_BYTES = (values.short ? 128 : 1024) * MIB
const REBUILD_LIMIT_MS = 300_000

async function expectEqual(cluster: RoleCluster, what: string): Promise<void> {
  const { code, stdout, stderr } = await cluster.lemnis('copyset', 'check')
  check(code === 0, `${what}: copyset check says\n${stdout}${stderr}`)
}

/** One of four is killed for good; another is in its zone. */
async function goneForGood(): Promise<void> {
  const cluster = await RoleCluster.start({
    chunkservers: 4,
    copysets: 12,
    mdsSettings: ['mds.onlineMs=3s', 'mds.offlineMs=6s'],
  })
  try {
    await cluster.lemnis('volume', 'create', 'disk1', '--size', '2GiB')
    const volume = await cluster.client('recover').open('disk1')
    const writer = new Writer(volume, VOLUME_BYTES)
    await writer.fill()
    const before = await cluster.copysets()
    const hit = before.filter(({ members }) => members.some((m) => m.chunkserver === 1))
    const led = hit.filter(({ leader }) => leader === 1)
    writer.start()
    await pause(2000)
    const killedMs = performance.now()
    await cluster.stop('chunkserver-1', 'SIGKILL')
    await cluster.until(
      'everything is rebuilt elsewhere',
      async () => {
        const copysets = await cluster.copysets()
        return copysets.every(
          ({ health, members }) =>
            health === 'ok' && members.length === 3 && members.every((m) => m.chunkserver !== 1),
        )
      },
      REBUILD_LIMIT_MS,
    )
    const tookMs = performance.now() - killedMs
    await pause(1000)
    const result = await writer.stop()
    check(result.writes > 0 && result.reads > 0, 'nothing was written or read')
    await expectEqual(cluster, 'after the rebuild')
    await writer.verify()
    const usedBytes = (await cluster.copysets())
      .filter(({ id }) => hit.some((one) => one.id === id))
      .reduce((sum, one) => sum + one.usedBytes, 0)
    say(
      `1 of 4 chunkservers killed for good: ${hit.length} of ${before.length} copysets (${led.length} led by it, ` +
        `${mib(usedBytes)}) rebuilt after ${seconds(tookMs)}, 6 s of it waiting for the chunkserver; ` +
        `${result.writes} writes and ${result.reads} reads meanwhile without an error, ` +
        `longest stall ${seconds(result.longestStallMs)}, slowest ${seconds(result.slowestMs)}; copyset check: equal`,
    )
    await volume.close()
  } finally {
    await cluster.close()
  }
}

/** What a chunkserver holds, by its own words. */
async function usedOf(cluster: RoleCluster, name: string): Promise<number> {
  return cluster.metric(name, 'chunkstore_used_bytes')
}

/** It has applied what the leaders have. */
async function isLevel(cluster: RoleCluster, chunkserver: number): Promise<boolean> {
  for (const { id, leader, members } of await cluster.copysets()) {
    const versions = await Promise.all(
      [leader, chunkserver].map(async (n) => {
        const address = members.find((member) => member.chunkserver === n)?.address
        if (address === undefined) return 'none'
        const request = { group: id, from: 0, count: 1024, verify: false }
        const list = await cluster.session.askAt(address, LIST_CHUNKS, request).catch(() => null)
        return JSON.stringify(list?.chunks.map(({ chunk, version }) => [chunk, version]))
      }),
    )
    if (versions[0] === undefined || versions[0] !== versions[1]) return false
  }
  return true
}

async function awayForAWhile(): Promise<void> {
  const cluster = await RoleCluster.start({
    copysets: 6,
    // So small that the log goes on without the one that is away.
    chunkserverSettings: [
      'copyset.checkpointBytes=4MiB',
      'raftlog.segmentsPinned=2',
      'raftlog.segmentsHeld=0',
    ],
  })
  try {
    await cluster.lemnis('volume', 'create', 'disk1', '--size', '2GiB')
    const volume = await cluster.client('recover').open('disk1')
    const all = new Writer(volume, VOLUME_BYTES)
    await all.fill()
    await pause(3000)
    await cluster.stop('chunkserver-3', 'SIGKILL')
    // The first eighth: much of it is overwritten many times.
    const beforeBytes = volume.stats().writtenBytes
    all.limit(VOLUME_BYTES / 8)
    all.start()
    await pause(AWAY_MS)
    const result = await all.stop()
    const writtenBytes = volume.stats().writtenBytes - beforeBytes
    const from = [1, 2].map((n) => cluster.logBytes(`chunkserver-${n}`))
    const startedMs = performance.now()
    await cluster.startChunkserver(3)
    await cluster.until('it is level with the others', () => isLevel(cluster, 3), REBUILD_LIMIT_MS)
    const tookMs = performance.now() - startedMs
    const receivedBytes = await cluster.metric('chunkserver-3', 'rpc_bytes_received_total')
    const sent = [1, 2].flatMap((n, i) =>
      cluster
        .eventsOf(`chunkserver-${n}`, from[i])
        .filter(({ event }) => event === 'copyset_state_sent'),
    )
    await cluster.untilOk()
    await expectEqual(cluster, 'after it came back')
    await all.verify()
    const holdsBytes = await usedOf(cluster, 'chunkserver-3')
    check(receivedBytes < holdsBytes / 2, `it received ${mib(receivedBytes)} of ${mib(holdsBytes)}`)
    say(
      `a chunkserver away for ${seconds(AWAY_MS)}: ${mib(writtenBytes)} written meanwhile into ${mib(VOLUME_BYTES / 8)} ` +
        `(longest stall ${seconds(result.longestStallMs)}); back, it received ${mib(receivedBytes)} in ${seconds(tookMs)}, ` +
        `${sent.length} transfers of state; it holds ${mib(holdsBytes)}; copyset check: equal`,
    )
    await volume.close()
  } finally {
    await cluster.close()
  }
}

await goneForGood()
await awayForAWhile()
