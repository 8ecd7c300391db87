import { describe, expect, it } from 'vitest'
import { KIB } from '../base/units.ts'
import { type HostId, replicaIdOf } from './replica-id.ts'
import { GROUP, HostRig } from './testing/host-rig.ts'

const id = (host: number, incarnation = 1): number => replicaIdOf(host as HostId, incarnation)
const SMALL = { entryBytesMax: 16 * KIB, uncommittedBytesMax: 32 * KIB, proposalBytesMax: 64 * KIB }

async function fill(rig: HostRig, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    const leader = await rig.untilLeader()
    expect(await rig.put(leader, `key${i % 20}`, `value ${i} ${'x'.repeat(200)}`)).toBe('done')
  }
}

describe('a group of three hosts', () => {
  it('takes writes and gives linearizable reads at its leader only', async () => {
    const rig = new HostRig(3)
    const leader = await rig.up([1, 2, 3])
    expect(await rig.put(leader, 'a', 'one')).toBe('done')
    expect(await rig.get(leader, 'a')).toBe('one')
    expect(await rig.get(leader, 'b')).toBe(null)
    const follower = (leader % 3) + 1
    expect(await rig.put(follower, 'a', 'two')).toBe('NOT_LEADER')
    expect(await rig.get(follower, 'a')).toBe('NOT_LEADER')
    expect(rig.replica(follower)?.leader).toBe(id(leader))
  })

  it('goes on without a minority and gives it what it missed', async () => {
    const rig = new HostRig(3)
    const first = await rig.up([1, 2, 3])
    rig.machine(first).crash()
    await fill(rig, 30)
    await rig.start(first)
    const leader = await rig.untilLeader()
    const last = rig.kv(leader).appliedIndex
    await rig.until('the rest', () => rig.kv(first).appliedIndex >= last)
    expect(await rig.kv(first).digest()).toBe(await rig.kv(leader).digest())
  })

  it('says what its writes wait for', async () => {
    const rig = new HostRig(3)
    const leader = await rig.up([1, 2, 3])
    expect(await rig.put(leader, 'a', 'one')).toBe('done')
    expect(rig.host(leader).waits(0)).toEqual([])
    const others = [1, 2, 3].filter((host) => host !== leader)
    for (const other of others) rig.network.cut(`h${other}`, `h${leader}`)
    await rig.run(500)
    const outcome = rig.putting(leader, 'a', 'two')
    await rig.run(450)
    expect(rig.host(leader).waits(600)).toEqual([])
    const next = (rig.replica(leader)?.commit as number) + 1
    const [wait, ...rest] = rig.host(leader).waits(400)
    expect(rest).toEqual([])
    expect(wait?.what).toBe(`writes to group ${GROUP}`)
    expect(wait?.waitsFor).toBe(`a majority to have entry ${next}`)
    expect(wait?.lastsMs).toBeGreaterThanOrEqual(400)
    // A leader that nobody answers steps down, and nothing waits for ever.
    expect(await rig.settle(outcome)).toBe('PROPOSAL_DROPPED')
    expect(rig.host(leader).waits(0)).toEqual([])
  })

  it('has everything after all lost power', async () => {
    const rig = new HostRig(3, { checkpointBytes: 2 * KIB })
    await rig.up([1, 2, 3])
    await fill(rig, 60)
    for (const machine of rig.machines) machine.powerLoss()
    for (const host of [1, 2, 3]) await rig.start(host)
    const leader = await rig.untilLeader()
    for (let i = 40; i < 60; i++) {
      expect(await rig.get(leader, `key${i % 20}`)).toContain(`value ${i} `)
    }
  })

  it('applies what it knows to be committed after a restart, though nobody says a word', async () => {
    const rig = new HostRig(5, { checkpointBytes: 64 * KIB })
    const leader = await rig.up([1, 2, 3])
    await fill(rig, 5)
    // A committed change of membership makes the commit index durable.
    expect(await rig.change(leader, [id(4)], [id((leader % 3) + 1)])).toBe('done')
    const other = [1, 2, 3].find((n) => n !== leader && rig.replica(n) !== undefined) as number
    await rig.until(
      'the change everywhere',
      () => rig.replica(other)?.epoch === rig.replica(leader)?.epoch,
    )
    const { epoch } = rig.replica(other) as { epoch: number }
    for (const machine of rig.machines) machine.crash()
    await rig.start(other)
    await rig.until('the change', () => rig.replica(other)?.epoch === epoch)
  })

  it('refuses what is too large, and what has no group', async () => {
    const rig = new HostRig(3, SMALL)
    const leader = await rig.up([1, 2, 3])
    expect(await rig.put(leader, 'a', 'x'.repeat(17 * KIB))).toBe('INVALID_ARGUMENT')
    const missing = await new Promise((resolve) => {
      rig.host(leader).propose(99 as never, new Uint8Array(1), (error) => resolve(error?.code))
    })
    expect(missing).toBe('NO_SUCH_GROUP')
    const read = await new Promise((resolve) => {
      rig.host(leader).read(99 as never, (error) => resolve(error?.code))
    })
    expect(read).toBe('NO_SUCH_GROUP')
    const change = await new Promise((resolve) => {
      rig.host(leader).change(99 as never, { add: [], remove: [] }, (e) => resolve(e?.code))
    })
    expect(change).toBe('NO_SUCH_GROUP')
  })

  it('bounds what waits, and says so', async () => {
    const rig = new HostRig(3, SMALL)
    const leader = await rig.up([1, 2, 3])
    const answers = Array.from({ length: 20 }, (_, i) =>
      rig.putting(leader, `k${i}`, 'x'.repeat(8 * KIB)),
    )
    const codes = await rig.settle(Promise.all(answers))
    expect(codes.filter((code) => code === 'done').length).toBeGreaterThan(2)
    expect(codes.filter((code) => code === 'OVERLOADED').length).toBeGreaterThan(2)
    expect(codes.every((code) => code === 'done' || code === 'OVERLOADED')).toBe(true)
    expect(rig.host(leader).proposals.claimedBytes).toBe(0)
  })

  it('ends what waits at a leader that lost its majority, and its lease with it', async () => {
    const rig = new HostRig(3)
    const leader = await rig.up([1, 2, 3])
    for (const other of [1, 2, 3].filter((n) => n !== leader)) rig.machine(other).crash()
    expect(await rig.put(leader, 'a', 'never')).toBe('PROPOSAL_DROPPED')
    expect(await rig.get(leader, 'a')).toBe('NOT_LEADER')
  })

  it('hands its leadership over on request', async () => {
    const rig = new HostRig(3)
    const leader = await rig.up([1, 2, 3])
    const next = (leader % 3) + 1
    const replica = rig.replica(leader)
    expect(replica?.transferLeader(id(leader) as never)).toBe('already-leader')
    expect(replica?.transferLeader(id(next) as never)).toBe(null)
    await rig.until('the next one to lead', () => rig.leader() === next)
    expect(await rig.put(next, 'a', 'one')).toBe('done')
  })

  it('closes: everything that waits is told, and nothing runs any more', async () => {
    const rig = new HostRig(3)
    const leader = await rig.up([1, 2, 3])
    for (const other of [1, 2, 3].filter((n) => n !== leader)) rig.machine(other).crash()
    const waiting = rig.putting(leader, 'a', 'never')
    await rig.settle(rig.host(leader).close())
    expect(await waiting).toBe('CLOSED')
    expect(await rig.put(leader, 'a', 'never')).toBe('NO_SUCH_GROUP')
  })
})

describe('members', () => {
  it('are exchanged: the new one gets the state, the old one is removed from its disk', async () => {
    const rig = new HostRig(4, { checkpointBytes: 2 * KIB })
    const leader = await rig.up([1, 2, 3])
    await fill(rig, 50)
    const old = (leader % 3) + 1
    expect(await rig.change(leader, [id(4)], [id(old)])).toBe('done')
    expect(rig.replica(leader)?.membership.voters).toContain(id(4))
    await rig.until('the old one to end', () => rig.replica(old) === undefined)
    expect(await rig.settle(rig.machine(old).disk.list(`kv/${GROUP}-${id(old)}`))).toEqual([])
    await fill(rig, 10)
    const last = rig.kv(leader).appliedIndex
    await rig.until('the same state', () => rig.kv(4).appliedIndex >= last)
    expect(await rig.kv(4).digest()).toBe(await rig.kv(leader).digest())
    // Asked again, it is done already.
    expect(await rig.change(leader, [id(4)], [id(old)])).toBe('done')
  })

  it('that were removed while they were cut off learn of it and end', async () => {
    const rig = new HostRig(4)
    const leader = await rig.up([1, 2, 3])
    const old = (leader % 3) + 1
    const others = rig.machines.filter((machine) => machine !== rig.machine(old))
    for (const other of others) {
      rig.network.cut(other.name, rig.machine(old).name)
      rig.network.cut(rig.machine(old).name, other.name)
    }
    expect(await rig.change(leader, [id(4)], [id(old)])).toBe('done')
    await rig.run(5000)
    expect(rig.replica(old)?.epoch).toBe(1)
    rig.network.heal()
    const ended = `h${old} copyset_replica_destroyed`
    await rig.until('the old one to end', () => rig.events.includes(ended))
    // It does not come back with a restart, nor under its old id.
    rig.machine(old).crash()
    await rig.start(old)
    expect(rig.replica(old)).toBe(undefined)
    expect(await rig.change(leader, [id(old, 2)], [])).toBe('done')
    expect(rig.replica(old)?.id).toBe(id(old, 2))
  })

  it('change on the leader only, one change at a time, and never to nobody', async () => {
    const rig = new HostRig(5)
    const leader = await rig.up([1, 2, 3])
    expect(await rig.change((leader % 3) + 1, [id(4)], [])).toBe('NOT_LEADER')
    expect(await rig.change(leader, [], [id(1), id(2), id(3)])).toBe('INVALID_ARGUMENT')
    expect(await rig.change(leader, [id(leader, 2)], [])).toBe('INVALID_ARGUMENT')
    const first = rig.changing(leader, [id(4)], [])
    const second = rig.changing(leader, [id(5)], [])
    expect((await rig.settle(Promise.all([first, second]))).sort()).toEqual([
      'MEMBERSHIP_BUSY',
      'done',
    ])
  })

  it('that can not be made leave the group as it was, and say what is waited for', async () => {
    const rig = new HostRig(4, { changeTimeoutMs: 5000 })
    const leader = await rig.up([1, 2, 3])
    rig.machine(4).powerLoss()
    const change = rig.changing(leader, [id(4)], [id((leader % 3) + 1)])
    await rig.run(3000)
    const waitsFor = expect.stringContaining(`replica ${id(4)} being made`)
    expect(rig.host(leader).changes()).toEqual([
      { group: GROUP, sinceMs: expect.any(Number), waitsFor },
    ])
    expect(rig.host(leader).waits(1000)).toEqual([
      { what: `change of members of group ${GROUP}`, waitsFor, lastsMs: expect.any(Number) },
    ])
    expect(rig.host(leader).waits(4000)).toEqual([])
    expect(await rig.settle(change)).toBe('DEADLINE_EXCEEDED')
    expect(rig.host(leader).changes()).toEqual([])
    expect(rig.replica(leader)?.epoch).toBe(1)
  })
})

describe('a replica that is far behind', () => {
  it('gets only what differs, and goes on where an attempt was cut off', async () => {
    const rig = new HostRig(3, {
      checkpointBytes: 1 * KIB,
      transferPieceBytes: 64,
      transferBytesPerSecond: 4 * KIB,
    })
    const first = await rig.up([1, 2, 3])
    const behind = (first % 3) + 1
    await fill(rig, 100)
    rig.machine(behind).crash()
    await fill(rig, 600)
    await rig.start(behind)
    const leader = await rig.untilLeader()
    await rig.until('a long transfer', () => rig.host(leader).waits(100).length > 0)
    const [wait] = rig.host(leader).waits(100)
    expect(wait?.what).toBe(`state of group ${GROUP} for replica ${id(behind)}`)
    expect(wait?.waitsFor).toMatch(/^the rest: \d of \d items sent, \d+ of at most \d+ bytes$/)
    rig.network.cut(`h${leader}`, `h${behind}`)
    await rig.until('the attempt to end', () =>
      rig.events.includes(`h${leader} copyset_state_not_sent`),
    )
    rig.network.mend(`h${leader}`, `h${behind}`)
    const ended = `h${leader} copyset_state_sent`
    await rig.until('another to succeed', () => rig.events.includes(ended))
    const cutOff = rig.fields.get(`h${leader} copyset_state_not_sent`)
    const sent = rig.fields.get(ended)
    expect(cutOff?.['bytesSent']).toBeGreaterThan(0)
    expect(sent?.['bytesSent']).toBeGreaterThan(0)
    expect(sent?.['itemsSent']).toBeLessThanOrEqual(sent?.['itemsWanted'] as number)
    const last = rig.kv(leader).appliedIndex
    await rig.until('the rest', () => rig.kv(behind).appliedIndex >= last)
    expect(await rig.kv(behind).digest()).toBe(await rig.kv(leader).digest())
  })

  it.each([
    ['the log is kept meanwhile', 64, 1],
    ['each of them is sent faster than the one before', 16, 3],
  ])(
    'arrives, however much is written while its state is on its way: %s',
    async (_, held, states) => {
      const rig = new HostRig(3, {
        checkpointBytes: 1 * KIB,
        transferPieceBytes: 256,
        logHeldMs: 1000,
      })
      rig.log = { ...rig.log, segmentsHeld: held }
      const first = await rig.up([1, 2, 3])
      const behind = (first % 3) + 1
      await fill(rig, 100)
      rig.machine(behind).crash()
      await rig.run(2000)
      await fill(rig, 600)
      await rig.start(behind)
      const leader = await rig.untilLeader()
      for (const n of [1, 2, 3]) rig.host(n).limitTransfers(512)
      let isWriting = true
      const write = async (n: number): Promise<void> => {
        await rig.putting(leader, `key${n % 20}`, `value ${n} ${'x'.repeat(200)}`)
        if (isWriting) rig.host(leader).env.clock.after(20, () => void write(n + 1))
      }
      void write(0)
      const lag = (): number => rig.kv(leader).appliedIndex - rig.kv(behind).appliedIndex
      await rig.until('the one behind to arrive', () => lag() < 20)
      const sent = rig.events.filter((event) => event === `h${leader} copyset_state_sent`)
      expect(sent.length).toBe(states)
      isWriting = false
    },
  )
})
