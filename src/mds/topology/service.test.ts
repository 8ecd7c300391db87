import { describe, expect, it } from 'vitest'
import { must } from '../../base/assert.ts'
import {
  CREATE_POOL,
  CREATE_VOLUME,
  DELETE_VOLUME,
  EMPTY_TRASH,
  LIST_CHUNKSERVERS,
  SHOW_VOLUME,
} from '../../format/control/mds.ts'
import type { Chunkserver } from '../../format/control/parts.ts'
import {
  CLEAR_SLOW,
  DRAIN,
  GROW_POOL,
  LIST_POOLS,
  LIST_SERVERS,
  LIST_ZONES,
  REMOVE_CHUNKSERVER,
  REMOVE_POOL,
  REMOVE_SERVER,
  REMOVE_ZONE,
  SHOW_POOL,
} from '../../format/control/topology.ts'
import { Fleet } from '../testing/fleet.ts'
import { newVolume } from '../testing/volume-rig.ts'

const GIB = 1024 ** 3

async function list(fleet: Fleet): Promise<Chunkserver[]> {
  return (await fleet.ask(LIST_CHUNKSERVERS, {})).chunkservers
}

/** What is told of one of the scripted chunkservers; ids come in no order of theirs. */
async function told(fleet: Fleet, at: number): Promise<Chunkserver> {
  const { id } = must(fleet.chunkservers[at], 'a chunkserver')
  return must(
    (await list(fleet)).find((one) => one.id === id),
    'it is listed',
  )
}

async function untilAsked(fleet: Fleet, what: string, so: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 600; i++) {
    if (await so()) return
    await fleet.run(100)
  }
  throw new Error(`in vain for ${what}`)
}

/** `perZone` further chunkservers in zones z1 to z3, known to the MDS. */
async function grow(fleet: Fleet, pool: string, perZone = 1): Promise<void> {
  for (let i = 0; i < 3 * perZone; i++) fleet.add(`z${(i % 3) + 1}`, '', pool)
  await fleet.until('registration', () => fleet.chunkservers.every(({ id }) => id > 0))
  await fleet.run(300)
}

describe('pools', () => {
  it('have their own replicas, zones and volumes, and are shown', async () => {
    const fleet = new Fleet()
    await fleet.serving(3, 1, 4)
    await grow(fleet, 'fast')
    const zones = ['z1', 'z2']
    await fleet.ask(CREATE_POOL, { name: 'fast', replicas: 2, copysets: 6, zones })
    await fleet.untilAll('ok')
    await fleet.ask(CREATE_VOLUME, { ...newVolume('v'), pool: 'fast' })
    expect((await fleet.ask(SHOW_VOLUME, { name: 'v' })).pool).toBe('fast')
    const { pools } = await fleet.ask(LIST_POOLS, {})
    expect(
      pools.map(({ name, replicas, copysets, volumes, leaders }) => ({
        name,
        replicas,
        copysets,
        volumes,
        leaders,
      })),
    ).toEqual([
      { name: 'default', replicas: 3, copysets: 4, volumes: 0, leaders: 4 },
      { name: 'fast', replicas: 2, copysets: 6, volumes: 1, leaders: 6 },
    ])
    const shown = await fleet.ask(SHOW_POOL, { name: 'fast' })
    expect(shown.pool).toMatchObject({ zones, capacityBytes: 200 * GIB, level: 'ok' })
    expect(shown.zones.map(({ name, copysets }) => [name, copysets])).toEqual([
      ['z1', 6],
      ['z2', 6],
    ])
    // The one in the third zone is in no pool, and says so.
    const { reasons } = (await fleet.status()).health
    const outside = fleet.chunkservers.find(
      ({ place }) => place.pool === 'fast' && place.zone === 'z3',
    )
    expect(reasons.join()).toContain(`Chunkserver ${outside?.id} takes part in no pool`)
    expect(await fleet.refusal(SHOW_POOL, { name: 'none' })).toBe('NOT_FOUND')
    expect(fleet.wrongs()).toEqual([])
  })

  it('grow by copysets only when asked', async () => {
    const fleet = new Fleet()
    await fleet.serving(3, 1, 4)
    await grow(fleet, 'default')
    await fleet.run(1000)
    expect((await fleet.copysets()).length).toBe(4)
    expect(await fleet.ask(GROW_POOL, { name: 'default', copysets: 3 })).toEqual({
      added: 3,
      copysets: 7,
    })
    await fleet.untilAll('ok')
    // Six chunkservers with 24 replicas each.
    expect(await fleet.ask(GROW_POOL, { name: 'default', copysets: 0 })).toEqual({
      added: 41,
      copysets: 48,
    })
    expect(await fleet.ask(GROW_POOL, { name: 'default', copysets: 0 })).toEqual({
      added: 0,
      copysets: 48,
    })
    await fleet.untilAll('ok')
    expect(fleet.wrongs()).toEqual([])
    expect(await fleet.refusal(GROW_POOL, { name: 'none', copysets: 1 })).toBe('NOT_FOUND')
  })

  it('are removed when no volume is in them, with every replica, also one that was away', async () => {
    const fleet = new Fleet()
    await fleet.serving(3, 1, 5)
    await fleet.ask(CREATE_VOLUME, newVolume('v'))
    expect(await fleet.refusal(REMOVE_POOL, { name: 'default' })).toBe('CONFLICT')
    await fleet.ask(DELETE_VOLUME, { name: 'v' })
    expect(await fleet.refusal(REMOVE_POOL, { name: 'default' })).toBe('CONFLICT')
    await fleet.ask(EMPTY_TRASH, {})
    await untilAsked(
      fleet,
      'the volume',
      async () => (await fleet.ask(LIST_POOLS, {})).pools[0]?.volumes === 0,
    )
    const late = must(fleet.chunkservers[2], 'a chunkserver')
    late.host.crash()
    await fleet.run(200)
    expect(await fleet.ask(REMOVE_POOL, { name: 'default' })).toEqual({ copysets: 5 })
    expect((await fleet.ask(LIST_POOLS, {})).pools).toEqual([])
    expect((await fleet.status()).copysets.total).toBe(0)
    await fleet.until('the ends', () =>
      fleet.chunkservers.filter((one) => one !== late).every((one) => one.disk.replicas.size === 0),
    )
    fleet.crashMds()
    await fleet.run(500)
    fleet.startMds()
    await fleet.run(1000)
    expect(late.disk.replicas.size).toBe(5)
    late.start()
    await fleet.until('the last ends', () => late.disk.replicas.size === 0)
    // The name is free, and its copysets are others.
    await untilAsked(
      fleet,
      'three zones',
      async () =>
        (await fleet.refusal(CREATE_POOL, { name: 'default', replicas: 3, copysets: 2 })) === null,
    )
    await fleet.untilAll('ok')
    expect((await fleet.copysets()).map(({ id }) => id)).toEqual([6, 7])
    expect(fleet.eventsOf('mds_replica_unknown')).toEqual([])
  })
})

describe('zones and servers', () => {
  it('are listed with what they are and hold', async () => {
    const fleet = new Fleet()
    fleet.startMds()
    for (const zone of ['z1', 'z2', 'z3']) for (let i = 0; i < 2; i++) fleet.add(zone, 'host')
    fleet.add('z3', 'other')
    await fleet.until('all', () => fleet.chunkservers.every(({ id }) => id > 0))
    await fleet.run(300)
    await fleet.createPool(7)
    await fleet.untilAll('ok')
    const { zones } = await fleet.ask(LIST_ZONES, {})
    expect(zones.map(({ name, servers, copysets }) => [name, servers, copysets])).toEqual([
      ['z1', 1, 7],
      ['z2', 1, 7],
      ['z3', 2, 7],
    ])
    const { servers } = await fleet.ask(LIST_SERVERS, {})
    expect(servers.map(({ zone, name, ids }) => [zone, name, ids.length])).toEqual([
      ['z1', 'host', 2],
      ['z2', 'host', 2],
      ['z3', 'host', 2],
      ['z3', 'other', 1],
    ])
    const own = await fleet.ask(LIST_SERVERS, { zone: 'z3', from: 'z3/i' })
    expect(own.servers.map(({ name }) => name)).toEqual(['other'])
  })
})

describe('a chunkserver that leaves', () => {
  it('is drained, refused removal while it holds something, and retired when it is empty', async () => {
    const fleet = new Fleet()
    await fleet.serving(3, 2, 6)
    const leaver = must(fleet.chunkservers[0], 'a chunkserver')
    expect(await fleet.refusal(REMOVE_CHUNKSERVER, { chunkserver: leaver.id })).toBe('CONFLICT')
    const request = { what: 'chunkserver', chunkserver: leaver.id, on: true } as const
    const drained = await fleet.ask(DRAIN, request)
    expect(drained).toMatchObject({ chunkservers: [leaver.id] })
    expect(drained.warning).toBe(undefined)
    await untilAsked(fleet, 'the end', async () => {
      const found = (await list(fleet)).find(({ id }) => id === leaver.id)
      return found?.state === 'retired'
    })
    expect(leaver.disk.replicas.size).toBe(0)
    await fleet.untilAll('ok')
    expect(fleet.wrongs()).toEqual([])
    expect(await fleet.refusal(REMOVE_CHUNKSERVER, { chunkserver: leaver.id })).toBe('CONFLICT')
    expect(await fleet.refusal(DRAIN, { ...request, chunkserver: 99 })).toBe('NOT_FOUND')
  })

  it('is warned of when its zone has nobody else, and may stay after all', async () => {
    const fleet = new Fleet()
    await fleet.serving(3, 1, 2)
    const server = { what: 'server', zone: 'z1', server: 'c1' } as const
    const drained = await fleet.ask(DRAIN, { ...server, on: true })
    expect(drained.warning).toContain('in 2 of the 3 zones')
    await fleet.run(2000)
    expect(await told(fleet, 0)).toMatchObject({ copysets: 2, draining: { why: 'asked' } })
    await fleet.ask(DRAIN, { ...server, on: false })
    expect((await told(fleet, 0)).draining).toBe(undefined)
    expect(await fleet.refusal(REMOVE_SERVER, { zone: 'z1', server: 'c1' })).toBe('CONFLICT')
    expect(await fleet.refusal(REMOVE_SERVER, { zone: 'z9', server: 'c1' })).toBe('NOT_FOUND')
  })

  it('may go at once when it never held anything', async () => {
    const fleet = new Fleet()
    await fleet.serving(3, 1, 2)
    fleet.add('z1', 'spare', 'other')
    await fleet.until('it', () => must(fleet.chunkservers[3], 'it').id > 0)
    expect(await fleet.ask(REMOVE_SERVER, { zone: 'z1', server: 'spare' })).toEqual({
      chunkservers: [4],
    })
    expect((await told(fleet, 3)).state).toBe('retired')
  })

  it('goes with its whole zone', async () => {
    const fleet = new Fleet()
    await fleet.serving(4, 2, 4)
    const zone = { what: 'zone', zone: 'z1' } as const
    expect(await fleet.refusal(REMOVE_ZONE, { zone: 'z1' })).toBe('CONFLICT')
    expect(await fleet.refusal(REMOVE_ZONE, { zone: 'z9' })).toBe('NOT_FOUND')
    const inZone = fleet.chunkservers.filter(({ place }) => place.zone === 'z1')
    const ids = inZone.map(({ id }) => id).sort((a, b) => a - b)
    const drained = await fleet.ask(DRAIN, { ...zone, on: true })
    expect(drained).toMatchObject({ chunkservers: ids })
    expect(drained.warning).toBe(undefined)
    const retired = (): number => fleet.eventsOf('mds_chunkserver_retired').length
    await fleet.until('the end of all its chunkservers', () => retired() === ids.length)
    const { zones } = await fleet.ask(LIST_ZONES, {})
    expect(zones.map(({ name }) => name)).toEqual(['z2', 'z3', 'z4'])
    expect(fleet.wrongs()).toEqual([])
  })

  it('keeps its pool while it holds something, whatever it is started with', async () => {
    const fleet = new Fleet()
    await fleet.serving(3, 1, 2)
    const mover = must(fleet.chunkservers[0], 'a chunkserver')
    mover.host.crash()
    mover.place = { ...mover.place, pool: 'other' }
    mover.start()
    await fleet.run(1000)
    expect((await told(fleet, 0)).pool).toBe('default')
    expect(fleet.eventsOf('mds_chunkserver_keeps_pool')).toHaveLength(1)
    await fleet.untilAll('ok')
  })
})

describe('a slow chunkserver', () => {
  const CONFIG = { slowDrainMs: 2000, slowRecoverMs: 1500, leaderUpMinMs: 0 }

  async function slowed(): Promise<Fleet> {
    const fleet = new Fleet(1, CONFIG)
    await fleet.up(3, 2)
    for (const one of fleet.chunkservers) one.writeMeanUs = 1000
    await fleet.createPool(12)
    await fleet.untilAll('ok')
    must(fleet.chunkservers[0], 'it').writeMeanUs = 80_000
    return fleet
  }

  it('loses its leaders within seconds, and is told of with its figures', async () => {
    const fleet = await slowed()
    const sinceUs = fleet.world.nowUs
    await untilAsked(fleet, 'its leaders to leave', async () => {
      const { slow, leaders } = await told(fleet, 0)
      return slow !== undefined && leaders === 0
    })
    expect((fleet.world.nowUs - sinceUs) / 1e6).toBeLessThan(3)
    const status = await fleet.status()
    const { id } = await told(fleet, 0)
    expect(status.slow).toEqual([id])
    expect(status.health.reasons.join()).toMatch(/is slow: .*80\.0 ms.*1\.0 ms/)
    expect(fleet.eventsOf('mds_chunkserver_slow')).toHaveLength(1)
  })

  it('is emptied when that lasts, does not retire, and comes back by itself', async () => {
    const fleet = await slowed()
    await untilAsked(fleet, 'it to be empty', async () => (await told(fleet, 0)).copysets === 0)
    expect(await told(fleet, 0)).toMatchObject({ draining: { why: 'slow' } })
    await fleet.run(5000)
    expect((await told(fleet, 0)).state).toBe('online')
    must(fleet.chunkservers[0], 'it').writeMeanUs = 1000
    await untilAsked(fleet, 'it to come back', async () => {
      const { slow, draining, copysets } = await told(fleet, 0)
      return slow === undefined && draining === undefined && copysets > 0
    })
    await fleet.until('what moves to have moved', () => fleet.wrongs().length === 0)
  })

  it('is known to the next MDS, and sound by command', async () => {
    const fleet = await slowed()
    const { id: chunkserver } = await told(fleet, 0)
    await untilAsked(fleet, 'the verdict', async () => (await told(fleet, 0)).slow !== undefined)
    must(fleet.chunkservers[0], 'it').writeMeanUs = 1000
    fleet.crashMds()
    await fleet.run(300)
    fleet.startMds()
    await fleet.run(700)
    expect((await told(fleet, 0)).slow?.why).toBe('latency')
    expect(await fleet.ask(CLEAR_SLOW, { chunkserver })).toEqual({ wasSlow: true })
    expect((await told(fleet, 0)).slow).toBe(undefined)
    expect(await fleet.ask(CLEAR_SLOW, { chunkserver })).toEqual({ wasSlow: false })
  })

  it('is sick when its disk returns errors, those that came before the MDS apart', async () => {
    const fleet = new Fleet(1, { diskErrorsMax: 5 })
    const first = fleet.add('z1')
    first.badBlocks = 100
    await fleet.serving(3, 1, 2)
    expect((await fleet.status()).slow).toEqual([])
    first.badBlocks = 105
    await fleet.run(500)
    const { slow } = await told(fleet, 0)
    expect(slow).toMatchObject({ why: 'errors' })
    expect(slow?.says).toContain('5 errors')
  })
})

describe('capacity', () => {
  it('is warned of before writes stop, by the fullest chunkserver of the pool', async () => {
    const fleet = new Fleet()
    await fleet.serving(3, 1, 2)
    const filler = must(fleet.chunkservers[1], 'a chunkserver')
    const levelAt = async (percent: number): Promise<string | undefined> => {
      filler.usedBytes = percent * GIB
      await fleet.run(500)
      return (await fleet.status()).pools?.[0]?.level
    }
    expect(await levelAt(74)).toBe('ok')
    expect(await levelAt(75)).toBe('near')
    expect((await fleet.status()).health.reasons.join()).toContain('used to 75 %')
    expect(await levelAt(86)).toBe('nearly')
    // It takes a whole percent below the mark to be under it again.
    expect(await levelAt(84)).toBe('nearly')
    expect(await levelAt(83)).toBe('near')
    expect(await levelAt(96)).toBe('full')
    expect(await levelAt(10)).toBe('ok')
    expect(fleet.eventsOf('mds_pool_fills').map(({ level }) => level)).toEqual([
      'near',
      'nearly',
      'full',
    ])
    expect(fleet.eventsOf('mds_pool_has_room')).toHaveLength(1)
  })
})

describe('a replica that is far behind', () => {
  it('makes its copysets degraded, with the reason, until it has caught up', async () => {
    const fleet = new Fleet()
    await fleet.serving(3, 1, 2)
    const slow = must(fleet.chunkservers[1], 'a chunkserver')
    for (const one of fleet.chunkservers) one.appliedIndex = 50_001
    slow.appliedIndex = 1
    await fleet.run(500)
    const led = fleet.chunkservers.filter((one) => one !== slow)
    const copysets = await fleet.copysets()
    const behind = copysets.filter(({ leader }) => led.some(({ id }) => id === leader))
    expect(behind.length).toBeGreaterThan(0)
    expect(behind.map(({ health, behind: entries }) => [health, entries])).toEqual(
      behind.map(() => ['degraded', 50_000]),
    )
    expect((await fleet.status()).health.reasons.join()).toContain('50000 entries behind')
    slow.appliedIndex = 50_001
    await fleet.untilAll('ok')
  })
})
