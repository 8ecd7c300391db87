// Owns the judgement on a log after a start: which segments belong to it, where it ends, whether
// the end is a torn write (which nobody was told about, and is cut off) or damage (which is
// reported, and then nothing is written). The rules with their reasons are in
// docs/formats/raftlog.md.

import { LemnisError } from '../base/errors.ts'
import { DISK_BLOCK_BYTES, type DiskFile } from '../env/disk.ts'
import type { Env } from '../env/env.ts'
import type { RaftLogConfig } from './config.ts'
import { decodeSegmentHeader, SEGMENT_BODY_AT, type SegmentHeader } from './format.ts'
import { GroupLog } from './group-log.ts'
import type { PayloadCache } from './payload-cache.ts'
import { replayRecord } from './replay.ts'
import { type Expected, type ScannedBatch, type SegmentScan, SegmentScanner } from './scan.ts'
import { SEGMENT_SUFFIX, type SegmentFile, UNFINISHED_SUFFIX } from './segments.ts'

export interface Recovered {
  readonly logId: number
  readonly segmentBytes: number
  readonly groups: Map<number, GroupLog>
  readonly used: Map<number, SegmentFile>
  readonly free: SegmentFile[]
  /** Where the next batch goes; `sequence` 0: nowhere yet, the log is new. */
  readonly sequence: number
  readonly position: number
  readonly expected: Expected
  readonly boundary: number
  readonly batchCount: number
  readonly tornCut: boolean
  /** What is wrong; the log must not be used then. */
  readonly damage: string | null
}

const FIRST_BATCH: Expected = { number: 1, previousCrc: 0 }

interface Found {
  readonly segment: SegmentFile
  readonly header: SegmentHeader | null
}

interface Damage {
  readonly sequence: number
  readonly what: string
}

/** A range of zeros to write. */
interface Clearing {
  readonly file: DiskFile
  readonly from: number
  readonly to: number
}

interface Pass {
  readonly groups: Map<number, GroupLog>
  readonly damage: Damage[]
  readonly boundary: number
  readonly batchCount: number
  readonly expected: Expected | null
  /** The segment that holds the last sound batch, and where it ends. */
  readonly tail: number
  readonly scans: ReadonlyMap<number, SegmentScan>
}

export async function recover(
  env: Env,
  directory: string,
  config: RaftLogConfig,
  cache: PayloadCache,
): Promise<Recovered> {
  const found: Found[] = []
  try {
    await openAll(env, directory, found)
    return await new Recovery(env, config, cache, found).run()
  } catch (error) {
    for (const { segment } of found) await segment.file.close()
    throw error
  }
}

async function openAll(env: Env, directory: string, found: Found[]): Promise<void> {
  const { disk } = env
  const block = disk.allocate(DISK_BLOCK_BYTES)
  for (const name of await disk.list(directory)) {
    const path = `${directory}/${name}`
    if (name.endsWith(UNFINISHED_SUFFIX)) await disk.remove(path)
    if (!name.endsWith(SEGMENT_SUFFIX)) continue
    const file = await disk.open(path, { durable: true })
    const segment = { name, file }
    found.push({ segment, header: null })
    block.fill(0)
    await file.read(block, 0)
    let header = decodeSegmentHeader(block)
    if (header === null) {
      // As with batches: a wrong bit may have come from the way.
      await file.read(block, 0)
      header = decodeSegmentHeader(block)
    }
    found[found.length - 1] = { segment, header }
  }
}

class Recovery {
  readonly #env: Env
  readonly #cache: PayloadCache
  readonly #bySequence = new Map<number, SegmentFile>()
  /** Segments without a readable header. */
  readonly #unknown: SegmentFile[] = []
  readonly #damage: string[] = []
  readonly #logId: number
  readonly #isNew: boolean
  readonly #segmentBytes: number
  readonly #batchBytesMax: number
  readonly #scanner: SegmentScanner
  readonly #cutsDamage: boolean

  constructor(env: Env, config: RaftLogConfig, cache: PayloadCache, found: readonly Found[]) {
    this.#env = env
    this.#cache = cache
    this.#cutsDamage = config.bugs?.has('truncate-at-corruption') ?? false
    let batchBytesMax = config.batchBytesMax
    let model: SegmentHeader | null = null
    for (const { segment, header } of found) {
      if (header === null) {
        this.#unknown.push(segment)
        continue
      }
      model ??= header
      if (header.logId !== model.logId) this.#damage.push('segments of different logs')
      if (header.segmentBytes !== model.segmentBytes)
        this.#damage.push('segments of different sizes')
      if (this.#bySequence.has(header.sequence)) this.#damage.push('two segments of one sequence')
      this.#bySequence.set(header.sequence, segment)
      batchBytesMax = Math.max(batchBytesMax, header.batchBytesMax)
    }
    this.#isNew = model === null
    this.#logId = model?.logId ?? newLogId(env)
    // The size of segments is fixed when the log is made; a changed setting is for new logs.
    this.#segmentBytes = model?.segmentBytes ?? config.segmentBytes
    if (config.batchBytesMax + DISK_BLOCK_BYTES > this.#segmentBytes) {
      throw new LemnisError('INVALID_ARGUMENT', { reason: 'batchBytesMax exceeds the segments' })
    }
    this.#batchBytesMax = batchBytesMax
    const memory = env.disk.allocate(this.#segmentBytes)
    this.#scanner = new SegmentScanner(env.crc32c, this.#logId, memory, batchBytesMax)
  }

  async run(): Promise<Recovered> {
    const newest = Math.max(0, ...this.#bySequence.keys())
    let oldest = Math.max(1, newest)
    while (this.#bySequence.has(oldest - 1)) oldest--
    let pass = await this.#pass(oldest, newest)
    if (pass.damage.some(({ sequence }) => sequence < pass.boundary)) {
      // Damage where nothing is needed any more is none; but what was built on it is not to be
      // trusted.
      pass = await this.#pass(Math.max(oldest, pass.boundary), newest)
    }
    for (const { what, sequence } of pass.damage) {
      this.#damage.push(`${what} in segment ${sequence}`)
    }
    if (newest > 0) this.#requireComplete(pass, oldest)
    await this.#requireNothingIn(this.#unknown, pass.boundary)
    for (const log of pass.groups.values()) {
      log.dropSegmentsBefore(pass.boundary)
      const what = log.settle()
      if (what !== null) this.#damage.push(`group ${log.id}: ${what}`)
    }
    return this.#result(pass, newest)
  }

  #requireComplete(pass: Pass, oldest: number): void {
    if (pass.batchCount === 0) {
      // Only a log that has never been written to has no batch.
      if (oldest > 1) this.#damage.push('no batch in any segment')
    } else if (oldest > pass.boundary) {
      this.#damage.push(`segment ${oldest - 1} is missing`)
    }
  }

  /** A segment may lose its header while a reuse writes a new one; then nothing new is in it. */
  async #requireNothingIn(unknown: readonly SegmentFile[], boundary: number): Promise<void> {
    for (const { name, file } of unknown) {
      await this.#scanner.load(file)
      const holds = this.#scanner.hasBatches(boundary, this.#isNew)
      if (holds) this.#damage.push(`the header of ${name} is damaged`)
    }
  }

  async #pass(from: number, to: number): Promise<Pass> {
    const groups = new Map<number, GroupLog>()
    const damage: Damage[] = []
    const scans = new Map<number, SegmentScan>()
    // The first batch of a log is known; one of a later segment may be any.
    let expected: Expected | null = from <= 1 ? FIRST_BATCH : null
    let boundary = 1
    let batchCount = 0
    let tail = from
    let sawEmpty = false
    for (let sequence = from; sequence <= to; sequence++) {
      const { file } = this.#bySequence.get(sequence) as SegmentFile
      const take = (batch: ScannedBatch): void => {
        boundary = Math.max(boundary, batch.header.boundary)
        const what = this.#replay(groups, sequence, batch)
        if (what !== null) damage.push({ sequence, what })
      }
      const scan: SegmentScan = await this.#scanOne(file, sequence, expected, take, damage)
      scans.set(sequence, scan)
      batchCount += scan.batchCount
      expected = scan.expected
      if (scan.batchCount > 0) tail = sequence
      if (scan.later) damage.push({ sequence, what: 'a damaged batch before sound ones' })
      if (scan.batchCount > 0 && sawEmpty) damage.push({ sequence, what: 'batches after none' })
      if (scan.batchCount === 0) sawEmpty = true
      if (damage.length > 0 && this.#cutsDamage) break
      if (damage.length > 0) expected = null
    }
    return { groups, damage, boundary, batchCount, expected, tail, scans }
  }

  /** Sums that check over values that can't be are damage too. */
  async #scanOne(
    file: DiskFile,
    sequence: number,
    expected: Expected | null,
    take: (batch: ScannedBatch) => void,
    damage: Damage[],
  ): Promise<SegmentScan> {
    try {
      return await this.#scanner.scan(file, sequence, expected, take)
    } catch (error) {
      if (!(error instanceof LemnisError) || error.code !== 'CORRUPT') throw error
      damage.push({ sequence, what: error.message })
      const end = SEGMENT_BODY_AT
      return { batchCount: 0, end, expected, tailDirty: false, torn: false, later: false }
    }
  }

  #replay(groups: Map<number, GroupLog>, sequence: number, batch: ScannedBatch): string | null {
    for (const [i, record] of batch.records.entries()) {
      let log = groups.get(record.group)
      if (log === undefined) {
        log = new GroupLog(record.group, this.#cache)
        groups.set(record.group, log)
      }
      if (!replayRecord(log, record, sequence, batch.offsets[i] as number)) {
        return `group ${record.group} lacks entries before ${record.index}`
      }
    }
    return null
  }

  async #result(pass: Pass, newest: number): Promise<Recovered> {
    const { groups, boundary, batchCount, tail, scans } = pass
    const tailScan = scans.get(tail)
    const damage = this.#damage.length === 0 || this.#cutsDamage ? null : this.#damage.join('; ')
    const isEmpty = newest === 0
    if (damage === null && !isEmpty) await this.#makeSafe(pass, newest)
    const used = new Map<number, SegmentFile>()
    const free = [...this.#unknown]
    const sequences = [...this.#bySequence.keys()].sort((a, b) => a - b)
    for (const sequence of sequences) {
      const segment = this.#bySequence.get(sequence) as SegmentFile
      const isUsed = sequence >= boundary && (scans.has(sequence) || damage !== null)
      if (isUsed) used.set(sequence, segment)
      else free.push(segment)
    }
    return {
      logId: this.#logId,
      segmentBytes: this.#segmentBytes,
      groups,
      used,
      free,
      sequence: isEmpty ? 0 : tail,
      position: tailScan?.end ?? SEGMENT_BODY_AT,
      expected: tailScan?.expected ?? FIRST_BATCH,
      boundary,
      batchCount,
      tornCut: [...scans.values()].some(({ torn }) => torn),
      damage,
    }
  }

  /**
   * Zeros where the write in flight may have left parts: after the end, and at the beginning of the
   * next segment. Then nothing old can ever be taken for a part of what is written there from now
   * on.
   */
  async #makeSafe(pass: Pass, newest: number): Promise<void> {
    const clearings: Clearing[] = []
    for (const sequence of [pass.tail, pass.tail + 1]) {
      const scan = pass.scans.get(sequence)
      if (scan === undefined || !(scan.tailDirty || this.#cutsDamage)) continue
      const { file } = this.#bySequence.get(sequence) as SegmentFile
      const reach = this.#cutsDamage ? this.#segmentBytes : scan.end + this.#batchBytesMax
      clearings.push({ file, from: scan.end, to: Math.min(this.#segmentBytes, reach) })
    }
    if (this.#cutsDamage) {
      for (let sequence = pass.tail + 1; sequence <= newest; sequence++) {
        const { file } = this.#bySequence.get(sequence) as SegmentFile
        if (!pass.scans.has(sequence)) clearings.push({ file, from: 0, to: DISK_BLOCK_BYTES })
      }
    }
    for (const { file, from, to } of clearings) {
      if (to > from) await file.write(this.#env.disk.allocate(to - from), from)
    }
  }
}

function newLogId(env: Env): number {
  const { random } = env
  return random.below(0x20_0000) * 0x1_0000_0000 + random.u32()
}
