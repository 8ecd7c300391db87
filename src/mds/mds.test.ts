import { describe, expect, it } from 'vitest'
import { must } from '../base/assert.ts'
import { GIB } from '../base/units.ts'
import {
  CREATE_POOL,
  CREATE_VOLUME,
  GET_SEGMENTS,
  LIST_COPYSETS,
  OPEN_VOLUME,
  RENEW_LEASE,
} from '../format/control/mds.ts'
import { mdsConfig } from './config.ts'
import { Fleet } from './testing/fleet.ts'

const VOLUME = {
  name: 'v',
  sizeBytes: 10 * GIB,
  stripeUnitBytes: 0,
  stripeCount: 1,
  iopsMax: 100,
  bytesPerSecondMax: 0,
}

async function open(fleet: Fleet): Promise<{ volume: number; epoch: number }> {
  await fleet.ask(CREATE_VOLUME, VOLUME)
  const { volume, epoch } = await fleet.ask(OPEN_VOLUME, {
    name: 'v',
    client: 'a-client',
    address: '',
    mode: 'write',
    force: false,
  })
  return { volume: volume.id, epoch }
}

describe('an MDS', () => {
  it('spreads the chunks of a segment over all copysets', async () => {
    const fleet = new Fleet()
    await fleet.serving(3, 2)
    const opened = await open(fleet)
    const { segments } = await fleet.ask(GET_SEGMENTS, {
      ...opened,
      from: 0,
      to: 3,
      allocate: true,
    })
    const groups = segments.flatMap((segment) => segment.groups)
    const copysets = await fleet.copysets()
    const uses = copysets.map(({ id }) => groups.filter((group) => group === id).length)
    expect(groups).toHaveLength(192)
    expect(Math.max(...uses) - Math.min(...uses)).toBeLessThanOrEqual(1)
    expect(groups.every((group, i) => group !== groups[i + 1])).toBe(true)
    expect(await fleet.status()).toMatchObject({ volumes: 1, deletedVolumes: 0 })
  })

  it('gives no chunks to copysets that are full or without quorum', async () => {
    const fleet = new Fleet()
    await fleet.serving(3, 2)
    const full = must(fleet.chunkservers[0], 'a chunkserver')
    full.usedBytes = 0.96 * full.capacityBytes
    for (const away of fleet.chunkservers.slice(1, 3)) away.diskState = 'failed'
    await fleet.run(500)
    const opened = await open(fleet)
    const request = { ...opened, from: 0, to: 1, allocate: true }
    const { segments } = await fleet.ask(GET_SEGMENTS, request)
    const { groups } = must(segments[0], 'a segment')
    const { copysets } = await fleet.ask(LIST_COPYSETS, { ids: [...new Set(groups)] })
    expect(copysets.length).toBeGreaterThan(0)
    for (const { health, members } of copysets) {
      expect(health).not.toBe('broken')
      expect(members.map(({ chunkserver }) => chunkserver)).not.toContain(full.id)
    }
    for (const chunkserver of fleet.chunkservers) chunkserver.diskState = 'full'
    await fleet.run(500)
    const more = { ...opened, from: 1, to: 2, allocate: true }
    expect(await fleet.refusal(GET_SEGMENTS, more)).toBe('UNPLACEABLE')
    expect((await fleet.status()).health.state).toBe('error')
    await fleet.run(2000)
    const ids = fleet.chunkservers.map(({ id }) => id).toSorted((a, b) => a - b)
    for (const { full: told } of fleet.chunkservers) expect(told).toEqual(ids)
  })

  it('serves no more after its store has failed, and says so', async () => {
    const fleet = new Fleet()
    await fleet.serving(3, 1)
    const { volume, epoch } = await open(fleet)
    fleet.store.faults.failChance = 1
    expect(await fleet.refusal(CREATE_VOLUME, { ...VOLUME, name: 'w' })).toBe('DISK_FAILED')
    expect(fleet.failures).toEqual(['DISK_FAILED'])
    const renewal = { volume, client: 'a-client', epoch }
    await fleet.run(10_000)
    await expect(fleet.asking(RENEW_LEASE, renewal)).rejects.toThrow('DISCONNECTED')
    fleet.store.faults.failChance = 0
    fleet.crashMds()
    fleet.startMds()
    expect(await fleet.ask(RENEW_LEASE, renewal)).toMatchObject({ epoch })
  })

  it('loses its store to one that is started later', async () => {
    const fleet = new Fleet()
    await fleet.up(3, 1)
    // A new process on the same store, as after a move to another host while the old one is frozen.
    fleet.mdsHost.pause()
    fleet.store.land([], [{ kind: 'put', key: 'owner', value: '{}' }])
    fleet.mdsHost.resume()
    const pool = { name: 'default', replicas: 3, copysets: 1 }
    expect(await fleet.refusal(CREATE_POOL, pool)).toBe('NOT_LEADER')
    expect(fleet.failures).toEqual(['NOT_LEADER'])
  })

  it('pages through copysets', async () => {
    const fleet = new Fleet()
    await fleet.up(3, 1)
    await fleet.createPool(1700)
    const first = await fleet.ask(LIST_COPYSETS, { ids: [] })
    const rest = await fleet.ask(LIST_COPYSETS, { ids: [], from: must(first.next, 'more') })
    expect(rest.next).toBeUndefined()
    const ids = [...first.copysets, ...rest.copysets].map(({ id }) => id)
    expect(ids).toEqual(Array.from({ length: 1700 }, (_, i) => i + 1))
  })

  it('refuses settings that do not fit together', () => {
    expect(() => mdsConfig({ onlineMs: 5000 })).toThrow('onlineMs')
    expect(() => mdsConfig({ offlineMs: 30_000 })).toThrow('offlineMs')
    expect(() => mdsConfig({ movesMax: 1 })).toThrow('movesMax')
    expect(() => mdsConfig({ operatorTimeoutMs: 1000 })).toThrow('operatorTimeoutMs')
    expect(() => mdsConfig({ fullPercent: 101 })).toThrow('fullPercent')
  })
})
