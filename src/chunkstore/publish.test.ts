// A checkpoint under which a chunk goes away: what the manifest then says of it holds only once the log
// has come again as far as that.

import { describe, expect, it } from 'vitest'
import { makeRig } from '../sim/disk-rig.ts'
import {
  applyTo,
  entryOf,
  GROUP,
  markOf,
  openStore,
  REPLICA,
  writeOf,
} from './testing/chunk-rig.ts'

describe('a checkpoint', () => {
  it('names a chunk that goes meanwhile as not settled before its end', async () => {
    const rig = makeRig()
    const store = await openStore(rig)
    const replica = await store.openReplica(GROUP, REPLICA)
    applyTo(replica, writeOf(1, 0, [11]))
    await replica.checkpoint(markOf(1))
    applyTo(replica, writeOf(2, 0, [22]))
    const checkpoint = replica.checkpoint(markOf(2))
    applyTo(replica, entryOf(3, 'zero', { blockCount: 1 }))
    await checkpoint
    await store.close()
    const again = await (await openStore(rig)).openReplica(GROUP, REPLICA)
    expect(again.appliedIndex).toBe(2)
    // Its table is the one of entry 1, though its row is of entry 2: no replica's digest is like it.
    expect(again.settledIndex).toBe(3)
    applyTo(again, entryOf(3, 'zero', { blockCount: 1 }))
    expect(again.usage().chunks).toBe(0)
  })
})
