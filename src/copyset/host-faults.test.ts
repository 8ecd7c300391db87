import { describe, expect, it } from 'vitest'
import { EMPTY } from '../base/bytes.ts'
import { LemnisError } from '../base/errors.ts'
import { KIB } from '../base/units.ts'
import { METHODS } from '../format/methods.ts'
import { SILENT } from '../observe/observe.ts'
import { RpcClient } from '../rpc/client.ts'
import { rpcConfig } from '../rpc/config.ts'
import type { Replica } from './replica.ts'
import { type HostId, replicaIdOf } from './replica-id.ts'
import { GROUP, HostRig } from './testing/host-rig.ts'
import { kvMachines } from './testing/kv-machines.ts'
import { encodeCreate } from './transfer-codec.ts'

const id = (host: number, incarnation = 1): number => replicaIdOf(host as HostId, incarnation)
const OTHERS = (host: number): number[] => [1, 2, 3].filter((n) => n !== host)

async function fill(rig: HostRig, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    const leader = await rig.untilLeader()
    expect(await rig.put(leader, `key${i % 20}`, `value ${i} ${'x'.repeat(200)}`)).toBe('done')
  }
}

describe('an idle group', () => {
  const idle = { hibernateAfterMs: 2000 }

  it('sleeps on all hosts, and wakes for a write', async () => {
    const rig = new HostRig(3, idle)
    const leader = await rig.up([1, 2, 3])
    await rig.put(leader, 'a', 'one')
    const asleep = (): boolean => [1, 2, 3].every((n) => rig.replica(n)?.asleep === true)
    await rig.until('sleep', asleep)
    const { term } = rig.replica(leader) as { term: number }
    await rig.run(30_000)
    expect(asleep()).toBe(true)
    expect(rig.leader()).toBe(leader)
    expect(await rig.put(leader, 'a', 'two')).toBe('done')
    expect(await rig.get(leader, 'a')).toBe('two')
    await rig.until('sleep again', asleep)
    expect(rig.replica(leader)?.term).toBe(term)
  })

  it('proves its leadership anew before it reads after a sleep', async () => {
    const rig = new HostRig(3, idle)
    const leader = await rig.up([1, 2, 3])
    await rig.put(leader, 'a', 'one')
    await rig.until('sleep', () => [1, 2, 3].every((n) => rig.replica(n)?.asleep === true))
    // The lease that it fell asleep with runs out.
    await rig.run(3000)
    for (const other of OTHERS(leader)) rig.machine(other).crash()
    expect(await rig.get(leader, 'a')).toBe('NOT_LEADER')
  })

  it('wakes and elects when the host of its leader is lost, by crash or by cut', async () => {
    for (const how of ['crash', 'cut'] as const) {
      const rig = new HostRig(3, idle)
      const leader = await rig.up([1, 2, 3])
      await rig.until('sleep', () => [1, 2, 3].every((n) => rig.replica(n)?.asleep === true))
      if (how === 'crash') rig.machine(leader).crash()
      for (const other of OTHERS(leader)) {
        if (how === 'crash') continue
        rig.network.cut(`h${leader}`, `h${other}`)
        rig.network.cut(`h${other}`, `h${leader}`)
      }
      const elected = (): boolean => OTHERS(leader).some((n) => rig.replica(n)?.isLeader === true)
      await rig.until('another leader', elected)
    }
  })
})

describe('a replica that can not be trusted', () => {
  it('is kept out when its checkpoint is damaged, and rebuilt under a new id', async () => {
    const rig = new HostRig(3, { checkpointBytes: 1 * KIB })
    const leader = await rig.up([1, 2, 3])
    await fill(rig, 40)
    const bad = OTHERS(leader)[0] as number
    await rig.run(2000)
    rig.machine(bad).crash()
    const { disk } = rig.machine(bad)
    const directory = `kv/${GROUP}-${id(bad)}`
    for (const name of await rig.settle(disk.list(directory))) disk.flip(`${directory}/${name}`, 9)
    await rig.start(bad)
    expect(rig.replica(bad)).toBe(undefined)
    expect([...rig.host(bad).damagedGroups()].map(([group, e]) => [group, e.code])).toEqual([
      [GROUP, 'CORRUPT'],
    ])
    expect(await rig.put(bad, 'a', 'one')).toBe('CORRUPT')
    expect(await rig.change(leader, [id(bad, 2)], [id(bad)])).toBe('done')
    expect(rig.host(bad).damagedGroups().size).toBe(0)
    expect(rig.replica(bad)?.id).toBe(id(bad, 2))
    const last = rig.kv(leader).appliedIndex
    await rig.until('the state', () => rig.kv(bad).appliedIndex >= last)
    expect(await rig.kv(bad).digest()).toBe(await rig.kv(leader).digest())
  })

  it('does not vote when the log of its disk is damaged in the middle', async () => {
    const rig = new HostRig(3)
    const leader = await rig.up([1, 2, 3])
    await fill(rig, 10)
    const bad = OTHERS(leader)[0] as number
    rig.machine(bad).crash()
    const { disk } = rig.machine(bad)
    const names = await rig.settle(disk.list('log'))
    // The first blocks of the first segment: batches long since followed by others.
    disk.flip(`log/${names[0]}`, 2 * 4096 + 100)
    await rig.start(bad)
    expect(rig.host(bad).log.condition).toBe('corrupt')
    expect(rig.host(bad).damagedGroups().get(GROUP)?.code).toBe('CORRUPT')
    rig.machine(leader).crash()
    await rig.run(10_000)
    // Two of three voters are gone: the third must not find a second vote.
    expect(rig.leader()).toBe(null)
    expect(rig.termOf(OTHERS(leader)[1] as number)).toBeLessThan(10)
  })

  it('stops with its whole host when a write to the log fails', async () => {
    const rig = new HostRig(3)
    const leader = await rig.up([1, 2, 3])
    await fill(rig, 3)
    rig.machine(leader).disk.faults.writeErrorChance = 1
    expect(await rig.put(leader, 'a', 'lost')).toBe('CLOSED')
    expect(rig.fenced).toEqual([`h${leader} DISK_FAILED`])
    expect(rig.host(leader).damagedGroups().get(GROUP)?.code).toBe('DISK_FAILED')
    const others = OTHERS(leader)
    await rig.until('another leader', () => others.some((n) => rig.replica(n)?.isLeader === true))
    const next = await rig.untilLeader()
    expect(await rig.put(next, 'a', 'kept')).toBe('done')
  })

  it('says so too when the log failed before the host was there to hear of it', async () => {
    const rig = new HostRig(1, {}, 1, async (env) => {
      const { faults } = rig.machine(1).disk
      // The log is open, and its next segment is being made.
      faults.writeErrorChance = 1
      await new Promise<void>((done) => void env.clock.after(1000, done))
      faults.writeErrorChance = 0
      return kvMachines(env, 'kv', { bucketCount: 4 })
    })
    await rig.start(1)
    expect(rig.events).toContain('h1 raftlog_poisoned')
    expect(rig.fenced).toEqual(['h1 DISK_FAILED'])
  })

  it('keeps its old checkpoint on a full disk, and makes the next when there is space', async () => {
    const rig = new HostRig(3, { checkpointBytes: 1 * KIB })
    const leader = await rig.up([1, 2, 3])
    await fill(rig, 10)
    await rig.run(1000)
    const { disk } = rig.machine(leader)
    expect(await rig.put(leader, 'a', 'small')).toBe('done')
    // The segments that the log has are room for the writes; a checkpoint needs new files.
    disk.faults.capacityBytes = disk.usedBytes()
    const mark = rig.replica(leader)?.log.mark?.index as number
    const { machine } = rig.replica(leader) as { machine: { appliedIndex: number } }
    rig.host(leader).checkpointDue(rig.replica(leader) as never)
    await rig.run(5000)
    expect(machine.appliedIndex).toBeGreaterThan(mark)
    expect(rig.replica(leader)?.log.mark?.index).toBe(mark)
    expect(rig.host(leader).damagedGroups().size).toBe(0)
    expect(await rig.put(leader, 'a', 'refused or not')).toMatch(/^(done|NO_SPACE)$/)
    disk.faults.capacityBytes = Number.MAX_SAFE_INTEGER
    await rig.until('a checkpoint', () => (rig.replica(leader)?.log.mark?.index ?? 0) > mark)
  })
})

describe('a state that nobody needed', () => {
  it('does no harm to a replica that has gone past it meanwhile', async () => {
    const rig = new HostRig(3, { transferPieceBytes: 64, transferBytesPerSecond: 4 * KIB })
    const leader = await rig.up([1, 2, 3])
    await fill(rig, 20)
    const to = OTHERS(leader)[0] as number
    rig.host(leader).sendSnapshot(rig.replica(leader) as never, id(to) as never)
    for (let i = 0; i < 60; i++) expect(await rig.put(leader, `k${i}`, `late ${i}`)).toBe('done')
    const last = rig.kv(leader).appliedIndex
    await rig.until('everything', () => rig.kv(to).appliedIndex >= last)
    expect(await rig.kv(to).digest()).toBe(await rig.kv(leader).digest())
  })

  it.each(['NO_SPACE', 'CORRUPT'] as const)('loses no entry when it fails by %s', async (code) => {
    const rig = new HostRig(3)
    const leader = await rig.up([1, 2, 3])
    await fill(rig, 5)
    const to = OTHERS(leader)[0] as number
    const replica = rig.replica(to) as Replica
    const { term, commit, membership: config } = replica
    const mark = { index: commit + 1000, term, config }
    const ends = { kind: 'snapshot', from: id(leader), to: id(to), term, mark } as never
    let fail = (_error: LemnisError): void => {}
    const sink = {
      wanted: [],
      resumeAt: () => 0,
      have: async () => EMPTY,
      write: async () => {},
      finish: () => new Promise<void>((_, reject) => (fail = reject)),
      abort: async () => {},
    }
    const outcome = replica.install(sink, ends).catch((error: LemnisError) => error.code)
    await fill(rig, 10)
    await rig.run(1000)
    expect(replica.machine.appliedIndex).toBe(commit)
    fail(new LemnisError(code))
    expect(await rig.settle(outcome)).toBe(code)
    expect(rig.host(to).damagedGroups().size).toBe(0)
    await fill(rig, 5)
    const last = rig.kv(leader).appliedIndex
    await rig.until('everything', () => rig.kv(to).appliedIndex >= last)
    expect(await rig.kv(to).digest()).toBe(await rig.kv(leader).digest())
  })
})

describe('the order to make a replica', () => {
  async function order(
    rig: HostRig,
    host: number,
    replica: number,
    epoch: number,
  ): Promise<string> {
    const answer = new Promise<string>((resolve) => {
      rig.caller((env) => {
        const client = new RpcClient(env, SILENT, `h${host}:7000`, rpcConfig(), 'test')
        const body = encodeCreate({ group: GROUP, replica: replica as never, epoch })
        client.call(METHODS.REPLICA_CREATE, body, null, 5000, (error) => {
          resolve(error?.code ?? 'done')
        })
      })
    })
    return rig.settle(answer)
  }

  it('is done once, is for this host, and takes no id that was here before', async () => {
    const rig = new HostRig(4)
    await rig.up([1, 2, 3])
    expect(await order(rig, 4, id(3, 2), 5)).toBe('INVALID_ARGUMENT')
    expect(await order(rig, 4, id(4, 2), 5)).toBe('done')
    expect(await order(rig, 4, id(4, 2), 5)).toBe('done')
    expect(await order(rig, 4, id(4, 1), 9)).toBe('INVALID_ARGUMENT')
    expect(rig.replica(4)?.id).toBe(id(4, 2))
  })

  it('of a leader that time has passed by does not end a newer replica', async () => {
    const rig = new HostRig(4)
    const leader = await rig.up([1, 2, 3])
    expect(await order(rig, 4, id(4, 2), 5)).toBe('done')
    expect(await order(rig, 4, id(4, 3), 4)).toBe('INVALID_ARGUMENT')
    expect(rig.replica(4)?.id).toBe(id(4, 2))
    const old = OTHERS(leader)[0] as number
    expect(await order(rig, old, id(old, 2), 1)).toBe('INVALID_ARGUMENT')
    expect(rig.replica(old)?.id).toBe(id(old))
    expect(await order(rig, old, id(old, 2), 2)).toBe('done')
  })

  it('takes the place of what an unfinished change has left', async () => {
    const rig = new HostRig(4)
    const leader = await rig.up([1, 2, 3])
    expect(await order(rig, 4, id(4, 2), 1)).toBe('done')
    expect(await rig.change(leader, [id(4, 3)], [])).toBe('done')
    expect(rig.replica(4)?.id).toBe(id(4, 3))
  })
})
