import { describe, expect, it } from 'vitest'
import { codeOf } from '../../test/code-of.ts'
import { LemnisError } from '../base/errors.ts'
import { type HostId, replicaIdOf } from '../copyset/replica-id.ts'
import type { Order } from '../format/control/chunkserver.ts'
import { blocks, ChunkRig, GROUP } from './testing/chunk-rig.ts'

const id = (host: number, incarnation = 1): number => replicaIdOf(host as HostId, incarnation)

describe('a disk and its place in the cluster', () => {
  it('is registered once, and known again after a restart', async () => {
    const rig = new ChunkRig(2)
    await rig.startMds()
    await rig.start(1)
    await rig.start(2)
    expect(rig.server(1).identity).toMatchObject({ id: 1, clusterId: rig.mds.clusterId })
    expect(rig.server(2).identity.id).toBe(2)
    rig.machine(1).powerLoss()
    await rig.start(1)
    expect(rig.server(1).identity.id).toBe(1)
    await rig.until('a heartbeat', () => rig.mds.reports.get(1)?.complete === true)
    const disks = new Set(rig.mds.registrations.map(({ diskId }) => diskId))
    expect(disks.size).toBe(2)
  })

  it('becomes another one when it is replaced by an empty one', async () => {
    const rig = new ChunkRig(1)
    await rig.startMds()
    await rig.start(1)
    rig.machine(1).crash()
    rig.machine(1).replaceDisk()
    await rig.start(1)
    expect(rig.server(1).identity.id).toBe(2)
  })

  it('waits for an MDS when it is new, and registers when one comes', async () => {
    const rig = new ChunkRig(1)
    const started = rig.starting(1)
    await rig.run(7000)
    expect(rig.events).toEqual([])
    await rig.run(3000)
    expect(rig.events).toEqual(['c1 chunkserver_mds_lost'])
    await rig.startMds()
    await rig.settle(started)
    expect(rig.server(1).identity.id).toBe(1)
  })

  it('warns of an MDS that is away only when no other one took over in time', async () => {
    const rig = new ChunkRig(1)
    await rig.startMds()
    await rig.start(1)
    const said = (): string[] => rig.events.filter((event) => event.includes('_mds_'))
    rig.mds.refusal = 'NOT_LEADER'
    await rig.run(7000)
    expect(said()).toEqual(['c1 chunkserver_mds_awaited'])
    rig.mds.refusal = null
    await rig.run(2000)
    expect(said()).toEqual(['c1 chunkserver_mds_awaited', 'c1 chunkserver_mds_found'])
    rig.events.length = 0
    rig.mds.refusal = 'NOT_LEADER'
    await rig.run(12_000)
    expect(said()).toEqual(['c1 chunkserver_mds_awaited', 'c1 chunkserver_mds_lost'])
  })

  it('is not taken over by another cluster', async () => {
    const rig = new ChunkRig(1)
    await rig.startMds()
    await rig.start(1)
    rig.machine(1).crash()
    rig.mds.clusterId = 'another'
    rig.mds.reports.clear()
    await rig.start(1)
    expect(rig.server(1).identity.clusterId).toBe('cluster-of-tests')
    await rig.run(3000)
    expect(rig.mds.reports.size).toBe(0)
    expect(rig.events.filter((event) => event === 'c1 chunkserver_mds_refuses')).toHaveLength(1)
  })

  it('says that it was taken out of the cluster, and waits for nobody then', async () => {
    const rig = new ChunkRig(1)
    await rig.startMds()
    await rig.start(1)
    await rig.until('a heartbeat', () => rig.mds.heartbeats > 0)
    rig.mds.refusal = 'RETIRED'
    await rig.run(30_000)
    expect(rig.events.filter((event) => event === 'c1 chunkserver_retired')).toHaveLength(1)
    expect(rig.events).not.toContain('c1 chunkserver_mds_refuses')
    expect(rig.server(1).health()).toEqual({
      ok: true,
      reasons: ['It was taken out of the cluster: its process can be stopped.'],
    })
    expect(rig.server(1).waits()).toEqual([])
  })

  it('says so when it was moved', async () => {
    const rig = new ChunkRig(1)
    await rig.startMds()
    await rig.start(1)
    rig.machine(1).crash()
    await rig.start(1, { zone: 'elsewhere' })
    expect(rig.events).toContain('c1 chunkserver_moved')
    expect(rig.server(1).identity).toMatchObject({ id: 1, zone: 'elsewhere' })
    rig.events.length = 0
    rig.machine(1).crash()
    await rig.start(1, { zone: 'elsewhere' })
    expect(rig.events).not.toContain('c1 chunkserver_moved')
  })

  it('is refused when it holds something else', async () => {
    const rig = new ChunkRig(1)
    await rig.startMds()
    await rig.start(1)
    rig.machine(1).crash()
    expect(await codeOf(rig.start(1, { directory: 'disk/log' }))).toBe('WRONG_DISK')
  })
})

describe('a chunkserver and the MDS', () => {
  it('reports its replicas, leader and traffic', async () => {
    const rig = new ChunkRig(3)
    const leader = await rig.up()
    await rig.write(blocks(1, 4))
    await rig.read()
    await rig.until('the report', () => rig.mds.reports.get(leader)?.io.reads === 1)
    const report = rig.mds.reports.get(leader)
    expect(report?.io).toMatchObject({ writes: 1, writtenBytes: 16384, readBytes: 4096 })
    expect(report?.replicas).toMatchObject([
      { group: GROUP, replica: id(leader), leads: true, chunks: 1, voters: [id(1), id(2), id(3)] },
    ])
    const others = [1, 2, 3].filter((n) => n !== leader)
    for (const n of others) {
      await rig.until('a follower', () => rig.mds.reports.get(n)?.replicas[0]?.chunks === 1)
      const replica = rig.mds.reports.get(n)?.replicas[0]
      expect(replica).toMatchObject({ leads: false, leader: id(leader) })
    }
    expect(rig.server(leader).health()).toEqual({ ok: true, reasons: [] })
  })

  it('serves on without it, also after a restart of all', async () => {
    const rig = new ChunkRig(3)
    await rig.up()
    await rig.write(blocks(1))
    rig.mdsMachine.crash()
    await rig.run(10_000)
    expect((await rig.read()).payload).toEqual(blocks(1))
    for (const machine of rig.machines) machine.powerLoss()
    for (const n of [1, 2, 3]) await rig.start(n)
    expect((await rig.write(blocks(2))).code).toBe('ok')
    await rig.run(10_000)
    const waits = rig
      .server(1)
      .waits()
      .map(({ what }) => what)
    expect(waits).toContain('heartbeat')
    expect(rig.server(1).ready()).toMatchObject({ ok: true })
    await rig.startMds()
    await rig.until('the MDS', () => rig.events.includes('c1 chunkserver_mds_found'))
    expect(rig.server(1).waits()).toEqual([])
  })

  it('goes to another MDS when one does not lead', async () => {
    const rig = new ChunkRig(1)
    await rig.startMds()
    rig.mds.refusal = 'NOT_LEADER'
    const started = rig.starting(1)
    await rig.run(2000)
    rig.mds.refusal = null
    await rig.settle(started)
    expect(rig.server(1).identity.id).toBe(1)
  })

  it('registers again when the MDS has forgotten it', async () => {
    const rig = new ChunkRig(1)
    await rig.startMds()
    await rig.start(1)
    await rig.until('a heartbeat', () => rig.mds.reports.has(1))
    const count = rig.mds.registrations.length
    rig.mds.refusal = 'NOT_FOUND'
    await rig.run(1000)
    rig.mds.refusal = null
    await rig.until('another', () => rig.mds.registrations.length > count)
  })
})

describe('orders', () => {
  it('exchange a member, by heartbeat, and destroy the one that left', async () => {
    const rig = new ChunkRig(4)
    const leader = await rig.up()
    await rig.write(blocks(1, 8))
    const leaves = (leader % 3) + 1
    const stays = [1, 2, 3].filter((n) => n !== leaves)
    const voters = [...stays.map((n) => id(n)), id(4)]
    const epoch = rig.server(leader).host.replica(GROUP)?.epoch ?? 0
    rig.mds.orders.set(leader, [{ kind: 'change', group: GROUP, epoch, voters }])
    const isChanged = (): boolean => {
      const now = rig.server(stays[0] as number).host.replica(GROUP)?.membership.voters ?? []
      return now.includes(id(4) as never) && !now.includes(id(leaves) as never)
    }
    await rig.until('the change', isChanged)
    await rig.until('the report', () => {
      const reports = [...rig.mds.reports.values()].flatMap(({ replicas }) => replicas)
      return reports.some(({ leads, epoch: now }) => leads && now > epoch)
    })
    // The same order again, now of an old epoch.
    await rig.run(2000)
    expect(isChanged()).toBe(true)
    const now = Math.max(...rig.machines.map((_, i) => epochOf(rig, i + 1)))
    // It may have ended by the voters' word before; by an order it does when that is news to it.
    const later = now + 1
    await rig.order(leaves, { kind: 'destroy', group: GROUP, replica: id(leaves), epoch: later })
    expect(rig.server(leaves).host.replica(GROUP)).toBeUndefined()
    rig.machine((leader % 3) + 1).crash()
    expect((await rig.read({ blockCount: 8 })).payload).toEqual(blocks(1, 8))
  })

  it('move the leadership', async () => {
    const rig = new ChunkRig(3)
    const leader = await rig.up()
    const next = (leader % 3) + 1
    await rig.order(leader, { kind: 'lead', group: GROUP, replica: id(next) })
    await rig.until('the next leader', () => rig.leader() === next)
  })

  it('to found a group let the first of its voters lead first', async () => {
    const rig = new ChunkRig(3)
    await rig.up()
    const voters = [2, 3, 1].map((n) => id(n))
    for (const n of [1, 3, 2]) {
      await rig.order(n, { kind: 'found', group: 78, replica: id(n), voters })
    }
    const leads = (): boolean => rig.server(2).host.replica(78 as typeof GROUP)?.isLeader === true
    await rig.until('the leader', leads)
    expect(rig.server(2).host.replica(78 as typeof GROUP)?.term).toBe(2)
  })

  it('that are late, wrong or double change nothing', async () => {
    const rig = new ChunkRig(4)
    const leader = await rig.up()
    const voters = [1, 2, 3].map((n) => id(n))
    const { epoch } = rig.server(leader).host.replica(GROUP) as { epoch: number }
    await rig.order(1, { kind: 'found', group: GROUP, replica: id(1), voters })
    await rig.order(1, { kind: 'destroy', group: GROUP, replica: id(1), epoch })
    await rig.order(1, { kind: 'destroy', group: GROUP, replica: id(1, 2), epoch: epoch + 9 })
    await rig.order(1, { kind: 'destroy', group: 77, replica: id(1), epoch: 5 })
    const change: Order = { kind: 'change', group: GROUP, epoch: epoch + 1, voters: [id(4)] }
    await rig.order(leader, change)
    await rig.order((leader % 3) + 1, { ...change, epoch })
    const elsewhere = { kind: 'found', group: 78, replica: id(2), voters } as const
    expect(await codeOf(rig.order(1, elsewhere))).toBe('INVALID_ARGUMENT')
    rig.mds.orders.set(1, [elsewhere])
    await rig.until('the refusal', () => rig.events.includes('c1 chunkserver_order_refused'))
    await rig.run(2000)
    for (const n of [1, 2, 3]) {
      expect(rig.server(n).host.replica(GROUP)?.membership.voters).toEqual(voters)
    }
    expect((await rig.write(blocks(1))).code).toBe('ok')
  })
})

function epochOf(rig: ChunkRig, n: number): number {
  return rig.server(n).host.replica(GROUP)?.epoch ?? 0
}

describe('a disk that fails', () => {
  it('ends its service, tells the MDS, and the others go on', async () => {
    const rig = new ChunkRig(3)
    const leader = await rig.up()
    await rig.write(blocks(1))
    rig.machine(leader).disk.faults.writeErrorChance = 1
    const data = blocks(2)
    const answer = rig.writing(leader, data)
    await rig.until('the fence', () => rig.fenced.length > 0)
    expect((await rig.settle(answer)).code).not.toBe('ok')
    expect(rig.fenced).toEqual([`c${leader} DISK_FAILED`])
    expect(rig.mds.reports.get(leader)?.disk.state).toBe('failed')
    expect(rig.server(leader).health().ok).toBe(false)
    await rig.until('another leader', () => rig.leader() !== leader && rig.leader() !== null)
    const { code, payload } = await rig.read()
    expect(code).toBe('ok')
    expect([blocks(1), data]).toContainEqual(payload)
  })

  it('does so for a failure of the chunk store alone', async () => {
    const rig = new ChunkRig(3)
    const leader = await rig.up()
    rig.server(leader).store.onFailed?.(new LemnisError('DISK_FAILED', { path: 'x' }))
    await rig.until('the fence', () => rig.fenced.length > 0)
    expect(rig.server(leader).host.replica(GROUP)).toBeUndefined()
    expect((await rig.write(blocks(1))).code).toBe('ok')
  })

  it('with one damaged replica serves the others, and reports that one', async () => {
    const rig = new ChunkRig(3)
    await rig.up()
    const other = 10 as typeof GROUP
    await rig.found(other)
    await rig.write(blocks(1))
    const replica = rig.server(1).host.replica(GROUP)
    rig.server(1).host.damaged(replica as never, new LemnisError('CORRUPT', { why: 'a test' }))
    await rig.until('the report', () =>
      (rig.mds.reports.get(1)?.replicas ?? []).some(({ damage }) => damage !== undefined),
    )
    const [damaged, sound] = rig.mds.reports.get(1)?.replicas ?? []
    expect(damaged).toMatchObject({ group: GROUP, replica: id(1) })
    expect(sound?.damage).toBeUndefined()
    expect((await rig.write(blocks(2), { group: other })).code).toBe('ok')
    // What the MDS orders then: destroy, and the same member in a new incarnation.
    await rig.order(1, { kind: 'destroy', group: GROUP, replica: id(1), epoch: 1 })
    const leader = await rig.untilLeader()
    const epoch = epochOf(rig, leader)
    const voters = [id(1, 2), id(2), id(3)]
    await rig.order(leader, { kind: 'change', group: GROUP, epoch, voters })
    await rig.until('the new member', () => {
      const now = rig.server(leader).host.replica(GROUP)?.membership
      return now?.voters.includes(id(1, 2) as never) === true && now.outgoing.length === 0
    })
    await rig.untilEven()
    expect(rig.server(1).health()).toEqual({ ok: true, reasons: [] })
    expect((await rig.read()).payload).toEqual(blocks(1))
  })
})

describe('closing', () => {
  it('hands the lead over first, so that nobody waits for an election', async () => {
    const rig = new ChunkRig(3, { host: { electionTimeoutMs: 5000 } })
    const leader = await rig.up()
    await rig.settle(rig.server(leader).close())
    rig.machine(leader).crash()
    const startedUs = rig.world.nowUs
    expect((await rig.write(blocks(1))).code).toBe('ok')
    expect(rig.world.nowUs - startedUs).toBeLessThan(1_000_000)
  })

  it('ends everything, and a start after it finds everything', async () => {
    const rig = new ChunkRig(3)
    await rig.up()
    await rig.write(blocks(3))
    for (const n of [1, 2, 3]) {
      await rig.settle(rig.server(n).close())
      rig.machine(n).crash()
    }
    for (const n of [1, 2, 3]) await rig.start(n)
    expect((await rig.read()).payload).toEqual(blocks(3))
  })
})
