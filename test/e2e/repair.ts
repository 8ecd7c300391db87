// Damage to what lies on disk, with real processes: flipped bytes in a leader's and a follower's chunk
// file, a chunk file removed, a page of a block table and a manifest damaged, a block that nobody reads,
// and a whole disk wiped. Reads stay right, the damage is found, told, and mended on disk for good.
// Usage: node dist/test/e2e/repair.js [--short]

import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { Volume } from '../../src/client/volume.ts'
import { BLOCK_BYTES, CHUNK_BYTES } from '../../src/format/chunk-request.ts'
import { LIST_CHUNKS } from '../../src/format/control/chunkserver.ts'
import type { Copyset } from '../../src/format/control/parts.ts'
import { CLEAR_SLOW } from '../../src/format/control/topology.ts'
import {
  type ChunkOnDisk,
  chunksOn,
  flipBlock,
  flipPage,
  newestManifests,
  readBlock,
} from '../harness/chunk-files.ts'
import { check, isEqual, mib, pattern, say, seconds } from '../harness/proof.ts'
import { RoleCluster } from '../harness/role-cluster.ts'

const { values } = parseArgs({ options: { short: { type: 'boolean', default: false } } })
const CHUNKS = values.short ? 8 : 24
/** More than one page of a block table. */
const WRITTEN_BYTES = 2 * 1024 * 1024

const offsetOf = (index: number): number => index * CHUNK_BYTES
const contentOf = (index: number): Uint8Array => pattern(index + 1, WRITTEN_BYTES)
const blockOf = (index: number, block: number): Uint8Array =>
  contentOf(index).subarray(block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES)

interface Place {
  readonly index: number
  readonly chunk: number
  readonly copyset: Copyset
}

/**
 * More than the blocks that are damaged before saidSick(): where a disk is taken for sick its leaders leave,
 * and what is done to them here would meet others.
 */
const SICK_BLOCKS = 1500

const cluster = await RoleCluster.start({
  copysets: 4,
  chunkserverSettings: ['chunkserver.upkeepIntervalMs=300ms', 'chunkserver.checkpointAgeMs=500ms'],
  // A disk that was wiped counts as retired when it has been silent for onlineMs.
  mdsSettings: ['mds.operatorRetryMs=1s', 'mds.onlineMs=6s', `mds.diskErrorsMax=${SICK_BLOCKS}`],
})

/** Where the chunk is, as soon as somebody leads its copyset. */
async function placeOf(index: number): Promise<Place> {
  const seen: Place[] = []
  await cluster.until('a leader is known', async () => {
    const at = `${offsetOf(index)}`
    const { stdout } = await cluster.lemnis('--json', 'chunk', 'locate', 'disk1', at)
    const { chunk, copyset } = JSON.parse(stdout) as { chunk: number; copyset: Copyset }
    seen.push({ index, chunk, copyset })
    return copyset.leader > 0
  })
  return seen.at(-1) as Place
}

/** What was written lies in the files of every chunkserver, and the manifests say so. */
async function untilOnDisk(): Promise<void> {
  await cluster.until('everything is in the chunk files', async () => {
    for (const { id, members } of await cluster.copysets()) {
      for (const { address, chunkserver } of members) {
        const n = numberOf(chunkserver)
        const request = { group: id, from: 0, count: 1024, verify: false }
        const { chunks } = await cluster.session.askAt(address, LIST_CHUNKS, request)
        const onDisk = new Map(chunksOn(cluster.dataOf(n)).map((one) => [one.chunk, one.version]))
        if (chunks.some(({ chunk, version }) => onDisk.get(chunk) !== version)) return false
        if ((await cluster.metric(nameOf(chunkserver), 'chunkstore_dirty_bytes')) > 0) return false
      }
    }
    return true
  })
}

/** A disk that was replaced has another id than its process has number. */
const numbers = new Map<number, number>([1, 2, 3].map((n) => [n, n]))
function numberOf(chunkserver: number): number {
  return numbers.get(chunkserver) ?? 0
}
function nameOf(chunkserver: number): string {
  return `chunkserver-${numberOf(chunkserver)}`
}

function fileOf(chunkserver: number, { chunk }: Place): ChunkOnDisk {
  const found = chunksOn(cluster.dataOf(numberOf(chunkserver))).find((one) => one.chunk === chunk)
  check(found !== undefined, `chunk ${chunk} is not on chunkserver ${chunkserver}`)
  return found
}

/** Stops a chunkserver, which forgets all that it has in memory, and starts it on what `change` left. */
async function restarted(chunkserver: number, change: () => void): Promise<void> {
  await cluster.stop(nameOf(chunkserver))
  change()
  await cluster.startChunkserver(numberOf(chunkserver))
  await cluster.untilOk()
}

async function expectAll(volume: Volume, what: string): Promise<void> {
  for (let index = 0; index < CHUNKS; index++) {
    const read = await volume.read(offsetOf(index), WRITTEN_BYTES)
    check(isEqual(read, contentOf(index)), `${what}: chunk ${index} of the volume reads wrong`)
  }
}

const found = (chunkserver: number): Promise<number> =>
  cluster.metric(nameOf(chunkserver), 'chunkstore_bad_blocks_total')
const repaired = (chunkserver: number): Promise<number> =>
  cluster.metric(nameOf(chunkserver), 'chunkstore_repaired_blocks_total')

async function expectEqual(what: string): Promise<void> {
  const { code, stdout, stderr } = await cluster.lemnis('copyset', 'check')
  check(code === 0, `${what}: copyset check says\n${stdout}${stderr}`)
}

/**
 * The chunkserver starts once more, leads, and serves the chunk from its disk alone: what was repaired
 * is good for ever.
 */
async function expectMended(
  chunkserver: number,
  place: Place,
  volume: Volume,
  what: string,
): Promise<void> {
  await restarted(chunkserver, () => {})
  await cluster.lead(place.copyset.id, chunkserver)
  const read = await volume.read(offsetOf(place.index), WRITTEN_BYTES)
  check(isEqual(read, contentOf(place.index)), `${what}: reads wrong after another start`)
  const { chunks } = await cluster.session.askAt(addressOf(place, chunkserver), LIST_CHUNKS, {
    group: place.copyset.id,
    from: place.chunk,
    count: 1,
    verify: true,
  })
  check(
    chunks[0]?.badBlocks === 0 && (await found(chunkserver)) === 0,
    `${what}: bad again after another start`,
  )
}

function addressOf({ copyset }: Place, chunkserver: number): string {
  const member = copyset.members.find((one) => one.chunkserver === chunkserver)
  check(member !== undefined, `chunkserver ${chunkserver} is no member`)
  return member.address
}

function expectEvent(chunkserver: number, from: number, event: string): string {
  const [first] = cluster.eventsOf(nameOf(chunkserver), from).filter((one) => one.event === event)
  check(first !== undefined, `chunkserver ${chunkserver} has not logged ${event}`)
  return `${first.level} ${event}`
}

// --- the checks

/** The damaged replica leads and reads it for the client. */
async function damagedLeader(
  volume: Volume,
  index: number,
  what: string,
  blocks: number,
  change: (file: ChunkOnDisk) => void,
): Promise<void> {
  const place = await placeOf(index)
  const { leader } = place.copyset
  const file = fileOf(leader, place)
  const from = cluster.logBytes(nameOf(leader))
  await restarted(leader, () => change(file))
  await cluster.lead(place.copyset.id, leader)
  const beganMs = performance.now()
  const read = await volume.read(offsetOf(index), WRITTEN_BYTES)
  const tookMs = performance.now() - beganMs
  check(isEqual(read, contentOf(index)), `${what}: what was read is wrong`)
  const bad = await found(leader)
  check(bad === blocks, `${what}: ${bad} bad blocks counted, not ${blocks}`)
  await cluster.until('all bad blocks are repaired', async () => (await repaired(leader)) >= bad)
  const events = [
    expectEvent(leader, from, 'chunkstore_bad_blocks'),
    expectEvent(leader, from, 'chunkserver_blocks_repaired'),
  ]
  await cluster.until(`${what}: the bytes on disk are right`, () =>
    file.blocks.every((block) => isEqual(readBlock(file.path, block), blockOf(index, block))),
  )
  await cluster.until(`${what}: the repair is in the tables on disk`, async () => {
    const dirty = await cluster.metric(nameOf(leader), 'chunkstore_dirty_bytes')
    return dirty === 0
  })
  await expectMended(leader, place, volume, what)
  say(
    `${what}: read right in ${tookMs.toFixed(0)} ms; ${bad} bad blocks counted and repaired, ` +
      `${events.join(', ')}; right on disk, and after another start`,
  )
}

async function damagedFollower(volume: Volume, index: number): Promise<void> {
  const place = await placeOf(index)
  const follower = place.copyset.members.find(
    ({ chunkserver }) => chunkserver !== place.copyset.leader,
  )
  check(follower !== undefined, 'no follower')
  const { chunkserver } = follower
  const file = fileOf(chunkserver, place)
  await restarted(chunkserver, () => {
    for (const block of [0, 7, 511]) flipBlock(file.path, block)
  })
  const read = await volume.read(offsetOf(index), WRITTEN_BYTES)
  check(isEqual(read, contentOf(index)), 'a follower’s damage reaches a reader')
  const look = await cluster.lemnis('copyset', 'check')
  check(
    look.code === 1 && look.stdout.includes(`${place.chunk}`),
    `check finds nothing:\n${look.stdout}`,
  )
  const mend = await cluster.lemnis('copyset', 'check', '--repair')
  check(mend.code === 0, `check --repair:\n${mend.stdout}${mend.stderr}`)
  await expectEqual('after copyset check --repair')
  await cluster.until('the bytes on disk are right', () =>
    [0, 7, 511].every((block) => isEqual(readBlock(file.path, block), blockOf(index, block))),
  )
  await expectMended(chunkserver, place, volume, 'copyset check --repair')
  say(
    `3 blocks flipped on a follower: reads right; copyset check finds chunk ${place.chunk}, --repair mends it: ${lastLine(mend.stdout)}`,
  )
}

/** A block of every replica in turn, never read by anybody. */
async function scrubbed(volume: Volume): Promise<void> {
  const places = [await placeOf(2), await placeOf(5)]
  const damage: { file: ChunkOnDisk; index: number; block: number }[] = []
  for (const chunkserver of numbers.keys()) {
    await restarted(chunkserver, () => {
      for (const [i, place] of places.entries()) {
        const file = fileOf(chunkserver, place)
        // Another one on each: two good ones are left of all.
        const block = 10 * numberOf(chunkserver) + i
        flipBlock(file.path, block)
        damage.push({ file, index: place.index, block })
      }
    })
  }
  const started = await cluster.lemnis('scrub', 'start')
  check(started.code === 0, `scrub start:\n${started.stderr}`)
  const beganMs = performance.now()
  let report: { badBlocks: number; repairedBlocks: number; chunksDone: number }[] = []
  await cluster.until('scrub has ended everywhere', async () => {
    const { stdout } = await cluster.lemnis('--json', 'scrub', 'status')
    const all = JSON.parse(stdout) as { state: string; finishedMs: number }[] & typeof report
    report = all
    return all.every(({ state, finishedMs }) => state === 'idle' && finishedMs > 0)
  })
  const sum = (key: 'badBlocks' | 'repairedBlocks' | 'chunksDone'): number =>
    report.reduce((total, one) => total + one[key], 0)
  check(sum('badBlocks') === damage.length, `scrub found ${sum('badBlocks')} of ${damage.length}`)
  check(
    sum('repairedBlocks') === damage.length,
    `scrub repaired ${sum('repairedBlocks')} of ${damage.length}`,
  )
  await cluster.until('the bytes on disk are right', () =>
    damage.every(({ file, index, block }) =>
      isEqual(readBlock(file.path, block), blockOf(index, block)),
    ),
  )
  await expectEqual('after scrub')
  await expectAll(volume, 'after scrub')
  say(
    `${damage.length} flipped blocks that nobody reads: scrub found and repaired all, ` +
      `${sum('chunksDone')} replicas of chunks in ${seconds(performance.now() - beganMs)}`,
  )
}

async function damagedManifest(volume: Volume): Promise<void> {
  const place = await placeOf(3)
  const chunkserver = place.copyset.leader
  const from = cluster.logBytes(nameOf(chunkserver))
  const beganMs = performance.now()
  await cluster.stop(nameOf(chunkserver))
  const directory = join(cluster.dataOf(numberOf(chunkserver)), 'chunks', 'manifests')
  const name =
    newestManifests(directory).find((one) => one.startsWith(`${place.copyset.id}-`)) ?? ''
  const bytes = readFileSync(join(directory, name))
  bytes[100] = (bytes[100] ?? 0) ^ 0x5a
  writeFileSync(join(directory, name), bytes)
  await cluster.startChunkserver(numberOf(chunkserver))
  await cluster.until('the damaged replica is told', () =>
    cluster
      .eventsOf(nameOf(chunkserver), from)
      .some(({ event }) => event === 'copyset_replica_damaged'),
  )
  await expectAll(volume, 'with a damaged replica')
  await cluster.until('the replica is rebuilt', async () => {
    const { epoch, health } = await cluster.copyset(place.copyset.id)
    return epoch > place.copyset.epoch && health === 'ok'
  })
  await cluster.untilOk()
  await expectEqual('after the rebuild of a damaged replica')
  await expectAll(volume, 'after the rebuild of a damaged replica')
  say(
    `a manifest damaged: the replica stopped (error copyset_replica_damaged), was rebuilt and is equal after ${seconds(performance.now() - beganMs)}`,
  )
}

/** A disk that returns so much that is bad leads nothing any more, until somebody has looked at it. */
async function saidSick(volume: Volume): Promise<void> {
  const { leader: chunkserver } = (await placeOf(4)).copyset
  const files = chunksOn(cluster.dataOf(numberOf(chunkserver)))
  await restarted(chunkserver, () => {
    for (const { path } of files) rmSync(path)
  })
  await expectAll(volume, `without the chunk files of chunkserver ${chunkserver}`)
  const mend = await cluster.lemnis('copyset', 'check', '--repair')
  check(mend.code === 0, `check --repair:\n${mend.stdout}${mend.stderr}`)
  await cluster.until('it is sick and leads nothing', async () => {
    const one = (await cluster.chunkservers()).find(({ id }) => id === chunkserver)
    return one?.slow?.why === 'errors' && one.leaders === 0
  })
  await cluster.session.ask(CLEAR_SLOW, { chunkserver })
  say(
    `${files.length} chunk files removed from chunkserver ${chunkserver}: read right, repaired, sick for its errors, without leaders, and cleared by command`,
  )
}

async function wiped(volume: Volume, n: number): Promise<void> {
  const before = await cluster.chunkservers()
  const address = before.find(({ id }) => numberOf(id) === n)?.address
  await cluster.stop(`chunkserver-${n}`)
  rmSync(cluster.dataOf(n), { recursive: true })
  mkdirSync(cluster.dataOf(n))
  const beganMs = performance.now()
  await cluster.startChunkserver(n)
  let id = 0
  await cluster.until('the new disk has registered', async () => {
    const all = await cluster.chunkservers()
    const fresh = all.find(
      (one) => one.address === address && !before.some((old) => old.id === one.id),
    )
    id = fresh?.id ?? 0
    return id > 0
  })
  for (const [old, number] of numbers) if (number === n) numbers.delete(old)
  numbers.set(id, n)
  await expectAll(volume, 'while the wiped disk is rebuilt')
  await cluster.until(
    'all copysets have the new disk',
    async () => {
      const copysets = await cluster.copysets()
      return copysets.every(
        ({ health, members }) => health === 'ok' && members.some((m) => m.chunkserver === id),
      )
    },
    120_000,
  )
  const tookMs = performance.now() - beganMs
  await expectEqual('after the rebuild of a wiped disk')
  await expectAll(volume, 'after the rebuild of a wiped disk')
  const list = await cluster.lemnis('copyset', 'list')
  check(
    list.code === 0 && !/degraded|broken|moving/.test(list.stdout),
    `copyset list:\n${list.stdout}`,
  )
  const bytes = chunksOn(cluster.dataOf(n)).reduce(
    (sum, one) => sum + one.blocks.length * BLOCK_BYTES,
    0,
  )
  say(
    `disk ${n} wiped: chunkserver ${id} took its place, ${mib(bytes)} rebuilt, all copysets ok and equal after ${seconds(tookMs)}`,
  )
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1) ?? ''
}

try {
  await cluster.lemnis('volume', 'create', 'disk1', '--size', '1GiB')
  const volume = await cluster.client('repair').open('disk1')
  for (let index = 0; index < CHUNKS; index++) {
    await volume.write(offsetOf(index), contentOf(index))
  }
  await untilOnDisk()
  say(`${CHUNKS} chunks with ${mib(CHUNKS * WRITTEN_BYTES)} lie on three disks`)

  await damagedLeader(volume, 0, '3 blocks flipped on a leader', 3, ({ path }) => {
    for (const block of [1, 100, 400]) flipBlock(path, block)
  })
  await damagedFollower(volume, 1)
  await damagedLeader(volume, 4, 'the chunk file of a leader removed', 512, ({ path }) =>
    rmSync(path),
  )
  await damagedLeader(
    volume,
    6,
    'a page of a leader’s block table damaged',
    384,
    ({ path, pagesAt }) => flipPage(path, pagesAt[0] ?? 0),
  )
  await scrubbed(volume)
  await damagedManifest(volume)
  await wiped(volume, 2)
  await saidSick(volume)
  await cluster.until('lemnis status says ok', async () => {
    return (await cluster.status()).health.state === 'ok'
  })
  say('lemnis status: ok')
  await volume.close()
} finally {
  await cluster.close()
}
