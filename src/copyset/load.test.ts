import { describe, expect, it } from 'vitest'
import { KIB } from '../base/units.ts'
import { type HostId, replicaIdOf } from './replica-id.ts'
import { GROUP, HostRig } from './testing/host-rig.ts'

const directoryOf = (host: number): string => `kv/${GROUP}-${replicaIdOf(host as HostId, 1)}`

async function fill(rig: HostRig, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    const leader = await rig.untilLeader()
    expect(await rig.put(leader, `key${i % 20}`, `value ${i} ${'x'.repeat(200)}`)).toBe('done')
  }
}

async function wipe(rig: HostRig, host: number): Promise<void> {
  const { disk } = rig.machine(host)
  for (const name of await rig.settle(disk.list(directoryOf(host)))) {
    await rig.settle(disk.remove(`${directoryOf(host)}/${name}`))
  }
}

async function copyState(rig: HostRig, from: number, to: number): Promise<void> {
  const source = rig.machine(from).disk
  const target = rig.machine(to).disk
  for (const name of await rig.settle(source.list(directoryOf(from)))) {
    const read = await rig.settle(source.open(`${directoryOf(from)}/${name}`))
    const bytes = new Uint8Array(await rig.settle(read.sizeBytes()))
    await rig.settle(read.read(bytes, 0))
    const written = await rig.settle(target.open(`${directoryOf(to)}/${name}`, { create: true }))
    await rig.settle(written.write(bytes, 0))
    await rig.settle(written.sync())
  }
}

describe('a replica that comes back', () => {
  it('begins its log again where a received state stands that the log has not heard of', async () => {
    const rig = new HostRig(3, { checkpointBytes: 1 * KIB })
    const leader = await rig.up([1, 2, 3])
    const behind = (leader % 3) + 1
    rig.machine(behind).crash()
    await fill(rig, 60)
    await rig.run(2000)
    // As after a crash between the installation of a state and the log's note of it.
    await wipe(rig, behind)
    await copyState(rig, leader, behind)
    await rig.start(behind)
    const replica = rig.replica(behind)
    expect(replica?.log.firstIndex()).toBe((replica?.applied ?? 0) + 1)
    expect(replica?.applied).toBeGreaterThan(40)
    await fill(rig, 5)
    const last = rig.kv(await rig.untilLeader()).appliedIndex
    await rig.until('the rest', () => rig.kv(behind).appliedIndex >= last)
    expect(await rig.kv(behind).digest()).toBe(await rig.kv(await rig.untilLeader()).digest())
  })

  it('is kept out when its state is gone but its log has let go of what made it', async () => {
    const rig = new HostRig(3, { checkpointBytes: 1 * KIB })
    const leader = await rig.up([1, 2, 3])
    const bad = (leader % 3) + 1
    await fill(rig, 40)
    await rig.run(2000)
    rig.machine(bad).crash()
    await wipe(rig, bad)
    await rig.start(bad)
    expect(rig.host(bad).damagedGroups().get(GROUP)?.code).toBe('CORRUPT')
    expect(rig.host(bad).damagedGroups().get(GROUP)?.message).toContain('state older')
  })
})
