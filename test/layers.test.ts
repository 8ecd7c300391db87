import { describe, expect, it } from 'vitest'
import { importsOf, layerViolations } from './layers.ts'
import { filesUnder } from './sources.ts'

function violationsOf(path: string, specifier: string): string[] {
  return layerViolations([{ path, text: `import { x } from '${specifier}'\n` }])
}

describe('the order of the folders', () => {
  it('holds in src', () => {
    const files = filesUnder('src', '.ts')
    expect(files.length).toBeGreaterThan(20)
    expect(layerViolations(files)).toEqual([])
  })

  it.each([
    ['src/raft/node.ts', '../base/assert.ts'],
    ['src/raft/node.ts', './log.ts'],
    ['src/raft/tracker/progress.ts', '../node.ts'],
    ['src/copyset/host.ts', '../rpc/client.ts'],
    ['src/env/env.ts', '../base/crc32c.ts'],
    ['src/platform/disk.ts', 'node:fs'],
    ['src/bin/sim.ts', 'commander'],
    ['src/bin/sim.ts', '../sim/run.ts'],
    ['src/sim/turns.ts', 'node:process'],
    ['src/sim/cluster.ts', '../copyset/testing/kv.ts'],
    ['src/raft/scripts.test.ts', 'node:fs'],
    ['src/copyset/host.test.ts', '../sim/world.ts'],
    ['src/raftlog/log.test.ts', '../../test/contract/disk.ts'],
    ['src/copyset/testing/kv.ts', '../state-machine.ts'],
  ])('lets %s import %s', (path, specifier) => {
    expect(violationsOf(path, specifier)).toEqual([])
  })

  it.each([
    ['src/base/errors.ts', '../raft/types.ts', 'raft is above base'],
    ['src/base/errors.ts', '../env/env.ts', 'env is above base'],
    ['src/format/frame.ts', '../raft/types.ts', 'raft is above format'],
    ['src/format/frame.ts', '../observe/observe.ts', 'observe is a sibling of format'],
    ['src/rpc/client.ts', '../raftlog/log.ts', 'raftlog is a sibling of rpc'],
    ['src/copyset/host.ts', '../platform/disk.ts', 'platform is above copyset'],
    ['src/sim/world.ts', '../platform/clock.ts', 'platform is a sibling of sim'],
    ['src/platform/disk.ts', '../bin/sim.ts', 'bin is above platform'],
    ['src/copyset/host.ts', './testing/kv.ts', 'testing/ is for tests and the simulator'],
    ['src/raft/node.ts', 'node:crypto', 'only platform/ and bin/ import packages'],
    ['src/sim/disk.ts', 'node:fs', 'only platform/ and bin/ import packages'],
    ['src/copyset/testing/kv.ts', 'node:fs', 'only platform/ and bin/ import packages'],
    ['src/raft/node.ts', '../../test/sources.ts', 'outside of the folders of src'],
    ['src/raft/node.test.ts', '../bin/sim.ts', 'bin/ is above the tests'],
    ['src/raft/node.ts', '../attic/old.ts', 'src/attic has no level in test/layers.ts'],
  ])('refuses %s importing %s', (path, specifier, reason) => {
    expect(violationsOf(path, specifier)).toEqual([`${path}: imports ${specifier}: ${reason}`])
  })

  it('wants a level for every folder', () => {
    expect(layerViolations([{ path: 'src/attic/old.ts', text: '' }])).toHaveLength(1)
  })

  it('sees every form of import', () => {
    const text = `import a from './a.ts'
      import type { B } from "./b.ts"
      import {
        c,
      } from './c.ts'
      import './d.ts'
      export { e } from './e.ts'
      const f = await import('./f.ts')`
    expect(importsOf(text)).toEqual(['a', 'b', 'c', 'd', 'e', 'f'].map((name) => `./${name}.ts`))
  })
})
