import { beforeEach, describe, expect, it } from 'vitest'
import { Prng } from '../base/prng.ts'
import { initialConfiguration } from './configuration.ts'
import type { RaftOptions } from './core.ts'
import { RaftNode } from './node.ts'
import { MemoryStore } from './testing/memory-store.ts'
import type { Entry, Message, Ready, ReplicaId } from './types.ts'

const ids = (...numbers: number[]): ReplicaId[] => numbers as ReplicaId[]
const [one, two, three] = ids(1, 2, 3) as [ReplicaId, ReplicaId, ReplicaId]
const config = initialConfiguration(ids(1, 2, 3))
const data = new Uint8Array(4)

function options(store: MemoryStore, over: Partial<RaftOptions> = {}): RaftOptions {
  return {
    id: one,
    random: new Prng(1),
    store,
    hardState: store.hardState,
    config,
    appliedIndex: 1,
    nowMs: 0,
    mayVoteFromMs: 0,
    electionTimeoutMs: 1000,
    heartbeatIntervalMs: 100,
    clockDriftPermille: 0,
    appendBytesMax: 1000,
    inflightBytesMax: 4000,
    inflightMessagesMax: 8,
    uncommittedBytesMax: 10_000,
    committedBytesMax: 10_000,
    snapshotMark: () => ({ index: 1, term: 1, config }),
    ...over,
  }
}

describe('a node', () => {
  let store: MemoryStore
  let node: RaftNode

  beforeEach(() => {
    store = new MemoryStore({ term: 1, vote: 0, commit: 1 }, { index: 1, term: 1 }, [])
    node = new RaftNode(options(store))
  })

  function drain(): Ready[] {
    const readies: Ready[] = []
    while (node.hasReady()) {
      const ready = node.ready()
      store.write(ready)
      node.persisted(ready)
      if (ready.committed.length > 0) node.applied((ready.committed.at(-1) as Entry).index)
      readies.push(ready)
    }
    return readies
  }

  function append(over: Partial<Extract<Message, { kind: 'append' }>>): Message {
    const head = { kind: 'append', from: two, to: one, term: 2 } as const
    return { ...head, prevIndex: 1, prevTerm: 1, commit: 1, entries: [], ...over }
  }

  function elect(): void {
    node.campaign(0)
    drain()
    const reply = { from: two, to: one, granted: true, commit: 1, commitTerm: 1 } as const
    node.step({ ...reply, kind: 'pre-vote-reply', term: 2 }, 0)
    drain()
    node.step({ ...reply, kind: 'vote-reply', term: 2 }, 0)
  }

  it('has nothing to say at first, and acts when its deadline comes', () => {
    expect(node.hasReady()).toBe(false)
    const deadlineMs = node.nextDeadlineMs()
    expect(deadlineMs).toBeGreaterThanOrEqual(1000)
    expect(deadlineMs).toBeLessThan(2000)
    node.tick(deadlineMs - 0.5)
    expect(node.hasReady()).toBe(false)
    node.tick(deadlineMs)
    expect(node.role).toBe('pre-candidate')
  })

  it('drops messages that are not for it or make no sense', () => {
    const entry = (index: number, term: number): Entry => ({ index, term, kind: 'data', data })
    node.step(append({ to: three }), 0)
    node.step(append({ from: one }), 0)
    expect(node.term).toBe(1)
    for (const entries of [[entry(3, 2)], [entry(2, 3)], [entry(2, 2), entry(3, 1)]]) {
      node.step(append({ entries }), 0)
    }
    node.step(append({ prevTerm: 2, entries: [entry(2, 1)] }), 0)
    expect(node.status().lastIndex).toBe(1)
    node.step({ kind: 'timeout-now', from: two, to: one, term: 1 }, 0)
    expect(node.term).toBe(2)
  })

  it('commits what it is told only as far as its log goes', () => {
    node.step(append({ commit: 99 }), 0)
    node.step({ kind: 'heartbeat', from: two, to: one, term: 2, commit: 99, round: 1 }, 0)
    expect(node.commit).toBe(1)
  })

  it('takes answers of strangers, and of rounds and entries that never were, for nothing', () => {
    elect()
    drain()
    const reply = { kind: 'append-reply', from: two, to: one, term: 2, hintIndex: 0, hintTerm: 0 }
    node.step({ ...reply, index: 99, rejected: false } as Message, 0)
    node.step({ ...reply, from: ids(9)[0], index: 2, rejected: false } as Message, 0)
    node.step({ kind: 'heartbeat-reply', from: two, to: one, term: 2, round: 99 }, 0)
    expect([node.commit, node.leaseRead(0)]).toEqual([1, null])
    node.snapshotReported(ids(9)[0] as ReplicaId, true)
    node.fetched(ids(9)[0] as ReplicaId)
    node.unreachable(ids(9)[0] as ReplicaId)
    node.snapshotReported(two, false)
    expect(node.status().progress[0]?.state).toBe('probe')
  })

  it('stops the process where a second leader of the term speaks', () => {
    elect()
    expect(() => node.step(append({ term: 2 }), 0)).toThrow('one leader a term')
  })

  it('wants its Readys persisted in the order in which it gave them', () => {
    elect()
    const first = node.ready()
    node.propose(data, 0)
    const second = node.ready()
    expect(() => node.persisted(second)).toThrow('in order')
    expect(first.entries).toHaveLength(1)
  })

  it('gives a Ready once, and arrays that stay as they are', () => {
    elect()
    const ready = node.ready()
    const before = JSON.stringify(ready)
    node.propose(data, 0)
    node.tick(100)
    node.ready()
    expect(JSON.stringify(ready)).toBe(before)
  })

  it('begins at the term of a mark that its hard state does not know', () => {
    const restarted = new MemoryStore({ term: 2, vote: two, commit: 1 }, { index: 9, term: 5 }, [])
    node = new RaftNode(options(restarted, { appliedIndex: 9 }))
    expect(node.status()).toMatchObject({ term: 5, vote: 0, commit: 9 })
    expect(node.ready().hardState).toEqual({ term: 5, vote: 0, commit: 9 })
  })

  it('waits with the first answer to a leader until the term is durable', () => {
    node.step({ kind: 'heartbeat', from: two, to: one, term: 7, commit: 1, round: 3 }, 0)
    const ready = node.ready()
    expect(ready.messages).toEqual([])
    expect(ready.messagesAfterPersist.map((message) => message.kind)).toEqual(['heartbeat-reply'])
    store.write(ready)
    node.persisted(ready)
    node.step({ kind: 'heartbeat', from: two, to: one, term: 7, commit: 1, round: 4 }, 0)
    expect(node.ready().messages.map((message) => message.kind)).toEqual(['heartbeat-reply'])
  })

  it('refuses options that contradict each other', () => {
    const refuse = (over: Partial<RaftOptions>, reason: string): void => {
      expect(() => new RaftNode(options(store, over))).toThrow(reason)
    }
    refuse({ id: 0 as ReplicaId }, 'replica id')
    refuse({ heartbeatIntervalMs: 0 }, 'heartbeats take time')
    refuse({ electionTimeoutMs: 150 }, 'two heartbeats')
    refuse({ clockDriftPermille: 1000 }, 'clocks drift')
    expect(
      new RaftNode(options(store, { config: initialConfiguration(ids(2)) })).nextDeadlineMs(),
    ).toBe(Number.POSITIVE_INFINITY)
  })
})
