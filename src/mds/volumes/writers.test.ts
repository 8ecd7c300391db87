import { describe, expect, it } from 'vitest'
import {
  CLOSE_VOLUME,
  DELETE_VOLUME,
  GET_SEGMENTS,
  type Lease,
  OPEN_VOLUME,
  RENEW_LEASE,
  RESIZE_VOLUME,
  RESTORE_VOLUME,
} from '../../format/control/mds.ts'
import { GIB, opening, VolumeRig } from '../testing/volume-rig.ts'

const LEASE_MS = 5000
const HELD_MS = 6000

async function rigWith(...options: Parameters<typeof VolumeRig.started>): Promise<VolumeRig> {
  const rig = await VolumeRig.started(...options)
  await rig.create('v')
  return rig
}

function renewal({ volume, epoch }: Lease, client: string) {
  return { volume: volume.id, epoch, client }
}

describe('a writer', () => {
  it('gets the next epoch, and keeps others away while its lease lasts', async () => {
    const rig = await rigWith()
    const lease = await rig.open('v', 'client-a')
    expect(lease).toMatchObject({ epoch: 1, leaseMs: LEASE_MS })
    expect(lease.volume.holder).toMatchObject({ client: 'client-a', address: 'client-a:1' })
    expect(await rig.refused(OPEN_VOLUME, opening('v', 'client-b'))).toMatchObject({
      code: 'IN_USE',
      holder: 'client-a',
      address: 'client-a:1',
      sinceMs: lease.volume.holder?.sinceMs,
    })
    expect((await rig.refused(DELETE_VOLUME, { name: 'v' })).code).toBe('IN_USE')
    await rig.runMs(HELD_MS - 500)
    expect(await rig.refused(OPEN_VOLUME, opening('v', 'client-b'))).toMatchObject({
      code: 'IN_USE',
      leaseEndsInMs: expect.closeTo(480, -2),
    })
    await rig.runMs(600)
    expect((await rig.show('v')).holder).toBeUndefined()
    expect((await rig.open('v', 'client-b')).epoch).toBe(2)
  })

  it('that opens again with the same name is a repetition: no new epoch', async () => {
    const rig = await rigWith()
    const both = [1, 2].map(() => rig.send(OPEN_VOLUME, opening('v', 'client-a')))
    const [first, second] = await rig.world.settle(Promise.all(both))
    expect(first?.epoch).toBe(1)
    expect(second?.epoch).toBe(1)
    await rig.runMs(4000)
    expect((await rig.open('v', 'client-a')).epoch).toBe(1)
    await rig.runMs(4000)
    expect((await rig.refused(OPEN_VOLUME, opening('v', 'client-b'))).code).toBe('IN_USE')
  })

  it('keeps the volume by renewing, and hears of what changed', async () => {
    const rig = await rigWith()
    const lease = await rig.open('v', 'client-a')
    for (let i = 0; i < 10; i++) {
      await rig.runMs(LEASE_MS / 4)
      await rig.ask(RENEW_LEASE, renewal(lease, 'client-a'))
    }
    expect((await rig.refused(OPEN_VOLUME, opening('v', 'client-b'))).code).toBe('IN_USE')
    await rig.ask(RESIZE_VOLUME, { name: 'v', sizeBytes: 20 * GIB })
    const renewed = await rig.ask(RENEW_LEASE, renewal(lease, 'client-a'))
    expect([renewed.volume.sizeBytes, renewed.epoch]).toEqual([20 * GIB, 1])
  })

  it('may renew late as long as nobody took the volume over', async () => {
    const rig = await rigWith()
    const lease = await rig.open('v', 'client-a')
    await rig.runMs(3 * HELD_MS)
    expect((await rig.ask(RENEW_LEASE, renewal(lease, 'client-a'))).epoch).toBe(1)
    expect((await rig.refused(OPEN_VOLUME, opening('v', 'client-b'))).code).toBe('IN_USE')
  })

  it('that was taken over is told by whom', async () => {
    const rig = await rigWith()
    const lease = await rig.open('v', 'client-a')
    expect((await rig.open('v', 'client-b', true)).epoch).toBe(2)
    expect(await rig.refused(RENEW_LEASE, renewal(lease, 'client-a'))).toMatchObject({
      code: 'FENCED',
      epoch: 1,
      presentEpoch: 2,
      holder: 'client-b',
      address: 'client-b:1',
    })
    await rig.ask(CLOSE_VOLUME, renewal(lease, 'client-a'))
    expect((await rig.show('v')).holder?.client).toBe('client-b')
  })

  it('that closes lets the next one in at once, and may close twice', async () => {
    const rig = await rigWith()
    const lease = await rig.open('v', 'client-a')
    await rig.ask(CLOSE_VOLUME, renewal(lease, 'client-a'))
    await rig.ask(CLOSE_VOLUME, renewal(lease, 'client-a'))
    await rig.ask(CLOSE_VOLUME, { volume: 99, client: 'client-a', epoch: 1 })
    expect((await rig.show('v')).holder).toBeUndefined()
    await rig.restart()
    expect((await rig.open('v', 'client-b')).epoch).toBe(2)
  })

  it('of a deleted volume finds it gone, and fenced when it is restored', async () => {
    const rig = await rigWith()
    const lease = await rig.open('v', 'client-a')
    await rig.runMs(HELD_MS + 100)
    await rig.ask(DELETE_VOLUME, { name: 'v' })
    expect((await rig.refused(RENEW_LEASE, renewal(lease, 'client-a'))).code).toBe('NOT_FOUND')
    expect((await rig.refused(OPEN_VOLUME, opening('v', 'client-a'))).code).toBe('NOT_FOUND')
    await rig.ask(RESTORE_VOLUME, { name: 'v' })
    expect((await rig.refused(RENEW_LEASE, renewal(lease, 'client-a'))).code).toBe('FENCED')
    expect((await rig.open('v', 'client-b')).epoch).toBe(3)
  })

  it('has a whole lease more after the MDS was away, also if it did not renew', async () => {
    const rig = await rigWith()
    await rig.open('v', 'client-a')
    rig.host.crash()
    await rig.runMs(3 * HELD_MS)
    await rig.start()
    const startedMs = rig.world.nowUs / 1000
    expect((await rig.show('v')).holder?.client).toBe('client-a')
    // The client has been waiting to connect again meanwhile.
    await rig.runMs(startedMs + HELD_MS - 200 - rig.world.nowUs / 1000)
    expect((await rig.refused(OPEN_VOLUME, opening('v', 'client-b'))).code).toBe('IN_USE')
    await rig.runMs(300)
    expect((await rig.open('v', 'client-b')).epoch).toBe(2)
  })

  it('has a whole lease from when an MDS begins to answer, however long it waited for that', async () => {
    const rig = await rigWith()
    await rig.open('v', 'client-a')
    rig.host.crash()
    // The MDS before may have answered renewals until this one took its place.
    await rig.start(2 * HELD_MS)
    expect((await rig.refused(OPEN_VOLUME, opening('v', 'client-b'))).code).toBe('IN_USE')
    await rig.runMs(HELD_MS + 100)
    expect((await rig.open('v', 'client-b')).epoch).toBe(2)
  })

  it('can be put aside by force right after a restart, with a new epoch', async () => {
    const rig = await rigWith()
    await rig.open('v', 'client-a')
    await rig.restart()
    expect((await rig.open('v', 'client-b', true)).epoch).toBe(2)
  })

  it('does not renew while the volume is being given to another', async () => {
    const rig = await rigWith()
    const lease = await rig.open('v', 'client-a')
    rig.disk.faults.latencyMinMs = 50
    rig.disk.faults.latencyMaxMs = 60
    await rig.env('client-b')
    const taking = rig.send(OPEN_VOLUME, opening('v', 'client-b', true), 'client-b')
    await rig.runMs(20)
    const renewed = await rig.refused(RENEW_LEASE, renewal(lease, 'client-a'))
    expect(renewed).toMatchObject({ code: 'FENCED', holder: 'client-b' })
    expect((await rig.world.settle(taking)).epoch).toBe(2)
  })
})

describe('a reader', () => {
  it('raises no epoch, keeps nobody away, and hears of the present epoch', async () => {
    const rig = await rigWith()
    const read = { ...opening('v', 'client-r'), mode: 'read' as const }
    expect((await rig.ask(OPEN_VOLUME, read)).epoch).toBe(0)
    const lease = await rig.open('v', 'client-a')
    expect(lease.epoch).toBe(1)
    expect((await rig.ask(OPEN_VOLUME, read)).volume.holder?.client).toBe('client-a')
    const renewed = await rig.ask(RENEW_LEASE, { volume: 1, client: 'client-r', epoch: 0 })
    expect(renewed.epoch).toBe(1)
    await rig.runMs(HELD_MS - 1000)
    await rig.ask(RENEW_LEASE, { volume: 1, client: 'client-a', epoch: 0 })
    await rig.runMs(1100)
    expect((await rig.open('v', 'client-b')).epoch).toBe(2)
    const stale = { volume: 1, epoch: 0, from: 0, to: 1, allocate: true }
    expect((await rig.refused(GET_SEGMENTS, stale)).code).toBe('FENCED')
  })
})

describe('the planted bugs', () => {
  it('stale-lease: a second writer gets in after a restart, with the same epoch', async () => {
    const rig = await rigWith({ bugs: ['stale-lease'] })
    expect((await rig.open('v', 'client-a')).epoch).toBe(1)
    expect((await rig.refused(OPEN_VOLUME, opening('v', 'client-b'))).code).toBe('IN_USE')
    await rig.restart()
    expect((await rig.open('v', 'client-b')).epoch).toBe(1)
  })

  it('allocation-before-commit: a segment that was answered is not there after a crash', async () => {
    for (const bugs of [[], ['allocation-before-commit' as const]]) {
      const rig = await rigWith({ bugs })
      const lease = await rig.open('v', 'client-a')
      rig.disk.onLanding = (when) => {
        if (when === 'before') rig.host.crash()
      }
      const asked = rig.sendAllocate(lease, 0, 1).then(
        () => 'answered',
        () => 'not answered',
      )
      expect(await rig.world.settle(asked)).toBe(bugs.length === 0 ? 'not answered' : 'answered')
      await rig.runMs(1000)
      rig.disk.onLanding = null
      await rig.start()
      expect((await rig.show('v')).segmentsAllocated).toBe(0)
    }
  })
})
