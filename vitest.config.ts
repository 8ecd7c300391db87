import { defineConfig } from 'vitest/config'

/** The consensus core and what carries it: untested lines there are where writes get lost. */
const GUARDED = ['src/raft', 'src/raftlog', 'src/rpc', 'src/copyset']
const THRESHOLD = { lines: 90, branches: 85 }

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts', 'bench/**/*.test.ts'],
    // Nothing is timed: the limit only ends a test that hangs.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    coverage: {
      provider: 'v8',
      include: GUARDED.map((folder) => `${folder}/**/*.ts`),
      exclude: ['**/*.test.ts', '**/testing/**'],
      reporter: ['text-summary', 'json-summary'],
      thresholds: Object.fromEntries(GUARDED.map((folder) => [`${folder}/**`, THRESHOLD])),
    },
  },
})
