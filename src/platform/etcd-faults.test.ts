// Real members of etcd that are killed, frozen and cut off, under a store that goes on: every commit is
// done once or not at all, every watch is told all of it.

import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { codeOf } from '../../test/code-of.ts'
import { Mirror } from '../../test/contract/metastore.ts'
import { type EtcdMember, HAS_ETCD, TestEtcd } from '../../test/harness/etcd.ts'
import { Prng } from '../base/prng.ts'
import type { MetaStore } from '../env/metastore.ts'
import { readEtcdHealth } from './etcd-check.ts'
import { EtcdStore } from './etcd-store.ts'

/** etcd may take its time for an election where many tests share a machine. */
const PATIENCE_MS = 30_000

describe.skipIf(!HAS_ETCD)('the store on an etcd of three members', () => {
  let etcd: TestEtcd
  let store: EtcdStore
  let worlds = 0
  let prefix = ''
  let callTimeoutMs = PATIENCE_MS
  const opened: EtcdStore[] = []

  beforeAll(async () => {
    etcd = await TestEtcd.start({ members: 3 })
  })
  afterAll(() => etcd.stop())
  afterEach(async () => {
    await etcd.startAll()
    for (const each of opened.splice(0)) await each.close()
  })

  /** Asks `first` first. */
  async function open(first?: EtcdMember): Promise<EtcdStore> {
    const endpoints = etcd.endpoints
    if (first !== undefined) endpoints.unshift(...endpoints.splice(first.index, 1))
    const one = await EtcdStore.open(endpoints, { prefix, callTimeoutMs })
    opened.push(one)
    return one
  }

  async function begin(first?: EtcdMember, limitMs = PATIENCE_MS): Promise<void> {
    callTimeoutMs = limitMs
    prefix = `faults-${++worlds}/`
    store = await open(first)
  }

  async function follower(): Promise<EtcdMember> {
    const leader = await etcd.leader()
    return etcd.members[(leader.index + 1) % 3] as EtcdMember
  }

  /** Commits one after the other that each hold only after the one before, until `isDone`. */
  async function count(on: MetaStore, isDone: () => boolean): Promise<number> {
    let revision: number | null = null
    for (let n = 1; ; n++) {
      const condition =
        revision === null
          ? ({ kind: 'absent', key: 'n' } as const)
          : ({ kind: 'revision', key: 'n', revision } as const)
      const before: number | null = revision
      revision = await on.commit([condition], [{ kind: 'put', key: 'n', value: String(n) }])
      if (revision === null)
        throw new Error(`commit ${n} was done twice, or the one of ${before} not`)
      if (isDone()) return n
    }
  }

  async function countDuring(harm: () => Promise<void>): Promise<void> {
    const mirror = new Mirror(store, 'n', 'o')
    await mirror.until(({ starts }) => starts.length > 0)
    let isDone = false
    const counted = count(store, () => isDone)
    await sleep(100)
    await harm()
    isDone = true
    const last = await counted
    const item = await store.get('n')
    expect(Number(item?.value)).toBe(last)
    await mirror.until(({ items }) => items.get('n')?.value === item?.value)
    const seen = mirror.told.map(({ changes: [change] }) =>
      change?.kind === 'put' ? Number(change.item.value) : 0,
    )
    expect(seen).toEqual(Array.from({ length: last }, (_, i) => i + 1))
    expect(mirror.starts).toHaveLength(1)
    mirror.close()
  }

  it('goes on when the follower that it asks is killed', async () => {
    const member = await follower()
    await begin(member)
    await countDuring(async () => {
      await member.kill()
      await store.get('n')
      await sleep(300)
    })
  })

  it('goes on when the leader is killed', async () => {
    const leader = await etcd.leader()
    await begin(leader)
    await countDuring(async () => {
      await leader.kill()
      await etcd.leader()
      await store.get('n')
      await sleep(300)
    })
  })

  it('goes on when a follower, or the leader, is frozen', async () => {
    for (const victim of [await follower(), await etcd.leader()]) {
      await begin(victim)
      await countDuring(async () => {
        victim.freeze()
        await sleep(1500)
        await store.get('n')
      })
      victim.thaw()
      await etcd.leader()
    }
  })

  it('goes on when the member that it asks is cut off from the others', async () => {
    for (const which of ['follower', 'leader'] as const) {
      const member = which === 'leader' ? await etcd.leader() : await follower()
      await begin(member)
      const lease = await store.grantLease(60_000)
      await countDuring(async () => {
        await etcd.isolate(member)
        const past = await EtcdStore.open(
          etcd.members.filter((one) => one !== member).map(({ endpoint }) => endpoint),
          { prefix, callTimeoutMs },
        )
        opened.push(past)
        const revision = (await past.commit(
          [],
          [{ kind: 'put', key: 'seen', value: '' }],
        )) as number
        // Neither an old answer nor none.
        expect((await store.get('seen'))?.revision).toBe(revision)
        await store.keepLease(lease)
        expect((await readEtcdHealth([member.ownEndpoint])).readMs).toBeNull()
      })
      await etcd.startAll()
    }
  })

  it('knows what became of commits whose answers were lost', async () => {
    const member = await follower()
    await begin(member)
    await countDuring(async () => {
      for (let round = 0; round < 8; round++) {
        for (const one of etcd.members) one.cut('answers')
        await sleep(150)
        for (const one of etcd.members) one.heal()
        await sleep(150)
      }
      const random = new Prng(7)
      for (let round = 0; round < 12; round++) {
        const victim = etcd.members[random.below(3)] as EtcdMember
        victim.cut(random.pick(['silent', 'refused', 'answers']))
        await sleep(random.below(600))
        victim.heal()
        await sleep(random.below(100))
      }
    })
  })

  it('commits although nobody heard that its marker has a lease', async () => {
    const member = await follower()
    await begin(member)
    member.cut('answers')
    expect(await store.commit([], [{ kind: 'put', key: 'a', value: '' }])).toBeGreaterThan(0)
  })

  it('ends every call in time when all members are gone, and works when they are back', async () => {
    await begin(undefined, 5000)
    const lease = await store.grantLease(60_000)
    await store.commit([], [{ kind: 'put', key: 'leased', value: '', lease }])
    const mirror = new Mirror(store, '', '~')
    await mirror.until(({ starts }) => starts.length > 0)
    for (const member of etcd.members) await member.kill()
    const startedMs = performance.now()
    const calls = [
      store.get('a'),
      store.range('', '~', 1),
      store.commit([], [{ kind: 'put', key: 'a', value: '' }]),
      store.commit([], [{ kind: 'put', key: 'b', value: '' }]),
      store.grantLease(1000),
      store.keepLease(lease),
      store.revokeLease(lease),
      EtcdStore.open(etcd.endpoints),
    ].map(codeOf)
    const codes = await Promise.all(calls)
    // Five seconds are what a call is given, and commits that wait fail with the first.
    expect(performance.now() - startedMs).toBeLessThan(8000)
    for (const code of codes) expect(['DISCONNECTED', 'DEADLINE_EXCEEDED']).toContain(code)
    await etcd.startAll()
    const revision = await store.commit([], [{ kind: 'put', key: 'c', value: 'back' }])
    await mirror.until(({ items }) => items.get('c')?.revision === revision)
    await store.keepLease(lease)
    expect((await store.range('', '~', 10)).map(({ key }) => key)).toEqual(['c', 'leased'])
    expect(mirror.starts).toHaveLength(1)
  })

  it('starts a watch anew that missed what etcd has forgotten', async () => {
    await begin()
    const mirror = new Mirror(store, '', '~')
    await mirror.until(({ starts }) => starts.length > 0)
    for (const one of etcd.members) one.cut('refused')
    // Another store finds a way; the watch does not, until the gap is there.
    const past = await EtcdStore.open(
      etcd.members.map(({ ownEndpoint }) => ownEndpoint),
      { prefix, callTimeoutMs },
    )
    opened.push(past)
    let last = 0
    for (let n = 0; n < 10; n++) {
      last = (await past.commit([], [{ kind: 'put', key: `k${n}`, value: '' }])) as number
    }
    await etcd.compact(last)
    for (const one of etcd.members) one.heal()
    await mirror.until(({ starts }) => starts.length > 1)
    expect(mirror.starts[1]).toBeGreaterThanOrEqual(last)
    expect(mirror.told).toEqual([])
    const after = (await past.commit([], [{ kind: 'put', key: 'after', value: '' }])) as number
    await mirror.reached(after)
    expect(mirror.told.map(({ revision }) => revision)).toEqual([after])
    mirror.close()
  })

  it('tells how etcd is', async () => {
    const leader = await etcd.leader()
    const all = etcd.members.map(({ ownEndpoint }) => ownEndpoint)
    const well = await readEtcdHealth(all)
    expect(well.members.map(({ isLeader }) => isLeader)).toEqual(
      etcd.members.map((member) => member === leader),
    )
    expect(well.known.map(({ name }) => name).toSorted()).toEqual(['m0', 'm1', 'm2'])
    expect([well.alarms, well.refusals]).toEqual([[], []])
    // The default of etcd.
    expect(well.members.map(({ status }) => status?.quotaBytes)).toEqual(
      etcd.members.map(() => 2 * 1024 ** 3),
    )
    expect(well.readMs).toBeGreaterThan(0)
    const [first, second] = etcd.members.filter((member) => member !== leader)
    await first?.kill()
    await second?.kill()
    const ill = await readEtcdHealth(all)
    expect(ill.readMs).toBeNull()
    expect(ill.members.filter(({ problem }) => problem !== null)).toHaveLength(2)
  })

  it('says that an etcd is full, and of how much', async () => {
    const full = await TestEtcd.start({ flags: ['--quota-backend-bytes=1048576'] })
    const some = await EtcdStore.open(full.endpoints)
    const value = 'x'.repeat(100_000)
    const fill = async (): Promise<void> => {
      for (let i = 0; i < 50; i++) await some.commit([], [{ kind: 'put', key: `k${i}`, value }])
    }
    await expect(fill()).rejects.toThrow('NO_SPACE')
    const { alarms, members, readMs } = await readEtcdHealth(full.endpoints)
    expect(alarms).toEqual(['NOSPACE'])
    expect(members[0]?.status).toMatchObject({ quotaBytes: 1048576 })
    expect(members[0]?.status?.dbBytes).toBeGreaterThan(1048576 * 0.75)
    expect(readMs).toBeGreaterThan(0)
    await some.close()
    await full.stop()
  })

  it('says which flags etcd needs for large commits', async () => {
    const flags = ['--max-txn-ops=128', '--max-request-bytes=1572864']
    const small = await TestEtcd.start({ flags })
    const { refusals } = await readEtcdHealth(small.endpoints)
    expect(refusals).toHaveLength(2)
    for (const refusal of refusals) expect(refusal).toContain('--max-txn-ops=65536')
    await expect(EtcdStore.open(small.endpoints)).rejects.toThrow('--max-request-bytes=33554432')
    await small.stop()
  })
})
