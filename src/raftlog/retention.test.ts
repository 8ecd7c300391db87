import { describe, expect, it } from 'vitest'
import { KIB } from '../base/units.ts'
import { makeRig, turns } from '../sim/disk-rig.ts'
import { append, creation, entry, markAt, openLog, reopened } from './testing/log-rig.ts'

describe('log kept for replicas elsewhere', () => {
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
    await turns(50)
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
})
