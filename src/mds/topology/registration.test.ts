import { describe, expect, it } from 'vitest'
import { must } from '../../base/assert.ts'
import { REGISTER_CHUNKSERVER } from '../../format/control/chunkserver.ts'
import { LIST_CHUNKSERVERS } from '../../format/control/mds.ts'
import { Fleet } from '../testing/fleet.ts'
import { ScriptedDisk } from '../testing/scripted-chunkserver.ts'

const NEW_DISK = {
  diskId: 'a-new-disk-0123456789',
  clusterId: '',
  id: 0,
  token: '',
  address: 'somewhere:7500',
  httpAddress: '',
  pool: 'default',
  zone: 'z1',
  server: 's1',
  capacityBytes: 1000,
  version: 'test',
}

async function started(): Promise<Fleet> {
  const fleet = new Fleet()
  fleet.startMds()
  await fleet.until('the MDS', () => fleet.mds !== null)
  return fleet
}

async function restart(fleet: Fleet): Promise<void> {
  fleet.crashMds()
  fleet.startMds()
  await fleet.until('the MDS again', () => fleet.mds !== null)
}

describe('registration', () => {
  it('gives one disk one id, however often it asks and whoever answers', async () => {
    const fleet = await started()
    const first = await fleet.ask(REGISTER_CHUNKSERVER, NEW_DISK)
    expect(first.id).toBe(1)
    expect(await fleet.ask(REGISTER_CHUNKSERVER, NEW_DISK)).toEqual(first)
    await restart(fleet)
    const known = { ...NEW_DISK, ...first }
    expect(await fleet.ask(REGISTER_CHUNKSERVER, known)).toEqual(first)
    const second = { ...NEW_DISK, diskId: 'another-disk-0123456789', address: 'else:7500' }
    expect((await fleet.ask(REGISTER_CHUNKSERVER, second)).id).toBe(2)
  })

  it('refuses disks of another cluster, and ids and tokens of other disks', async () => {
    const fleet = await started()
    const { clusterId, id, token } = await fleet.ask(REGISTER_CHUNKSERVER, NEW_DISK)
    const known = { ...NEW_DISK, clusterId, id, token }
    const strangers = [
      [{ ...known, clusterId: 'of-somebody-else' }, 'WRONG_CLUSTER'],
      [{ ...known, token: 'guessed' }, 'WRONG_DISK'],
      [{ ...known, id: 7 }, 'WRONG_DISK'],
      [{ ...known, diskId: 'not-seen-before-012345' }, 'WRONG_DISK'],
    ] as const
    for (const [request, code] of strangers) {
      expect(await fleet.refusal(REGISTER_CHUNKSERVER, request)).toBe(code)
    }
    expect((await fleet.ask(LIST_CHUNKSERVERS, {})).chunkservers).toHaveLength(1)
  })

  it('tells all chunkservers when one has another address', async () => {
    const fleet = new Fleet()
    await fleet.up(3, 1)
    const [first, second] = fleet.chunkservers
    const moved = must(first, 'a chunkserver')
    moved.host.crash()
    moved.address = 'c1:7600'
    moved.start()
    const hears = (): boolean =>
      second?.directory.some(
        ({ chunkserver, address }) => chunkserver === moved.id && address === 'c1:7600',
      ) === true
    await fleet.until('the new address', hears)
    expect(fleet.eventsOf('mds_chunkserver_moved')).toHaveLength(1)
  })

  it('takes another disk at a known address for a replaced one', async () => {
    const fleet = new Fleet()
    await fleet.up(3, 1)
    const wiped = must(fleet.chunkservers[0], 'a chunkserver')
    const oldDisk = wiped.disk
    wiped.host.crash()
    wiped.disk = new ScriptedDisk('wiped-disk-0123456789')
    wiped.start()
    await fleet.until('a new id', () => wiped.id !== 0)
    expect(wiped.id).toBe(4)
    const { chunkservers } = await fleet.ask(LIST_CHUNKSERVERS, {})
    const states = chunkservers.map(({ id, state }) => `${id} ${state}`)
    expect(states).toContain(`${oldDisk.id} offline`)
    // It holds nothing and stays silent: it is done with, and may not come back.
    await fleet.until('its end', () => fleet.eventsOf('mds_chunkserver_retired').length > 0)
    wiped.host.crash()
    wiped.disk = oldDisk
    wiped.start()
    await fleet.until('a refusal', () => wiped.refusals.includes('RETIRED'))
  })

  it('takes a disk back that was thought replaced, when it answers elsewhere', async () => {
    const fleet = new Fleet()
    await fleet.serving(3, 2)
    const old = must(fleet.chunkservers[0], 'a chunkserver')
    const usurper = fleet.add('z1')
    usurper.host.crash()
    old.host.crash()
    const oldAddress = old.address
    old.address = 'c1:7600'
    usurper.address = oldAddress
    // The other process listens on its own host; only what it says of itself counts here.
    const request = { ...NEW_DISK, address: oldAddress }
    const by = await fleet.ask(REGISTER_CHUNKSERVER, request)
    expect(fleet.eventsOf('mds_chunkserver_replaced')).toEqual([
      { chunkserver: old.id, by: by.id, address: oldAddress },
    ])
    old.start()
    const isBack = async (): Promise<boolean> => {
      const { chunkservers } = await fleet.ask(LIST_CHUNKSERVERS, {})
      return chunkservers.find(({ id }) => id === old.id)?.state === 'online'
    }
    for (let i = 0; i < 50 && !(await isBack()); i++) await fleet.run(100)
    expect(await isBack()).toBe(true)
    await fleet.untilAll('ok')
    expect(fleet.wrongs()).toEqual([])
  })
})

describe('a heartbeat', () => {
  it('is refused from who is unknown, and makes it register again', async () => {
    const fleet = new Fleet()
    await fleet.up(3, 1)
    const one = must(fleet.chunkservers[0], 'a chunkserver')
    const { token } = one.disk
    one.disk.token = 'another'
    await fleet.until('a refusal', () => one.refusals.includes('WRONG_DISK'))
    one.disk.token = token
    await fleet.run(1000)
    const { chunkservers } = await fleet.ask(LIST_CHUNKSERVERS, {})
    expect(chunkservers.map(({ state }) => state)).toEqual(['online', 'online', 'online'])
  })

  it('makes the silent unstable, then offline; a restart of the MDS gives a fresh period', async () => {
    const fleet = new Fleet()
    await fleet.up(3, 1)
    const stateOf = async (id: number): Promise<string | undefined> =>
      (await fleet.ask(LIST_CHUNKSERVERS, {})).chunkservers.find((one) => one.id === id)?.state
    const silent = must(fleet.chunkservers[1], 'a chunkserver')
    silent.host.crash()
    await fleet.run(1000)
    expect(await stateOf(silent.id)).toBe('unstable')
    await fleet.run(3000)
    expect(await stateOf(silent.id)).toBe('offline')
    expect(fleet.eventsOf('mds_chunkserver_offline')).toHaveLength(1)
    await restart(fleet)
    await fleet.run(1000)
    expect(await stateOf(silent.id)).toBe('unstable')
    await fleet.run(3000)
    expect(await stateOf(silent.id)).toBe('offline')
  })
})
