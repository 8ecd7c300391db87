// Damage at rest, wherever it may be: found, told, never served as data, and healed from a peer.

import { describe, expect, it } from 'vitest'
import { must } from '../base/assert.ts'
import { BLOCK_BYTES } from '../format/chunk-request.ts'
import type { Observer } from '../observe/observe.ts'
import { SILENT } from '../observe/observe.ts'
import { makeRig, type Rig, turns } from '../sim/disk-rig.ts'
import type { ChunkStore } from './chunk-store.ts'
import { blockAt, PAGE_BYTES, pageAt } from './layout.ts'
import type { ReplicaChunks } from './replica-chunks.ts'
import {
  applyTo,
  applyToTwin,
  blockOf,
  entryOf,
  expectRange,
  expectSame,
  GROUP,
  type LogEntry,
  markOf,
  openStore,
  REPLICA,
  writeOf,
} from './testing/chunk-rig.ts'
import { Twin } from './testing/twin.ts'
import type { BadBlock, ChunkRead } from './types.ts'

const FILLS = Array.from({ length: 20 }, (_, i) => 100 + i)
const LOG: readonly LogEntry[] = [
  writeOf(1, 0, FILLS),
  writeOf(2, 380, FILLS, {}),
  writeOf(3, 2, [7, 8], { sn: 2 }),
  writeOf(4, 0, FILLS, { chunk: 2 }),
]

interface Life {
  readonly rig: Rig
  store: ChunkStore
  replica: ReplicaChunks
  readonly told: string[]
}

function observerTo(told: string[]): Observer {
  return { ...SILENT, emit: (name) => void told.push(name) }
}

async function live(seed = 1): Promise<Life> {
  const rig = makeRig(seed)
  const told: string[] = []
  const store = await openStore(rig, {}, observerTo(told))
  const replica = await store.openReplica(GROUP, REPLICA)
  for (const entry of LOG) applyTo(replica, entry)
  await replica.checkpoint(markOf(4))
  return { rig, store, replica, told }
}

async function restart(life: Life): Promise<void> {
  await life.store.close()
  life.store = await openStore(life.rig, {}, observerTo(life.told))
  life.replica = await life.store.openReplica(GROUP, REPLICA)
}

function twinOf(log: readonly LogEntry[]): Twin {
  const twin = new Twin()
  for (const entry of log) applyToTwin(twin, entry)
  return twin
}

async function chunkFiles(rig: Rig): Promise<string[]> {
  return (await rig.disk.list('store/chunks')).map((name) => `store/chunks/${name}`)
}

function badOf(read: ChunkRead): readonly BadBlock[] {
  expect(read.status).toBe('bad')
  return read.status === 'bad' ? read.blocks : []
}

async function healFrom(life: Life, peer: ReplicaChunks, chunk: number): Promise<number> {
  const [digest] = await life.replica.digests(chunk, 1, true)
  let healed = 0
  for (const { sn, block, version } of digest?.badBlocks ?? []) {
    const { blocks, chunkVersion } = await peer.blocksFor(chunk, sn, [{ block, version }])
    const found = must(blocks[0], 'the peer has it')
    const took = await life.replica.repair(
      chunk,
      sn,
      block,
      found.version,
      found.bytes,
      chunkVersion,
    )
    if (took) healed++
  }
  return healed
}

describe('a damaged chunk store', () => {
  it('finds a flipped bit in a block, counts it once and heals it from a peer', async () => {
    const life = await live()
    const peer = await live(2)
    const [file] = await chunkFiles(life.rig)
    life.rig.disk.flip(must(file, 'a file'), blockAt(5) + 17, 3)
    const bad = badOf(await life.replica.read(1, 0, 4, 3))
    expect(bad).toEqual([{ sn: 1, block: 5, version: 1 }])
    await life.replica.read(1, 0, 5, 1)
    expect(life.store.usage().badBlocks).toBe(1)
    expect(life.told.filter((name) => name === 'chunkstore_bad_blocks')).toHaveLength(1)
    expect(await life.replica.blocksFor(1, 1, [{ block: 5, version: 1 }])).toMatchObject({
      blocks: [],
    })
    expect(await life.replica.repair(1, 1, 5, 99, blockOf(1))).toBe(false)
    expect(await life.replica.repair(1, 7, 5, 1, blockOf(1))).toBe(false)
    expect(await healFrom(life, peer.replica, 1)).toBe(1)
    await expectSame(life.replica, twinOf(LOG), 'healed')
    expect(life.store.usage().repairedBlocks).toBe(1)
    await life.replica.checkpoint(markOf(4))
    await restart(life)
    await expectSame(life.replica, twinOf(LOG), 'healed, after a restart')
    expect(await life.replica.digest()).toBe(await peer.replica.digest())
  })

  it('finds a flipped bit anywhere in a block, by reading or by scrubbing', async () => {
    for (const at of [0, 1, 511, 512, 2048, 4095]) {
      const life = await live()
      const [file] = await chunkFiles(life.rig)
      life.rig.disk.flip(must(file, 'a file'), blockAt(0) + at, at % 8)
      const [before] = await life.replica.digests(1, 1, false)
      const [after] = await life.replica.digests(1, 1, true)
      expect(after?.badBlocks).toEqual([{ sn: 1, block: 0, version: 1 }])
      expect(after?.digest).not.toBe(before?.digest)
      badOf(await life.replica.read(1, 0, 0, 1))
    }
  })

  it('takes a damaged page of a table for blocks of unknown content, and heals them', async () => {
    const life = await live()
    const peer = await live(2)
    const [file] = await chunkFiles(life.rig)
    for (const at of [0, 9, 100, 300, PAGE_BYTES - 1]) {
      await life.store.close()
      for (const slot of [0, 1]) {
        try {
          life.rig.disk.flip(must(file, 'a file'), pageAt(1, slot) + at)
        } catch {
          // A slot that was never written has nothing to flip.
        }
      }
      await restart(life)
      const bad = badOf(await life.replica.read(1, 0, 380, 20))
      expect(bad.map(({ version }) => version)).toEqual(new Array(16).fill(0))
      expect(bad[0]).toEqual({ sn: 1, block: 384, version: 0 })
      // A version of a peer counts only at the same version of the chunk.
      expect(await life.replica.repair(1, 1, 384, 2, blockOf(104), 77)).toBe(false)
      expect(await healFrom(life, peer.replica, 1)).toBe(16)
      await expectSame(life.replica, twinOf(LOG), 'healed')
      await life.replica.checkpoint(markOf(4))
    }
  })

  it('keeps what a table still knows when another page of it is damaged', async () => {
    const life = await live()
    const [file] = await chunkFiles(life.rig)
    life.rig.disk.flip(must(file, 'a file'), pageAt(0, 0) + 300)
    await restart(life)
    applyTo(life.replica, writeOf(5, 385, [66], { sn: 2 }))
    await life.replica.checkpoint(markOf(5))
    await restart(life)
    const twin = twinOf([...LOG, writeOf(5, 385, [66], { sn: 2 })])
    await expectRange(life.replica, twin, 1, 0, 384, 16, 'the other page')
    expect(badOf(await life.replica.read(1, 1, 0, 2))).toHaveLength(2)
  })

  it('makes a removed file anew, from a peer', async () => {
    const life = await live()
    const peer = await live(2)
    for (const file of await chunkFiles(life.rig)) await life.rig.disk.remove(file)
    await restart(life)
    expect(badOf(await life.replica.read(2, 0, 0, 20))).toHaveLength(20)
    expect(await healFrom(life, peer.replica, 1)).toBe(40 + 2)
    expect(await healFrom(life, peer.replica, 2)).toBe(20)
    await turns(200)
    await life.replica.checkpoint(markOf(4))
    await restart(life)
    await expectSame(life.replica, twinOf(LOG), 'made anew')
  })

  it('takes a short file for bad blocks', async () => {
    const life = await live()
    const files = await chunkFiles(life.rig)
    const file = await life.rig.disk.open(must(files.at(-1), 'a file'))
    await file.truncate(blockAt(10) + 100)
    const bad = badOf(await life.replica.read(2, 0, 8, 4))
    expect(bad.map(({ block }) => block)).toEqual([10, 11])
  })

  it('never opens with a damaged manifest, wherever the bit is', async () => {
    const { rig, store } = await live()
    await store.close()
    const [name] = await rig.disk.list('store/manifests')
    const path = `store/manifests/${must(name, 'a manifest')}`
    const bytes = await (await rig.disk.open(path)).sizeBytes()
    for (let at = 0; at < bytes; at += at < 100 ? 1 : 7) {
      rig.disk.flip(path, at, at % 8)
      const again = await openStore(rig)
      await expect(again.openReplica(GROUP, REPLICA), `byte ${at}`).rejects.toMatchObject({
        code: 'CORRUPT',
      })
      await again.close()
      rig.disk.flip(path, at, at % 8)
    }
    const whole = await openStore(rig)
    await expectSame(await whole.openReplica(GROUP, REPLICA), twinOf(LOG), 'flipped back')
  })

  it('does not take a replica without a manifest for a new one, and removes it', async () => {
    const { rig, store } = await live()
    await store.close()
    for (const name of await rig.disk.list('store/manifests')) {
      await rig.disk.remove(`store/manifests/${name}`)
    }
    const again = await openStore(rig, { trashAfterMs: 1000 })
    await expect(again.openReplica(GROUP, REPLICA)).rejects.toMatchObject({ code: 'CORRUPT' })
    await again.removeReplica(GROUP, REPLICA)
    await again.removeReplica(GROUP, REPLICA)
    expect(await rig.disk.list('store/chunks')).toEqual([])
    const anew = await again.openReplica(GROUP, REPLICA)
    expect(anew.appliedIndex).toBe(0)
    expect(anew.mark.byteLength).toBe(0)
    await turns(50)
    expect(await rig.disk.list('store/trash')).toEqual([])
  })

  it('does not take the manifest of another replica', async () => {
    const { rig, store } = await live()
    await store.close()
    const [name] = await rig.disk.list('store/manifests')
    await rig.disk.rename(`store/manifests/${name}`, `store/manifests/${GROUP}-99.2`)
    const again = await openStore(rig)
    await expect(again.openReplica(GROUP, 99)).rejects.toMatchObject({ code: 'CORRUPT' })
  })

  it('never serves what a disk that lies has written elsewhere', async () => {
    for (let seed = 1; seed <= 10; seed++) {
      const rig = makeRig(seed)
      rig.disk.faults.misdirectChance = 0.1
      rig.disk.faults.restFlipChance = 0.1
      const store = await openStore(rig)
      const replica = await store.openReplica(GROUP, REPLICA).catch(() => null)
      if (replica === null) continue
      for (const entry of LOG) applyTo(replica, entry)
      await replica.checkpoint(markOf(4)).catch(() => {})
      await store.close()
      rig.disk.faults.misdirectChance = 0
      const again = await openStore(rig)
      const read = await again.openReplica(GROUP, REPLICA).catch(() => null)
      if (read === null || read.appliedIndex !== 4) continue
      const twin = twinOf(LOG)
      for (let block = 0; block < 20; block++) {
        const one = await read.read(2, 0, block, 1)
        if (one.status === 'ok') {
          await expectRange(read, twin, 2, 0, block, 1, `seed ${seed}`)
        } else expect(one.status).toBe('bad')
      }
    }
  })

  it('reads bad blocks from a disk that fails reading, and does not fail', async () => {
    const life = await live()
    life.rig.disk.faults.readErrorChance = 1
    expect(badOf(await life.replica.read(2, 0, 0, 4))).toHaveLength(4)
    life.rig.disk.faults.readErrorChance = 0
    expect(await life.replica.read(2, 0, 0, 4)).toMatchObject({ status: 'ok' })
    expect(life.store.usage().state).toBe('ok')
  })

  it('fails for good when the disk fails writing', async () => {
    const life = await live()
    const failures: string[] = []
    life.store.onFailed = ({ code }) => void failures.push(code)
    life.rig.disk.faults.writeErrorChance = 1
    applyTo(life.replica, writeOf(5, 0, [1], { sn: 2 }))
    await expect(life.replica.checkpoint(markOf(5))).rejects.toMatchObject({ code: 'DISK_FAILED' })
    life.rig.disk.faults.writeErrorChance = 0
    await expect(life.replica.checkpoint(markOf(5))).rejects.toMatchObject({ code: 'DISK_FAILED' })
    expect(failures).toEqual(['DISK_FAILED'])
    expect(life.store.usage().state).toBe('failed')
    expect(life.replica.admits(writeOf(6, 0, [1]).request)).toMatchObject({ code: 'DISK_FAILED' })
    await restart(life)
    await expectSame(life.replica, twinOf(LOG), 'after a restart')
    expect(BLOCK_BYTES).toBe(4096)
  })

  it('says that it is closed, and not that there is nothing', async () => {
    const life = await live()
    const reading = life.replica.read(1, 0, 0, 8)
    const source = life.replica.snapshot()
    await Promise.all([life.replica.close(), reading.catch(() => {})])
    const closed = { code: 'CLOSED' }
    await expect(life.replica.read(1, 0, 0, 8)).rejects.toMatchObject(closed)
    await expect(life.replica.blocksFor(1, 1, [{ block: 0, version: 0 }])).rejects.toMatchObject(
      closed,
    )
    await expect(source.read(1, 0, 10_000, new Uint8Array(0))).rejects.toMatchObject(closed)
    await life.replica.close()
    await life.store.close()
    await life.store.close()
  })

  it('drops a chunk whole when its blocks are zeroed, damaged or not', async () => {
    const life = await live()
    const [file] = await chunkFiles(life.rig)
    life.rig.disk.flip(must(file, 'a file'), blockAt(5))
    applyTo(life.replica, entryOf(5, 'delete', { sn: 2 }))
    expect(await life.replica.read(1, 0, 0, 8)).toMatchObject({ status: 'ok', crcs: null })
  })
})
