import { describe, expect, it } from 'vitest'
import { must } from '../../base/assert.ts'
import { asLemnisError } from '../../base/errors.ts'
import { Prng } from '../../base/prng.ts'
import { CREATE_POOL } from '../../format/control/mds.ts'
import { Fleet } from '../testing/fleet.ts'

/** Repeats the order until it is known to have been followed. */
async function createPool(fleet: Fleet): Promise<void> {
  for (let tries = 0; tries < 50; tries++) {
    try {
      await fleet.ask(CREATE_POOL, { name: 'default', replicas: 3, copysets: 4 })
      return
    } catch (error) {
      const { code } = asLemnisError(error)
      if (code === 'ALREADY_EXISTS') return
      await fleet.run(100)
    }
  }
  throw new Error('no pool')
}

/** A pool is made, a chunkserver goes, its copysets move, and it comes back; returns the commits. */
async function story(crashAt: number, when: 'before' | 'after'): Promise<number> {
  const fleet = new Fleet(7)
  let landings = 0
  fleet.store.onLanding = (now) => {
    if (now !== when || landings++ !== crashAt) return
    fleet.crashMds()
    fleet.world.after(300_000, 'MDS again', () => fleet.startMds())
  }
  await fleet.up(3, 2)
  await createPool(fleet)
  await fleet.untilAll('ok')
  const gone = must(fleet.chunkservers[0], 'a chunkserver')
  const heldBefore = gone.disk.replicas.size
  expect(heldBefore).toBeGreaterThan(0)
  gone.host.crash()
  await fleet.until('recovery', () => isEmptied(fleet, gone.id))
  await fleet.untilAll('ok')
  gone.start()
  await fleet.until('the end of stale replicas', () => gone.disk.replicas.size === 0)
  expect(fleet.wrongs()).toEqual([])
  expect(new Set(fleet.chunkservers.map(({ id }) => id)).size).toBe(6)
  expect((await fleet.status()).moving).toEqual([])
  return landings
}

function isEmptied(fleet: Fleet, id: number): boolean {
  const hosts = [...fleet.groups.all.values()].flatMap(({ voters, outgoing, learners }) =>
    [...voters, ...outgoing, ...learners].map((replica) => Math.floor(replica / 4096)),
  )
  return !hosts.includes(id)
}

describe('a crash of the MDS', () => {
  it('at any commit leaves a pool that comes to be, and a recovery that comes to its end', async () => {
    const commits = await story(-1, 'after')
    expect(commits).toBeGreaterThan(15)
    for (let at = 0; at < commits; at++) {
      await story(at, 'before')
      await story(at, 'after')
    }
  })

  it('among crashes of chunkservers never costs a copyset its quorum or leaves anything behind', async () => {
    for (let seed = 1; seed <= 6; seed++) await chaos(seed)
  })
})

/** Chunkservers come and go, one at a time, and the MDS whenever it likes; in the end all is well. */
async function chaos(seed: number): Promise<void> {
  const fleet = new Fleet(seed)
  const random = new Prng(seed).fork('chaos')
  await fleet.serving(4, 2, 12)
  for (let round = 0; round < 8; round++) {
    const victim = random.pick(fleet.chunkservers)
    const how = random.below(4)
    const [replica] = victim.disk.replicas.values()
    if (how === 0 && replica !== undefined) replica.damage = 'planted'
    else victim.host.crash()
    await fleet.run(random.between(0, 6000))
    if (random.chance(0.5)) {
      fleet.crashMds()
      await fleet.run(random.between(0, 1000))
      fleet.startMds()
    }
    await fleet.run(random.between(0, 6000))
    if (!victim.isUp) victim.start()
    await fleet.run(random.between(0, 3000))
    await fleet.untilAll('ok')
  }
  await fleet.run(10_000)
  await fleet.untilAll('ok')
  expect({ seed, wrongs: fleet.wrongs(), failures: fleet.failures }).toEqual({
    seed,
    wrongs: [],
    failures: [],
  })
}
