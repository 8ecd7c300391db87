// Damage of every kind at every place. What must hold: an acknowledged batch with something after
// it is never dropped in silence; a torn last one is cut; what nobody needs may be anything.

import { describe, expect, it } from 'vitest'
import { Prng } from '../base/prng.ts'
import { type DiskEvent, SimDisk } from '../sim/disk.ts'
import { InstantClock } from '../sim/disk-clock.ts'
import { makeRig, type Rig, rigOf, turns } from '../sim/disk-rig.ts'
import type { RaftLogBug, RaftLogSettings } from './config.ts'
import type { RaftLog } from './raftlog.ts'
import {
  append,
  creation,
  DIRECTORY,
  entriesOf,
  entry,
  markAt,
  openLog,
} from './testing/log-rig.ts'

const BLOCK = 4096
const SEGMENT = 32 * 1024
const pathOf = (name: number): string => `${DIRECTORY}/${String(name).padStart(8, '0')}.log`

/** Appends, each its own batch of one block, to segments of seven batches; not closed. */
async function record(count: number, marksEvery = 1e9): Promise<readonly DiskEvent[]> {
  const rig = makeRig()
  const events = rig.disk.record()
  const log = await openLog(rig)
  await append(log, creation(1))
  for (let index = 1; index < count; index++) {
    await append(log, { group: 1, entries: [entry(1, index, 1, 500)] })
    if (index % marksEvery === 0) await append(log, { group: 1, mark: markAt(index, 1) })
  }
  await settled()
  return [...events]
}

/** The making of the next segment goes on in the background. */
async function settled(): Promise<void> {
  await turns(60)
}

function rebuilt(events: readonly DiskEvent[]): Rig {
  const clock = new InstantClock()
  return rigOf(SimDisk.replay(clock, new Prng(1), events), clock)
}

async function openDamaged(
  events: readonly DiskEvent[],
  damage: (disk: SimDisk) => void | Promise<void>,
  bugs?: ReadonlySet<RaftLogBug>,
  settings?: Partial<RaftLogSettings>,
): Promise<{ log: RaftLog; rig: Rig; writes: () => number }> {
  const rig = rebuilt(events)
  await damage(rig.disk)
  const trace = rig.disk.record()
  const log = await openLog(rig, settings, bugs)
  const writes = (): number => trace.filter(({ kind }) => kind === 'write').length
  return { log, rig, writes }
}

/** Overwrites a block behind the log's back. */
async function put(disk: SimDisk, name: number, at: number, bytes: Uint8Array): Promise<void> {
  const file = await disk.open(pathOf(name))
  await file.write(bytes, at)
  await file.close()
}

async function blockOf(disk: SimDisk, name: number, at: number): Promise<Uint8Array> {
  const file = await disk.open(pathOf(name))
  const bytes = new Uint8Array(BLOCK)
  await file.read(bytes, at)
  await file.close()
  return bytes
}

// Creation and entries 1 to 6 fill segment 1; entries 7 to 9 are in segment 2.
const EVENTS = record(10)
const LAST = { name: 2, at: 3 * BLOCK }
const MIDDLE = { name: 1, at: 3 * BLOCK }
/** Header, record head and payload of a batch of one entry. */
const BATCH_BYTES = 64 + 36 + 500

describe('a flipped bit', () => {
  it('in the last batch: the batch is cut off as torn, all before it stays', async () => {
    for (let at = 0; at < BATCH_BYTES; at += at < 110 ? 1 : 41) {
      const { log, rig } = await openDamaged(await EVENTS, (disk) =>
        disk.flip(pathOf(LAST.name), LAST.at + at, at % 8),
      )
      expect([log.condition, log.group(1).lastIndex()]).toEqual(['sound', 8])
      await append(log, { group: 1, entries: entriesOf(1, 9, 10, 2) })
      await log.close()
      const again = await openLog(rig)
      expect([again.damage, again.group(1).lastIndex(), again.group(1).term(9)]).toEqual([
        null,
        10,
        2,
      ])
    }
  })

  it('in the last batch before a clean close: corrupt, the closing batch proves it', async () => {
    const rig = rebuilt(await EVENTS)
    await (await openLog(rig)).close()
    const log = await openLog(rig)
    await append(log, { group: 1, entries: [entry(1, 10, 1)] })
    await log.close()
    rig.disk.flip(pathOf(2), 4 * BLOCK + 150)
    expect((await openLog(rig)).condition).toBe('corrupt')
  })

  it('in any earlier batch: corrupt, nothing is written, appends are refused', async () => {
    for (const place of [
      MIDDLE,
      { name: 1, at: BLOCK },
      { name: 1, at: 7 * BLOCK },
      { name: 2, at: BLOCK },
    ]) {
      for (let at = 0; at < 160; at += at < 110 ? 3 : 11) {
        const { log, writes } = await openDamaged(await EVENTS, (disk) =>
          disk.flip(pathOf(place.name), place.at + at, at % 8),
        )
        expect([log.condition, log.damage]).toEqual(['corrupt', expect.stringContaining('segment')])
        expect(log.refusal()?.code).toBe('CORRUPT')
        expect(() => log.append({ group: 1 }, () => {})).toThrow('CORRUPT')
        await log.close()
        expect(writes()).toBe(0)
      }
    }
  })

  it('in the padding after a batch, or in the unused part of a segment: nothing', async () => {
    for (const at of [BATCH_BYTES, BATCH_BYTES + 1, BLOCK - 1]) {
      const { log } = await openDamaged(await EVENTS, (disk) =>
        disk.flip(pathOf(1), 2 * BLOCK + at),
      )
      expect([log.damage, log.group(1).lastIndex()]).toEqual([null, 9])
    }
    const { log } = await openDamaged(await EVENTS, (disk) => disk.flip(pathOf(2), 6 * BLOCK))
    expect([log.damage, log.group(1).lastIndex()]).toEqual([null, 9])
  })

  it('in the header of a segment in use: corrupt; of the empty next one: nothing', async () => {
    for (let at = 0; at < 40; at++) {
      for (const name of [1, 2]) {
        const { log } = await openDamaged(await EVENTS, (disk) => disk.flip(pathOf(name), at))
        expect([name, at, log.condition]).toEqual([name, at, 'corrupt'])
      }
      const { log, rig } = await openDamaged(await EVENTS, (disk) => disk.flip(pathOf(3), at))
      expect([log.damage, log.group(1).lastIndex()]).toEqual([null, 9])
      await append(log, { group: 1, entries: entriesOf(1, 10, 30, 1, 500) })
      await log.close()
      expect((await openLog(rig)).group(1).lastIndex()).toBe(30)
    }
  })

  it('in a segment that was given up, or where a recycled one is still old: nothing', async () => {
    const events = await record(60, 4)
    const clean = rebuilt(events)
    const names = (await clean.disk.list(DIRECTORY)).map((name) => Number.parseInt(name, 10))
    const outcomes: string[] = []
    for (const name of names) {
      for (let at = 40; at < SEGMENT; at += BLOCK) {
        const { log } = await openDamaged(events, (disk) => disk.flip(pathOf(name), at))
        const last = log.group(1).lastIndex()
        outcomes.push(log.condition === 'corrupt' ? 'corrupt' : `sound ${last}`)
      }
    }
    // Every flip either hits something that is needed, or loses nothing but the last batch.
    expect(new Set(outcomes)).toEqual(new Set(['corrupt', 'sound 58', 'sound 59']))
    expect(outcomes.filter((outcome) => outcome === 'sound 59').length).toBeGreaterThan(5)
    expect(outcomes.filter((outcome) => outcome === 'sound 58').length).toBeLessThanOrEqual(1)
  })

  it('on the way from the disk, once, is no damage', async () => {
    for (let seed = 1; seed <= 60; seed++) {
      const clock = new InstantClock()
      const rig = rigOf(SimDisk.replay(clock, new Prng(seed), await EVENTS), clock)
      rig.disk.faults.readFlipChance = 0.1
      const log = await openLog(rig)
      // Two wrong reads of one place in a row can't be told from damage.
      if (log.damage === null) expect(log.group(1).lastIndex()).toBeGreaterThanOrEqual(8)
      if (seed > 5) continue
      rig.disk.faults.readFlipChance = 0
      expect((await openLog(rig)).group(1).lastIndex()).toBe(9)
    }
  })
})

describe('a write that went astray', () => {
  it('a lost one in the middle leaves old bytes: corrupt', async () => {
    for (const old of [new Uint8Array(BLOCK), new Uint8Array(BLOCK).fill(0x5a)]) {
      const { log } = await openDamaged(await EVENTS, (disk) => put(disk, 1, 3 * BLOCK, old))
      expect(log.condition).toBe('corrupt')
    }
  })

  it('one that landed on another batch: corrupt, wherever it landed', async () => {
    for (let target = 1; target < 8; target++) {
      if (target === 3) continue
      const { log } = await openDamaged(await EVENTS, async (disk) => {
        await put(disk, 1, target * BLOCK, await blockOf(disk, 1, 3 * BLOCK))
      })
      expect([target, log.condition]).toEqual([target, 'corrupt'])
    }
  })

  it('the last one, found beyond its place: corrupt rather than cut off', async () => {
    const { log } = await openDamaged(await EVENTS, async (disk) => {
      await put(disk, 2, 5 * BLOCK, await blockOf(disk, 2, LAST.at))
      await put(disk, 2, LAST.at, new Uint8Array(BLOCK))
    })
    expect(log.condition).toBe('corrupt')
  })
})

describe('the end of the log', () => {
  it('is zeroed where a torn write may have left something', async () => {
    const torn = async (disk: SimDisk): Promise<void> => {
      await put(disk, 2, 4 * BLOCK + 512, new Uint8Array(3 * BLOCK).fill(0x77))
      await put(disk, 3, BLOCK + 512, new Uint8Array(BLOCK).fill(0x77))
    }
    const { log, rig } = await openDamaged(await EVENTS, torn)
    expect([log.damage, log.group(1).lastIndex()]).toEqual([null, 9])
    for (const [name, at] of [
      [2, 4],
      [2, 5],
      [2, 6],
      [3, 1],
      [3, 2],
    ] as const) {
      expect((await blockOf(rig.disk, name, at * BLOCK)).every((byte) => byte === 0)).toBe(true)
    }
    await log.close()
  })

  it('does not go on with a batch of another history, sound as it may be', async () => {
    // The same log, but with another third batch: as if a cut-off end came to life again.
    const rig = makeRig()
    const log = await openLog(rig)
    await append(log, creation(1))
    for (const term of [1, 2, 3, 4]) {
      const index = log.group(1).lastIndex() + 1
      await append(log, { group: 1, entries: [entry(1, index, term, 500)] })
    }
    for (const at of [3, 4]) {
      const other = await blockOf(rig.disk, 1, at * BLOCK)
      const opened = await openDamaged(await EVENTS, (disk) => put(disk, 1, at * BLOCK, other))
      expect([at, opened.log.condition]).toEqual([at, 'corrupt'])
    }
    const foreign = await blockOf(rig.disk, 1, 5 * BLOCK)
    const short = await record(4)
    const opened = await openDamaged(short, (disk) => put(disk, 1, 5 * BLOCK, foreign))
    expect(opened.log.damage).toContain('segment 1')
    await log.close()
  })
})

describe('segments as a whole', () => {
  it('a missing one is corruption, first or in the middle', async () => {
    for (const name of [1, 2]) {
      const { log } = await openDamaged(await EVENTS, (disk) => disk.remove(pathOf(name)))
      expect([name, log.condition]).toEqual([name, 'corrupt'])
    }
  })

  it('a copy, or one of another log, is corruption', async () => {
    const copy = async (disk: SimDisk, from: SimDisk, name: number): Promise<void> => {
      const file = await disk.open(pathOf(9), { create: true })
      for (let at = 0; at < SEGMENT; at += BLOCK)
        await file.write(await blockOf(from, name, at), at)
      await file.close()
    }
    const twice = await openDamaged(await EVENTS, (disk) => copy(disk, disk, 1))
    expect(twice.log.damage).toContain('two segments')
    const other = makeRig(77)
    const log = await openLog(other)
    await append(log, creation(1))
    await settled()
    const foreign = await openDamaged(await EVENTS, (disk) => copy(disk, other.disk, 1))
    expect(foreign.log.damage).toContain('different logs')
  })

  it('all headers gone: batches without a header are corruption, not a new log', async () => {
    const { log, writes } = await openDamaged(await EVENTS, (disk) => {
      for (const name of [1, 2, 3]) disk.flip(pathOf(name), 8)
    })
    expect([log.condition, writes()]).toEqual(['corrupt', 0])
    await log.close()
  })

  it('segments without any batch where there must have been some are corruption', async () => {
    const { log } = await openDamaged(await EVENTS, async (disk) => {
      await disk.remove(pathOf(1))
      await disk.remove(pathOf(2))
    })
    expect(log.damage).toContain('no batch')
  })

  it('a record of a later kind is corruption, a later version is named', async () => {
    const rig = rebuilt(await EVENTS)
    const block = await blockOf(rig.disk, 1, 0)
    block[4] = 9
    const { crc32cPure } = await import('../base/crc32c.ts')
    new DataView(block.buffer).setUint32(36, crc32cPure(block.subarray(0, 36)), true)
    await put(rig.disk, 1, 0, block)
    await expect(openLog(rig)).rejects.toMatchObject({ code: 'VERSION_MISMATCH' })
  })
})

describe('the planted bug that takes damage for a torn tail', () => {
  it('loses acknowledged entries, which is what checkers must see', async () => {
    const bugs = new Set<RaftLogBug>(['truncate-at-corruption'])
    const flip = (disk: SimDisk): void => disk.flip(pathOf(MIDDLE.name), MIDDLE.at + 70)
    const { log } = await openDamaged(await EVENTS, flip, bugs)
    expect([log.condition, log.group(1).lastIndex()]).toEqual(['sound', 1])
    await append(log, { group: 1, entries: entriesOf(1, 2, 3, 3, 500) })
    expect(log.group(1).lastIndex()).toBe(3)
    await log.close()
  })
})
