import { describe, expect, it } from 'vitest'
import { must } from '../../base/assert.ts'
import { CREATE_POOL, LIST_CHUNKSERVERS, LOCATE_COPYSETS } from '../../format/control/mds.ts'
import { Fleet } from '../testing/fleet.ts'

const POOL = { name: 'default', replicas: 3, copysets: 0 }

describe('a pool', () => {
  it('needs as many zones with chunkservers as it has replicas', async () => {
    const fleet = new Fleet()
    await fleet.up(2, 2)
    expect(await fleet.refusal(CREATE_POOL, POOL)).toBe('UNPLACEABLE')
    expect((await fleet.status()).health.reasons.join()).toContain('There is no pool yet')
    fleet.add('z3')
    await fleet.until('the third zone', () => must(fleet.chunkservers[4], 'it').id !== 0)
    await fleet.run(300)
    // Five chunkservers with 20 replicas each.
    expect(await fleet.ask(CREATE_POOL, POOL)).toEqual({ copysets: 34 })
    expect(await fleet.refusal(CREATE_POOL, POOL)).toBe('ALREADY_EXISTS')
  })

  it('does not count a zone that is silent', async () => {
    const fleet = new Fleet()
    await fleet.up(3, 1)
    must(fleet.chunkservers[2], 'a chunkserver').host.crash()
    await fleet.run(1000)
    expect(await fleet.refusal(CREATE_POOL, POOL)).toBe('UNPLACEABLE')
  })

  it('has its copysets spread over the chunkservers of that pool alone', async () => {
    const fleet = new Fleet()
    await fleet.up(3, 2)
    for (let i = 1; i <= 3; i++) fleet.add(`z${i}`, '', 'other')
    await fleet.until('all', () => fleet.chunkservers.every(({ id }) => id > 0))
    await fleet.run(300)
    await fleet.createPool()
    await fleet.untilAll('ok')
    const { chunkservers } = await fleet.ask(LIST_CHUNKSERVERS, {})
    const counts = chunkservers.map(({ copysets, scatterWidth }) => [copysets, scatterWidth])
    // Six chunkservers with 24 replicas each, and the four of the other zones as neighbours.
    expect(counts).toEqual([...Array(6).fill([24, 4]), ...Array(3).fill([0, 0])])
    expect(fleet.wrongs()).toEqual([])
  })

  it('is founded to the end when a chunkserver is away and the MDS goes down at once', async () => {
    const fleet = new Fleet()
    await fleet.up(3, 1)
    const late = must(fleet.chunkservers[1], 'a chunkserver')
    late.host.crash()
    await fleet.createPool()
    fleet.crashMds()
    await fleet.run(500)
    fleet.startMds()
    await fleet.run(1000)
    expect((await fleet.status()).copysets).toMatchObject({ total: 12, ok: 0, broken: 0 })
    late.start()
    await fleet.untilAll('ok')
    expect((await fleet.status()).health).toEqual({ state: 'ok', reasons: [] })
    expect(fleet.eventsOf('mds_operator_begun')).toEqual([])
  })

  it('is located by its members and leaders', async () => {
    const fleet = new Fleet()
    await fleet.serving(3, 1, 2)
    const { copysets } = await fleet.ask(LOCATE_COPYSETS, { groups: [1, 2, 99] })
    expect(copysets.map(({ group }) => group)).toEqual([1, 2])
    for (const { leader, members } of copysets) {
      expect(members.map(({ address }) => address).sort()).toEqual([
        'c1:7500',
        'c2:7500',
        'c3:7500',
      ])
      expect(members.map(({ chunkserver }) => chunkserver)).toContain(leader)
    }
  })
})
