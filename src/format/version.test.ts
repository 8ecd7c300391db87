import { expect, it } from 'vitest'
import { agreeOnVersion, SPOKEN } from './version.ts'

it('agrees on the newest version that both speak', () => {
  const range = (oldest: number, newest: number) => ({ oldest, newest })
  expect(agreeOnVersion(range(1, 3), range(2, 4))).toBe(3)
  expect(agreeOnVersion(range(2, 4), range(1, 3))).toBe(3)
  expect(agreeOnVersion(range(1, 1), range(1, 9))).toBe(1)
  expect(agreeOnVersion(range(1, 2), range(3, 4))).toBeNull()
  expect(agreeOnVersion(range(3, 4), range(1, 2))).toBeNull()
  expect(agreeOnVersion(SPOKEN, SPOKEN)).toBe(SPOKEN.newest)
})

it('agrees with nobody whose range is turned around', () => {
  expect(agreeOnVersion({ oldest: 1, newest: 3 }, { oldest: 3, newest: 0 })).toBeNull()
})
