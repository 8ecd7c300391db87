// Room: what counts as used, what is admitted, a disk that fills up and has room again, files that are
// used again or go, memory that waits for the disk.

import { describe, expect, it } from 'vitest'
import { KIB, MIB } from '../base/units.ts'
import { BLOCK_BYTES } from '../format/chunk-request.ts'
import { SILENT } from '../observe/observe.ts'
import { makeRig, turns } from '../sim/disk-rig.ts'
import { FILE_BYTES, FILE_OVERHEAD_BYTES } from './layout.ts'
import {
  applyTo,
  applyToTwin,
  entryOf,
  expectRange,
  expectSame,
  GROUP,
  markOf,
  openStore,
  REPLICA,
  writeOf,
} from './testing/chunk-rig.ts'
import { Twin } from './testing/twin.ts'

const fills = (count: number, from = 1): number[] =>
  Array.from({ length: count }, (_, i) => from + i)

describe('room for chunks', () => {
  it('counts blocks and tables, and gives back what is dropped', async () => {
    const rig = makeRig()
    const store = await openStore(rig, { capacityBytes: 100 * MIB })
    const replica = await store.openReplica(GROUP, REPLICA)
    expect(store.usage()).toMatchObject({ capacityBytes: 100 * MIB, usedBytes: 0, state: 'ok' })
    applyTo(replica, writeOf(1, 0, fills(10)))
    const ten = FILE_OVERHEAD_BYTES + 10 * BLOCK_BYTES
    expect(store.usage().usedBytes).toBe(ten)
    applyTo(replica, writeOf(2, 5, fills(5)))
    expect(store.usage().usedBytes).toBe(ten)
    applyTo(replica, writeOf(3, 0, fills(2), { sn: 2 }))
    expect(replica.usage()).toEqual({
      chunks: 1,
      usedBytes: ten + FILE_OVERHEAD_BYTES + 2 * BLOCK_BYTES,
    })
    applyTo(replica, entryOf(4, 'delete-snapshot', { sn: 2 }))
    expect(store.usage().usedBytes).toBe(ten + FILE_OVERHEAD_BYTES)
    await turns(50)
    // The two files have become one.
    expect(store.usage().usedBytes).toBe(ten)
    applyTo(replica, entryOf(5, 'zero', { sn: 2, blockCount: 9 }))
    expect(store.usage().usedBytes).toBe(FILE_OVERHEAD_BYTES + BLOCK_BYTES)
    applyTo(replica, entryOf(6, 'zero', { sn: 2, blockCount: 4096 }))
    expect(replica.usage()).toEqual({ chunks: 0, usedBytes: 0 })
    expect(store.usage().usedBytes).toBe(0)
    await replica.checkpoint(markOf(6))
    await store.close()
    const again = await openStore(rig, { capacityBytes: 100 * MIB })
    await again.openReplica(GROUP, REPLICA)
    expect(again.usage().usedBytes).toBe(0)
  })

  it('admits what fits, what is there already, and what gives back', async () => {
    const store = await openStore(makeRig(), {
      capacityBytes: FILE_OVERHEAD_BYTES + 10 * BLOCK_BYTES,
    })
    const replica = await store.openReplica(GROUP, REPLICA)
    expect(replica.admits(writeOf(1, 0, fills(11)).request)).toMatchObject({ code: 'NO_SPACE' })
    expect(replica.admits(writeOf(1, 0, fills(10)).request)).toBe(null)
    expect(replica.admits(writeOf(1, 0, fills(1)).request, true)?.code).toBe('NO_SPACE')
    applyTo(replica, writeOf(1, 0, fills(10)))
    expect(store.usage().state).toBe('full')
    expect(replica.admits(writeOf(2, 3, fills(4)).request)).toBe(null)
    expect(replica.admits(writeOf(2, 3, fills(4)).request, true)).toBe(null)
    expect(replica.admits(writeOf(2, 8, fills(4)).request)).toMatchObject({ code: 'NO_SPACE' })
    expect(replica.admits(writeOf(2, 3, fills(1), { sn: 2 }).request)).toMatchObject({
      code: 'NO_SPACE',
    })
    expect(replica.admits(entryOf(2, 'zero', { blockCount: 100 }).request)).toBe(null)
    expect(replica.admits(entryOf(2, 'fence').request)).toBe(null)
    expect(replica.admits(entryOf(2, 'delete').request)).toBe(null)
  })

  it('admits nothing more while too much waits for the disk', async () => {
    const rig = makeRig()
    const store = await openStore(rig, { dirtyBytesSoft: 32 * KIB, dirtyBytesMax: 64 * KIB })
    const replica = await store.openReplica(GROUP, REPLICA)
    rig.disk.stall()
    applyTo(replica, writeOf(1, 0, fills(15)))
    expect(replica.admits(writeOf(2, 0, fills(1)).request)).toBe(null)
    applyTo(replica, writeOf(2, 15, fills(1)))
    expect(replica.admits(writeOf(3, 0, fills(1)).request)).toMatchObject({ code: 'OVERLOADED' })
    expect(replica.admits(entryOf(3, 'zero', { blockCount: 1 }).request)).toBe(null)
    rig.disk.resume()
    await turns(60)
    expect(store.usage().dirtyBytes).toBe(0)
    expect(replica.admits(writeOf(3, 0, fills(1)).request)).toBe(null)
  })

  it('loses nothing on a full disk, and goes on when there is room', async () => {
    const rig = makeRig()
    const store = await openStore(rig)
    const replica = await store.openReplica(GROUP, REPLICA)
    const twin = new Twin()
    const apply = (entry: ReturnType<typeof writeOf>): void => {
      applyTo(replica, entry)
      applyToTwin(twin, entry)
    }
    apply(writeOf(1, 0, fills(20)))
    await replica.checkpoint(markOf(1))
    rig.disk.faults.capacityBytes = rig.disk.usedBytes() + 4 * BLOCK_BYTES
    apply(writeOf(2, 0, fills(20, 50), { chunk: 2 }))
    await expect(replica.checkpoint(markOf(2))).rejects.toMatchObject({ code: 'NO_SPACE' })
    expect(store.usage().state).toBe('full')
    expect(replica.admits(writeOf(3, 0, fills(1), { chunk: 3 }).request)).toMatchObject({
      code: 'NO_SPACE',
    })
    expect(replica.admits(writeOf(3, 0, fills(1)).request)).toBe(null)
    await expectSame(replica, twin, 'full')
    expect(replica.mark).toEqual(markOf(1))
    await turns(50)
    expect(store.usage().dirtyBytes).toBe(20 * BLOCK_BYTES)
    rig.disk.faults.capacityBytes = Number.MAX_SAFE_INTEGER
    await turns(200)
    expect(store.usage()).toMatchObject({ state: 'ok', dirtyBytes: 0 })
    await replica.checkpoint(markOf(2))
    await store.close()
    const again = await openStore(rig)
    await expectSame(await again.openReplica(GROUP, REPLICA), twin, 'after a restart')
  })

  it('makes room of a deleted chunk without a checkpoint', async () => {
    const rig = makeRig()
    const store = await openStore(rig, { poolFilesMax: 0 })
    const replica = await store.openReplica(GROUP, REPLICA)
    for (let chunk = 1; chunk <= 3; chunk++)
      applyTo(replica, writeOf(chunk, 0, fills(8), { chunk }))
    await replica.checkpoint(markOf(3))
    expect(await rig.disk.list('store/chunks')).toHaveLength(3)
    applyTo(replica, entryOf(4, 'delete', { chunk: 2 }))
    applyTo(replica, entryOf(5, 'zero', { chunk: 3, blockCount: 8 }))
    await turns(100)
    expect(await rig.disk.list('store/chunks')).toHaveLength(1)
    expect(replica.mark).toEqual(markOf(3))
    rig.disk.crash('power', 'lose')
    const again = await (await openStore(rig)).openReplica(GROUP, REPLICA)
    expect(again.appliedIndex).toBe(3)
    expect(again.settledIndex).toBe(5)
    applyTo(again, entryOf(4, 'delete', { chunk: 2 }))
    applyTo(again, entryOf(5, 'zero', { chunk: 3, blockCount: 8 }))
    expect(again.usage().chunks).toBe(1)
  })

  it('makes room of a deleted chunk on a disk that was too full for a manifest', async () => {
    const rig = makeRig()
    const store = await openStore(rig, { poolFilesMax: 0 })
    const replica = await store.openReplica(GROUP, REPLICA)
    applyTo(replica, writeOf(1, 0, fills(8)))
    await replica.checkpoint(markOf(1))
    rig.disk.faults.capacityBytes = rig.disk.usedBytes()
    applyTo(replica, entryOf(2, 'delete'))
    await turns(60)
    expect(await rig.disk.list('store/chunks')).toHaveLength(1)
    expect(store.usage().state).toBe('full')
    rig.disk.faults.capacityBytes = rig.disk.usedBytes() + BLOCK_BYTES
    await turns(200)
    expect(await rig.disk.list('store/chunks')).toEqual([])
  })

  it('keeps the old state when there is no room for a received one', async () => {
    const [a, b] = [makeRig(1), makeRig(2)]
    const from = await (await openStore(a)).openReplica(GROUP, 1)
    const to = await (await openStore(b)).openReplica(GROUP, 2)
    applyTo(from, writeOf(1, 0, fills(10)))
    applyTo(from, writeOf(2, 20, fills(30, 70)))
    const twin = new Twin()
    for (const entry of [writeOf(1, 0, fills(10)), writeOf(2, 20, fills(30, 70))]) {
      if (entry.index === 1) applyTo(to, entry)
      applyToTwin(twin, entry)
    }
    await to.checkpoint(markOf(1))
    const receive = async (): Promise<void> => {
      const source = from.snapshot()
      const sink = await to.receive(source.index, source.items)
      for (const { id } of sink.wanted) {
        const have = await sink.have(id)
        const { bytes, next } = await source.read(id, 0, 100 * BLOCK_BYTES, have)
        await sink.write(id, 0, bytes, next)
      }
      await sink.finish(markOf(source.index))
    }
    b.disk.faults.capacityBytes = b.disk.usedBytes() + 2 * BLOCK_BYTES
    await expect(receive()).rejects.toMatchObject({ code: 'NO_SPACE' })
    expect(to.appliedIndex).toBe(1)
    expect(to.mark).toEqual(markOf(1))
    expect(await to.read(1, 0, 20, 30)).toMatchObject({ crcs: null })
    b.disk.faults.capacityBytes = Number.MAX_SAFE_INTEGER
    await turns(200)
    await receive()
    expect(to.appliedIndex).toBe(2)
    await expectRange(to, twin, 1, 0, 0, 60, 'received')
  })

  it('uses files of deleted chunks again, and shows nothing of what they held', async () => {
    const rig = makeRig()
    const store = await openStore(rig, { poolFilesMax: 2 })
    const replica = await store.openReplica(GROUP, REPLICA)
    for (let chunk = 1; chunk <= 4; chunk++)
      applyTo(replica, writeOf(chunk, 0, fills(8), { chunk }))
    await replica.checkpoint(markOf(4))
    for (let chunk = 1; chunk <= 4; chunk++)
      applyTo(replica, entryOf(4 + chunk, 'delete', { chunk }))
    await replica.checkpoint(markOf(8))
    expect(await rig.disk.list('store/chunks')).toEqual([])
    expect(await rig.disk.list('store/pool')).toHaveLength(2)
    const twin = new Twin()
    const entry = writeOf(9, 3, [99], { chunk: 5 })
    applyTo(replica, entry)
    applyToTwin(twin, entry)
    await replica.checkpoint(markOf(9))
    expect(await rig.disk.list('store/pool')).toHaveLength(1)
    await expectRange(replica, twin, 5, 0, 0, 8, 'used again')
    await store.close()
    const again = await openStore(rig, { poolFilesMax: 0 })
    await expectRange(await again.openReplica(GROUP, REPLICA), twin, 5, 0, 0, 8, 'reopened')
    expect(await rig.disk.list('store/pool')).toEqual([])
  })

  it('keeps the files of a removed replica for a while, or as long as there is room', async () => {
    const rig = makeRig()
    const store = await openStore(rig, { trashAfterMs: 1000 })
    const replica = await store.openReplica(GROUP, REPLICA)
    applyTo(replica, writeOf(1, 0, fills(8)))
    await replica.checkpoint(markOf(1))
    await replica.close()
    rig.disk.stall()
    const removed = store.removeReplica(GROUP, REPLICA)
    rig.disk.resume()
    await removed
    expect((await rig.disk.list('store/trash')).length).toBe(2)
    expect(await rig.disk.list('store/manifests')).toEqual([])
    await store.close()
    // The next life goes on with it.
    const again = await openStore(rig, { trashAfterMs: 1000 })
    await turns(20)
    expect(await rig.disk.list('store/trash')).toEqual([])
    expect(again.usage().usedBytes).toBe(0)
  })

  it('says what the file system has where no capacity is set', async () => {
    const rig = makeRig()
    rig.disk.faults.capacityBytes = 64 * MIB
    const store = await openStore(rig, { reserveBytes: 8 * MIB })
    const usage = store.usage()
    expect(usage.capacityBytes).toBe(56 * MIB)
    expect(usage.freeBytes).toBeGreaterThan(FILE_BYTES)
    const replica = await store.openReplica(GROUP, REPLICA)
    rig.disk.faults.capacityBytes = 8 * MIB
    expect(replica.admits(writeOf(1, 0, fills(1)).request)).toBe(null)
    await new Promise<void>((resolve) => rig.clock.after(2000, resolve))
    replica.admits(writeOf(1, 0, fills(1)).request)
    await turns(5)
    expect(replica.admits(writeOf(1, 0, fills(1)).request)).toMatchObject({ code: 'NO_SPACE' })
    expect(store.usage()).toMatchObject({ capacityBytes: 0, freeBytes: 0, state: 'full' })
  })
  it('is as full with a long log as with a short one, as far as the reserve goes', async () => {
    const rig = makeRig()
    let log = { ownBytes: 0, heldBytes: 0 }
    rig.disk.faults.capacityBytes = 64 * MIB
    const settings = { reserveBytes: 32 * MIB }
    const store = await openStore(rig, settings, SILENT, undefined, () => log)
    const look = async (ownBytes: number, heldBytes = 0): Promise<unknown> => {
      log = { ownBytes, heldBytes }
      rig.disk.faults.capacityBytes = 64 * MIB - ownBytes - heldBytes
      await new Promise<void>((resolve) => rig.clock.after(2000, resolve))
      store.usage()
      await turns(5)
      return store.usage()
    }
    const room = { capacityBytes: 32 * MIB, freeBytes: 32 * MIB, state: 'ok' }
    for (const bytes of [0, 8 * MIB, 32 * MIB, 2 * MIB]) {
      expect(await look(bytes)).toMatchObject(room)
    }
    // What is kept for others is room.
    expect(await look(8 * MIB, 40 * MIB)).toMatchObject(room)
    expect(store.roomBytes()).toBe(32 * MIB)
    expect(await look(48 * MIB)).toMatchObject({ freeBytes: 16 * MIB })
    expect(await look(64 * MIB)).toMatchObject({ freeBytes: 0, state: 'full' })
  })
})
