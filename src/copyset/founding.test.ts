import { describe, expect, it } from 'vitest'
import { type HostId, replicaIdOf } from './replica-id.ts'
import { GROUP, HostRig } from './testing/host-rig.ts'

const VOTERS = [1, 2, 3].map((host) => replicaIdOf(host as HostId, 1))
const idOf = (host: number): (typeof VOTERS)[number] => replicaIdOf(host as HostId, 1)

/** Founds the group's replica on one host, to be led by that of `first`. */
function found(rig: HostRig, host: number, first: number): Promise<void> {
  return rig.settle(rig.host(host).found(GROUP, idOf(host), VOTERS, idOf(first)))
}

async function rigOf(seed: number): Promise<HostRig> {
  const rig = new HostRig(3, {}, seed)
  for (const host of [1, 2, 3]) await rig.start(host)
  return rig
}

describe('the founder that is to lead first', () => {
  it('leads at once, whoever of the group it is', async () => {
    for (const first of [1, 2, 3]) {
      const rig = await rigOf(first)
      for (const host of [1, 2, 3]) await found(rig, host, first)
      await rig.run(200)
      expect(rig.leader()).toBe(first)
      expect(rig.termOf(first)).toBe(2)
    }
  })

  it('waits for the others, and leads as soon as there are enough', async () => {
    const rig = await rigOf(1)
    await found(rig, 2, 2)
    await rig.run(8000)
    expect(rig.leader()).toBe(null)
    await found(rig, 3, 2)
    await rig.run(200)
    expect(rig.leader()).toBe(2)
  })

  it('leads although the others were made seconds before', async () => {
    for (let seed = 1; seed <= 5; seed++) {
      const rig = await rigOf(seed)
      await found(rig, 1, 3)
      await found(rig, 2, 3)
      await rig.run(5000)
      expect(rig.leader()).toBe(null)
      await found(rig, 3, 3)
      await rig.run(200)
      expect(rig.leader()).toBe(3)
    }
  })

  it('is not waited for for ever', async () => {
    const rig = await rigOf(1)
    await found(rig, 1, 3)
    await found(rig, 2, 3)
    const leader = await rig.untilLeader()
    expect([1, 2]).toContain(leader)
    await found(rig, 3, 3)
    await rig.run(3000)
    expect(rig.leader()).toBe(leader)
    expect(rig.replica(3)?.leader).toBe(idOf(leader))
  })

  it('may stop before anybody has elected it', async () => {
    const rig = await rigOf(1)
    await found(rig, 1, 1)
    rig.machine(1).crash()
    await rig.start(1)
    await found(rig, 2, 1)
    await found(rig, 3, 1)
    await rig.untilLeader()
  })
})
