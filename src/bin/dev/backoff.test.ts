import { expect, it } from 'vitest'
import { Backoff } from './backoff.ts'

it('doubles the pause up to a limit, and forgets when it was well', () => {
  const backoff = new Backoff()
  const pauses: number[] = []
  for (let nowMs = 0; pauses.length < 8; nowMs += 1000) {
    backoff.began(nowMs)
    pauses.push(backoff.pauseMs(nowMs + 999))
  }
  expect(pauses).toEqual([200, 400, 800, 1600, 3200, 6400, 10_000, 10_000])
  backoff.began(50_000)
  expect(backoff.pauseMs(80_000)).toBe(200)
  backoff.began(80_100)
  expect(backoff.pauseMs(80_200)).toBe(400)
})
