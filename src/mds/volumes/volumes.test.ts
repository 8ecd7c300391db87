import { describe, expect, it } from 'vitest'
import type { LemnisError } from '../../base/errors.ts'
import {
  CREATE_VOLUME,
  DELETE_VOLUME,
  EMPTY_TRASH,
  GET_SEGMENTS,
  LIST_VOLUMES,
  RENAME_VOLUME,
  RESIZE_VOLUME,
  RESTORE_VOLUME,
  SHOW_VOLUME,
} from '../../format/control/mds.ts'
import { GIB, MIB, newVolume, VolumeRig } from '../testing/volume-rig.ts'

const DAY_MS = 86_400_000

describe('volumes', () => {
  it('are made, listed and shown, and are there after a restart', async () => {
    const rig = await VolumeRig.started()
    const b = await rig.create('b', { iopsMax: 500, bytesPerSecondMax: 9 * MIB })
    const a = await rig.create('a', { stripeUnitBytes: 64 * 1024, stripeCount: 5 })
    expect(b).toMatchObject({
      id: 1,
      name: 'b',
      sizeBytes: 10 * GIB,
      pool: 'default',
      state: 'ready',
      sn: 1,
      epoch: 0,
      segmentsAllocated: 0,
    })
    expect(a).toMatchObject({ id: 2, stripeUnitBytes: 65_536, stripeCount: 5 })
    await rig.restart()
    const { volumes } = await rig.ask(LIST_VOLUMES, { deleted: false })
    expect(volumes).toEqual([b, a])
    expect(await rig.show('a')).toEqual(a)
    expect(rig.service?.volumes.limits()).toEqual([
      { volume: 1, iopsMax: 500, bytesPerSecondMax: 9 * MIB },
    ])
    expect((await rig.create('c')).id).toBe(3)
  })

  it('are refused with what is wrong', async () => {
    const rig = await VolumeRig.started()
    await rig.create('a')
    const wrong: [Partial<ReturnType<typeof newVolume>> & { pool?: string }, string][] = [
      [{ sizeBytes: MIB - 4096 }, 'INVALID_ARGUMENT'],
      [{ sizeBytes: 64 * 1024 * GIB + 4096 }, 'INVALID_ARGUMENT'],
      [{ sizeBytes: MIB + 512 }, 'INVALID_ARGUMENT'],
      [{ stripeUnitBytes: 65_536 }, 'INVALID_ARGUMENT'],
      [{ stripeCount: 2 }, 'INVALID_ARGUMENT'],
      [{ stripeUnitBytes: 2048, stripeCount: 2 }, 'INVALID_ARGUMENT'],
      [{ stripeUnitBytes: 8 * MIB, stripeCount: 2 }, 'INVALID_ARGUMENT'],
      [{ stripeUnitBytes: 12_288, stripeCount: 2 }, 'INVALID_ARGUMENT'],
      [{ stripeUnitBytes: 65_536, stripeCount: 65 }, 'INVALID_ARGUMENT'],
      [{ name: '../x' }, 'INVALID_ARGUMENT'],
      [{ name: 'a' }, 'ALREADY_EXISTS'],
      [{ pool: 'none' }, 'NOT_FOUND'],
    ]
    for (const [change, code] of wrong) {
      const refusal = await rig.refused(CREATE_VOLUME, { ...newVolume('x'), ...change })
      expect({ change, code: refusal.code }).toEqual({ change, code })
    }
    for (const sizeBytes of [MIB, 64 * 1024 * GIB]) await rig.create(`v${sizeBytes}`, { sizeBytes })
    expect((await rig.ask(LIST_VOLUMES, { deleted: false })).volumes).toHaveLength(3)
  })

  it('come in pages that have them all', async () => {
    const rig = await VolumeRig.started()
    rig.disk.faults.latencyMaxMs = 0.2
    const made = Array.from({ length: 2100 }, (_, i) => rig.send(CREATE_VOLUME, newVolume(`v${i}`)))
    await rig.world.settle(Promise.all(made))
    const names: string[] = []
    for (let from: number | undefined = 1; from !== undefined; ) {
      const page: { volumes: { name: string }[]; next?: number } = await rig.ask(LIST_VOLUMES, {
        deleted: false,
        from,
      })
      names.push(...page.volumes.map(({ name }) => name))
      from = page.next
    }
    expect(names).toEqual(Array.from({ length: 2100 }, (_, i) => `v${i}`))
  })

  it('grow, and never shrink', async () => {
    const rig = await VolumeRig.started()
    await rig.create('a', { sizeBytes: GIB })
    const grown = await rig.ask(RESIZE_VOLUME, { name: 'a', sizeBytes: 3 * GIB })
    expect(grown.sizeBytes).toBe(3 * GIB)
    expect(await rig.ask(RESIZE_VOLUME, { name: 'a', sizeBytes: 3 * GIB })).toEqual(grown)
    for (const sizeBytes of [GIB, 3 * GIB + 1, 65_537 * GIB]) {
      const { code } = await rig.refused(RESIZE_VOLUME, { name: 'a', sizeBytes })
      expect(code).toBe('INVALID_ARGUMENT')
    }
    const { code } = await rig.refused(RESIZE_VOLUME, { name: 'b', sizeBytes: GIB })
    expect(code).toBe('NOT_FOUND')
    expect(await rig.show('a')).toEqual(grown)
  })

  it('get another name, if it is free', async () => {
    const rig = await VolumeRig.started()
    const { id } = await rig.create('a')
    await rig.create('b')
    expect((await rig.refused(RENAME_VOLUME, { name: 'a', to: 'b' })).code).toBe('ALREADY_EXISTS')
    expect((await rig.ask(RENAME_VOLUME, { name: 'a', to: 'a' })).id).toBe(id)
    expect((await rig.ask(RENAME_VOLUME, { name: 'a', to: 'c' })).id).toBe(id)
    expect((await rig.refused(SHOW_VOLUME, { name: 'a' })).code).toBe('NOT_FOUND')
    expect((await rig.create('a')).id).toBe(3)
    await rig.restart()
    expect((await rig.show('c')).id).toBe(id)
  })

  it('lie in the recycle bin until they are restored, under their name or another', async () => {
    const rig = await VolumeRig.started()
    await rig.create('a')
    const deleted = await rig.ask(DELETE_VOLUME, { name: 'a' })
    expect(deleted.state).toBe('deleted')
    expect((deleted.expiresMs ?? 0) - (deleted.deletedMs ?? 0)).toBe(7 * DAY_MS)
    expect(await rig.refused(SHOW_VOLUME, { name: 'a' })).toMatchObject({
      code: 'NOT_FOUND',
      inTrash: true,
    })
    await rig.create('a')
    await rig.runMs(5)
    await rig.ask(DELETE_VOLUME, { name: 'a' })
    await rig.create('a')
    await rig.restart()
    const { volumes } = await rig.ask(LIST_VOLUMES, { deleted: true })
    expect(volumes.map(({ id, name }) => `${name} ${id}`)).toEqual(['a 1', 'a 2'])
    expect((await rig.refused(RESTORE_VOLUME, { name: 'a' })).code).toBe('ALREADY_EXISTS')
    expect((await rig.refused(RESTORE_VOLUME, { name: 'a', id: 3 })).code).toBe('NOT_FOUND')
    const newest = await rig.ask(RESTORE_VOLUME, { name: 'a', to: 'newest' })
    expect(newest).toMatchObject({ id: 2, name: 'newest', state: 'ready' })
    expect([newest.deletedMs, newest.expiresMs]).toEqual([undefined, undefined])
    expect((await rig.ask(RESTORE_VOLUME, { name: 'a', id: 1, to: 'first' })).id).toBe(1)
    expect((await rig.refused(RESTORE_VOLUME, { name: 'a' })).code).toBe('NOT_FOUND')
    expect(rig.service?.volumes.count).toBe(3)
    expect(rig.service?.volumes.deletedCount).toBe(0)
  })

  it('emptied from the recycle bin are gone from it at once, and cannot be restored', async () => {
    const rig = await VolumeRig.started()
    for (const name of ['a', 'b', 'c']) {
      await rig.create(name)
      await rig.ask(DELETE_VOLUME, { name })
    }
    expect((await rig.refused(EMPTY_TRASH, { id: 9 })).code).toBe('NOT_FOUND')
    expect(await rig.ask(EMPTY_TRASH, { id: 2 })).toEqual({ volumes: 1 })
    expect((await rig.refused(EMPTY_TRASH, { id: 2 })).code).toBe('NOT_FOUND')
    expect((await rig.refused(RESTORE_VOLUME, { name: 'b' })).code).toBe('NOT_FOUND')
    expect(await rig.ask(EMPTY_TRASH, {})).toEqual({ volumes: 2 })
    expect((await rig.ask(LIST_VOLUMES, { deleted: true })).volumes).toEqual([])
  })
})

describe('records that contradict each other', () => {
  const volume = {
    id: 1,
    name: 'v',
    pool: 'default',
    sizeBytes: GIB,
    stripeUnitBytes: 0,
    stripeCount: 1,
    iopsMax: 0,
    bytesPerSecondMax: 0,
    state: 'ready',
    sn: 1,
    epoch: 0,
    createdMs: 0,
  }
  const segment = { firstChunk: 1, groups: Array.from({ length: 64 }, () => 1) }
  const FIRST = 'volume/0000000000000001'
  const SECOND = 'volume/0000000000000002'
  const AT_ZERO = 'segment/0000000000000001/00000000'
  const SERIALS = 'namespace/serials'

  it.each<[string, Record<string, unknown>, string]>([
    ['nothing wrong', { [FIRST]: volume, [AT_ZERO]: segment }, 'started'],
    ['an id that is not the key', { [SECOND]: volume }, SECOND],
    [
      'an id that was never given out',
      { [FIRST]: volume, [SERIALS]: { volume: 1, segment: 1 } },
      FIRST,
    ],
    ['two of one name', { [FIRST]: volume, [SECOND]: { ...volume, id: 2 } }, SECOND],
    ['a segment of no volume', { [AT_ZERO]: segment }, AT_ZERO],
    [
      'chunks never given out',
      { [FIRST]: volume, [AT_ZERO]: { ...segment, firstChunk: 65 } },
      AT_ZERO,
    ],
    ['an odd key', { [FIRST]: volume, 'segment/1': segment }, 'segment/1'],
  ])('%s: the MDS says which, and does not start', async (_what, records, culprit) => {
    const rig = new VolumeRig()
    const all = { [SERIALS]: { volume: 3, segment: 1 }, ...records }
    const changes = Object.entries(all).map(([key, value]) => {
      return { kind: 'put' as const, key, value: JSON.stringify(value) }
    })
    rig.disk.land([], changes)
    const started = rig.start().then(
      () => 'started',
      (error: unknown) => String((error as LemnisError).detail['record']),
    )
    expect(await started).toBe(culprit)
  })
})

describe('segments', () => {
  it('are made once, with chunk ids that nothing else has, and last', async () => {
    const rig = await VolumeRig.started()
    await rig.create('a')
    await rig.create('b')
    const a = await rig.open('a', 'client-a')
    const b = await rig.open('b', 'client-b')
    const first = await rig.allocate(a, 3, 4)
    const asked = [rig.sendAllocate(a, 2, 5), rig.sendAllocate(b, 0, 1), rig.sendAllocate(a, 4, 5)]
    const [more, other, again] = await rig.world.settle(Promise.all(asked))
    expect(first.map(({ index, firstChunk }) => [index, firstChunk])).toEqual([[3, 1]])
    expect(first[0]?.groups.slice(0, 4)).toEqual([1, 2, 3, 1])
    expect(more?.map(({ index }) => index)).toEqual([2, 3, 4])
    expect(more?.[1]).toEqual(first[0])
    expect(again).toEqual([more?.[2]])
    const chunks = [...(more ?? []), ...(other ?? [])].map(({ firstChunk }) => firstChunk)
    expect(chunks.toSorted((x, y) => x - y)).toEqual([1, 65, 129, 193])
    await rig.restart()
    const read = { volume: a.volume.id, epoch: 0, from: 0, to: 10, allocate: false }
    expect((await rig.ask(GET_SEGMENTS, read)).segments).toEqual(more)
    expect((await rig.allocate(b, 9, 10))[0]?.firstChunk).toBe(257)
    expect((await rig.show('a')).segmentsAllocated).toBe(3)
  })

  it('are refused past the size, for old epochs, for deleted volumes, and without room', async () => {
    const rig = await VolumeRig.started({ config: { leaseMs: 1000 } })
    await rig.create('a', { sizeBytes: 2 * GIB + MIB })
    const { volume, epoch } = await rig.open('a', 'client-a')
    const ask = { volume: volume.id, epoch, from: 0, to: 1, allocate: true }
    const codeOf = async (change: object): Promise<unknown> =>
      (await rig.refused(GET_SEGMENTS, { ...ask, ...change })).code
    for (const allocate of [true, false]) {
      expect(await codeOf({ allocate, to: 4 })).toBe('INVALID_ARGUMENT')
      expect(await codeOf({ allocate, from: 1 })).toBe('INVALID_ARGUMENT')
      expect(await codeOf({ allocate, volume: 99 })).toBe('NOT_FOUND')
    }
    expect(await codeOf({ from: 2, to: 3 })).toBe('none')
    expect(await codeOf({ epoch: epoch + 1 })).toBe('FENCED')
    rig.hasRoom = false
    expect(await codeOf({})).toBe('UNPLACEABLE')
    rig.hasRoom = true
    await rig.open('a', 'client-b', true)
    expect(await rig.refused(GET_SEGMENTS, ask)).toMatchObject({
      code: 'FENCED',
      holder: 'client-b',
      presentEpoch: epoch + 1,
    })
    await rig.runMs(3000)
    await rig.ask(DELETE_VOLUME, { name: 'a' })
    expect(await codeOf({ epoch: epoch + 1 })).toBe('NOT_FOUND')
    expect(await codeOf({ allocate: false })).toBe('NOT_FOUND')
    await rig.create('big', { sizeBytes: 2000 * GIB })
    const big = await rig.open('big', 'client-c')
    expect(await rig.allocate(big, 0, 1024)).toHaveLength(1024)
    const tooMany = { volume: big.volume.id, epoch: 1, from: 0, to: 1025, allocate: false }
    expect((await rig.refused(GET_SEGMENTS, tooMany)).code).toBe('INVALID_ARGUMENT')
  })
})
