import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Attempts } from './attempts.ts'

describe('attempts', () => {
  it('refuse what is below the highest seen, and say what that is', () => {
    const attempts = new Attempts(10)
    expect(attempts.judge(5, 1, 1, 0)).toEqual({ kind: 'ok' })
    expect(attempts.judge(5, 1, 1, 2)).toEqual({ kind: 'ok' })
    expect(attempts.judge(5, 1, 1, 1)).toEqual({ kind: 'stale', attempt: 2 })
    expect(attempts.judge(5, 1, 1, 2)).toEqual({ kind: 'ok' })
    expect(attempts.judge(5, 2, 1, 0)).toEqual({ kind: 'ok' })
  })

  it('count anew for a newer writer, whose predecessor is fenced', () => {
    const attempts = new Attempts(10)
    expect(attempts.judge(5, 1, 1, 7)).toEqual({ kind: 'ok' })
    expect(attempts.judge(5, 1, 2, 0)).toEqual({ kind: 'ok' })
    expect(attempts.judge(5, 1, 1, 8)).toEqual({ kind: 'fenced', epoch: 2 })
  })

  it('count anew in another term', () => {
    const attempts = new Attempts(10)
    attempts.judge(5, 1, 1, 7)
    expect(attempts.judge(6, 1, 1, 0)).toEqual({ kind: 'ok' })
  })

  it('remember of a volume that is forgotten what its earlier writers had', () => {
    const attempts = new Attempts(1)
    attempts.judge(5, 1, 2, 1)
    attempts.judge(5, 1, 3, 0)
    attempts.judge(5, 2, 1, 1)
    expect(attempts.judge(5, 1, 2, 0)).toEqual({ kind: 'stale', attempt: 1 })
  })

  it('never let a request through that was overtaken, however many volumes there are', () => {
    const request = fc.record({
      volume: fc.integer({ min: 1, max: 8 }),
      epoch: fc.integer({ min: 1, max: 3 }),
      attempt: fc.integer({ min: 0, max: 4 }),
    })
    fc.assert(
      fc.property(fc.array(request, { maxLength: 60 }), (requests) => {
        const attempts = new Attempts(3)
        const taken: { volume: number; epoch: number; attempt: number }[] = []
        for (const { volume, epoch, attempt } of requests) {
          const verdict = attempts.judge(1, volume, epoch, attempt)
          const overtaken = taken.some(
            (other) => other.volume === volume && other.epoch === epoch && other.attempt > attempt,
          )
          if (overtaken) expect(verdict.kind).not.toBe('ok')
          if (verdict.kind === 'ok') taken.push({ volume, epoch, attempt })
        }
      }),
    )
  })

  it('let everybody go on who comes with the attempt that was named', () => {
    const attempts = new Attempts(1)
    for (let volume = 1; volume < 20; volume++) {
      const verdict = attempts.judge(1, volume, 1, volume % 3)
      if (verdict.kind === 'ok') continue
      expect(verdict.kind).toBe('stale')
      if (verdict.kind !== 'stale') continue
      expect(attempts.judge(1, volume, 1, verdict.attempt)).toEqual({ kind: 'ok' })
    }
  })
})
