import { describe, expect, it } from 'vitest'
import { must } from '../base/assert.ts'
import { MIB } from '../base/units.ts'
import type { HostId } from '../copyset/replica-id.ts'
import { replicaIdOf } from '../copyset/replica-id.ts'
import type { SendingReport } from '../format/control/chunkserver.ts'
import type { DiskWindow } from '../format/control/parts.ts'
import { ChunkRig, GROUP } from './testing/chunk-rig.ts'

/** What the heartbeats of chunkserver `n` say of its disk in `ms`. */
async function windowsOf(rig: ChunkRig, n: number, ms: number): Promise<DiskWindow[]> {
  const windows: DiskWindow[] = []
  let last = rig.mds.reports.get(n)
  for (let i = 0; i < ms / 10; i++) {
    await rig.run(10)
    const report = rig.mds.reports.get(n)
    if (report !== last) windows.push(...(report?.windows ?? []))
    last = report
  }
  return windows
}

describe('what a chunkserver says of its disk', () => {
  it('is how long durable writes take, also of one that has nothing to do', async () => {
    const rig = new ChunkRig(3)
    await rig.up()
    const { faults } = rig.machine(2).disk
    Object.assign(faults, { latencyMinMs: 2, latencyMaxMs: 2 })
    await rig.run(3000)
    const idle = await windowsOf(rig, 2, 10_000)
    expect(idle.length).toBeGreaterThanOrEqual(4)
    for (const { writes, meanUs } of idle) {
      expect(writes).toBe(1)
      expect(meanUs / 2000).toBeCloseTo(1, 0)
    }
    faults.slowFactor = 40
    await rig.run(3000)
    const slow = await windowsOf(rig, 2, 5000)
    expect(slow.length).toBeGreaterThanOrEqual(2)
    for (const { meanUs, maxUs } of slow) {
      expect(meanUs / 80_000).toBeCloseTo(1, 0)
      expect(maxUs).toBeGreaterThanOrEqual(meanUs)
    }
  })

  it('grows while a write hangs', async () => {
    const rig = new ChunkRig(3)
    await rig.up()
    // It has opened the file that it writes to when nobody else does.
    await rig.run(2000)
    const { faults } = rig.machine(3).disk
    Object.assign(faults, { latencyMinMs: 20_000, latencyMaxMs: 20_000 })
    await rig.run(3000)
    const windows = await windowsOf(rig, 3, 8000)
    expect(windows.length).toBeGreaterThanOrEqual(6)
    const ages = windows.map(({ maxUs }) => maxUs)
    expect(ages).toEqual(ages.toSorted((a, b) => a - b))
    expect(must(ages.at(-1), 'an age')).toBeGreaterThan(5_000_000)
  })

  it('counts writes of its own that failed', async () => {
    const rig = new ChunkRig(1)
    await rig.startMds()
    await rig.start(1)
    await rig.run(1500)
    expect(rig.mds.reports.get(1)?.disk.errors).toBe(0)
    rig.machine(1).disk.faults.writeErrorChance = 1
    await rig.run(5000)
    expect(rig.mds.reports.get(1)?.disk.errors).toBeGreaterThan(2)
  })
})

describe('the rate of rebuilding', () => {
  it('is the ceiling without clients, low beside them, and told with what moves', async () => {
    const rig = new ChunkRig(4, { host: { transferBytesPerSecond: 32 * MIB } })
    const leader = await rig.up()
    for (const { disk } of rig.machines) {
      Object.assign(disk.faults, { latencyMinMs: 5, latencyMaxMs: 5 })
    }
    for (let i = 0; i < 16; i++) {
      expect((await rig.write(new Uint8Array(MIB).fill(i + 1), { firstBlock: i * 256 })).code).toBe(
        'ok',
      )
    }
    await rig.run(2500)
    expect(rig.mds.reports.get(leader)?.recovery?.limitBytesPerSecond).toBeLessThan(32 * MIB)
    await rig.run(60_000)
    expect(rig.mds.reports.get(leader)?.recovery?.limitBytesPerSecond).toBe(32 * MIB)
    const voters = [1, 2, 3, 4]
      .filter((n) => n !== (leader % 3) + 1)
      .map((n) => replicaIdOf(n as HostId, 1))
    const epoch = must(rig.server(leader).host.replica(GROUP), 'a replica').epoch
    await rig.order(leader, { kind: 'change', group: GROUP, epoch, voters })
    let sent = 0
    let received = 0
    const seen: SendingReport[] = []
    for (let i = 0; i < 100; i++) {
      await rig.run(100)
      seen.push(...(rig.mds.reports.get(leader)?.replicas[0]?.sending ?? []))
      sent = Math.max(sent, rig.mds.reports.get(leader)?.recovery?.sentBytesPerSecond ?? 0)
      received = Math.max(received, rig.mds.reports.get(4)?.recovery?.receivedBytesPerSecond ?? 0)
    }
    expect(sent).toBeGreaterThan(MIB)
    expect(received).toBeGreaterThan(MIB)
    expect(sent).toBeLessThan(36 * MIB)
    // How far it is, to whom, and for how long already.
    expect(seen.length).toBeGreaterThan(1)
    expect(new Set(seen.map(({ to }) => to))).toEqual(new Set([replicaIdOf(4 as HostId, 1)]))
    expect(Math.max(...seen.map(({ bytesSent }) => bytesSent))).toBeGreaterThan(8 * MIB)
    expect(Math.max(...seen.map(({ bytesWanted }) => bytesWanted))).toBeGreaterThanOrEqual(16 * MIB)
    const last = must(seen.at(-1), 'a report')
    expect(last.lastsMs).toBeGreaterThan(must(seen[0], 'a report').lastsMs)
    expect(rig.mds.reports.get(leader)?.replicas[0]).not.toHaveProperty('sending')
  })
})
