// The same on a real file system: write, checkpoint, restart and replay, flipped bits, transfer, removal.

import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { must } from '../base/assert.ts'
import { Prng } from '../base/prng.ts'
import { GIB } from '../base/units.ts'
import type { Env } from '../env/env.ts'
import { SILENT } from '../observe/observe.ts'
import type { NodeDisk } from '../platform/disk.ts'
import { nodeEnv } from '../platform/env.ts'
import { TRANSFER_END } from '../raft/snapshot.ts'
import { ChunkStore } from './chunk-store.ts'
import { chunkStoreConfig } from './config.ts'
import { blockAt } from './layout.ts'
import {
  applyTo,
  applyToTwin,
  expectSame,
  GROUP,
  type LogEntry,
  markOf,
  REPLICA,
  randomEntry,
  SMALL,
  writeOf,
} from './testing/chunk-rig.ts'
import { Twin } from './testing/twin.ts'

const opened: { readonly root: string; readonly env: Env }[] = []

function makeEnv(): { readonly root: string; readonly env: Env } {
  const root = mkdtempSync(join(tmpdir(), 'lemnis-chunks-'))
  const made = { root, env: nodeEnv(root) }
  opened.push(made)
  return made
}

afterEach(async () => {
  for (const { root, env } of opened.splice(0)) {
    await (env.disk as NodeDisk).close()
    rmSync(root, { recursive: true })
  }
})

function open(env: Env): Promise<ChunkStore> {
  const config = chunkStoreConfig({ ...SMALL, capacityBytes: GIB, dirtyAgeMs: 2 })
  return ChunkStore.open(env, SILENT, 'disk/store', config)
}

describe('a chunk store on a real disk', () => {
  it('keeps what was checkpointed, and becomes the same with the log since', async () => {
    const { env, root } = makeEnv()
    const twin = new Twin()
    const random = new Prng(3)
    const log: LogEntry[] = []
    let store = await open(env)
    let replica = await store.openReplica(GROUP, REPLICA)
    for (let index = 1; index <= 300; index++) {
      const entry = randomEntry(index, random)
      log.push(entry)
      applyToTwin(twin, entry)
      applyTo(replica, entry)
      if (index % 70 === 0) await replica.checkpoint(markOf(index))
      if (index % 110 !== 0) continue
      await store.close()
      store = await open(env)
      replica = await store.openReplica(GROUP, REPLICA)
      expect(replica.appliedIndex).toBe(index - (index % 70))
      for (const one of log) if (one.index > replica.appliedIndex) applyTo(replica, one)
      await expectSame(replica, twin, `at ${index}`)
    }
    await expectSame(replica, twin, 'at the end')
    const damaged = writeOf(301, 0, [5, 6], { epoch: 99, sn: 99, chunk: 9 })
    applyTo(replica, damaged)
    await replica.checkpoint(markOf(301))
    const path = must([...must(replica.state.chunk(9), 'a chunk').files()][0], 'a file').file.path
    const fd = openSync(join(root, path), 'r+')
    writeSync(fd, 'x', blockAt(1))
    closeSync(fd)
    const bad = { status: 'bad', blocks: [{ sn: 99, block: 1, version: 301 }] }
    expect(await replica.read(9, 0, 0, 2)).toEqual(bad)
    await store.close()
    await store.removeReplica(GROUP, REPLICA)
    expect(await env.disk.list('disk/store/chunks')).toEqual([])
  })

  it('gives its state to another', async () => {
    const [a, b] = [await open(makeEnv().env), await open(makeEnv().env)]
    const from = await a.openReplica(GROUP, 1)
    const to = await b.openReplica(GROUP, 2)
    const twin = new Twin()
    const random = new Prng(4)
    for (let index = 1; index <= 200; index++) {
      const entry = randomEntry(index, random)
      applyTo(from, entry)
      applyToTwin(twin, entry)
    }
    const source = from.snapshot()
    const sink = await to.receive(source.index, source.items)
    for (const { id } of sink.wanted) {
      const have = await sink.have(id)
      for (let cursor = 0; cursor !== TRANSFER_END; ) {
        const { bytes, next } = await source.read(id, cursor, 100_000, have)
        await sink.write(id, cursor, bytes, next)
        cursor = next
      }
    }
    await sink.finish(markOf(200))
    await expectSame(to, twin, 'received')
    expect(await to.digest()).toBe(await from.digest())
    await a.close()
    await b.close()
  })
})
