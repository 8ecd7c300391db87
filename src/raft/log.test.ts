import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { EMPTY } from '../base/bytes.ts'
import { NO_CONFIGURATION } from './configuration.ts'
import { LogView } from './log.ts'
import { MemoryStore } from './testing/memory-store.ts'
import type { Entry, SnapshotMark } from './types.ts'

const HUGE = Number.MAX_SAFE_INTEGER
const NOTHING = { term: 1, vote: 0, commit: 0 } as const

function entry(index: number, term: number): Entry {
  return { index, term, kind: 'data', data: EMPTY }
}

function entries(from: number, ...terms: number[]): Entry[] {
  return terms.map((term, i) => entry(from + i, term))
}

function store(from: number, ...terms: number[]): MemoryStore {
  return new MemoryStore(NOTHING, { index: from - 1, term: 1 }, entries(from, ...terms))
}

function termsOf(log: LogView): (number | undefined)[] {
  const terms: (number | undefined)[] = []
  for (let index = log.firstIndex; index <= log.lastIndex; index++) terms.push(log.term(index))
  return terms
}

describe('the log view', () => {
  it('puts what is not durable on top of what is', () => {
    const disk = store(2, 1, 1)
    const log = new LogView(disk, 0, 1)
    log.merge(entries(3, 1, 2, 2))
    expect(termsOf(log)).toEqual([1, 1, 2, 2])
    expect(log.takeUnpersisted()).toEqual(entries(4, 2, 2))
    expect(log.takeUnpersisted()).toEqual([])
    expect(log.stable).toBe(3)
    disk.write({ hardState: null, snapshot: null, entries: entries(4, 2, 2) })
    log.persisted(5, log.cuts)
    expect([log.stable, log.lastIndex, log.lastTerm]).toEqual([5, 5, 2])
    // The durable part and the tail are read apart.
    log.push(entry(6, 3))
    expect(log.entries(5, 7, HUGE)).toEqual(entries(5, 2))
    expect(log.entries(6, 7, HUGE)).toEqual(entries(6, 3))
  })

  it('does not take a write for durable that was cut off meanwhile', () => {
    const log = new LogView(store(2, 1), 0, 1)
    log.merge(entries(3, 2, 2))
    log.takeUnpersisted()
    const { cuts } = log
    log.merge(entries(3, 3))
    log.persisted(4, cuts)
    expect(log.stable).toBe(2)
    expect(log.takeUnpersisted()).toEqual(entries(3, 3))
    log.persisted(3, log.cuts)
    expect(log.stable).toBe(3)
  })

  it('does not let a torn write commit what it was to replace', () => {
    const log = new LogView(store(2, 1, 1, 1), 0, 1)
    const config = { ...entry(5, 2), kind: 'config' } as const
    log.merge([...entries(3, 2, 2), config, entry(6, 2), { ...config, index: 7 }])
    log.commitTo(5)
    // Replaced and then added: the change leaves apart, with the whole commit index.
    expect([log.commitToPersist, log.configWaits]).toEqual([2, true])
    expect(log.takeUnpersisted()).toEqual(entries(3, 2, 2))
    expect([log.persistLast, log.hasUnpersisted]).toEqual([4, true])
    expect([log.commitToPersist, log.configWaits]).toEqual([5, true])
    expect(log.takeUnpersisted()).toHaveLength(3)
    expect([log.hasUnpersisted, log.configWaits]).toEqual([false, false])
    log.merge([{ ...config, term: 3, index: 6 }])
    expect(log.commitToPersist).toBe(5)
    expect(log.takeUnpersisted()).toHaveLength(1)
  })

  it('never cuts off what is committed', () => {
    const log = new LogView(store(2, 1, 1), 0, 1)
    log.commitTo(3)
    expect(() => log.merge(entries(3, 2))).toThrow('committed entries are never cut off')
    expect(() => log.commitTo(4)).toThrow('commit within the log')
  })

  it('believes a commit index only as far as the log goes', () => {
    expect(new LogView(store(2, 1, 1), 9, 1).commit).toBe(3)
    expect(new LogView(store(2, 1, 1), 0, 2).commit).toBe(2)
    expect(() => new LogView(store(2, 1, 1), 0, 4)).toThrow('a checkpoint is durable only after')
    expect(() => new LogView(store(5, 1, 1), 0, 2)).toThrow('the log starts after')
  })

  it('hides the store while a state that replaces it is not durable', () => {
    const log = new LogView(store(2, 1, 1, 1), 0, 1)
    const mark: SnapshotMark = { index: 9, term: 4, config: NO_CONFIGURATION }
    log.restart(mark)
    expect([log.firstIndex, log.lastIndex, log.lastTerm, log.commit]).toEqual([10, 9, 4, 9])
    expect(log.term(3)).toBeUndefined()
    log.merge(entries(10, 4))
    expect(log.takeUnpersisted()).toEqual(entries(10, 4))
  })

  it('hands out committed entries once, as many as fit', () => {
    const disk = store(2, 1, 1, 1)
    const log = new LogView(disk, 0, 1)
    log.commitTo(4)
    expect(log.takeCommitted(64)).toEqual(entries(2, 1, 1))
    disk.memoryFrom = 5
    expect(log.takeCommitted(64)).toBe('not-in-memory')
    disk.memoryFrom = 0
    expect(log.takeCommitted(1)).toEqual(entries(4, 1))
    expect(log.takeCommitted(64)).toEqual([])
    expect(() => log.appliedTo(5)).toThrow('applied only what was handed out')
    log.appliedTo(3)
    log.appliedTo(2)
    expect(log.applied).toBe(3)
  })

  it('finds the last index up to a term as a walk would', () => {
    const terms = fc
      .array(fc.nat(3), { minLength: 1, maxLength: 20 })
      .map((steps) => steps.map((_, i) => 1 + steps.slice(0, i + 1).reduce((a, b) => a + b, 0)))
    fc.assert(
      fc.property(terms, fc.nat(20), fc.nat(20), fc.nat(40), (all, durable, from, term) => {
        const disk = store(4, ...all.slice(0, durable))
        const log = new LogView(disk, 0, 3)
        log.merge(entries(4, ...all))
        let expected = Math.min(from, log.lastIndex)
        while (expected > log.firstIndex - 1 && (log.term(expected) as number) > term) expected--
        expect(log.lastIndexUpToTerm(from, term)).toBe(expected)
      }),
    )
  })

  it('is the log that a follower of changing leaders would have', () => {
    const leader = fc.record({ at: fc.nat(10), count: fc.integer({ min: 1, max: 5 }) })
    fc.assert(
      fc.property(fc.array(fc.tuple(leader, fc.boolean()), { maxLength: 20 }), (turns) => {
        const disk = store(2)
        const log = new LogView(disk, 0, 1)
        const twin: number[] = []
        turns.forEach(([{ at, count }, persists], i) => {
          const term = i + 2
          const from = Math.min(at, twin.length)
          twin.length = from
          for (let n = 0; n < count; n++) twin.push(term)
          log.merge(entries(2 + from, ...twin.slice(from)))
          expect(termsOf(log)).toEqual(twin)
          if (!persists) return
          const fresh = log.takeUnpersisted()
          disk.write({ hardState: null, snapshot: null, entries: fresh })
          log.persisted(log.lastIndex, log.cuts)
          expect([log.stable, disk.lastIndex()]).toEqual([log.lastIndex, log.lastIndex])
          expect(disk.all().map((each) => each.term)).toEqual(twin)
        })
      }),
    )
  })
})
