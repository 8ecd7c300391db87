// What src/platform/lmdb-kill.test.ts kills: commits to a metadata store, several at once, and tells its
// parent of each one that is answered.
// Usage: node dist/test/e2e/commit-until-killed.js DIRECTORY

import { must } from '../../src/base/assert.ts'
import type { MetaChange } from '../../src/env/metastore.ts'
import { LmdbStore } from '../../src/platform/lmdb-store.ts'

const LANES = 4
const KEYS_PER_COMMIT = 3

const store = await LmdbStore.open(must(process.argv[2], 'a directory'))

/** Commit `count` of a lane puts the same value under each of its keys. */
async function commitOn(lane: number): Promise<void> {
  const last = await store.get(`lane/${lane}/0`)
  for (let count = Number(last?.value ?? 0) + 1; ; count++) {
    const changes = Array.from({ length: KEYS_PER_COMMIT }, (_, i): MetaChange => {
      return { kind: 'put', key: `lane/${lane}/${i}`, value: String(count) }
    })
    const revision = await store.commit([], changes)
    process.send?.({ lane, count, revision })
  }
}

await Promise.all(Array.from({ length: LANES }, (_, lane) => commitOn(lane)))
