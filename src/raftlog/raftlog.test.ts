import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LemnisError } from '../base/errors.ts'
import { Prng } from '../base/prng.ts'
import { KIB } from '../base/units.ts'
import { makeRig, turns } from '../sim/disk-rig.ts'
import type { RaftLog } from './raftlog.ts'
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
  reopened,
  replica,
  Twin,
  writeOf,
} from './testing/log-rig.ts'

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
    await turns(200)
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
