// What src/platform/lmdb-kill.test.ts starts with little room for files: commits to a metadata store until
// one fails, and prints how many were answered, what the failed one said, and what the next one does.
// Usage: node dist/test/e2e/commit-until-full.js DIRECTORY

import { must } from '../../src/base/assert.ts'
import { asLemnisError } from '../../src/base/errors.ts'
import { LmdbStore } from '../../src/platform/lmdb-store.ts'

const VALUE = 'x'.repeat(40_000)

const store = await LmdbStore.open(must(process.argv[2], 'a directory'))
const said: string[] = []
let answered = 0
while (said.length < 2) {
  try {
    await store.commit([], [{ kind: 'put', key: `k${answered}`, value: VALUE }])
    answered++
  } catch (error) {
    said.push(asLemnisError(error).code)
  }
}
await store.close()
process.stdout.write(`${JSON.stringify({ answered, said })}\n`)
