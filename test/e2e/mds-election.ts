// One MDS leads, whatever happens to the others, to itself or to etcd: every case of the study of elections
// with real processes, while a probe asks all MDS every few milliseconds who leads. Shows that no two
// ever answer as leader, that what a former leader writes late is refused, and how long nobody answered.
// Usage: node dist/test/e2e/mds-election.js [--short]      Ends with 3 where there is no etcd.

import { setTimeout as pause } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { HAS_ETCD } from '../harness/etcd.ts'
import { MdsCluster } from '../harness/mds-cluster.ts'
import { check, say } from '../harness/proof.ts'

const { values } = parseArgs({ options: { short: { type: 'boolean', default: false } } })
if (!HAS_ETCD) {
  say('skipped: there is no etcd here (apt-get install etcd-server)')
  process.exit(3)
}

const ROUNDS = values.short ? 2 : 20
/** The defaults; short ones where everything has to be over soon. */
const LEASE_MS = values.short ? 2000 : 5000
const FROZEN_MS = values.short ? 4000 : 15_000
const SETTINGS = values.short
  ? ['mds.leaderLeaseMs=2s', 'mds.leaderMarginMs=200ms', 'mds.leaderKeepAliveMs=400ms']
  : []
/** etcd looks for ended leases twice a second, and gives a second more after a change of its leader. */
const ETCD_MS = 1500
const CLEAN_LIMIT_MS = 300
/** Slower machines, and everything that is asked again. */
const SLACK_MS = 1000
/**
 * How late each goal may be met: exactly in the whole form, on a machine of its own. The short one runs
 * beside whatever else a machine does, and asks that somebody serves again, and never two.
 */
const LATENESS = values.short ? 5 : 1

const cluster = await MdsCluster.start(SETTINGS)
const { etcd } = cluster

function spread(times: readonly number[]): string {
  const sorted = times.toSorted((a, b) => a - b)
  const median = sorted[Math.floor(sorted.length / 2)] ?? 0
  return `median ${median.toFixed(0)} ms, worst ${(sorted.at(-1) ?? 0).toFixed(0)} ms`
}

function checkAlone(): void {
  const { wrongs, doubleMs } = cluster.reigns
  check(
    wrongs.length === 0,
    `two led for ${doubleMs.toFixed(0)} ms: ${wrongs.slice(0, 3).join('; ')}`,
  )
}

/** Everything is well again, and a write goes through. */
async function settle(): Promise<void> {
  for (const mds of cluster.all) {
    cluster.thaw(mds)
    cluster.heal(mds)
    if (mds.child === null) cluster.begin(mds)
  }
  await etcd.startAll()
  await cluster.untilSettled()
  await cluster.write()
  checkAlone()
}

/** Strikes, then says how long a write took, at most `limitMs`. */
async function strike(what: string, limitMs: number, how: () => Promise<void>): Promise<number> {
  const startedMs = performance.now()
  await how()
  const tookMs = await cluster.write()
  const gapMs = cluster.longestGapMs(startedMs)
  say(`${what}: nobody led for ${gapMs.toFixed(0)} ms, a write took ${tookMs.toFixed(0)} ms`)
  check(tookMs <= limitMs * LATENESS, `${what}: more than ${limitMs * LATENESS} ms`)
  await settle()
  return tookMs
}

async function cleanStops(): Promise<void> {
  const times: number[] = []
  for (let i = 0; i < ROUNDS; i++) {
    const leader = await cluster.leader()
    const gone = cluster.end(leader, 'SIGTERM')
    await pause(1)
    times.push(await cluster.write())
    await gone
    await settle()
  }
  say(`clean stop of the leader, ${ROUNDS} times: a write after it took ${spread(times)}`)
  check(Math.max(...times) <= CLEAN_LIMIT_MS * LATENESS, `more than ${CLEAN_LIMIT_MS} ms`)
}

async function kills(): Promise<void> {
  const times: number[] = []
  for (let i = 0; i < ROUNDS; i++) {
    await cluster.end(await cluster.leader(), 'SIGKILL')
    times.push(await cluster.write())
    await settle()
  }
  say(`kill -9 of the leader, ${ROUNDS} times: a write after it took ${spread(times)}`)
  check(Math.max(...times) <= (LEASE_MS + SLACK_MS) * LATENESS, 'more than the lease and a second')
}

/** The host is gone without a word: nothing is refused, nothing is answered. */
async function frozen(): Promise<void> {
  const times: number[] = []
  for (let i = 0; i < ROUNDS; i++) {
    const leader = await cluster.leader()
    const { key, revision } = await cluster.leaderKey()
    const thawMs = performance.now() + FROZEN_MS
    cluster.freeze(leader)
    times.push(await cluster.write())
    await pause(Math.max(0, thawMs - performance.now()))
    cluster.thaw(leader)
    const late = await cluster.store.commit(
      [{ kind: 'created', key, revision }],
      [{ kind: 'put', key: 'late', value: 'of the former leader' }],
    )
    check(late === null, 'a late write of the frozen leader was taken')
    check((await cluster.leader()) !== leader, 'the frozen leader leads again')
    await settle()
  }
  say(
    `leader frozen ${FROZEN_MS} ms, ${ROUNDS} times: a write took ${spread(times)}; late writes refused`,
  )
  check(
    Math.max(...times) <= (LEASE_MS + 2 * SLACK_MS) * LATENESS,
    'more than the lease and two seconds',
  )
}

async function cutOff(): Promise<void> {
  for (const how of ['silent', 'refused'] as const) {
    const leader = await cluster.leader()
    await strike(`leader cut off from etcd, ${how}`, LEASE_MS + ETCD_MS + SLACK_MS, async () =>
      cluster.cut(leader, how),
    )
    const again = await cluster.leader()
    await strike(`leader cut off, ${how}, for less than its lease`, LEASE_MS, async () => {
      cluster.cut(again, how)
      await pause(LEASE_MS * 0.4)
      cluster.heal(again)
    })
    check((await cluster.leader()) === again, 'it lost its leadership within its lease')
  }
  const leader = await cluster.leader()
  await strike('leader cut off, and healed just when its lease ends', LEASE_MS, async () => {
    cluster.cut(leader, 'silent')
    await pause(LEASE_MS - 100)
    cluster.heal(leader)
  })
}

async function others(): Promise<void> {
  const leader = await cluster.leader()
  const standby = cluster.all.find((mds) => mds !== leader)
  if (standby === undefined) throw new Error('no standby')
  await strike('a standby killed', SLACK_MS, () => cluster.end(standby, 'SIGKILL'))
  check((await cluster.leader()) === leader, 'the loss of a standby moved the leader')
  const etcdLeader = await etcd.leader()
  const follower = etcd.members.find((member) => member !== etcdLeader)
  await strike('a follower of etcd killed', 2 * SLACK_MS, async () => {
    await follower?.kill()
  })
  check((await cluster.leader()) === leader, 'the loss of a follower of etcd moved the leader')
  await strike("etcd's leader killed", LEASE_MS + ETCD_MS, async () => {
    await (await etcd.leader()).kill()
  })
  await strike("etcd's leader frozen", LEASE_MS + ETCD_MS + 2 * SLACK_MS, async () => {
    ;(await etcd.leader()).freeze()
  })
}

async function storeAway(): Promise<void> {
  await strike('no quorum of etcd for less than the lease', LEASE_MS + ETCD_MS, async () => {
    for (const member of etcd.members.slice(0, 2)) member.freeze()
    await pause(LEASE_MS * 0.4)
    for (const member of etcd.members) member.thaw()
  })
  await strike('no quorum of etcd for more than the lease', LEASE_MS + 3 * ETCD_MS, async () => {
    for (const member of etcd.members.slice(0, 2)) member.freeze()
    await pause(LEASE_MS * 1.6)
    for (const member of etcd.members) member.thaw()
  })
  await strike('all leases run out together', 3 * ETCD_MS, async () => {
    for (const mds of cluster.all) cluster.cut(mds, 'silent')
    await pause(LEASE_MS + ETCD_MS)
    for (const mds of cluster.all) cluster.heal(mds)
  })
  await strike('etcd down as a whole, and back', LEASE_MS + 4 * ETCD_MS, async () => {
    for (const member of etcd.members) await member.kill()
    await pause(LEASE_MS * 1.6)
    for (const mds of cluster.all) check(mds.child !== null, 'an MDS ended without its store')
    await etcd.startAll()
  })
}

try {
  await cluster.write()
  await cleanStops()
  await kills()
  await frozen()
  await cutOff()
  await others()
  await storeAway()
  const { answers, terms, doubleMs } = cluster.reigns
  checkAlone()
  const disks = await cluster.store.range('chunkserver/', 'chunkserver0', 10_000)
  check(disks.length === cluster.writes, `${disks.length} records of ${cluster.writes} writes`)
  say(`${answers} answers as leader in ${terms.size} terms; two led for ${doubleMs} ms`)
  say(`all ${cluster.writes} writes that were answered are there`)
} catch (error) {
  say(cluster.logs())
  throw error
} finally {
  await cluster.close()
}
