import { describe, expect, it } from 'vitest'
import { judgeViews } from './compare.ts'

const view = (version: number, digest: number, appliedIndex = 100) => ({
  version,
  digest,
  appliedIndex,
})

describe('replicas of a chunk', () => {
  it('are the same with equal versions and digests', () => {
    expect(judgeViews([view(5, 1), view(5, 1), view(5, 1)], 3).kind).toBe('same')
    expect(judgeViews([view(5, 1)], 3).kind).toBe('same')
  })

  it('are looked at again when one may not have applied what another shows', () => {
    expect(judgeViews([view(90, 2), view(50, 1, 80), view(90, 2)], 3).kind).toBe('again')
  })

  it('differ when both have applied what either shows', () => {
    expect(judgeViews([view(5, 1), view(4, 1), view(5, 1)], 3)).toEqual({
      kind: 'differ',
      odd: [1],
      version: 5,
      digest: 1,
    })
  })

  it('have one odd among three, be it the first', () => {
    const verdict = judgeViews([view(5, 9), view(5, 1), view(5, 1)], 3)
    expect(verdict).toEqual({ kind: 'differ', odd: [0], version: 5, digest: 1 })
  })

  it('have nobody odd without a majority of all voters', () => {
    const all = judgeViews([view(5, 1), view(5, 2), view(5, 3)], 3)
    expect(all).toMatchObject({ kind: 'differ', odd: null })
    const two = judgeViews([view(5, 1), view(5, 2)], 3)
    expect(two).toMatchObject({ kind: 'differ', odd: null })
  })

  it('count a missing chunk as a view too', () => {
    const verdict = judgeViews([view(5, 1), view(0, 0), view(5, 1)], 3)
    expect(verdict).toMatchObject({ kind: 'differ', odd: [1] })
  })
})
