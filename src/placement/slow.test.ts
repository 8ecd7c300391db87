import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  peersLatencyUs,
  recordedSense,
  type Sense,
  type SlowLimits,
  sense,
  UNKNOWN_SENSE,
} from './slow.ts'

const LIMITS: SlowLimits = {
  slowFactor: 4,
  slowFloorMs: 20,
  slowSeconds: 5,
  slowRecoverMs: 60_000,
  diskErrorsMax: 8,
  diskErrorsForgetMs: 3_600_000,
}
const PEERS_US = 1000
const SLOW_US = 50_000

function feel(meansUs: readonly number[], from = UNKNOWN_SENSE, peersUs: number | null = PEERS_US) {
  let known: Sense = from
  let nowMs = 1000
  for (const meanUs of meansUs) {
    known = sense(known, { seconds: [{ meanUs }], errors: 0 }, peersUs, LIMITS, nowMs)
    nowMs += 1000
  }
  return known
}

describe('a disk that is slower than its peers', () => {
  it('is slow after five seconds, whether they are told one by one or at once', () => {
    expect(feel(Array(4).fill(SLOW_US)).slow).toBe(null)
    expect(feel(Array(5).fill(SLOW_US)).slow).toBe('latency')
    const seconds = Array(5).fill({ meanUs: SLOW_US })
    const known = sense(UNKNOWN_SENSE, { seconds, errors: 0 }, PEERS_US, LIMITS, 0)
    expect(known.slow).toBe('latency')
  })

  it('is not slow when it hiccups, nor below the floor, nor when all are as slow', () => {
    expect(feel([SLOW_US, SLOW_US, 500, SLOW_US, SLOW_US, 500, SLOW_US, 500]).slow).toBe(null)
    expect(feel(Array(20).fill(19_000)).slow).toBe(null)
    expect(feel(Array(20).fill(SLOW_US), UNKNOWN_SENSE, 30_000).slow).toBe(null)
    expect(feel(Array(20).fill(SLOW_US), UNKNOWN_SENSE, null).slow).toBe(null)
  })

  it('is sound again only after a minute without a second near the bound', () => {
    const slow = feel(Array(5).fill(SLOW_US))
    expect(feel(Array(60).fill(500), slow).slow).toBe('latency')
    expect(feel(Array(61).fill(500), slow).slow).toBe(null)
    // Half of the bound is 10 ms: to be a little faster than slow is not enough.
    expect(feel(Array(200).fill(11_000), slow).slow).toBe('latency')
    const disturbed = [...Array(59).fill(500), 11_000, ...Array(59).fill(500)]
    expect(feel(disturbed, slow).slow).toBe('latency')
  })

  it('that was silent for long is not slow again by one bad second', () => {
    const slow = feel([...Array(5).fill(SLOW_US), 500])
    const later = sense(slow, { seconds: [], errors: 0 }, PEERS_US, LIMITS, 100_000)
    expect(later.slow).toBe(null)
    expect(feel([SLOW_US], later).slow).toBe(null)
    expect(feel(Array(5).fill(SLOW_US), later).slow).toBe('latency')
  })

  it('stays slow over a start of the MDS, without a second of proof', () => {
    const slow = recordedSense('latency', LIMITS, 1000)
    expect(feel([500, 500], slow).slow).toBe('latency')
    expect(feel(Array(61).fill(500), slow).slow).toBe(null)
  })
})

describe('a disk that returns errors', () => {
  const fail = (from: Sense, errors: number, nowMs: number): Sense =>
    sense(from, { seconds: [], errors }, null, LIMITS, nowMs)

  it('is sick when there were enough of them within the time', () => {
    expect(fail(UNKNOWN_SENSE, 7, 0).slow).toBe(null)
    expect(fail(fail(UNKNOWN_SENSE, 7, 0), 1, 3_599_000).slow).toBe('errors')
    expect(fail(fail(UNKNOWN_SENSE, 7, 0), 1, 3_600_000).slow).toBe(null)
  })

  it('is sound again after that time without one, also when it was recorded as sick', () => {
    const sick = fail(UNKNOWN_SENSE, 9, 0)
    expect(fail(sick, 0, 3_599_999).slow).toBe('errors')
    expect(fail(sick, 0, 3_600_000).slow).toBe(null)
    const recorded = recordedSense('errors', LIMITS, 5000)
    expect(fail(recorded, 0, 6000).slow).toBe('errors')
    expect(fail(recorded, 0, 3_605_000).slow).toBe(null)
  })
})

describe('what a disk is compared with', () => {
  it('is the upper median of the others', () => {
    const list = fc.array(fc.integer({ min: 0, max: 50 }), { minLength: 1, maxLength: 12 })
    fc.assert(
      fc.property(list, fc.nat(), (values, pick) => {
        const at = pick % values.length
        const others = values.toSpliced(at, 1).sort((a, b) => a - b)
        const sorted = values.map((us, id) => ({ id, us })).sort((a, b) => a.us - b.us)
        const expected = others.length < 2 ? null : others[Math.floor(others.length / 2)]
        expect(peersLatencyUs(sorted, at)).toBe(expected)
      }),
    )
  })

  it('counts all when it has no figure itself', () => {
    const sorted = [1, 5, 9].map((us) => ({ id: us, us }))
    expect(peersLatencyUs(sorted, 2)).toBe(5)
    expect(peersLatencyUs(sorted.slice(0, 1), 2)).toBe(null)
  })
})
