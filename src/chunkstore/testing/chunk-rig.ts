// Owns what the tests of the chunk store share: a simulated world for it, requests and their blocks,
// and the comparison of a replica with its twin.

import { must } from '../../base/assert.ts'
import { crc32cPure } from '../../base/crc32c.ts'
import type { Prng } from '../../base/prng.ts'
import { KIB, MIB } from '../../base/units.ts'
import type { Disk } from '../../env/disk.ts'
import { BLOCK_BYTES, type ChunkOp, type ChunkRequest } from '../../format/chunk-request.ts'
import { type Observer, SILENT } from '../../observe/observe.ts'
import { type Rig } from '../../sim/disk-rig.ts'
import { ChunkStore, type LogBytes } from '../chunk-store.ts'
import { type ChunkStoreConfig, chunkStoreConfig } from '../config.ts'
import type { ReplicaChunks } from '../replica-chunks.ts'
import { BLOCKS, MISSING, type Twin } from './twin.ts'

export const DIRECTORY = 'store'
export const GROUP = 7
export const REPLICA = 21

/** Small bounds, so that tests meet them. */
export const SMALL: Partial<ChunkStoreConfig> = {
  reserveBytes: 0,
  dirtyBytesSoft: 64 * KIB,
  dirtyBytesMax: 512 * KIB,
  writeBackBytes: 32 * KIB,
  openFilesMax: 8,
  tableCacheBytes: 64 * KIB,
  poolFilesMax: 2,
  dirtyAgeMs: 20,
  dropAfterMs: 200,
  mergeBytesPerSecond: 64 * MIB,
}

export function openStore(
  rig: Rig,
  settings: Partial<ChunkStoreConfig> = {},
  observer: Observer = SILENT,
  change = (disk: Disk): Disk => disk,
  logBytes?: () => LogBytes,
): Promise<ChunkStore> {
  const env = { ...rig.env, disk: change(rig.disk.mount()) }
  const config = chunkStoreConfig({ ...SMALL, ...settings })
  return ChunkStore.open(env, observer, DIRECTORY, config, logBytes)
}

// --- requests

export interface LogEntry {
  readonly index: number
  readonly request: ChunkRequest
  /** What each block comes to. */
  readonly fills: readonly number[]
  readonly source: string
}

export function blockOf(fill: number): Uint8Array {
  const bytes = new Uint8Array(BLOCK_BYTES)
  if (fill === 0) return bytes
  new Uint32Array(bytes.buffer).fill(fill)
  return bytes
}

export function dataOf(fills: readonly number[]): Uint8Array {
  const data = new Uint8Array(fills.length * BLOCK_BYTES)
  for (const [i, fill] of fills.entries()) data.set(blockOf(fill), i * BLOCK_BYTES)
  return data
}

const CRCS = new Map<number, number>()

export function crcOf(fill: number): number {
  let crc = CRCS.get(fill)
  if (crc === undefined) {
    crc = crc32cPure(blockOf(fill))
    CRCS.set(fill, crc)
  }
  return crc
}

export function requestOf(op: ChunkOp, given: Partial<ChunkRequest> = {}): ChunkRequest {
  return {
    op,
    group: GROUP,
    volume: 1,
    epoch: 1,
    sn: 1,
    chunk: 1,
    firstBlock: 0,
    blockCount: 0,
    term: 1,
    attempt: 0,
    crcs: [],
    ...given,
  }
}

export function writeOf(
  index: number,
  firstBlock: number,
  fills: readonly number[],
  given: Partial<ChunkRequest> = {},
): LogEntry {
  const crcs = fills.map(crcOf)
  const request = requestOf('write', { firstBlock, blockCount: fills.length, crcs, ...given })
  return { index, request, fills, source: '' }
}

export function entryOf(index: number, op: ChunkOp, given: Partial<ChunkRequest> = {}): LogEntry {
  return { index, request: requestOf(op, given), fills: [], source: '' }
}

export function applyTo(
  replica: ReplicaChunks,
  entry: LogEntry,
): ReturnType<ReplicaChunks['apply']> {
  const data = entry.source === '' ? dataOf(entry.fills) : new TextEncoder().encode(entry.source)
  return replica.apply(entry.index, entry.request, data)
}

export function applyToTwin(twin: Twin, entry: LogEntry): ReturnType<Twin['apply']> {
  return twin.apply(entry.index, entry.request, entry.fills, entry.source)
}

/** Places where runs and pages of tables begin and end. */
const PLACES = [0, 1, 2, 3, 5, 8, 380, 382, 383, 384, 385, 767, 768, 3839, 3840, 4090, 4095]

/** An entry as a client might bring it about, and now and then one that it should not. */
export function randomEntry(index: number, random: Prng, chunkCount = 4): LogEntry {
  const phase = Math.floor(index / 12)
  const given = {
    volume: random.between(1, 2),
    epoch: Math.max(1, Math.floor(index / 60) + random.pick([0, 0, 0, 0, 0, 0, 1, -1])),
    sn: Math.max(1, 1 + Math.floor(phase / 3) + random.pick([0, 0, 0, 0, 0, 1, -1, 2])),
    chunk: random.between(1, chunkCount),
  }
  // Those from 3 on go one after the other; now and then a late writer of one of them comes.
  const goneBy = 3 + Math.floor(index / 30)
  if (random.below(40) === 0) {
    const volume = random.between(3, goneBy)
    return entryOf(index, 'end-volume', { ...given, volume, chunk: volume, sn: volume })
  }
  if (random.below(20) === 0) given.volume = random.between(3, goneBy + 1)
  const firstBlock = random.pick(PLACES)
  const blockCount = Math.min(BLOCKS - firstBlock, random.pick([1, 1, 1, 2, 3, 5]))
  const fate = random.below(100)
  const fills = Array.from({ length: blockCount }, (_, i) => index * 1000 + i + 1)
  if (fate < 50) return writeOf(index, firstBlock, fills, given)
  if (fate < 60) return entryOf(index, 'zero', { ...given, firstBlock, blockCount })
  if (fate < 65) return entryOf(index, 'zero', { ...given, firstBlock: 0, blockCount: BLOCKS })
  if (fate < 68) return entryOf(index, 'zero', { ...given, firstBlock: 2, blockCount: BLOCKS - 2 })
  if (fate < 72) return entryOf(index, 'delete', given)
  if (fate < 80) {
    const entry = entryOf(index, 'create-clone', given)
    return { ...entry, source: random.pick(['volume-a', 'volume-a', 'volume-b']) }
  }
  if (fate < 88) {
    const crcs = fills.map(crcOf)
    const request = requestOf('paste', { ...given, firstBlock, blockCount, crcs })
    return { index, request, fills, source: '' }
  }
  if (fate < 96) return entryOf(index, 'delete-snapshot', given)
  if (fate < 99) return entryOf(index, 'fence', { ...given, sn: random.pick([0, 0, given.sn]) })
  return entryOf(index, 'forget', given)
}

// --- comparing

function check(isRight: boolean, what: string): void {
  if (!isRight) throw new Error(what)
}

function checkSame(found: unknown, wanted: unknown, what: string): void {
  const [a, b] = [JSON.stringify(found), JSON.stringify(wanted)]
  check(a === b, `${what}: ${a} for ${b}`)
}

/** Everything that shows of the sets: extents, fences, numbers. */
export function expectSameSets(replica: ReplicaChunks, twin: Twin, where: string): void {
  for (let volume = 1; volume <= 20; volume++) {
    const { epoch, sn } = twin.fenceOf(volume)
    const fence = replica.state.volumes.fenceOf(volume)
    checkSame([fence.epoch, fence.sn], [epoch, sn], `${where}: fence of ${volume}`)
  }
  const ids = replica.state.chunks().map(({ id }) => id)
  checkSame(
    ids,
    [...twin.chunks.keys()].sort((a, b) => a - b),
    `${where}: chunks`,
  )
  for (const [id, known] of twin.chunks) {
    const chunk = must(replica.state.chunk(id), 'a chunk of each id')
    const sns = known.generations.map(({ sn }) => sn)
    checkSame(
      chunk.layers.map(({ sn }) => sn),
      sns,
      `${where}: generations of ${id}`,
    )
    checkSame(chunk.correctedSn, known.correctedSn, `${where}: corrected of ${id}`)
    checkSame(chunk.source !== null, known.source !== null, `${where}: ${id} is a clone`)
    const image = twin.image(id, 0) as Int32Array
    for (const { kind, firstBlock, blockCount } of replica.extents(id, 0, BLOCKS)) {
      const kinds = image.subarray(firstBlock, firstBlock + blockCount)
      const isRight = kinds.every((fill) => kindOf(fill) === kind)
      check(isRight, `${where}: extent of ${id} at ${firstBlock}: ${kind}`)
    }
  }
}

function kindOf(fill: number): string {
  if (fill === MISSING) return 'source'
  return fill === 0 ? 'zero' : 'data'
}

const RANGES: readonly (readonly [number, number])[] = [
  [0, 12],
  [376, 20],
  [760, 12],
  [3836, 8],
  [4086, 10],
]

/** Every generation that anybody might ask, at the places that entries touch. */
export async function expectSame(
  replica: ReplicaChunks,
  twin: Twin,
  where: string,
  chunkCount = 4,
): Promise<void> {
  expectSameSets(replica, twin, where)
  for (let id = 1; id <= chunkCount; id++) {
    const newest = twin.chunks.get(id)?.generations[0]?.sn ?? 0
    for (let sn = 0; sn <= newest + 1; sn++) {
      for (const [first, count] of RANGES) {
        await expectRange(replica, twin, id, sn, first, count, where)
      }
    }
  }
}

export async function expectRange(
  replica: ReplicaChunks,
  twin: Twin,
  id: number,
  sn: number,
  first: number,
  count: number,
  where: string,
): Promise<void> {
  const at = `${where}: chunk ${id}, generation ${sn}, blocks ${first}+${count}`
  const image = twin.image(id, sn)
  const read = await replica.read(id, sn, first, count)
  const wanted = image?.subarray(first, first + count)
  if (wanted === undefined) {
    checkSame(read.status, 'not-found', at)
  } else if (wanted.includes(MISSING)) {
    checkSame(read.status, 'source', at)
    if (read.status !== 'source') return
    const missing = read.missing.flatMap(({ firstBlock, blockCount }) =>
      Array.from({ length: blockCount }, (_, i) => firstBlock + i - first),
    )
    checkSame(
      missing,
      [...wanted.keys()].filter((i) => wanted[i] === MISSING),
      at,
    )
    checkBytes(read.bytes, wanted, at)
  } else if (read.status !== 'ok') {
    throw new Error(`${at}: ${JSON.stringify(read)}`)
  } else if (read.crcs === null) {
    check(
      wanted.every((fill) => fill === 0),
      `${at}: all zeros`,
    )
  } else {
    checkBytes(read.bytes, wanted, at)
    checkSame([...read.crcs], [...wanted].map(crcOf), at)
  }
}

function checkBytes(bytes: Uint8Array, fills: Int32Array, where: string): void {
  const words = new Uint32Array(bytes.slice().buffer)
  const perBlock = BLOCK_BYTES / 4
  for (const [i, fill] of fills.entries()) {
    const wanted = fill === MISSING ? 0 : fill
    const block = words.subarray(i * perBlock, (i + 1) * perBlock)
    const isRight = block.every((word) => word === wanted)
    check(isRight, `${where}: block ${i} has ${block[0]} for ${wanted}`)
  }
}

export function markOf(index: number): Uint8Array {
  return new TextEncoder().encode(`mark ${index}`)
}
