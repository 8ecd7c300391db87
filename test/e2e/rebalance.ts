// A cluster that minds itself, as processes: twelve chunkservers in four zones are even after the creation
// of their pool; one is killed for good, three are added, a server is drained, a disk becomes slow and
// is well again, while fio reads and writes all the time. Prints tables and times of each.
// Usage: node dist/test/e2e/rebalance.js [--short]      Ends with 3 where fio is missing.

import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { GIB, MIB } from '../../src/base/units.ts'
import { HAS_ETCD } from '../harness/etcd.ts'
import { Evenness } from '../harness/evenness.ts'
import { FioLoad, HAS_FIO } from '../harness/fio-load.ts'
import { check, mib, say, seconds } from '../harness/proof.ts'
import { RoleCluster } from '../harness/role-cluster.ts'
import { Writer } from '../harness/writer.ts'

const { values } = parseArgs({ options: { short: { type: 'boolean', default: false } } })
if (!HAS_FIO) {
  say('skipped: there is no fio with an engine for NBD here (apt-get install fio)')
  process.exit(3)
}

const FIRST = 12
const LATER = 3
const REPLICAS = 3
const KILLED = 1
/** Two chunkservers of zone 3 are on one machine. */
const SERVER = 'two-disks'
const ON_SERVER = [7, 11]
const SLOWED = 5
const DELAY_MS = 80
const KEPT_BYTES = (values.short ? 64 : 512) * MIB
const FIO_BYTES = (values.short ? 256 : 1024) * MIB
const IOPS = values.short ? 100 : 200
/** 0 for as many as the MDS chooses; the short form has fewer to move. */
const COPYSETS = values.short ? 48 : 0
const SOUND_MS = values.short ? 5000 : 10_000
const QUIET_MS = values.short ? 3000 : 20_000
const LIMIT_MS = 300_000
/** Leaders of a slow disk are gone: it takes five seconds that stand out to call it slow. */
const RELIEF_LIMIT_MS = 30_000
/** The default in the whole form: rebuilding begins no faster than in a real cluster. */
const SCHEDULE_MS = values.short ? 1000 : 5000
const OFFLINE_MS = 8000
const TIMES_SLOWER_MAX = 2

const cluster = await RoleCluster.start({
  chunkservers: FIRST + LATER,
  later: LATER,
  copysets: COPYSETS,
  etcd: HAS_ETCD,
  mdsSettings: [
    'mds.onlineMs=3s',
    `mds.offlineMs=${OFFLINE_MS}ms`,
    'mds.balanceIntervalMs=1s',
    'mds.leaderUpMinMs=5s',
    `mds.scheduleIntervalMs=${SCHEDULE_MS}ms`,
    `mds.slowRecoverMs=${SOUND_MS}ms`,
  ],
  wordsOf: (n) => (ON_SERVER.includes(n) ? ['--server', SERVER] : []),
  nodeFlags: ['--import', fileURLToPath(new URL('../harness/slow-writes.js', import.meta.url))],
})
let load: FioLoad | null = null
/** What was done from when to when, by the wall clock. */
interface Phase {
  readonly what: string
  readonly fromMs: number
  readonly toMs: number
  /** Share of the whole machine's processors that was in use. */
  readonly busy: number
}
const phases: Phase[] = []

async function phase<T>(what: string, work: () => Promise<T>): Promise<T> {
  const fromMs = Date.now()
  const before = processorTicks()
  const result = await work()
  const after = processorTicks()
  const busy = 1 - (after.idle - before.idle) / Math.max(1, after.all - before.all)
  phases.push({ what, fromMs, toMs: Date.now(), busy })
  return result
}

/** First line of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal (proc(5)). */
function processorTicks(): { readonly all: number; readonly idle: number } {
  const [line = ''] = readFileSync('/proc/stat', 'utf8').split('\n')
  const ticks = line.split(/\s+/).slice(1, 9).map(Number)
  return { all: ticks.reduce((sum, one) => sum + one, 0), idle: (ticks[3] ?? 0) + (ticks[4] ?? 0) }
}

async function evenness(): Promise<Evenness> {
  const [chunkservers, copysets] = [await cluster.chunkservers(), await cluster.copysets()]
  return new Evenness(chunkservers, copysets, REPLICAS)
}

/** Nothing moves, all copysets are well and even; says how long that took. */
async function untilEven(what: string, sinceMs: number): Promise<void> {
  let seen = await evenness()
  await cluster
    .until(
      `${what}: even`,
      async () => {
        const { copysets } = await cluster.status()
        if (copysets.ok < copysets.total || (await cluster.operators('active')).length > 0)
          return false
        seen = await evenness()
        return seen.wrongs().length === 0
      },
      LIMIT_MS,
    )
    .catch((error: unknown) => {
      say(`${seen.wrongs().join('; ')}\n${seen.table()}`)
      throw error
    })
  say(`${what}: even ${seconds(performance.now() - sinceMs)} later\n${seen.table()}`)
}

/** Operators of one kind and reason that ended since, and those of them that did not finish. */
async function moved(why: string, sinceMs: number): Promise<string> {
  const ended = (await cluster.operators('ended')).filter(
    (one) => one.why === why && one.kind !== 'lead' && (one.endedMs ?? 0) >= sinceMs,
  )
  const failed = ended.filter(({ state }) => state !== 'finished')
  return `${ended.length - failed.length} replicas moved, ${failed.length} operators given up`
}

const isOn = (id: number, members: readonly { readonly chunkserver: number }[]): boolean =>
  members.some(({ chunkserver }) => chunkserver === id)

async function killOne(): Promise<void> {
  const held = (await cluster.copysets()).filter(({ members }) => isOn(KILLED, members))
  const killedMs = performance.now()
  const wallMs = Date.now()
  await phase('killed, its leaders are elected anew', async () => {
    await cluster.stop(`chunkserver-${KILLED}`, 'SIGKILL')
    await cluster.until('it counts as gone', async () => {
      const all = await cluster.chunkservers()
      return all.some(({ id, state }) => id === KILLED && state === 'offline')
    })
  })
  await phase('its replicas are rebuilt', () =>
    cluster.until(
      'its replicas are rebuilt',
      async () => {
        const copysets = await cluster.copysets()
        return copysets.every(
          ({ health, members }) =>
            health === 'ok' && members.length === REPLICAS && !isOn(KILLED, members),
        )
      },
      LIMIT_MS,
    ),
  )
  const heldBytes = held.reduce((sum, { usedBytes }) => sum + usedBytes, 0)
  say(
    `chunkserver ${KILLED} killed for good: its ${held.length} replicas (${mib(heldBytes)}) are elsewhere after ` +
      `${seconds(performance.now() - killedMs)}, ${seconds(OFFLINE_MS)} of it waiting; ${await moved('offline', wallMs)}`,
  )
  await untilEven('after that', killedMs)
  const { code, stdout, stderr } = await cluster.lemnis('chunkserver', 'remove', String(KILLED))
  check(code === 0, `chunkserver remove: ${stdout}${stderr}`)
}

async function addSome(): Promise<void> {
  const addedMs = performance.now()
  const wallMs = Date.now()
  await phase(`${LATER} added`, async () => {
    for (let n = FIRST + 1; n <= FIRST + LATER; n++) await cluster.startChunkserver(n)
    await cluster.untilOnline(FIRST + LATER - 1)
    await untilEven(`${LATER} chunkservers added`, addedMs)
  })
  say(`  ${await moved('balance', wallMs)}`)
}

async function drainServer(): Promise<void> {
  const startedMs = performance.now()
  const wallMs = Date.now()
  await phase('a server drained', async () => {
    const { code, stdout, stderr } = await cluster.lemnis('server', 'drain', SERVER, '--wait')
    check(code === 0, `server drain: ${stdout}${stderr}`)
  })
  const all = await cluster.chunkservers()
  const left = all.filter(({ id, state }) => ON_SERVER.includes(id) && state !== 'retired')
  check(left.length === 0, `${left.length} of the server have not retired`)
  const copysets = await cluster.copysets()
  const stay = copysets.filter(({ members }) => ON_SERVER.some((id) => isOn(id, members)))
  check(stay.length === 0, `${stay.length} copysets are still on the server`)
  say(
    `server ${SERVER} with chunkservers ${ON_SERVER.join(' and ')} drained: empty and retired after ` +
      `${seconds(performance.now() - startedMs)}; ${await moved('drain', wallMs)}`,
  )
  for (const n of ON_SERVER) await cluster.stop(`chunkserver-${n}`)
  await untilEven('the server drained', startedMs)
}

async function slowDisk(): Promise<void> {
  const delayFile = `${cluster.dataOf(SLOWED)}.delay`
  const slowed = async (): Promise<Awaited<ReturnType<typeof cluster.chunkservers>>[number]> => {
    const one = (await cluster.chunkservers()).find(({ id }) => id === SLOWED)
    if (one === undefined) throw new Error('the slow one is not listed')
    return one
  }
  const { leaders } = await slowed()
  check(leaders > 0, 'it leads nothing before it becomes slow')
  const slowedMs = performance.now()
  writeFileSync(delayFile, String(DELAY_MS))
  let noticedMs = 0
  await phase('a disk is slow, and leads', () =>
    cluster.until(
      'its leaders leave the slow one',
      async () => {
        const { slow, leaders: left } = await slowed()
        if (slow !== undefined && noticedMs === 0) noticedMs = performance.now() - slowedMs
        return slow !== undefined && left === 0
      },
      RELIEF_LIMIT_MS,
    ),
  )
  const relievedMs = performance.now() - slowedMs
  const { slow } = await slowed()
  const { health } = await cluster.status()
  const reason = health.reasons.find((one) => one.includes('slow')) ?? ''
  check(slow?.why === 'latency' && reason !== '', `status says ${health.reasons.join('; ')}`)
  const shown = await cluster.lemnis('chunkserver', 'show', String(SLOWED))
  check(shown.stdout.includes(slow.says), `chunkserver show says\n${shown.stdout}`)
  await phase('a disk is slow, and leads nothing', () => pause(QUIET_MS))
  check((await slowed()).leaders === 0, 'it was given leaders though it is slow')
  rmSync(delayFile)
  const mendedMs = performance.now()
  await cluster.until(
    'it is sound again',
    async () => (await slowed()).slow === undefined,
    LIMIT_MS,
  )
  const soundMs = performance.now() - mendedMs
  say(
    `writes of chunkserver ${SLOWED} take ${DELAY_MS} ms more: noticed after ${seconds(noticedMs)}, ` +
      `all ${leaders} leaders had left after ${seconds(relievedMs)}\n  chunkserver show: ${slow.says}\n  status: ${reason}\n` +
      `  without the delay it counted as sound after ${seconds(soundMs)} (${seconds(SOUND_MS)} of it without a slow second)`,
  )
  await untilEven('the disk mended', mendedMs)
}

function report(fio: FioLoad): void {
  say(`fio over NBD, random reads and writes of 4 KiB, ${IOPS} a second wished:`)
  const row = (cells: readonly string[]): string =>
    cells.map((cell, i) => (i === 0 ? cell.padEnd(38) : cell.padStart(10))).join('')
  say(`  ${row(['', 'lasted', 'IOPS', 'p50 ms', 'p99 ms', 'max ms', 'CPU busy'])}`)
  for (const { what, fromMs, toMs, busy } of phases) {
    const { iops, p50Ms, p99Ms, maxMs } = fio.stretch(fromMs, toMs)
    const figures = [iops.toFixed(0), p50Ms.toFixed(1), p99Ms.toFixed(1), maxMs.toFixed(0)]
    figures.push(`${(busy * 100).toFixed(0)} %`)
    say(`  ${row([what, seconds(toMs - fromMs), ...figures])}`)
  }
  const p99 = (what: string): number => {
    const found = phases.find((one) => one.what === what)
    return found === undefined ? 0 : fio.stretch(found.fromMs, found.toMs).p99Ms
  }
  const times = p99('its replicas are rebuilt') / p99('before')
  say(`p99 while replicas are rebuilt is ${times.toFixed(2)} times that before`)
  if (!values.short) check(times < TIMES_SLOWER_MAX, `more than ${TIMES_SLOWER_MAX} times`)
}

try {
  const createdMs = performance.now()
  const store = HAS_ETCD ? 'three MDS on etcd' : 'one MDS on its embedded store'
  say(`${FIRST} chunkservers in four zones, ${store}`)
  await untilEven('pool created', createdMs)
  await cluster.lemnis('volume', 'create', 'kept', '--size', '1GiB')
  await cluster.lemnis('volume', 'create', 'load', '--size', `${FIO_BYTES / GIB}GiB`)
  const kept = await cluster.client('rebalance').open('kept')
  const writer = new Writer(kept, KEPT_BYTES)
  await writer.fill()
  const address = await cluster.startNbd()
  load = new FioLoad(`nbd://${address}/load`, { bytes: FIO_BYTES, iops: IOPS })
  await pause(QUIET_MS)
  await phase('before', () => pause(QUIET_MS))
  await killOne()
  await addSome()
  await drainServer()
  await slowDisk()
  await load.stop()
  report(load)
  await writer.verify()
  await kept.close()
  const { code, stdout, stderr } = await cluster.lemnis('copyset', 'check')
  check(code === 0, `copyset check says\n${stdout}${stderr}`)
  say(`all ${mib(KEPT_BYTES)} written before read back the same; copyset check: equal`)
} finally {
  load?.close()
  await cluster.close()
}
