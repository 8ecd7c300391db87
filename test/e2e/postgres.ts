// PostgreSQL on an attached volume while the cluster under it dies piece by piece: pgbench goes on through
// kill -9 of leading chunkservers and waits through kill -9 of everything; then the device's own process is
// killed, and PostgreSQL recovers on the volume attached again. Shown each time: no error, the longest time
// without a transaction, every acknowledged transaction there, pg_amcheck, checksums and e2fsck clean.
// Needs root, /dev/fuse, loop devices and PostgreSQL; says so where they are not.
// Usage: node dist/test/e2e/postgres.js [--seconds 60] [--short]

import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { AttachedVolume, ask, within } from '../harness/attached.ts'
import { DevCluster } from '../harness/dev-cluster.ts'
import { type BenchResult, findPostgres, Postgres } from '../harness/postgres.ts'
import { check, say } from '../harness/report.ts'

/** How a program of these says that the machine lacks what it needs. */
const UNAVAILABLE = 3
const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    short: { type: 'boolean', default: false },
  },
})
const SECONDS = values.short ? 15 : Number(values.seconds)
const SCALE = values.short ? 3 : 10
/** One kill each; a bench that a stall made late goes on until it has its answers. */
const KILL_ALL_SECONDS = values.short ? 8 : SECONDS
/** Between two kills. */
const KILL_EVERY_MS = 5000
/** A leader's death costs an election and what clients need to find the new one. */
const STALL_GOAL_MS = 2000
/** After every process of the cluster was killed. */
const RETURN_LIMIT_MS = 30_000

const programs = findPostgres()
const hasDevices = existsSync('/dev/fuse') && existsSync('/dev/loop-control')
if (process.getuid?.() !== 0 || !hasDevices || programs === null) {
  console.log('skipped: needs root, /dev/fuse, loop devices and PostgreSQL')
  process.exit(UNAVAILABLE)
}

const scratch = mkdtempSync(join(tmpdir(), 'lemnis-postgres-'))
chmodSync(scratch, 0o755)
const directory = join(scratch, 'volume')
mkdirSync(directory)
const cluster = await DevCluster.start()
const volume = new AttachedVolume(cluster, `postgres-${process.pid}`)
const postgres = new Postgres(programs, join(directory, 'data'), scratch)

/** The chunkserver that leads the most copysets. */
async function leadingMost(): Promise<string> {
  const copysets = await cluster.json<{ leader: number }[]>('copyset', 'list')
  const counts = new Map<number, number>()
  for (const { leader } of copysets)
    if (leader > 0) counts.set(leader, 1 + (counts.get(leader) ?? 0))
  const most = [...counts].toSorted((a, b) => b[1] - a[1])[0]
  check(most !== undefined, 'some chunkserver leads')
  return `chunkserver-${(most as [number, number])[0]}`
}

function report(what: string, { transactions, stallMs, slowestMs }: BenchResult): void {
  say(`${what}: ${transactions} transactions, no error`)
  say(
    `  longest time without one ${Math.round(stallMs)} ms, slowest one ${Math.round(slowestMs)} ms`,
  )
}

async function calm(): Promise<void> {
  report('undisturbed', await postgres.bench(values.short ? 5 : 15))
}

async function leaderKills(): Promise<void> {
  let kills = 0
  const killing = async (): Promise<void> => {
    const endMs = performance.now() + 1000 * SECONDS - KILL_EVERY_MS
    while (performance.now() < endMs) {
      await pause(KILL_EVERY_MS)
      cluster.kill(await leadingMost())
      kills++
    }
  }
  const [result] = await Promise.all([postgres.bench(SECONDS), killing()])
  report(`${kills} times kill -9 of the chunkserver that leads most`, result)
  const verdict = result.stallMs < STALL_GOAL_MS ? 'reached' : 'MISSED'
  say(`  goal of ${STALL_GOAL_MS} ms: ${verdict}`)
}

/** Every chunkserver and the MDS at once; dev starts them again. */
async function rolesKilled(): Promise<void> {
  const killing = async (): Promise<void> => {
    await pause(2000)
    for (const { name, pid } of cluster.roles()) if (name !== 'nbd') process.kill(pid, 'SIGKILL')
  }
  const [result] = await Promise.all([postgres.bench(KILL_ALL_SECONDS), killing()])
  report('kill -9 of all chunkservers and the MDS', result)
  check(result.stallMs < RETURN_LIMIT_MS, 'it went on soon after all was back')
}

async function allKilled(): Promise<void> {
  let startMs = 0
  const killing = async (): Promise<void> => {
    await pause(2000)
    await cluster.killAll()
    const startedMs = performance.now()
    await cluster.start()
    startMs = performance.now() - startedMs
  }
  const [result] = await Promise.all([postgres.bench(KILL_ALL_SECONDS), killing()])
  report(`kill -9 of these and dev, which took ${Math.round(startMs)} ms to start again`, result)
  check(result.stallMs < startMs + RETURN_LIMIT_MS, 'it went on soon after all was back')
}

async function consistent(): Promise<void> {
  await postgres.verify()
  say(
    `${postgres.acknowledged} acknowledged transactions are there; balances agree; pg_amcheck clean`,
  )
}

/** The machine's crash, as the database sees it: the device fails under it. */
async function deviceKilled(pid: number): Promise<void> {
  const killing = async (): Promise<void> => {
    await pause(4000)
    process.kill(pid, 'SIGKILL')
  }
  const [transactions] = await Promise.all([postgres.benchUntilBroken(), killing()])
  await postgres.kill()
  const { device } = await volume.attach()
  await ask('umount', '-l', directory)
  await volume.mount(device, directory)
  await postgres.start()
  say(
    `kill -9 of the device's process after ${transactions} transactions; attached, mounted, recovered`,
  )
  await consistent()
}

async function stopped(): Promise<void> {
  await postgres.stop()
  await ask('umount', directory)
  const device = volume.device ?? ''
  await ask('e2fsck', '-fn', device)
  await volume.mount(device, directory, '-o', 'ro')
  await postgres.verifyChecksums()
  await ask('umount', directory)
  await volume.detach()
  const left = await volume.leftovers()
  check(left.length === 0, `left behind: ${left.join(', ')}`)
  say('stopped cleanly; e2fsck clean; pg_checksums clean; detached; nothing left')
}

let failure: unknown = null
try {
  await cluster.lemnis('volume', 'create', volume.name, '--size', '4GiB')
  const { device, pid } = await volume.attach()
  await ask('mkfs.ext4', '-q', device)
  await volume.mount(device, directory)
  await postgres.create(SCALE)
  say(`PostgreSQL on ${device}, pgbench scale ${SCALE}`)
  await calm()
  await leaderKills()
  await consistent()
  await rolesKilled()
  await allKilled()
  await consistent()
  await deviceKilled(pid)
  await stopped()
  say('PostgreSQL on a volume: all right')
} catch (error) {
  failure = error
  console.error(error)
  console.error(postgres.logTail())
}
await postgres.kill()
await volume.cleanUp()
await within(60_000, 'end of the cluster', cluster.close()).catch(console.error)
rmSync(scratch, { recursive: true, force: true })
process.exit(failure === null ? 0 : 1)
