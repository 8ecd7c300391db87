// Five of twelve chunkservers stop at the same moment and come back later, while a client writes: what is
// away in such a number comes back, so that nothing moves, however long it takes; nothing that was
// acknowledged is lost, and service is back by itself. Usage: node dist/test/e2e/mass-stop.js [--short]

import { setTimeout as pause } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { MIB } from '../../src/base/units.ts'
import { HAS_ETCD } from '../harness/etcd.ts'
import { check, mib, say, seconds } from '../harness/proof.ts'
import { RoleCluster } from '../harness/role-cluster.ts'
import { Writer } from '../harness/writer.ts'

const { values } = parseArgs({ options: { short: { type: 'boolean', default: false } } })
const CHUNKSERVERS = 12
const OFFLINE_MS = 6000
/** Well past the time after which one that is silent alone would be rebuilt. */
const AWAY_MS = values.short ? 12_000 : 60_000
/** The default in the whole form; in the short one what would move is looked for all the more often. */
const SCHEDULE_MS = values.short ? 1000 : 5000
/** For what would move late. */
const CALM_MS = values.short ? 4000 : 30_000
const VOLUME_BYTES = (values.short ? 64 : 512) * MIB
const SERVED_LIMIT_MS = 60_000
/** Chunkservers n and n + 4 are in the same zone: some of each, a zone as a whole, neighbours. */
const ROUNDS = values.short
  ? [[1, 2, 3, 4, 5]]
  : [
      [1, 2, 3, 4, 5],
      [1, 5, 9, 2, 6],
      [8, 9, 10, 11, 12],
    ]

const cluster = await RoleCluster.start({
  chunkservers: CHUNKSERVERS,
  copysets: 0,
  etcd: HAS_ETCD,
  mdsSettings: [
    'mds.onlineMs=3s',
    `mds.offlineMs=${OFFLINE_MS}ms`,
    'mds.balanceIntervalMs=2s',
    `mds.scheduleIntervalMs=${SCHEDULE_MS}ms`,
  ],
})

/** Copysets change their leaders by election and by balancing; members is what must stay. */
async function memberships(): Promise<string> {
  const copysets = await cluster.copysets()
  return copysets
    .map(
      ({ id, epoch, members }) => `${id}/${epoch}: ${members.map(({ replica }) => replica).join()}`,
    )
    .join('\n')
}

async function moves(): Promise<string[]> {
  const all = await cluster.operators('all')
  return all
    .filter(({ kind }) => kind !== 'lead')
    .map(({ id, kind, copyset, why }) => `${id}: ${kind} of copyset ${copyset}, ${why}`)
}

async function stopAndStart(five: readonly number[], writer: Writer): Promise<void> {
  const before = await memberships()
  writer.start()
  await pause(2000)
  await Promise.all(five.map((n) => cluster.stop(`chunkserver-${n}`, 'SIGKILL')))
  const stoppedMs = performance.now()
  let broken = 0
  let guard = ''
  while (performance.now() - stoppedMs < AWAY_MS) {
    const status = await cluster.status()
    broken = Math.max(broken, status.copysets.broken)
    guard = status.guard ?? guard
    const active = await cluster.operators('active')
    check(active.length === 0, `something moves: ${(await moves()).join('; ')}`)
    await pause(500)
  }
  check(guard !== '', 'status does not say why nothing moves')
  const startedMs = performance.now()
  await Promise.all(five.map((n) => cluster.startChunkserver(n)))
  await cluster.untilOk(SERVED_LIMIT_MS)
  const backMs = performance.now() - startedMs
  await pause(CALM_MS)
  const result = await writer.stop()
  const moved = await moves()
  check(moved.length === 0, `moved: ${moved.join('; ')}`)
  check((await memberships()) === before, 'members of copysets have changed')
  say(
    `${five.join(', ')} of ${CHUNKSERVERS} killed at once, back ${seconds(AWAY_MS)} later: ${broken} copysets had no ` +
      `quorum meanwhile; all served ${seconds(backMs)} after the start; nothing moved`,
  )
  say(`  status: ${guard}`)
  say(
    `  ${result.writes} writes and ${result.reads} reads, none failed; ` +
      `the longest waited ${seconds(result.slowestMs)}`,
  )
  check(
    result.slowestMs < AWAY_MS + SERVED_LIMIT_MS,
    'an operation waited longer than they were away',
  )
}

try {
  await cluster.lemnis('volume', 'create', 'disk1', '--size', '1GiB')
  const volume = await cluster.client('mass-stop').open('disk1')
  const writer = new Writer(volume, VOLUME_BYTES)
  await writer.fill()
  for (const five of ROUNDS) await stopAndStart(five, writer)
  const blocks = await writer.verify()
  await volume.close()
  const { code, stdout, stderr } = await cluster.lemnis('copyset', 'check')
  check(code === 0, `copyset check says\n${stdout}${stderr}`)
  say(`${blocks} blocks of ${mib(VOLUME_BYTES)} read back as acknowledged; copyset check: equal`)
} finally {
  await cluster.close()
}
