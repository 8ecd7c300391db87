import { describe, expect, it } from 'vitest'
import { durability, lossAtOnce } from './durability.ts'

const FACTS = {
  replicas: 3,
  copysets: 20_000,
  mtbfHours: 1_200_000,
  rebuildHours: 1 / 12,
  rescueHours: 1 / 12,
}

/** Steps of the chain in a small cluster whose disks fail all the time, counted one by one. */
function counted(mtbfHours: number, rebuildHours: number, rescueHours: number): number {
  // Of the states 3, 2 and 1 left, the mean time until none is left, by first-step analysis.
  const fails = (left: number): number => left / mtbfHours
  const three = 1 / fails(3)
  const two = 1 / (fails(2) + 1 / rebuildHours)
  const one = 1 / (fails(1) + 1 / rescueHours)
  const twoFails = two * fails(2)
  const oneFails = one * fails(1)
  // T3 = three + T2; T2 = two + (1 - twoFails) T3 + twoFails T1; T1 = one + (1 - oneFails) T2.
  const backToTwo = 1 - oneFails
  const t2 =
    (two + (1 - twoFails) * three + twoFails * one) / (1 - (1 - twoFails) - twoFails * backToTwo)
  return three + t2
}

describe('durability', () => {
  it('is that of the chain, solved exactly, where rebuilds are short', () => {
    const facts = { ...FACTS, copysets: 1, mtbfHours: 10_000, rebuildHours: 1, rescueHours: 4 }
    const mean = counted(facts.mtbfHours, facts.rebuildHours, facts.rescueHours)
    const ratio = durability(facts).lossPerYear / ((24 * 365) / mean)
    expect(ratio).toBeGreaterThan(1)
    expect(ratio).toBeLessThan(1.002)
  })

  it('gets worse with every hour until people come, with every copyset, and with fewer replicas', () => {
    const { lossPerYear, quorumLossPerYear } = durability(FACTS)
    expect(quorumLossPerYear).toBeGreaterThan(lossPerYear)
    expect(durability({ ...FACTS, rescueHours: 24 }).lossPerYear / lossPerYear).toBeCloseTo(288, 6)
    expect(durability({ ...FACTS, copysets: 60_000 }).lossPerYear / lossPerYear).toBeCloseTo(3, 6)
    expect(durability({ ...FACTS, replicas: 2 }).lossPerYear).toBeGreaterThan(1000 * lossPerYear)
    const single = durability({ ...FACTS, replicas: 1, copysets: 10 })
    expect(single.lossPerYear).toBeCloseTo((10 * 8760) / 1_200_000, 9)
    expect(single.quorumLossPerYear).toBe(single.lossPerYear)
  })

  it('counts simultaneous failures', () => {
    expect(lossAtOnce(9, 2, 3, 54)).toBe(0)
    expect(lossAtOnce(9, 9, 3, 1)).toBe(1)
    // 3 of 9 are 1 of 84 sets of three.
    expect(lossAtOnce(9, 3, 3, 1)).toBeCloseTo(1 / 84, 12)
    expect(lossAtOnce(9, 3, 3, 3)).toBeCloseTo(1 - (83 / 84) ** 3, 12)
    // The example of the paper: 5,000 nodes of which 1 % fail; one thousand copysets and many.
    expect(lossAtOnce(5000, 50, 3, 1667)).toBeLessThan(0.002)
    expect(lossAtOnce(5000, 50, 3, 10_000_000)).toBeGreaterThan(0.99)
  })
})
