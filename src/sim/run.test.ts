import { describe, expect, it } from 'vitest'
import { LemnisError } from '../base/errors.ts'
import { Prng } from '../base/prng.ts'
import type { Env } from '../env/env.ts'
import type { Configuration, ReplicaId } from '../raft/types.ts'
import { BrokenPromise, type ObservedReplica, ReplicationChecker } from './checkers.ts'
import { FAULT_KINDS, type FaultKind, makePlan } from './fault-plan.ts'
import type { RegisterValue } from './history.ts'
import { SimHost } from './host.ts'
import type { SimNetwork } from './network.ts'
import { describeResult, type MakeSystem, runSeed, type System } from './run.ts'
import type { Outcome, RegisterClient } from './workload.ts'
import type { World } from './world.ts'

type Bug = 'none' | 'acknowledges before sync' | 'forgets to answer' | 'reads stale'

/** One server that keeps its registers in one file: small enough to be right, or wrong on purpose. */
class OneServer implements System {
  readonly hosts: readonly SimHost[]
  readonly clients: readonly RegisterClient[]
  readonly actions = {
    changeMembership: () => {},
    transferLeader: () => {},
    sendSnapshot: () => {},
  }
  readonly faultKinds: readonly FaultKind[]
  readonly victimCountMax = 0
  readonly driftPpmMax = 10_000
  readonly #world: World
  readonly #bug: Bug
  #serve: ((act: (registers: Map<string, string>) => Promise<void>) => void) | null = null
  #stale = new Map<string, string>()

  constructor(world: World, network: SimNetwork, bug: Bug, faultKinds: readonly FaultKind[]) {
    this.#world = world
    this.#bug = bug
    this.faultKinds = faultKinds
    const host = new SimHost(world, { name: 'server', network })
    network.add(host)
    Object.assign(host.disk.faults, { latencyMinMs: 0.1, latencyMaxMs: 2 })
    this.hosts = [host]
    this.clients = Array.from({ length: 4 }, () => this.#client())
  }

  start(): void {
    this.hosts[0]?.start((env) => {
      void this.#main(env)
    })
  }

  repair(): void {}

  isUp(): boolean {
    return this.#serve !== null
  }

  observe(): ObservedReplica[] {
    return []
  }

  async #main(env: Env): Promise<void> {
    this.#serve = null
    const file = await env.disk.open('registers', { create: true })
    await env.disk.syncDirectory('.')
    const bytes = new Uint8Array(await file.sizeBytes())
    await file.read(bytes, 0)
    const registers = new Map<string, string>()
    let end = 0
    for (const line of new TextDecoder().decode(bytes).split('\n').slice(0, -1)) {
      const [key = '', value = ''] = line.split(' ')
      // A torn tail reads as zeros or as a line cut short; it was never acknowledged.
      if (!/^r\d+ v\d+ \.$/.test(line)) break
      registers.set(key, value)
      end += line.length + 1
    }
    let last = Promise.resolve()
    const write = async (key: string, value: string): Promise<void> => {
      const line = new TextEncoder().encode(`${key} ${value} .\n`)
      await file.write(line, end)
      end += line.byteLength
      if (this.#bug !== 'acknowledges before sync') await file.sync()
      registers.set(key, value)
    }
    const api = Object.assign(registers, { write })
    this.#serve = (act) => {
      last = last.then(() => act(api))
    }
  }

  #client(): RegisterClient {
    const call = <T>(
      act: (registers: Map<string, string>) => Promise<T>,
      done: (outcome: Outcome<T>) => void,
    ): void => {
      let ended = false
      const finish = (outcome: Outcome<T>): void => {
        if (!ended) done(outcome)
        ended = true
      }
      const host = this.hosts[0] as SimHost
      this.#world.after(2_000_000, 'time-out', () => finish({ outcome: 'unknown' }))
      this.#world.after(100, 'request', () => {
        if (this.#serve === null || host.state !== 'running') return finish({ outcome: 'refused' })
        this.#serve(async (registers) => {
          const value = await act(registers)
          const forgets = this.#bug === 'forgets to answer' && this.#world.random.chance(0.9)
          this.#world.after(100, 'reply', () => {
            if (!forgets) finish({ outcome: 'done', value })
          })
        })
      })
    }
    const write = (registers: Map<string, string>, key: string, value: string): Promise<void> =>
      (registers as unknown as { write(key: string, value: string): Promise<void> }).write(
        key,
        value,
      )
    return {
      get: (key, done) =>
        call(async (registers): Promise<RegisterValue> => {
          const now = registers.get(key) ?? null
          if (this.#bug !== 'reads stale' || now === null) return now
          const old = this.#stale.get(key) ?? now
          this.#stale.set(key, now)
          return old
        }, done),
      put: (key, value, done) =>
        call(async (registers): Promise<true> => {
          await write(registers, key, String(value))
          return true
        }, done),
      cas: (key, expected, value, done) =>
        call(async (registers) => {
          if ((registers.get(key) ?? null) !== expected) return false
          await write(registers, key, value)
          return true
        }, done),
    }
  }
}

function maker(bug: Bug, kinds: readonly FaultKind[] = FAULT_KINDS): MakeSystem {
  return (world, network) => new OneServer(world, network, bug, kinds)
}

const ONE_HOST_KINDS: readonly FaultKind[] = [
  'crash',
  'pause',
  'power-loss',
  'power-loss-of-all',
  'clock-jump',
  'clock-drift',
  'slow-disk',
  'disk-stall',
]

describe('a run', () => {
  it('of a sound system is sound, whatever the seed', async () => {
    const struck = new Set<string>()
    for (let seed = 1; seed <= 25; seed++) {
      const result = await runSeed(seed, { make: maker('none', ONE_HOST_KINDS) })
      expect(describeResult(result)).toContain(`seed ${seed}: ok`)
      expect(result.undecided).toBeNull()
      expect(result.done).toBeGreaterThan(20)
      for (const kind of result.struck.keys()) struck.add(kind)
    }
    expect([...struck].sort()).toEqual([...ONE_HOST_KINDS].sort())
  })

  it('has the same hash for the same seed, also after other runs', async () => {
    const options = { make: maker('none', ONE_HOST_KINDS) }
    const first = await runSeed(3, options)
    const other = await runSeed(4, options)
    const again = await runSeed(3, options)
    expect(again.hash).toBe(first.hash)
    expect(again.events).toBe(first.events)
    expect(other.hash).not.toBe(first.hash)
  })

  const caughtBy = async (bug: Bug, kinds: readonly FaultKind[]): Promise<string[]> => {
    const messages: string[] = []
    for (let seed = 1; seed <= 20; seed++) {
      const { failure } = await runSeed(seed, { make: maker(bug, kinds) })
      if (failure !== null) messages.push(failure.message)
    }
    return messages
  }

  it('finds a lost acknowledged write, by the loss of power and not by a crash', async () => {
    const messages = await caughtBy('acknowledges before sync', ['power-loss'])
    expect(messages.length).toBeGreaterThan(0)
    expect(messages[0]).toContain('not linearizable')
    expect(await caughtBy('acknowledges before sync', ['crash'])).toEqual([])
  })

  it('finds stale reads and missing progress without any fault', async () => {
    expect((await caughtBy('reads stale', [])).length).toBe(20)
    const silent = await caughtBy('forgets to answer', [])
    expect(silent.length).toBeGreaterThan(0)
    expect(silent[0]).toContain('waited in vain')
  })
})

describe('fault plans', () => {
  it('differ by seed, repeat by seed, and spare a majority', () => {
    const hosts = ['h1', 'h2', 'h3']
    const of = (seed: number) => makePlan(new Prng(seed), FAULT_KINDS, hosts, 1, false)
    expect(of(1)).toEqual(of(1))
    const kinds = new Set<FaultKind>()
    for (let seed = 0; seed < 50; seed++) {
      for (const { kind } of of(seed).faults) kinds.add(kind)
      expect(of(seed).victims.size).toBe(1)
    }
    expect(kinds.size).toBe(FAULT_KINDS.length)
  })
})

describe('replication checker', () => {
  const id = (n: number): ReplicaId => n as ReplicaId
  const CONFIG: Configuration = {
    epoch: 1,
    voters: [id(1), id(2), id(3)],
    outgoing: [],
    learners: [],
    learnersNext: [],
  }
  const replica = (host: string, changed: Partial<ObservedReplica> = {}): ObservedReplica => ({
    host,
    life: 1,
    group: 1,
    replica: Number(host.slice(1)),
    role: 'follower',
    term: 1,
    commit: 5,
    applied: 5,
    firstIndex: 1,
    lastIndex: 9,
    config: CONFIG,
    termAt: (index) => (index <= 9 ? 1 : undefined),
    durable: () => ({ term: 99, lastIndex: 99 }),
    digest: async () => 77,
    ...changed,
  })
  const JOINT: Configuration = { ...CONFIG, voters: [id(1), id(4)], outgoing: CONFIG.voters }
  const votes =
    (...terms: number[]) =>
    (n: number) => ({ term: terms[n - 1] ?? 0, lastIndex: 9 })
  const entries =
    (...indexes: number[]) =>
    (n: number) => ({ term: 9, lastIndex: indexes[n - 1] ?? 0 })
  const seen = async (...steps: ObservedReplica[]): Promise<string> => {
    const checker = new ReplicationChecker()
    try {
      for (const step of steps) {
        checker.look([step])
        // States are compared when the machines have looked at theirs.
        await Promise.resolve()
      }
      checker.look([])
    } catch (error) {
      if (error instanceof BrokenPromise) return error.message
      throw error
    }
    return 'kept'
  }

  it('is content with replicas that agree, restart, and purge their logs', async () => {
    const restarted = replica('h2', { life: 2, commit: 2, applied: 2 })
    const purged = replica('h3', {
      firstIndex: 4,
      termAt: (i) => (i >= 3 && i <= 9 ? 1 : undefined),
    })
    const later = replica('h1', { commit: 8, applied: 8, term: 2 })
    const unreadable = replica('h2', {
      life: 3,
      digest: () => Promise.reject(new LemnisError('DISK_FAILED')),
    })
    const steps = [replica('h1'), replica('h2'), restarted, purged, unreadable, later]
    expect(await seen(...steps)).toBe('kept')
  })

  it.each([
    [
      'two leaders of a term',
      [replica('h1', { role: 'leader' }), replica('h2', { role: 'leader' })],
      'leads term 1',
    ],
    ['a term that goes back', [replica('h1', { term: 3 }), replica('h1')], 'term went back'],
    [
      'a commit that goes back',
      [replica('h1'), replica('h1', { commit: 4, applied: 4 })],
      'commit went back',
    ],
    [
      'an applied index that goes back',
      [replica('h1'), replica('h1', { applied: 4 })],
      'applied went back',
    ],
    ['applying too early', [replica('h1', { applied: 6 })], 'applied past commit'],
    ['other entries', [replica('h1'), replica('h2', { termAt: () => 2 })], 'which is of term 1'],
    ['commit without entry', [replica('h1', { termAt: () => undefined })], 'without having it'],
    [
      'other states',
      [replica('h1'), replica('h2', { digest: async () => 78 })],
      'another state at entry 5',
    ],
    [
      'a leader by forgotten votes',
      [
        replica('h1', { term: 1 }),
        replica('h1', { role: 'leader', term: 2, durable: votes(2, 1, 1) }),
      ],
      'votes that are durable only on 1 of 1 2 3',
    ],
    [
      'a commit of a minority',
      [
        replica('h1', { role: 'leader', durable: entries(9, 9, 5) }),
        replica('h1', { role: 'leader', commit: 8, durable: entries(9, 7, 7) }),
      ],
      'commits entry 8, durable only on 1 of 1 2 3',
    ],
    [
      'a commit of a majority of the new members only',
      [
        replica('h1', { role: 'leader', config: JOINT }),
        replica('h1', { role: 'leader', config: JOINT, commit: 8, durable: entries(9, 7, 7, 9) }),
      ],
      'commits entry 8, durable only on 1 of 1 2 3',
    ],
    [
      'a commit of an older term by counting',
      [
        replica('h1', { role: 'leader', term: 2 }),
        replica('h1', { role: 'leader', term: 2, commit: 7 }),
      ],
      'commits entry 7 of the older term 1 as the first',
    ],
    [
      'a leader without committed entries',
      [
        replica('h1'),
        replica('h2', {
          role: 'leader',
          term: 2,
          commit: 1,
          applied: 1,
          lastIndex: 3,
          termAt: (i) => (i <= 3 ? 1 : undefined),
        }),
      ],
      'leads without committed entry 5',
    ],
  ])('finds %s', async (_, steps, message) => {
    expect(await seen(...steps)).toContain(message)
  })

  it('misses nobody at the end', () => {
    const checker = new ReplicationChecker()
    const behind = replica('h2', { commit: 3, applied: 3 })
    checker.look([replica('h1'), behind])
    expect(() => checker.settled([behind])).toThrow('entry 5 is committed')
    expect(() => checker.settled([replica('h1')])).not.toThrow()
  })
})
