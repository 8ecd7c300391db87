import { describe, expect, it } from 'vitest'
import { crc32cPure } from '../base/crc32c.ts'
import { nodeCrc32c } from '../platform/crc32c.ts'
import type { BlockBug } from './block-cluster.ts'
import { runJob } from './campaign.ts'
import type { ClusterBug } from './cluster.ts'

describe('the simulated cluster', () => {
  it('keeps every promise, and runs the same way for the same seed', async () => {
    const hashes: string[] = []
    for (const seed of [1, 2, 3, 1]) {
      const outcome = await runJob({ seed, system: 'kv', canary: null }, crc32cPure)
      expect(outcome.text).toContain(`seed ${seed}: ok`)
      expect(outcome.undecided).toBe(false)
      expect(outcome.operations).toBeGreaterThan(50)
      hashes.push(outcome.hash)
    }
    expect(hashes[3]).toBe(hashes[0])
    expect(new Set(hashes).size).toBe(3)
  })

  it('serves blocks through faults, as one writer after the other', async () => {
    const hashes: string[] = []
    for (const seed of [1, 2, 1]) {
      const outcome = await runJob({ seed, system: 'block', canary: null }, nodeCrc32c())
      expect(outcome.text).toContain(`seed ${seed}: ok`)
      expect(outcome.operations).toBeGreaterThan(50)
      hashes.push(outcome.hash)
    }
    expect(hashes[2]).toBe(hashes[0])
    expect(hashes[1]).not.toBe(hashes[0])
  })

  it.each<BlockBug>(['discard-not-replicated', 'stale-lease', 'manifest-before-sync'])(
    'is found wrong with the bug %s of block volumes',
    async (canary) => {
      let caught = false
      for (let seed = 1; seed <= 10 && !caught; seed++) {
        const outcome = await runJob({ seed, system: 'block', canary }, nodeCrc32c())
        caught = outcome.caughtBy !== null
      }
      expect(caught).toBe(true)
    },
  )

  it.each<ClusterBug>(['vote-not-persisted', 'ack-before-persist', 'commit-older-term'])(
    'is found wrong with the bug %s',
    async (canary) => {
      let caught = false
      for (let seed = 1; seed <= 10 && !caught; seed++) {
        caught = (await runJob({ seed, system: 'kv', canary }, crc32cPure)).caughtBy !== null
      }
      expect(caught).toBe(true)
    },
  )
})
