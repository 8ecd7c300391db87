import { describe, expect, it } from 'vitest'
import { Prng } from '../../base/prng.ts'
import { ETCD_FAULT_KINDS, type EtcdFaultKind, EtcdNemesis } from '../../sim/etcd-faults.ts'
import { ELECTORATE_CONFIG, Electorate } from '../testing/electorate.ts'

const LEASE_MS = ELECTORATE_CONFIG.leaderLeaseMs
/** A new leader of the store gives leases a second more, and looks twice a second. */
const STORE_MS = 1500
/** A round of everything that is tried again. */
const SLACK_MS = 2500
const DRIFT_PPM = 10_000

interface Outcome {
  readonly electorate: Electorate
  readonly counts: ReadonlyMap<EtcdFaultKind, number>
  readonly backMs: number
}

async function disturbed(
  seed: number,
  options: ConstructorParameters<typeof Electorate>[1] = {},
): Promise<Outcome> {
  const electorate = new Electorate(seed, options)
  const random = new Prng(seed).fork('faults')
  const nemesis = new EtcdNemesis({
    world: electorate.world,
    etcd: electorate.etcd,
    hosts: electorate.hosts,
    random,
    // Some at a time: all at once hide what a few find.
    kinds: ETCD_FAULT_KINDS.filter(() => random.chance(0.6)).concat('pause'),
    gapMs: random.between(500, 4000),
    driftPpmMax: DRIFT_PPM,
  })
  await electorate.runMs(2000)
  nemesis.start()
  await electorate.runMs(90_000)
  nemesis.heal()
  const backMs = await electorate.untilWritten(60_000)
  return { electorate, counts: nemesis.counts, backMs }
}

describe('Election', () => {
  it('chooses the one that came first, and the next one when that is gone', async () => {
    const electorate = new Electorate(1)
    expect(await electorate.untilWritten(2000)).toBeLessThan(100)
    const seen = electorate.members.map(({ election }) => election?.candidates ?? [])
    for (const candidates of seen) {
      expect(candidates.map(({ name }) => name).toSorted()).toEqual(['m1', 'm2', 'm3'])
      expect(candidates[0]?.name).toBe(electorate.leader?.host.name)
    }
    const order = seen[0]?.map(({ name }) => name) ?? []
    electorate.leader?.host.crash()
    expect(await electorate.untilWritten(20_000)).toBeLessThan(LEASE_MS + 1000)
    expect(electorate.leader?.host.name).toBe(order[1])
  })

  it('follows a leader that resigns within a few round trips', async () => {
    const electorate = new Electorate(2)
    await electorate.untilWritten(2000)
    for (let i = 0; i < 10; i++) {
      const { leader } = electorate
      void leader?.leadership?.resign()
      await electorate.runMs(1)
      expect(electorate.leader).toBeNull()
      expect(await electorate.untilWritten(5000)).toBeLessThan(50)
      expect(electorate.leader?.host.name).not.toBe(leader?.host.name)
      await electorate.runMs(200)
    }
  })

  it('a stopped leader knows at once that it leads no more, and its late write is refused', async () => {
    const electorate = new Electorate(3)
    await electorate.untilWritten(2000)
    const old = electorate.leader
    old?.host.pause()
    expect(await electorate.untilWritten(20_000)).toBeLessThan(LEASE_MS + 1000)
    await electorate.runMs(15_000)
    expect(old?.leadership?.isValid()).toBe(false)
    const { refused } = electorate
    old?.host.resume()
    await electorate.runMs(3000)
    expect(electorate.refused).toBe(refused + 1)
    expect(electorate.leader?.host.name).not.toBe(old?.host.name)
    expect(electorate.leader?.election?.candidates).toHaveLength(3)
  })

  it('a leader that is cut off gives up before another one can be elected', async () => {
    const electorate = new Electorate(4)
    await electorate.untilWritten(2000)
    const old = electorate.leader
    if (old) electorate.etcd.cut(old.host)
    await electorate.world.run({
      untilUs: electorate.world.nowUs + LEASE_MS * 1000,
      until: () => old?.leadership?.isValid() === false,
    })
    expect(old?.leadership?.isValid()).toBe(false)
    expect(electorate.leader).toBeNull()
    expect(await electorate.untilWritten(5000)).toBeLessThan(LEASE_MS)
    expect(electorate.leader?.host.name).not.toBe(old?.host.name)
  })

  it('the same one leads on through a pause of the store that is shorter than the lease', async () => {
    const electorate = new Electorate(5)
    await electorate.untilWritten(2000)
    const { leader } = electorate
    await electorate.runMs(3000)
    electorate.etcd.stop()
    await electorate.runMs(2500)
    electorate.etcd.start()
    expect(await electorate.untilWritten(5000)).toBeLessThan(2500)
    expect(electorate.leader).toBe(leader)
    expect(electorate.elections).toBe(1)
  })

  it('nobody leads while the store is away for long, and one does soon after', async () => {
    const electorate = new Electorate(6)
    await electorate.untilWritten(2000)
    electorate.etcd.stop()
    await electorate.runMs(60_000)
    expect(electorate.leader).toBeNull()
    electorate.etcd.start()
    // Long before the leases of before would end, which have their time anew.
    expect(await electorate.untilWritten(20_000)).toBeLessThan(LEASE_MS - 1000)
  })

  it('never has two leaders nor a late write, and always a leader again, whatever goes wrong', async () => {
    const struck = new Set<EtcdFaultKind>()
    let elections = 0
    let refused = 0
    for (let seed = 1; seed <= 60; seed++) {
      const { electorate, counts, backMs } = await disturbed(seed)
      expect(backMs, `seed ${seed}`).toBeLessThan(LEASE_MS + STORE_MS + SLACK_MS)
      for (const kind of counts.keys()) struck.add(kind)
      elections += electorate.elections
      refused += electorate.refused
    }
    expect(struck).toEqual(new Set(ETCD_FAULT_KINDS))
    expect(elections).toBeGreaterThan(200)
    expect(refused).toBeGreaterThan(10)
  })

  it('would be caught with two leaders if it counted on its lease to the end', async () => {
    const config = { ...ELECTORATE_CONFIG, leaderMarginMs: -LEASE_MS / 5 }
    await expect(many({ config })).rejects.toThrow('two lead')
  })

  it('would be caught writing too late if its writes were not bound to its key', async () => {
    await expect(many({ isFenced: false })).rejects.toThrow('wrote after term')
  })

  async function many(options: ConstructorParameters<typeof Electorate>[1]): Promise<void> {
    for (let seed = 1; seed <= 60; seed++) await disturbed(seed, options)
  }
})
