import { configDefaults, defineConfig } from 'vitest/config'

/** The consensus core and what carries it: untested lines there are where writes get lost. */
const GUARDED = ['src/raft', 'src/raftlog', 'src/rpc', 'src/copyset']
const THRESHOLD = { lines: 90, branches: 85 }
const GUARDED_TESTS = GUARDED.map((folder) => `${folder}/**/*.test.ts`)

export default defineConfig({
  test: {
    // Each guarded folder is covered by its own tests, so that only those pay for being measured.
    projects: [
      { extends: true, test: { name: 'guarded', include: GUARDED_TESTS } },
      {
        extends: true,
        test: {
          name: 'others',
          include: ['src/**/*.test.ts', 'test/**/*.test.ts', 'bench/**/*.test.ts'],
          exclude: [...configDefaults.exclude, ...GUARDED_TESTS],
        },
      },
    ],
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
