import { describe, expect, it } from 'vitest'
import { nodeCrc32c } from '../platform/crc32c.ts'
import { type BlockBug, BlockCluster } from './block-cluster.ts'
import type { BlockScenario } from './block-scenarios.ts'
import { checkerOf, describeResult, type RunResult, runSeed } from './run.ts'

function runScenario(seed: number, scenario: BlockScenario, bugs: BlockBug[]): Promise<RunResult> {
  return runSeed(seed, {
    crc32c: nodeCrc32c(),
    storm: true,
    make: (world, network) =>
      new BlockCluster(world, network, { scenario, bugs: new Set(bugs), faultKinds: [] }),
  })
}

describe('a scenario of block volumes', () => {
  it.each<[BlockScenario, BlockBug, string[]]>([
    ['fence-not-applied', 'epoch-before-propose-only', ['one-writer', 'linearizability']],
    ['late-writes', 'no-attempt-check', ['linearizability']],
  ])('%s does no harm, but with the bug %s', async (scenario, bug, checkers) => {
    for (const seed of [1, 2]) {
      const result = await runScenario(seed, scenario, [])
      expect(describeResult(result)).toContain(`seed ${seed}: ok`)
      expect(result.done).toBeGreaterThan(50)
    }
    let caughtBy = ''
    for (let seed = 1; seed <= 15 && caughtBy === ''; seed++) {
      const { failure } = await runScenario(seed, scenario, [bug])
      if (failure !== null) caughtBy = checkerOf(failure)
    }
    expect(checkers).toContain(caughtBy)
  })
})
