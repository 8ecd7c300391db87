import { expect, it } from 'vitest'
import { nodeRandom } from './random.ts'

it('differs from start to start', () => {
  const draws = Array.from({ length: 8 }, () => nodeRandom().u32())
  expect(new Set(draws).size).toBeGreaterThan(1)
})
