import { describe, expect, it } from 'vitest'
import type { ReplicaId } from '../raft/types.ts'
import { Hastes, hastedBytes } from './haste.ts'
import type { GroupId } from './replica-id.ts'

const group = (id: number): GroupId => id as GroupId
const replica = (id: number): ReplicaId => id as ReplicaId

describe('haste', () => {
  it('doubles from state to state for one replica, and has a bound', () => {
    const hastes = new Hastes()
    const seen: number[] = []
    for (let nowMs = 0; nowMs < 7000; nowMs += 1000) {
      const haste = hastes.begin(group(1), replica(11), nowMs)
      seen.push(haste)
      hastes.ended(group(1), replica(11), haste, nowMs + 900)
    }
    expect(seen).toEqual([1, 2, 4, 8, 16, 16, 16])
    expect(hastes.begin(group(1), replica(12), 7000)).toBe(1)
    expect(hastes.begin(group(2), replica(11), 7000)).toBe(1)
  })

  it('makes bytes count for less, but goes past no ceiling', () => {
    expect(hastedBytes(800, 4, 10, 1000)).toBe(200)
    expect(hastedBytes(800, 4, 500, 1000)).toBe(400)
    expect(hastedBytes(800, 4, 1000, 1000)).toBe(800)
    expect(hastedBytes(800, 4, 2000, 1000)).toBe(800)
  })

  it('is not for a state that comes long after, nor for one that follows on a failure', () => {
    const hastes = new Hastes()
    expect(hastes.begin(group(1), replica(11), 0)).toBe(1)
    expect(hastes.begin(group(1), replica(11), 10)).toBe(1)
    hastes.ended(group(1), replica(11), 1, 1000)
    expect(hastes.begin(group(1), replica(11), 601_000)).toBe(2)
    expect(hastes.begin(group(1), replica(11), 601_001)).toBe(1)
  })
})
