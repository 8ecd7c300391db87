import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { must } from '../base/assert.ts'
import { LemnisError } from '../base/errors.ts'
import { Prng } from '../base/prng.ts'
import { KIB } from '../base/units.ts'
import type { Disk } from '../env/disk.ts'
import type { EventName } from '../observe/catalogue.ts'
import { SILENT } from '../observe/observe.ts'
import type { Entry } from '../raft/types.ts'
import { makeRig, type Rig } from '../sim/disk-rig.ts'
import { raftLogConfig } from './config.ts'
import { RaftLog } from './raftlog.ts'
import {
  append,
  creation,
  DIRECTORY,
  entriesOf,
  entry,
  markAt,
  mismatch,
  openLog,
  readAll,
  replica,
  SMALL,
  Twin,
  writeOf,
} from './testing/log-rig.ts'

async function eventLoops(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve))
}

/** The disk, with something said to each read of a file before it, which may make it fail. */
function reading(disk: Disk, note: (at: number, bytes: number) => void | Promise<void>): Disk {
  return Object.assign(Object.create(disk) as Disk, {
    open: async (...asked: Parameters<Disk['open']>) => {
      const file = await disk.open(...asked)
      const read = file.read.bind(file)
      file.read = async (into, at) => {
        await note(at, into.byteLength)
        return read(into, at)
      }
      return file
    },
  })
}

async function reopened(rig: Rig, log: RaftLog): Promise<RaftLog> {
  await log.close()
  return openLog(rig)
}

function codeThrown(act: () => void): string {
  try {
    act()
  } catch (error) {
    return error instanceof LemnisError ? error.code : String(error)
  }
  return 'nothing'
}

/** The log holds what the twin does; what was purged must be covered by the mark. */
async function expectTwin(log: RaftLog, twin: Twin): Promise<void> {
  expect(log.damage).toBe(null)
  expect(await mismatch(log, twin)).toBe(null)
}

describe('RaftLog', () => {
  it('shows appends at once, makes them durable in order, has them after a restart', async () => {
    const rig = makeRig()
    let log = await openLog(rig)
    expect(log.group(7).replica).toBe(0)
    expect(log.groupIds()).toEqual([])
    const order: string[] = []
    log.append(creation(7), () => order.push('create'))
    const entries = entriesOf(7, 1, 3, 1)
    const hardState = { term: 1, vote: replica(2), commit: 1 }
    log.append({ group: 7, hardState, entries }, () => order.push('entries'))
    expect(log.group(7).lastIndex()).toBe(3)
    expect(log.group(7).entries(2, 4, 1000)).toEqual(entries.slice(1))
    expect(log.group(7).entries(1, 4, 150)).toEqual(entries.slice(0, 1))
    expect(log.group(7).entries(1, 4, 0)).toEqual(entries.slice(0, 1))
    await append(log, {
      group: 7,
      entries: [{ term: 1, index: 4, kind: 'noop', data: new Uint8Array() }],
    })
    expect(order).toEqual(['create', 'entries'])
    log = await reopened(rig, log)
    expect(log.groupIds()).toEqual([7])
    const view = log.group(7)
    expect(view.hardState).toEqual(hardState)
    expect([view.firstIndex(), view.lastIndex(), view.term(0), view.term(4)]).toEqual([1, 4, 0, 1])
    expect((await readAll(log, 7)).map(({ kind }) => kind)).toEqual([
      'data',
      'data',
      'data',
      'noop',
    ])
    expect(view.entries(1, 4, 1000)).toEqual(entries)
    await log.close()
  })

  it('gathers a turn, and what comes while a write is under way, in one write', async () => {
    const rig = makeRig()
    const log = await openLog(rig)
    await Promise.all([1, 2, 3, 4].map((group) => append(log, creation(group))))
    const events = rig.disk.record()
    // The first file; the next segment is being made meanwhile.
    const writes = (): number =>
      events.filter((event) => event.kind === 'write' && event.inode === 1).length
    const before = writes()
    const some = [1, 2, 3].map((group) =>
      append(log, { group, entries: entriesOf(group, 1, 1, 1) }),
    )
    await Promise.resolve()
    await Promise.all(some)
    expect(writes() - before).toBe(1)
    const first = append(log, { group: 1, entries: entriesOf(1, 2, 2, 1) })
    rig.disk.faults.latencyMaxMs = 50
    await new Promise((resolve) => rig.clock.soon(() => resolve(null)))
    const later = [2, 3, 4].map((group) =>
      append(log, { group, entries: entriesOf(group, log.group(group).lastIndex() + 1, 2, 1) }),
    )
    await Promise.all([first, ...later])
    expect(writes() - before).toBe(3)
    await log.close()
  })

  it('an entry at or below the last one replaces what follows', async () => {
    const rig = makeRig()
    let log = await openLog(rig)
    await append(log, { ...creation(1), entries: entriesOf(1, 1, 6, 1) })
    const replaced = [entry(1, 3, 2), entry(1, 4, 2)]
    await append(log, { group: 1, entries: replaced })
    for (let round = 0; round < 2; round++) {
      expect([log.group(1).lastIndex(), log.group(1).term(2), log.group(1).term(3)]).toEqual([
        4, 1, 2,
      ])
      expect(await readAll(log, 1)).toEqual([...entriesOf(1, 1, 2, 1), ...replaced])
      log = await reopened(rig, log)
    }
    await log.close()
  })

  it('a restart at a mark replaces the whole log', async () => {
    const rig = makeRig()
    let log = await openLog(rig)
    await append(log, { ...creation(1), entries: entriesOf(1, 1, 6, 1) })
    const entries = entriesOf(1, 101, 102, 5)
    await append(log, { group: 1, mark: markAt(100, 5), restart: true, entries })
    for (let round = 0; round < 2; round++) {
      const view = log.group(1)
      expect([view.firstIndex(), view.lastIndex(), view.term(100), view.term(99)]).toEqual([
        101,
        102,
        5,
        undefined,
      ])
      expect(view.mark).toEqual(markAt(100, 5))
      expect(await readAll(log, 1)).toEqual(entries)
      log = await reopened(rig, log)
    }
    await log.close()
  })

  it('keeps a tombstone of a destroyed replica, and takes a new one in its place', async () => {
    const rig = makeRig()
    let log = await openLog(rig)
    await append(log, { ...creation(1), entries: entriesOf(1, 1, 6, 1) })
    await append(log, { group: 1, destroy: { epoch: 9 } })
    log = await reopened(rig, log)
    const view = log.group(1)
    expect([view.replica, view.destroyedEpoch, view.lastIndex(), view.mark]).toEqual([
      11,
      9,
      0,
      null,
    ])
    expect(codeThrown(() => log.append({ group: 1, entries: [] }, () => {}))).toBe('NO_SUCH_GROUP')
    await append(log, creation(1, 12))
    log = await reopened(rig, log)
    expect([log.group(1).destroyedEpoch, log.group(1).createdEpoch]).toEqual([null, 12])
    await log.close()
  })

  it('refuses what is too large or has no group, and asserts the order of entries', async () => {
    const rig = makeRig()
    const log = await openLog(rig)
    await append(log, creation(1))
    const tell = (): void => {}
    expect(codeThrown(() => log.append({ group: 5, entries: [] }, tell))).toBe('NO_SUCH_GROUP')
    const large = [entry(1, 1, 1, 7 * KIB)]
    expect(codeThrown(() => log.append({ group: 1, entries: large }, tell))).toBe(
      'INVALID_ARGUMENT',
    )
    for (const entries of [[entry(1, 2, 1)], [entry(1, 1, 3), entry(1, 2, 2)]]) {
      expect(() => log.append({ group: 1, entries }, tell)).toThrow('entries')
    }
    expect(() => log.append({ group: 1, mark: markAt(1, 1) }, tell)).toThrow('in the log')
    expect(log.group(1).lastIndex()).toBe(0)
    await log.close()
    expect(codeThrown(() => log.append({ group: 1 }, tell))).toBe('CLOSED')
    await expect(log.fetch(1, 1, 2, 10)).rejects.toMatchObject({ code: 'CLOSED' })
  })

  it('splits a write that no single batch holds', async () => {
    const rig = makeRig()
    let log = await openLog(rig)
    const entries = entriesOf(1, 1, 20, 1, 5 * KIB)
    await append(log, { ...creation(1), entries })
    log = await reopened(rig, log)
    expect(await readAll(log, 1)).toEqual(entries)
    await log.close()
  })

  it('an append of nothing is durable when what came before it is', async () => {
    const rig = makeRig()
    const log = await openLog(rig)
    const order: number[] = []
    log.append(creation(1), () => order.push(1))
    await append(log, { group: 1 })
    expect(order).toEqual([1])
    await append(log, { group: 1, mark: markAt(0, 0) })
    await append(log, { group: 1 })
    await log.close()
  })
})

describe('RaftLog: memory', () => {
  it('evicts the oldest payloads, none that is not durable, and reads them back', async () => {
    const rig = makeRig()
    const log = await openLog(rig, { cacheBytes: 8 * KIB, readBackBytes: 4 * KIB })
    const entries = entriesOf(1, 1, 60, 1, 500)
    rig.disk.stall()
    const appended = append(log, { ...creation(1), entries })
    expect(log.group(1).entries(1, 61, 1e6)).toEqual(entries)
    rig.disk.resume()
    await appended
    const view = log.group(1)
    expect(view.entries(1, 61, 1e6)).toBe('not-in-memory')
    expect(view.entries(60, 61, 1e6)).toEqual(entries.slice(59))
    const read = await log.fetch(1, 3, 61, 1600)
    expect(read).toEqual(entries.slice(2, 5))
    expect(view.entries(3, 61, 1e6)).toEqual(entries.slice(2, 5))
    expect(view.entries(4, 61, 500)).toEqual(entries.slice(3, 4))
    for (let from = 10; from < 30; from += 5) await log.fetch(1, from, 61, 1600)
    expect(view.entries(3, 61, 1e6)).toBe('not-in-memory')
    await append(log, { group: 1, entries: [entry(1, 26, 2)] })
    expect(view.entries(25, 27, 1e6)).toBe('not-in-memory')
    expect(await readAll(log, 1)).toEqual([...entries.slice(0, 25), entry(1, 26, 2)])
    await log.close()
  })

  it('answers all who wait for what one read passes over', async () => {
    const rig = makeRig()
    const groups = [1, 2, 3, 4, 5, 6]
    let reads = 0
    const disk = reading(rig.disk.mount(), () => {
      reads++
    })
    const config = raftLogConfig({ ...SMALL, cacheBytes: 1 })
    const log = await RaftLog.open({ ...rig.env, disk }, SILENT, DIRECTORY, config)
    for (const group of groups) await append(log, creation(group))
    for (let index = 1; index <= 40; index++) {
      const entries = (group: number): Entry[] => [entry(group, index, 1, 100 * group)]
      await Promise.all(groups.map((group) => append(log, { group, entries: entries(group) })))
    }
    reads = 0
    const from = (group: number): number => 3 * group
    const fetched = await Promise.all(
      groups.map((group) => log.fetch(group, from(group), 41, 1500)),
    )
    for (const [i, group] of groups.entries()) {
      const end = from(group) + must(fetched[i], 'what was fetched').length - 1
      expect(end).toBeGreaterThanOrEqual(from(group))
      expect(fetched[i]).toEqual(entriesOf(group, from(group), end, 1, 100 * group))
    }
    // Entries of several segments, each read once.
    expect(reads).toBeLessThanOrEqual(3)
    await log.close()
  })

  it('takes a sector that cannot be read for the loss of those whose entries lie in it', async () => {
    const rig = makeRig()
    let bad = -1
    const disk = reading(rig.disk.mount(), (at, bytes) => {
      const isBad = bad >= at && bad < at + bytes
      if (isBad) throw new LemnisError('DISK_FAILED', { errno: 'EIO' })
    })
    const config = raftLogConfig({ ...SMALL, cacheBytes: 1 })
    const log = await RaftLog.open({ ...rig.env, disk }, SILENT, DIRECTORY, config)
    for (const group of [1, 2, 3]) {
      await append(log, { ...creation(group), entries: [entry(group, 1, 1, 5000)] })
    }
    bad = log.group(2).offsetOf(1)
    const fetched = await Promise.allSettled([1, 2, 3].map((group) => log.fetch(group, 1, 2, 6000)))
    expect(fetched.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    await log.close()
  })

  it('takes it for no loss when the log was let go before the sector was given up', async () => {
    const rig = makeRig()
    let bad = -1
    const disk = reading(rig.disk.mount(), async (at, bytes) => {
      if (bad < at || bad >= at + bytes) return
      await new Promise<void>((resolve) => rig.clock.after(5000, resolve))
      throw new LemnisError('DISK_FAILED', { errno: 'EIO' })
    })
    const config = raftLogConfig({ ...SMALL, cacheBytes: 1, segmentsHeld: 100 })
    const log = await RaftLog.open({ ...rig.env, disk }, SILENT, DIRECTORY, config)
    const groups = [1, 2, 3]
    let needed = 1
    log.holder = { mayHold: () => true, neededFrom: () => needed }
    for (const group of groups) await append(log, creation(group))
    for (let index = 1; index <= 12; index++) {
      for (const group of groups) {
        await append(log, { group, entries: [entry(group, index, 1, 3000)] })
        await append(log, { group, mark: markAt(index, 1) })
      }
    }
    bad = log.group(1).offsetOf(1)
    const fetching = Promise.all(groups.map((group) => log.fetch(group, 1, 2, 6000)))
    needed = 13
    expect(await fetching).toEqual([[], [], []])
    await log.close()
  })

  it('fetch gives nothing of what was purged, and says CORRUPT of what is damaged', async () => {
    const rig = makeRig()
    const emitted: EventName[] = []
    const observer = { ...SILENT, emit: (name: EventName) => emitted.push(name) }
    const config = raftLogConfig({ ...SMALL, cacheBytes: 1 })
    const log = await RaftLog.open(rig.env, observer, DIRECTORY, config)
    await append(log, { ...creation(1), entries: entriesOf(1, 1, 10, 1, 500) })
    expect(await log.fetch(1, 11, 12, 100)).toEqual([])
    const reading = log.fetch(1, 2, 3, 100)
    await append(log, { group: 1, mark: markAt(5, 1) })
    expect(await reading).toEqual(entriesOf(1, 2, 2, 1, 500))
    for (let at = 0; at < 8000; at += 100) rig.disk.flip(`${DIRECTORY}/00000001.log`, 4096 + at)
    await expect(log.fetch(1, 7, 8, 100)).rejects.toMatchObject({ code: 'CORRUPT' })
    expect(emitted).toContain('raftlog_corrupt')
    await log.close()
  })
})

describe('RaftLog: segments', () => {
  it('purges what checkpoints cover, reuses files, keeps small state of idle groups', async () => {
    const rig = makeRig()
    let log = await openLog(rig)
    await append(log, creation(2))
    await append(log, { group: 2, hardState: { term: 4, vote: replica(3), commit: 0 } })
    await append(log, creation(3))
    await append(log, { group: 3, destroy: { epoch: 8 } })
    await append(log, creation(1))
    for (let index = 1; index <= 120; index++) {
      await append(log, { group: 1, entries: [entry(1, index, 1, 3000)] })
      if (index % 10 === 0) await append(log, { group: 1, mark: markAt(index, 1) })
    }
    expect((await rig.disk.list(DIRECTORY)).length).toBeLessThan(8)
    for (let round = 0; round < 3; round++) {
      const view = log.group(1)
      expect(view.firstIndex()).toBeGreaterThan(80)
      expect(view.lastIndex()).toBe(120)
      const first = view.firstIndex()
      expect(await readAll(log, 1)).toEqual(entriesOf(1, first, 120, 1, 3000))
      expect(log.group(2).hardState).toEqual({ term: 4, vote: 3, commit: 0 })
      expect([log.group(2).replica, log.group(3).destroyedEpoch]).toEqual([12, 8])
      log = await reopened(rig, log)
    }
    await log.close()
  })

  it('asks the groups that pin old segments to checkpoint', async () => {
    const rig = makeRig()
    const log = await openLog(rig)
    const asked: number[] = []
    log.onPinned = (group) => {
      asked.push(group)
      const index = log.group(group).lastIndex()
      log.append({ group, mark: markAt(index, 1) }, () => {})
    }
    await append(log, { ...creation(1), entries: entriesOf(1, 1, 2, 1) })
    await append(log, creation(2))
    for (let index = 1; index <= 60; index++) {
      await append(log, { group: 2, entries: [entry(2, index, 1, 3000)] })
    }
    expect(asked[0]).toBe(1)
    expect(new Set(asked)).toEqual(new Set([1, 2]))
    expect((await rig.disk.list(DIRECTORY)).length).toBeLessThan(9)
    await log.close()
  })

  it('keeps what replicas elsewhere have yet to get, as long as there is room', async () => {
    const rig = makeRig()
    const log = await openLog(rig, { segmentsHeld: 4 })
    const holder = { from: 5, room: true }
    log.holder = { mayHold: () => holder.room, neededFrom: () => holder.from }
    let last = 0
    const write = async (count: number): Promise<void> => {
      for (const end = last + count; last < end; ) {
        await append(log, { group: 1, entries: [entry(1, ++last, 1, 3000)] })
        await append(log, { group: 1, mark: markAt(last, 1) })
      }
    }
    await append(log, creation(1))
    await write(15)
    expect(log.group(1).firstIndex()).toBeLessThanOrEqual(5)
    expect(log.heldFileBytes).toBeGreaterThan(0)
    // More than it may keep for others: what is useless without its beginning goes as a whole.
    await write(30)
    expect(log.group(1).firstIndex()).toBeGreaterThan(last - 4)
    holder.from = last + 1
    await write(10)
    expect(log.group(1).firstIndex()).toBeLessThanOrEqual(holder.from)
    // The others have it all, and nothing is written that could tell.
    holder.from = last + 1
    const heldBytes = log.fileBytes
    await eventLoops(50)
    expect(log.group(1).firstIndex()).toBeGreaterThan(last - 4)
    expect(log.heldFileBytes).toBe(0)
    expect(log.fileBytes).toBeLessThan(heldBytes)
    // Without room nothing is kept.
    holder.from = last
    holder.room = false
    await write(30)
    expect(log.group(1).firstIndex()).toBeGreaterThan(last - 4)
    await log.close()
  })

  it('keeps it for one group though another needs more than may be kept', async () => {
    const rig = makeRig()
    const log = await openLog(rig, { segmentsHeld: 8 })
    const needs = (): number => Math.max(1, log.group(2).lastIndex() - 8)
    log.holder = { mayHold: () => true, neededFrom: (group) => (group === 1 ? 1 : needs()) }
    for (const group of [1, 2]) await append(log, creation(group))
    for (let index = 1; index <= 60; index++) {
      for (const group of [1, 2]) {
        await append(log, { group, entries: [entry(group, index, 1, 3000)] })
        await append(log, { group, mark: markAt(index, 1) })
      }
      expect(log.group(2).firstIndex()).toBeLessThanOrEqual(needs())
    }
    expect(log.group(1).firstIndex()).toBeGreaterThan(30)
    await log.close()
  })

  it.each([1, 2, 9])(
    'gives up what it keeps for others on a full disk, %i entries at once',
    async (atOnce) => {
      const rig = makeRig()
      const log = await openLog(rig, { segmentsHeld: 1000 })
      log.holder = { mayHold: () => true, neededFrom: () => 1 }
      await append(log, creation(1))
      rig.disk.faults.capacityBytes = 256 * KIB
      let last = 0
      const write = async (): Promise<void> => {
        while (last < 200) {
          const index = ++last
          const appended = append(log, { group: 1, entries: [entry(1, index, 1, 3000)] })
          await Promise.all([appended, append(log, { group: 1, mark: markAt(index, 1) })])
        }
      }
      await Promise.all(Array.from({ length: atOnce }, write))
      expect(log.group(1).firstIndex()).toBeGreaterThan(100)
      const again = await reopened(rig, log)
      expect(again.group(1).lastIndex()).toBe(200)
      await again.close()
    },
  )

  it('removes spare segments beyond the wanted ones', async () => {
    const rig = makeRig()
    const log = await openLog(rig, { segmentsPinned: 30 })
    await append(log, creation(1))
    for (let index = 1; index <= 60; index++) {
      await append(log, { group: 1, entries: [entry(1, index, 1, 3000)] })
    }
    const before = (await rig.disk.list(DIRECTORY)).length
    const segmentBytes = log.fileBytes / before
    expect(await rig.disk.freeBytes()).toBe(rig.disk.faults.capacityBytes - log.fileBytes)
    await append(log, { group: 1, mark: markAt(60, 1) })
    await append(log, { group: 1, entries: [entry(1, 61, 1, 10)] })
    await append(log, { group: 1, entries: [entry(1, 62, 1, 10)] })
    await log.close()
    const again = await openLog(rig)
    await append(again, { group: 1, entries: [entry(1, 63, 1, 10)] })
    await eventLoops(200)
    const names = await rig.disk.list(DIRECTORY)
    expect([before > 8, names.length < 5]).toEqual([true, true])
    expect(again.fileBytes).toBe(names.length * segmentBytes)
    expect(again.group(1).lastIndex()).toBe(63)
    await again.close()
  })

  it('keeps the size of segments that the log was made with', async () => {
    const rig = makeRig()
    let log = await openLog(rig)
    await append(log, { ...creation(1), entries: entriesOf(1, 1, 30, 1, 3000) })
    await log.close()
    log = await openLog(rig, { segmentBytes: 64 * KIB })
    await append(log, { group: 1, entries: entriesOf(1, 31, 60, 1, 3000) })
    log = await reopened(rig, log)
    expect(await readAll(log, 1)).toEqual(entriesOf(1, 1, 60, 1, 3000))
    await log.close()
    const larger = { segmentBytes: 64 * KIB, batchBytesMax: 48 * KIB }
    await expect(openLog(rig, larger)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  })

  it('on a full disk says NO_SPACE, loses nothing and goes on when there is space', async () => {
    const rig = makeRig()
    const log = await openLog(rig)
    await append(log, creation(1))
    rig.disk.faults.capacityBytes = 64 * KIB
    let index = 0
    const waiting: Promise<void>[] = []
    while (log.refusal() === null && index < 100) {
      index++
      waiting.push(append(log, { group: 1, entries: [entry(1, index, 1, 3000)] }))
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    expect(log.refusal()?.code).toBe('NO_SPACE')
    index++
    waiting.push(append(log, { group: 1, entries: [entry(1, index, 1, 3000)] }))
    rig.disk.faults.capacityBytes = 1024 * KIB
    await Promise.all(waiting)
    for (let i = 0; i < 500 && log.refusal() !== null; i++) {
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(log.refusal()).toBe(null)
    const again = await reopened(rig, log)
    expect(await readAll(again, 1)).toEqual(entriesOf(1, 1, index, 1, 3000))
    await again.close()
  })

  it('closing on a full disk fails what waits and ends', async () => {
    const rig = makeRig()
    const log = await openLog(rig)
    await append(log, creation(1))
    rig.disk.faults.capacityBytes = 64 * KIB
    const waiting = append(log, { group: 1, entries: entriesOf(1, 1, 40, 1, 3000) })
    const closing = log.close()
    await expect(waiting).rejects.toMatchObject({ code: 'NO_SPACE' })
    await closing
  })

  it('refuses past the bound of the queue, with nothing changed', async () => {
    const rig = makeRig()
    const log = await openLog(rig, { queuedBytesMax: 16 * KIB })
    await append(log, creation(1))
    rig.disk.stall()
    let index = 0
    while (log.refusal() === null) {
      index++
      log.append({ group: 1, entries: [entry(1, index, 1, 3000)] }, () => {})
    }
    const one = (): void => log.append({ group: 1, entries: [entry(1, index + 1, 1)] }, () => {})
    expect([codeThrown(one), log.group(1).lastIndex()]).toEqual(['OVERLOADED', index])
    // What a checkpoint and an order write is taken: a full log waits for the one, a person for the other.
    const marked = append(log, { group: 1, mark: markAt(index, 1) })
    const made = append(log, creation(2))
    expect([log.refusal()?.code, log.group(1).mark?.index]).toEqual(['OVERLOADED', index])
    rig.disk.resume()
    await Promise.all([marked, made])
    await log.close()
  })
})

describe('RaftLog: a failed write', () => {
  it('poisons the log: all waiting get the error, nothing is written any more', async () => {
    const rig = makeRig()
    const log = await openLog(rig)
    await append(log, { ...creation(1), entries: entriesOf(1, 1, 3, 1) })
    const poisoned: string[] = []
    log.onPoisoned = (error) => poisoned.push(error.code)
    rig.disk.faults.writeErrorChance = 1
    const some = [4, 5].map((index) => append(log, { group: 1, entries: [entry(1, index, 1)] }))
    const outcomes = await Promise.allSettled(some)
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
    rig.disk.faults.writeErrorChance = 0
    expect(codeThrown(() => log.append({ group: 1 }, () => {}))).toBe('DISK_FAILED')
    expect(poisoned).toEqual(['DISK_FAILED'])
    const again = await reopened(rig, log)
    expect(again.condition).toBe('sound')
    expect((await readAll(again, 1)).slice(0, 3)).toEqual(entriesOf(1, 1, 3, 1))
    await again.close()
  })

  it('a segment that can not be made poisons it too', async () => {
    const rig = makeRig()
    const log = await openLog(rig)
    await append(log, creation(1))
    await new Promise((resolve) => setTimeout(resolve, 20))
    rig.disk.rename = () => Promise.reject(new LemnisError('DISK_FAILED'))
    const waiting = append(log, { group: 1, entries: entriesOf(1, 1, 40, 1, 3000) })
    await expect(waiting).rejects.toMatchObject({ code: 'DISK_FAILED' })
    await log.close()
  })
})

describe('RaftLog against a naive twin', () => {
  const step = fc.record({
    kind: fc.oneof(
      { weight: 12, arbitrary: fc.constant('append' as const) },
      { weight: 2, arbitrary: fc.constant('truncate' as const) },
      { weight: 5, arbitrary: fc.constant('mark' as const) },
      { weight: 2, arbitrary: fc.constant('hard' as const) },
      { weight: 1, arbitrary: fc.constant('restart' as const) },
      { weight: 1, arbitrary: fc.constant('destroy' as const) },
      { weight: 1, arbitrary: fc.constant('reopen' as const) },
      { weight: 3, arbitrary: fc.constant('wait' as const) },
    ),
    group: fc.integer({ min: 1, max: 4 }),
    size: fc.integer({ min: 1, max: 900 }),
  })

  it('holds what random work of several groups left, over purges and restarts', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 20, maxLength: 160 }),
        fc.integer({ min: 1, max: 1e6 }),
        fc.constantFrom(4096 * KIB, 20 * KIB),
        async (steps, seed, cacheBytes) => {
          const rig = makeRig(seed)
          const random = new Prng(seed)
          rig.disk.faults.latencyMaxMs = random.below(3)
          let log = await openLog(rig, { cacheBytes })
          const twin = new Twin()
          let waiting: Promise<void>[] = []
          for (const [count, one] of steps.entries()) {
            if (one.kind === 'wait') {
              await Promise.all(waiting)
              waiting = []
            } else if (one.kind === 'reopen') {
              await log.close()
              log = await openLog(rig, { cacheBytes })
              await expectTwin(log, twin)
            } else {
              const write = writeOf(twin, one, count + 1)
              if (write === null) continue
              waiting.push(append(log, write))
              twin.apply(write)
            }
          }
          await Promise.all(waiting)
          await expectTwin(log, twin)
          await log.close()
          log = await openLog(rig, { cacheBytes })
          await expectTwin(log, twin)
          await log.close()
        },
      ),
      { numRuns: 120 },
    )
  })
})
