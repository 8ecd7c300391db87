// Full disks: first by the configured capacity, then file systems that really have no room, one of three
// and then all. What was acknowledged stays readable, writes wait or fail with one sentence as the client
// wants, status and /debug/waits say why, and room given back lets them go on. The file systems are ext4
// in files, mounted by loop devices, which needs root; without it only the first part runs.
// Usage: node dist/test/e2e/full-disk.js [--short] [--disks: the file systems only]

import { execFileSync } from 'node:child_process'
import { closeSync, ftruncateSync, openSync, rmSync, statfsSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { LemnisError } from '../../src/base/errors.ts'
import type { Volume } from '../../src/client/volume.ts'
import { check, isEqual, mib, pattern, say, seconds } from '../harness/proof.ts'
import { RoleCluster } from '../harness/role-cluster.ts'

const { values } = parseArgs({
  options: {
    short: { type: 'boolean', default: false },
    disks: { type: 'boolean', default: false },
  },
})
const MIB = 1024 * 1024
const STEP_BYTES = MIB
const SMALL_MIB = values.short ? 640 : 1024
const CAPACITY_MIB = values.short ? 160 : 640
/** A write that has not ended after this long waits. */
const WAITING_MS = 3000
const LIMIT_MS = 60_000

interface Written {
  /** Values of the steps that were acknowledged, by number. */
  readonly values: Map<number, number>
  nextValue: number
}

const newWritten = (): Written => ({ values: new Map(), nextValue: 1 })

async function writeStep(volume: Volume, written: Written, step: number): Promise<void> {
  const value = written.nextValue++
  await volume.write(step * STEP_BYTES, pattern(value, STEP_BYTES))
  written.values.set(step, value)
}

/** Writes new steps until one is refused for lack of room. */
async function fill(
  volume: Volume,
  written: Written,
  from: number,
  to: number,
): Promise<LemnisError | null> {
  let refusal: LemnisError | null = null
  let next = from
  const hand = async (): Promise<void> => {
    while (refusal === null && next < to) {
      const step = next++
      try {
        await writeStep(volume, written, step)
      } catch (error) {
        if (!(error instanceof LemnisError)) throw error
        refusal ??= error
      }
    }
  }
  await Promise.all([hand(), hand(), hand(), hand()])
  return refusal
}

async function expectAll(volume: Volume, written: Written, what: string): Promise<void> {
  for (const [step, value] of written.values) {
    const read = await volume.read(step * STEP_BYTES, STEP_BYTES)
    check(isEqual(read, pattern(value, STEP_BYTES)), `${what}: step ${step} reads wrong`)
  }
}

function within<T>(work: Promise<T>, what: string, limitMs = LIMIT_MS): Promise<T> {
  const limit = pause(limitMs, null, { ref: false }).then(() => {
    throw new Error(`not within ${seconds(limitMs)}: ${what}`)
  })
  return Promise.race([work, limit])
}

async function isWaiting(work: Promise<unknown>): Promise<boolean> {
  const ended = work.then(
    () => false,
    () => false,
  )
  return Promise.race([ended, pause(WAITING_MS, true)])
}

async function stateOf(cluster: RoleCluster): Promise<string> {
  const { health } = await cluster.status()
  return `${health.state}: ${health.reasons.join(' ')}`
}

async function untilStatus(cluster: RoleCluster, says: RegExp): Promise<string> {
  let state = ''
  await cluster
    .until('status', async () => {
      state = await stateOf(cluster)
      return says.test(state)
    })
    .catch(() => check(false, `status says “${state}”, not ${says}`))
  return state
}

/** Everything about a full cluster, from the first refusal to the end of all waits. */
async function fullAndBack(
  cluster: RoleCluster,
  what: string,
  ofIds: RegExp,
  mayPlace = false,
): Promise<void> {
  const client = cluster.client('full-disk')
  const written = newWritten()
  const steps = 4096
  const failing = await client.open('disk1', { onFull: 'error' })
  const refusal = await within(fill(failing, written, 0, steps), `${what}: a refusal`, 4 * LIMIT_MS)
  check(refusal?.code === 'NO_SPACE', `${what}: ended with ${refusal?.code ?? 'nothing'}`)
  say(`${what}: after ${written.values.size} MiB a write fails: ${refusal.message}`)
  say(`  status: ${await untilStatus(cluster, ofIds)}`)
  const places = [...written.values.keys()]
  // What has its room already can be written again.
  for (const step of places.slice(0, 8))
    await within(writeStep(failing, written, step), 'an overwrite')
  await expectAll(failing, written, what)
  await failing.close()

  const waiting = await client.open('disk1')
  // New places in every copyset, and one in a segment that has no copysets yet.
  const last = Math.max(...places)
  const more = Math.floor(places.length / 2)
  const allocated = writeStep(waiting, written, steps + 1)
  const first = Promise.all([fill(waiting, written, last + 1, last + 1 + more), allocated])
  check(await isWaiting(first), `${what}: writes to new places do not wait`)
  const waits = waiting.waits(1000).map(({ what: of, waitsFor }) => `${of}, for ${waitsFor}`)
  const [write = ''] = waits.filter((one) => one.startsWith('write'))
  const [allocation = ''] = waits.filter((one) => one.startsWith('allocate'))
  // A log that went on meanwhile may have given its file system room for a little more.
  const isBoth = write.includes('NO_SPACE') && allocation.includes('UNPLACEABLE')
  const isOne = write.includes('NO_SPACE') || allocation.includes('UNPLACEABLE')
  check(mayPlace ? isOne : isBoth, `${what}: the client's waits: ${waits.join('; ')}`)
  say(`  by default writes wait: ${[write, allocation].join('; ')}`)
  const told = await cluster.lemnis('waits')
  say(`  lemnis waits: ${told.stdout.split('\n')[1] ?? ''}`)
  check(told.stdout.includes('full disk'), `lemnis waits:\n${told.stdout}`)
  const roles = [1, 2, 3].map((n) => cluster.isRunning(`chunkserver-${n}`))
  check(roles.every(Boolean), `${what}: a chunkserver has ended`)

  const givenMs = performance.now()
  // A disk may be filled a little past what it has before all know that it is full.
  const given = places.slice(0, -8)
  for (const step of given) {
    await within(waiting.discard(step * STEP_BYTES, STEP_BYTES), 'a discard')
    written.values.delete(step)
  }
  await within(first, `${what}: the writes that waited`)
  say(
    `  ${given.length} MiB discarded: all ${more + 1} writes that wait end after ${seconds(performance.now() - givenMs)}`,
  )
  await expectAll(waiting, written, `${what}, with room again`)
  for (const step of given.slice(0, 4)) {
    const read = await waiting.read(step * STEP_BYTES, STEP_BYTES)
    check(isEqual(read, new Uint8Array(STEP_BYTES)), `what was discarded is not zeros`)
  }
  say(`  status: ${await untilStatus(cluster, /^(ok|warning)/)}`)
  await waiting.close()
  await cluster.untilOk()
  const equal = await cluster.lemnis('copyset', 'check')
  check(equal.code === 0, `${what}: copyset check\n${equal.stdout}${equal.stderr}`)
  for (const n of [1, 2, 3]) {
    await cluster.stop(`chunkserver-${n}`, 'SIGKILL')
    await cluster.startChunkserver(n)
  }
  await cluster.untilOk()
  const after = await client.open('disk1')
  await expectAll(after, written, `${what}, after kill -9 of all`)
  await after.close()
  say(`  copyset check: equal; all of it right after kill -9 of every chunkserver`)
}

async function byCapacity(): Promise<void> {
  const cluster = await RoleCluster.start({
    copysets: 3,
    chunkserverSettings: [`chunkstore.capacityBytes=${CAPACITY_MIB}MiB`],
  })
  try {
    await cluster.lemnis('volume', 'create', 'disk1', '--size', '8GiB')
    await fullAndBack(cluster, `capacity of ${CAPACITY_MIB} MiB configured`, /full/)
  } finally {
    await cluster.close()
  }
}

// --- file systems of their own

function mount(directory: string): void {
  const image = `${directory}.img`
  const file = openSync(image, 'w')
  ftruncateSync(file, SMALL_MIB * MIB)
  closeSync(file)
  execFileSync('mkfs.ext4', ['-q', '-F', '-m', '0', image])
  execFileSync('mount', ['-o', 'loop', image, directory])
}

function unmount(directory: string): void {
  try {
    execFileSync('umount', ['-l', directory], { stdio: 'ignore' })
  } catch {
    // It was not mounted.
  }
  rmSync(`${directory}.img`, { force: true })
}

/**
 * The reserve holds the log, whose every way out of a full disk needs it, what is in memory, and what
 * others write here until they have heard that this disk is full: about two heartbeats.
 */
const SMALL_SETTINGS = [
  'chunkstore.capacityBytes=0B',
  'chunkstore.reserveBytes=320MiB',
  'raftlog.segmentsPinned=3',
  'raftlog.segmentBytes=32MiB',
  'copyset.checkpointBytes=8MiB',
  // Spare files would be a large part of so small a file system.
  'chunkstore.poolFilesMax=0',
  'chunkstore.dirtyBytesSoft=16MiB',
  'chunkstore.dirtyBytesMax=32MiB',
]

/** A cluster in which those chunkservers have small file systems. */
function small(which: readonly number[]): Promise<RoleCluster> {
  return RoleCluster.start({
    copysets: 3,
    prepare: (directory, n) => {
      if (which.includes(n)) mount(directory)
    },
    settingsOf: (n) => (which.includes(n) ? SMALL_SETTINGS : []),
  })
}

/** `leader` leads everything. */
async function byFileSystem(which: readonly number[], leader: number): Promise<void> {
  const cluster = await small(which)
  try {
    for (const { id } of await cluster.copysets()) await cluster.lead(id, leader)
    await cluster.lemnis('volume', 'create', 'disk1', '--size', '8GiB')
    const what = `${which.length} of 3 on file systems of ${SMALL_MIB} MiB, chunkserver ${leader} leads`
    await fullAndBack(cluster, what, which.length === 1 ? /Chunkserver \d is full/ : /full/, true)
    for (const n of which) {
      const { bavail, bsize } = statfsSync(cluster.dataOf(n))
      say(`  file system of chunkserver ${n}: ${mib(bavail * bsize)} free`)
    }
  } finally {
    await cluster.close((directory, n) => {
      if (which.includes(n)) unmount(directory)
    })
  }
}

if (!values.disks) await byCapacity()
if (process.getuid?.() === 0) {
  await byFileSystem([1], 1)
  // A follower may not be left behind either.
  await byFileSystem([1], 2)
  await byFileSystem([1, 2, 3], 1)
} else say('not root: no file systems of their own')
