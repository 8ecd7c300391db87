import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Inflight, NEXT_STATE, Progress, type ProgressState } from './progress.ts'
import type { ReplicaId } from './types.ts'

const PATIENCE_MS = 100

function progress(next = 10): Progress {
  return new Progress(2 as ReplicaId, new Inflight(4, 100), next, 0)
}

describe('the window of appends', () => {
  it('is full by count, and by bytes with one append past the bound', () => {
    const window = new Inflight(2, 100)
    window.add(1, 10)
    expect(window.full).toBe(false)
    window.add(2, 10)
    expect(window.full).toBe(true)
    window.clear()
    window.add(3, 500)
    expect([window.full, window.count, window.bytes]).toEqual([true, 1, 500])
    expect(() => window.add(4, 1)).toThrow('room in the window')
  })

  it('is what a list of appends is', () => {
    const step = fc.oneof(
      fc.tuple(fc.constant('add' as const), fc.integer({ min: 1, max: 60 })),
      fc.tuple(fc.constant('free' as const), fc.integer({ min: 0, max: 30 })),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const window = new Inflight(5, 100)
        let twin: { index: number; bytes: number }[] = []
        let last = 0
        for (const [kind, value] of steps) {
          if (kind === 'free') {
            window.freeTo(value)
            twin = twin.filter((append) => append.index > value)
          } else if (!window.full) {
            window.add(++last, value)
            twin.push({ index: last, bytes: value })
          }
          const bytes = twin.reduce((sum, append) => sum + append.bytes, 0)
          expect([window.count, window.bytes]).toEqual([twin.length, bytes])
          expect(window.full).toBe(twin.length === 5 || bytes >= 100)
        }
      }),
    )
  })
})

describe('progress', () => {
  it('goes only where the table says', () => {
    const action = fc.oneof(
      fc.record({ kind: fc.constant('accepted' as const), index: fc.nat(30), first: fc.nat(30) }),
      fc.record({ kind: fc.constant('rejected' as const), index: fc.nat(30), probe: fc.nat(30) }),
      fc.record({ kind: fc.constant('log-gone' as const), index: fc.nat(30) }),
      fc.record({ kind: fc.constant('ended' as const), index: fc.option(fc.nat(30)) }),
      fc.record({ kind: fc.constant('unreachable' as const) }),
      fc.record({ kind: fc.constant('sent' as const), count: fc.nat(3) }),
      fc.record({ kind: fc.constant('heard' as const), afterMs: fc.nat(300) }),
    )
    fc.assert(
      fc.property(fc.array(action, { maxLength: 40 }), (actions) => {
        const peer = progress()
        let nowMs = 0
        for (const act of actions) {
          const before = peer.state
          const match = peer.match
          if (act.kind === 'accepted') peer.accepted(act.index, act.first, nowMs)
          else if (act.kind === 'rejected') peer.rejected(act.index, act.probe)
          else if (act.kind === 'log-gone') peer.needsSnapshot(act.index)
          else if (act.kind === 'ended') peer.snapshotEnded(act.index)
          else if (act.kind === 'unreachable') peer.unreachable()
          else if (act.kind === 'heard') peer.heardOf(30, PATIENCE_MS, (nowMs += act.afterMs))
          else if (peer.state !== 'snapshot' && !peer.inflight.full) {
            peer.sent(peer.next - 1 + act.count, act.count * 10, nowMs)
          }
          const reachable = new Set<ProgressState>([before, ...Object.values(NEXT_STATE[before])])
          expect(reachable.has(peer.state)).toBe(true)
          expect(peer.match).toBeGreaterThanOrEqual(match)
          expect(peer.next).toBeGreaterThan(peer.match)
          if (peer.state !== 'replicate') expect(peer.inflight.count).toBe(0)
        }
      }),
      { numRuns: 2000 },
    )
  })

  it('ignores refusals that are older than what it knows', () => {
    const peer = progress()
    expect(peer.rejected(7, 3)).toBe(false)
    expect(peer.accepted(9, 1, 0)).toBe(true)
    expect(peer.state).toBe('replicate')
    expect(peer.rejected(9, 3)).toBe(false)
    peer.sent(12, 30, 0)
    expect(peer.rejected(12, 3)).toBe(true)
    expect([peer.state, peer.next]).toEqual(['probe', 10])
  })

  it('waits for news before it probes again', () => {
    const peer = progress()
    peer.sent(9, 0, 0)
    expect(peer.heardOf(12, PATIENCE_MS, 99)).toBe(false)
    expect(peer.heardOf(12, PATIENCE_MS, 100)).toBe(true)
    expect([peer.probing, peer.mustSend]).toEqual([false, true])
  })

  it('says from where on the log is needed', () => {
    const peer = progress()
    const seen = [peer.neededFrom]
    const then = (act: () => void): void => {
      act()
      seen.push(peer.neededFrom)
    }
    then(() => peer.rejected(9, 4))
    then(() => peer.accepted(4, 1, 0))
    // On its way is not there.
    then(() => peer.sent(8, 30, 0))
    then(() => peer.accepted(6, 1, 0))
    then(() => peer.needsSnapshot(20))
    then(() => peer.snapshotEnded(20))
    then(() => peer.accepted(20, 15, 0))
    then(() => peer.needsSnapshot(30))
    then(() => peer.snapshotEnded(null))
    expect(seen).toEqual([10, 5, 5, 5, 7, 21, 21, 21, 31, 21])
  })

  it('takes a state whose end is told late or twice', () => {
    const peer = progress()
    peer.needsSnapshot(20)
    expect(peer.accepted(5, 15, 0)).toBe(true)
    expect(peer.state).toBe('snapshot')
    expect(peer.accepted(20, 15, 0)).toBe(true)
    expect([peer.state, peer.next]).toEqual(['replicate', 21])
    peer.snapshotEnded(20)
    peer.snapshotEnded(null)
    expect([peer.state, peer.next]).toEqual(['replicate', 21])
  })
})
