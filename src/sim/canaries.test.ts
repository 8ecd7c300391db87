import { describe, expect, it } from 'vitest'
import { nodeCrc32c } from '../platform/crc32c.ts'
import type { BlockBug } from './block-cluster.ts'
import { runJob } from './campaign.ts'
import { allCanaries } from './canaries.ts'
import type { ClusterBug } from './cluster.ts'
import type { Checker } from './verdict.ts'

/** Does not compile while a planted bug is missing. */
const BUGS: Readonly<Record<ClusterBug | BlockBug, 'kv' | 'block'>> = {
  'vote-not-persisted': 'kv',
  'ack-before-persist': 'kv',
  'ack-before-sync': 'kv',
  'stale-read': 'kv',
  'commit-older-term': 'kv',
  'no-joint-quorum': 'kv',
  'truncate-at-corruption': 'kv',
  'no-turn-after-load': 'kv',
  'install-over-newer': 'kv',
  'discard-not-replicated': 'block',
  'unverified-read': 'block',
  'write-back-forgets': 'block',
  'manifest-before-sync': 'block',
  'stale-lease': 'block',
  'allocation-before-commit': 'block',
  'epoch-before-propose-only': 'block',
  'no-attempt-check': 'block',
  'unfenced-writes': 'block',
  'operators-not-loaded': 'block',
  'operators-vanish': 'block',
  'recovery-below-quorum': 'block',
  'serves-past-deadline': 'block',
  'stale-mirror': 'block',
  'guard-ignored': 'block',
}

const SEEDS_MAX = 30

async function huntFor(
  canary: BlockBug,
  checkers: readonly Checker[],
): Promise<{ readonly seed: number; readonly caughtBy: Checker | null }> {
  for (let seed = 1; seed <= SEEDS_MAX; seed++) {
    const { caughtBy } = await runJob({ seed, system: 'block', canary }, nodeCrc32c())
    if (caughtBy !== null && checkers.includes(caughtBy)) return { seed, caughtBy }
  }
  return { seed: SEEDS_MAX, caughtBy: null }
}

describe('the planted bugs', () => {
  it('each have a canary, in the system where they can be planted', () => {
    const sorted = (names: readonly (readonly string[])[]): unknown => names.map(String).sort()
    const canaries = allCanaries().map(({ name, system }) => [name, system])
    expect(sorted(canaries)).toEqual(sorted(Object.entries(BUGS)))
  })

  it.each<[BlockBug, readonly Checker[]]>([
    ['unfenced-writes', ['leaders']],
    ['operators-not-loaded', ['operators', 'liveness']],
    ['operators-vanish', ['operators']],
    ['recovery-below-quorum', ['operators']],
    ['serves-past-deadline', ['leaders']],
    ['stale-mirror', ['operators', 'linearizability', 'one-writer']],
    ['guard-ignored', ['operators']],
    ['unverified-read', ['linearizability', 'chunks']],
  ])('%s is found, and nothing in the same weather without it', async (canary, checkers) => {
    const { seed, caughtBy } = await huntFor(canary, checkers)
    expect(checkers).toContain(caughtBy)
    const sound = await runJob({ seed, system: 'block', canary, isSound: true }, nodeCrc32c())
    expect(sound.text).toContain(`seed ${seed}: ok`)
  })
})
