import { describe, expect, it } from 'vitest'
import { must } from '../../base/assert.ts'
import { asLemnisError } from '../../base/errors.ts'
import { LIST_CHUNKSERVERS, STATUS } from '../../format/control/mds.ts'
import { MdsTrio } from '../testing/mds-trio.ts'

const LEASE_MS = 5000

async function upTrio(seed: number): Promise<MdsTrio> {
  const trio = new MdsTrio(seed)
  await trio.up()
  return trio
}

function outcomeOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => 'done',
    (error) => asLemnisError(error).code,
  )
}

describe('MdsServer', () => {
  it('makes one cluster of three, and the leader is found by whoever asks', async () => {
    const trio = await upTrio(1)
    const { reply } = await trio.ask(STATUS, {})
    const shown = [...trio.servers.values()].map((server) => server.show())
    expect(shown.map(({ role }) => role).toSorted()).toEqual(['leader', 'standby', 'standby'])
    expect(new Set(shown.map(({ leader }) => leader?.name)).size).toBe(1)
    expect(new Set(shown.map(({ term }) => term)).size).toBe(1)
    for (const { candidates } of shown) expect(candidates).toHaveLength(3)
    expect(reply.clusterId).not.toBe('')
    expect(trio.failures).toEqual([])
  })

  it('a standby names the leader to a caller that knows nobody else', async () => {
    const trio = await upTrio(6)
    const leader = must(trio.leader, 'a leader')
    const standby = must(
      trio.hosts.find((host) => host !== leader),
      'a standby',
    )
    const caller = trio.caller([`${standby.name}:7400`])
    const options = { isRepeatable: false, patienceMs: 2000 }
    const startUs = trio.world.nowUs
    const reply = await trio.world.settle(caller.ask(LIST_CHUNKSERVERS, {}, options))
    expect(reply.chunkservers).toEqual([])
    expect(trio.world.nowUs - startUs).toBeLessThan(100_000)
  })

  it('stopped ones among the addresses are in the way of nobody', async () => {
    const trio = await upTrio(7)
    const leader = must(trio.leader, 'a leader')
    const others = trio.hosts.filter((host) => host !== leader)
    for (const host of others) host.pause()
    const addresses = [...others, leader].map(({ name }) => `${name}:7400`)
    const options = { isRepeatable: false, patienceMs: 2000 }
    const startUs = trio.world.nowUs
    await trio.world.settle(trio.caller(addresses).ask(LIST_CHUNKSERVERS, {}, options))
    expect(trio.world.nowUs - startUs).toBeLessThan(100_000)
  })

  it('a caller leaves a stopped leader within a second after another one is elected', async () => {
    const trio = await upTrio(8)
    await trio.disks()
    const old = must(trio.leader, 'a leader')
    old.pause()
    const asked = trio.send(LIST_CHUNKSERVERS, {})
    await trio.until('another leader', () => trio.leader !== null && trio.leader !== old)
    const startUs = trio.world.nowUs
    await trio.world.settle(asked)
    expect(trio.world.nowUs - startUs).toBeLessThan(1_200_000)
  })

  it('hands over at a clean stop within 300 ms, from memory, and loses nothing', async () => {
    const trio = await upTrio(2)
    for (let i = 0; i < 5; i++) {
      await trio.world.settle(trio.add(`d${i}`))
      const leader = must(trio.leader, 'a leader')
      void must(trio.servers.get(leader.name), 'its server').close()
      await trio.runMs(1)
      const { names, tookMs } = await trio.disks()
      expect(tookMs).toBeLessThan(300)
      expect(names).toHaveLength(i + 1)
      leader.crash()
      trio.servers.delete(leader.name)
      leader.start()
      await trio.up()
    }
    expect(trio.reigns.wrongs).toEqual([])
    const taken = trio.events.filter(({ name }) => name === 'mds_taken_over')
    expect(taken.slice(1).map(({ fields }) => fields['warm'])).toEqual(Array(5).fill(true))
  })

  it('serves again within the lease and a second when the leader dies', async () => {
    for (let seed = 1; seed <= 20; seed++) {
      const trio = await upTrio(seed)
      await trio.world.settle(trio.add('kept'))
      await trio.runMs(trio.world.random.between(0, 3000))
      trio.leader?.crash()
      const { names, tookMs } = await trio.disks()
      expect(names).toEqual(['kept'])
      expect(tookMs, `seed ${seed}`).toBeLessThan(LEASE_MS + 1000)
    }
  })

  it('never answers as leader beside another one, frozen and thawed', async () => {
    let terms = 0
    let answers = 0
    for (let seed = 1; seed <= 50; seed++) {
      const trio = await upTrio(seed)
      const { random } = trio.world
      await trio.runMs(random.between(0, 1200))
      const old = must(trio.leader, 'a leader')
      const late = outcomeOf(trio.add('late'))
      await trio.runMs(random.between(0, 20))
      old.pause()
      await trio.runMs(15_000)
      expect(trio.leader, `seed ${seed}`).not.toBe(old)
      old.resume()
      await trio.runMs(1500)
      await late
      expect(trio.reigns.wrongs, `seed ${seed}`).toEqual([])
      expect(trio.leader, `seed ${seed}`).not.toBe(old)
      terms += trio.reigns.terms.size
      answers += trio.reigns.answers
    }
    expect(terms).toBe(100)
    expect(answers).toBeGreaterThan(20_000)
  })

  it('waits for a leader that does not know yet that etcd ended its lease too early', async () => {
    let terms = 0
    for (let seed = 1; seed <= 12; seed++) {
      const trio = await upTrio(seed)
      for (let i = 0; i < 3; i++) {
        trio.etcd.faults.watchLagMaxMs = 1500
        trio.etcd.endOldestLease()
        await trio.runMs(3000)
        trio.etcd.faults.watchLagMaxMs = 5
        await trio.runMs(3000)
        await trio.up()
      }
      expect(trio.reigns.wrongs, `seed ${seed}`).toEqual([])
      terms += trio.reigns.terms.size
    }
    expect(terms).toBeGreaterThan(24)
  })

  it('a write in flight when its leader is lost is there, or not, as the answer says', async () => {
    const seen = new Set<string>()
    for (let seed = 1; seed <= 24; seed++) {
      const trio = await upTrio(seed)
      const old = must(trio.leader, 'a leader')
      Object.assign(trio.etcd.faults, { latencyMinMs: 40, latencyMaxMs: 60 })
      const outcome = outcomeOf(trio.add('torn'))
      await trio.runMs(seed * 7)
      if (seed % 2 === 0) trio.etcd.cut(old)
      old.pause()
      await trio.runMs(12_000)
      trio.etcd.mend(old)
      old.resume()
      await trio.runMs(10_000)
      const { names } = await trio.disks()
      seen.add(`${await outcome} ${names.length}`)
      expect(trio.reigns.wrongs).toEqual([])
    }
    // What is done is there, and what is there is not said to be refused.
    expect(seen).not.toContain('done 0')
    expect(seen).not.toContain('NOT_LEADER 1')
    expect([...seen].toSorted()).toEqual(['DEADLINE_EXCEEDED 0', 'DEADLINE_EXCEEDED 1', 'done 1'])
  })

  it('the same leader goes on, read anew, after a commit whose outcome it never learnt', async () => {
    const trio = await upTrio(4)
    const leader = must(trio.leader, 'a leader')
    const outcome = outcomeOf(trio.add('x'))
    await trio.runMs(1)
    trio.etcd.faults.lossChance = 1
    await trio.runMs(10)
    trio.etcd.faults.lossChance = 0
    await trio.runMs(2500)
    expect(await outcome).toBe('DEADLINE_EXCEEDED')
    expect(trio.leader).toBe(leader)
    expect((await trio.disks()).names.length).toBeLessThanOrEqual(1)
    expect(trio.events.filter(({ name }) => name === 'mds_taken_over')).toHaveLength(2)
    expect(trio.failures).toEqual([])
  })

  it('stands by and leads again in one process, as often as the store goes away', async () => {
    const trio = await upTrio(5)
    for (let i = 0; i < 4; i++) {
      trio.etcd.stop()
      await trio.runMs(12_000)
      expect(trio.leader).toBeNull()
      trio.etcd.start()
      await trio.until('a leader', () => trio.leader !== null)
      await trio.world.settle(trio.add(`d${i}`))
    }
    expect((await trio.disks()).names).toHaveLength(4)
    expect(trio.reigns.wrongs).toEqual([])
    expect(trio.failures).toEqual([])
  })
})
