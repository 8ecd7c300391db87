import { describe, expect, it } from 'vitest'
import { must } from '../base/assert.ts'
import { LemnisError } from '../base/errors.ts'
import { KIB } from '../base/units.ts'
import type { Disk } from '../env/disk.ts'
import type { EventName } from '../observe/catalogue.ts'
import { SILENT } from '../observe/observe.ts'
import type { Entry } from '../raft/types.ts'
import { makeRig } from '../sim/disk-rig.ts'
import { raftLogConfig } from './config.ts'
import { RaftLog } from './raftlog.ts'
import {
  append,
  creation,
  DIRECTORY,
  entriesOf,
  entry,
  markAt,
  openLog,
  readAll,
  SMALL,
} from './testing/log-rig.ts'

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

describe('entries read back', () => {
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
