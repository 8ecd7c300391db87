// Transfers between replicas of different histories: only what differs travels, the source goes on
// meanwhile, attempts are interrupted and taken up again, and the new state is there in one step.

import { describe, expect, it } from 'vitest'
import { must } from '../base/assert.ts'
import { LemnisError } from '../base/errors.ts'
import { Prng } from '../base/prng.ts'
import { BLOCK_BYTES } from '../format/chunk-request.ts'
import { SILENT } from '../observe/observe.ts'
import { type SnapshotSink, type SnapshotSource, TRANSFER_END } from '../raft/snapshot.ts'
import { SimDisk } from '../sim/disk.ts'
import { InstantClock } from '../sim/disk-clock.ts'
import { makeRig, type Rig, rigOf, turns } from '../sim/disk-rig.ts'
import type { ChunkStore } from './chunk-store.ts'
import { blockAt } from './layout.ts'
import type { ReplicaChunks } from './replica-chunks.ts'
import {
  applyTo,
  applyToTwin,
  entryOf,
  expectRange,
  expectSame,
  expectSameSets,
  GROUP,
  type LogEntry,
  markOf,
  openStore,
  REPLICA,
  randomEntry,
  writeOf,
} from './testing/chunk-rig.ts'
import { Twin } from './testing/twin.ts'
import { decodePiece } from './transfer-codec.ts'

interface Host {
  readonly rig: Rig
  readonly store: ChunkStore
  replica: ReplicaChunks
}

async function makeHost(seed: number, replica = REPLICA): Promise<Host> {
  const rig = makeRig(seed)
  const store = await openStore(rig)
  return { rig, store, replica: await store.openReplica(GROUP, replica) }
}

function applyAll(replica: ReplicaChunks, log: readonly LogEntry[]): void {
  for (const entry of log) if (entry.index > replica.appliedIndex) applyTo(replica, entry)
}

interface Sent {
  pieces: number
  blocks: number
}

/** Sends all wanted items; stops early after `piecesMax` pieces. */
async function send(
  source: SnapshotSource,
  sink: SnapshotSink,
  between: () => Promise<void> | void = () => {},
  bytesMax = 5 * BLOCK_BYTES,
  piecesMax = Number.POSITIVE_INFINITY,
): Promise<Sent> {
  const sent = { pieces: 0, blocks: 0 }
  for (const { id } of sink.wanted) {
    const have = await sink.have(id)
    for (let cursor = sink.resumeAt(id); cursor !== TRANSFER_END; ) {
      if (sent.pieces === piecesMax) return sent
      const { bytes, next } = await source.read(id, cursor, bytesMax, have)
      if (id !== 0) sent.blocks += decodePiece(bytes).records.length
      sent.pieces++
      await sink.write(id, cursor, bytes, next)
      await between()
      cursor = next
    }
  }
  return sent
}

async function transfer(from: ReplicaChunks, to: ReplicaChunks): Promise<Sent> {
  const source = from.snapshot()
  const sink = await to.receive(source.index, source.items)
  const sent = await send(source, sink)
  await sink.finish(markOf(source.index))
  source.close()
  return sent
}

function fillsFrom(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => first + i)
}

describe('a transfer', () => {
  it('carries the blocks that differ, and no others', async () => {
    const [a, b] = [await makeHost(1), await makeHost(2, 22)]
    const log = [
      writeOf(1, 0, fillsFrom(100, 200)),
      writeOf(2, 0, fillsFrom(500, 10), { chunk: 2 }),
      writeOf(3, 3, [9], { chunk: 3 }),
    ]
    applyAll(a.replica, log)
    applyAll(b.replica, log)
    await b.replica.checkpoint(markOf(3))
    const later = [
      writeOf(4, 7, fillsFrom(900, 3)),
      writeOf(5, 190, fillsFrom(950, 20)),
      entryOf(6, 'zero', { firstBlock: 50, blockCount: 5 }),
      entryOf(7, 'delete', { chunk: 3 }),
    ]
    applyAll(a.replica, later)
    const twin = new Twin()
    for (const entry of [...log, ...later]) applyToTwin(twin, entry)
    const sent = await transfer(a.replica, b.replica)
    expect(sent.blocks).toBe(23)
    expect(b.replica.appliedIndex).toBe(7)
    expect(b.replica.mark).toEqual(markOf(7))
    expect(b.replica.settledIndex).toBe(7)
    await expectSame(b.replica, twin, 'received')
    await expectRange(b.replica, twin, 1, 0, 0, 256, 'received')
    expect(await b.replica.digest()).toBe(await a.replica.digest())
    const again = await transfer(a.replica, b.replica)
    expect(again).toEqual({ pieces: 0, blocks: 0 })
  })

  it('goes on where an interrupted one stopped, whoever sends', async () => {
    const [a, b, c] = [await makeHost(1), await makeHost(2, 22), await makeHost(3, 23)]
    const log = [writeOf(1, 0, fillsFrom(1, 100)), writeOf(2, 0, fillsFrom(300, 50), { chunk: 2 })]
    applyAll(a.replica, log)
    applyAll(c.replica, log)
    const first = a.replica.snapshot()
    const broken = await b.replica.receive(first.index, first.items)
    const sent = await send(first, broken, () => {}, 5 * BLOCK_BYTES, 12)
    expect(sent.blocks).toBeGreaterThan(30)
    expect(b.replica.appliedIndex).toBe(0)
    const more = writeOf(3, 0, fillsFrom(700, 2))
    applyAll(c.replica, [more])
    const second = await transfer(c.replica, b.replica)
    // All that had come, but the two blocks that were written again since.
    expect(second.blocks).toBe(152 - sent.blocks)
    const twin = new Twin()
    for (const entry of [...log, more]) applyToTwin(twin, entry)
    await expectRange(b.replica, twin, 1, 0, 0, 100, 'received')
    await expectRange(b.replica, twin, 2, 0, 0, 50, 'received')
    await expect(broken.write(1, 0, new Uint8Array(16), -1)).rejects.toThrow(LemnisError)
  })

  it('replaces a chunk that is another one of the same id', async () => {
    const [a, b] = [await makeHost(1), await makeHost(2, 22)]
    const common = [writeOf(1, 0, fillsFrom(1, 20))]
    applyAll(a.replica, common)
    applyAll(b.replica, common)
    const later = [entryOf(2, 'delete'), writeOf(3, 5, [77])]
    applyAll(a.replica, later)
    await transfer(a.replica, b.replica)
    const twin = new Twin()
    for (const entry of [...common, ...later]) applyToTwin(twin, entry)
    await expectSame(b.replica, twin, 'received')
  })

  it('refuses what is not of the state it announced', async () => {
    const [a, b] = [await makeHost(1), await makeHost(2, 22)]
    applyAll(a.replica, [writeOf(1, 0, fillsFrom(1, 6))])
    const source = a.replica.snapshot()
    const sink = await b.replica.receive(source.index, source.items)
    await expect(sink.finish(markOf(1))).rejects.toThrow('not complete')
    const have = await sink.have(1)
    const { bytes, next } = await source.read(1, 0, 100 * BLOCK_BYTES, have)
    const flipped = bytes.slice()
    flipped[flipped.byteLength - 1] = 1
    await expect(sink.write(1, 0, flipped, next)).rejects.toThrow('CORRUPT')
    await expect(sink.write(9, 0, bytes, next)).rejects.toThrow('INVALID_ARGUMENT')
    await expect(sink.write(1, 5, bytes, next)).rejects.toThrow('INVALID_ARGUMENT')
    await expect(b.replica.receive(1, [...source.items, ...source.items])).rejects.toThrow(
      'CORRUPT',
    )
  })

  it('tells of blocks that the source has lost, and they stay bad', async () => {
    const [a, b] = [await makeHost(1), await makeHost(2, 22)]
    applyAll(a.replica, [writeOf(1, 0, fillsFrom(1, 6))])
    await a.replica.checkpoint(markOf(1))
    const file = must((await a.rig.disk.list('store/chunks'))[0], 'a chunk file')
    a.rig.disk.flip(`store/chunks/${file}`, blockAt(2))
    await transfer(a.replica, b.replica)
    expect(await b.replica.read(1, 0, 0, 2)).toMatchObject({ status: 'ok' })
    const bad = await b.replica.read(1, 0, 0, 6)
    expect(bad).toEqual({ status: 'bad', blocks: [{ sn: 1, block: 2, version: 1 }] })
  })

  it('leaves out without a word what a file has newer than its table, and the log brings it', async () => {
    const rig = makeRig(1)
    const events = rig.disk.record()
    const first = await openStore(rig)
    const log = [writeOf(1, 0, fillsFrom(100, 6)), writeOf(2, 2, [902, 903])]
    const before = await first.openReplica(GROUP, REPLICA)
    applyAll(before, log.slice(0, 1))
    await before.checkpoint(markOf(1))
    const durableAt = events.length
    // The second entry's blocks come to the file, and the crash before they come to a table.
    applyAll(before, log)
    await turns(200)
    expect(events.length).toBeGreaterThan(durableAt)
    const clock = new InstantClock()
    const disk = SimDisk.replay(clock, new Prng(1), events, events.length)
    disk.crash('power', 'keep')
    const told: string[] = []
    const observer = { ...SILENT, emit: (name: string) => void told.push(name) }
    const store = await openStore(rigOf(disk, clock), {}, observer)
    const a = await store.openReplica(GROUP, REPLICA)
    expect(a.appliedIndex).toBe(1)
    const b = await makeHost(2, 22)
    expect(await transfer(a, b.replica)).toMatchObject({ blocks: 6 })
    expect(told).not.toContain('chunkstore_bad_blocks')
    const sent = await b.replica.read(1, 0, 0, 6)
    const bad = [2, 3].map((block) => ({ sn: 1, block, version: 1 }))
    expect(sent).toEqual({ status: 'bad', blocks: bad })
    const twin = new Twin()
    for (const entry of log) applyToTwin(twin, entry)
    for (const replica of [a, b.replica]) {
      applyAll(replica, log)
      await expectSame(replica, twin, 'after the log')
    }
    expect(told).not.toContain('chunkstore_bad_blocks')
  })

  for (let seed = 1; seed <= 25; seed++) {
    it(`makes any state any other, while the source goes on, with seed ${seed}`, async () => {
      const random = new Prng(7000 + seed)
      const [a, b] = [await makeHost(seed), await makeHost(100 + seed, 22)]
      a.rig.disk.faults.latencyMaxMs = random.pick([0, 3])
      const log: LogEntry[] = []
      const twin = new Twin()
      const grow = (count: number): void => {
        for (let i = 0; i < count; i++) {
          const entry = randomEntry(log.length + 1, random)
          log.push(entry)
          applyToTwin(twin, entry)
          applyTo(a.replica, entry)
        }
      }
      grow(random.between(0, 150))
      for (let round = 0; round < 4; round++) {
        applyAll(b.replica, log.slice(0, random.between(0, log.length)))
        if (random.chance(0.5)) await b.replica.checkpoint(markOf(b.replica.appliedIndex))
        grow(random.between(1, 60))
        if (random.chance(0.5)) await a.replica.checkpoint(markOf(a.replica.appliedIndex))
        const source = a.replica.snapshot()
        const between = async (): Promise<void> => {
          if (random.chance(0.4)) grow(random.between(1, 6))
          if (random.chance(0.1)) {
            void a.replica.checkpoint(markOf(a.replica.appliedIndex)).catch(() => {})
          }
          // Entries up to the state's index may still come by the log.
          const upTo = Math.min(source.index, b.replica.appliedIndex + random.below(4))
          if (random.chance(0.2)) applyAll(b.replica, log.slice(0, upTo))
          if (random.chance(0.3)) await turns(random.between(1, 10))
        }
        const sink = await b.replica.receive(source.index, source.items)
        if (random.chance(0.4)) await send(source, sink, between, 9000, random.between(1, 12))
        else {
          await send(source, sink, between, random.pick([4200, 30_000]))
          await sink.finish(markOf(source.index))
          expect(b.replica.appliedIndex).toBe(source.index)
          if (random.chance(0.4)) await reopen(b)
          applyAll(b.replica, log)
          expect(b.replica.settledIndex).toBeLessThanOrEqual(log.length)
          await expectSame(b.replica, twin, `round ${round}`)
          expect(await b.replica.digest(), `round ${round}`).toBe(await a.replica.digest())
        }
        source.close()
        if (random.chance(0.3)) await reopen(b)
      }
      await a.store.close()
      await b.store.close()
    }, 60_000)
  }

  async function reopen(host: Host): Promise<void> {
    await host.replica.close()
    host.replica = await host.store.openReplica(GROUP, 22)
  }

  it('brings what was written here while it was asked what is here', async () => {
    const [a, b] = [await makeHost(1), await makeHost(2, 22)]
    const log = [writeOf(1, 0, fillsFrom(100, 6)), writeOf(2, 3, [903, 904])]
    applyAll(a.replica, log)
    applyAll(b.replica, log.slice(0, 1))
    const source = a.replica.snapshot()
    const sink = await b.replica.receive(source.index, source.items)
    const racing: SnapshotSink = {
      wanted: sink.wanted,
      resumeAt: (id) => sink.resumeAt(id),
      have: (id) => {
        const asked = sink.have(id)
        applyAll(b.replica, log)
        return asked
      },
      write: (id, cursor, bytes, next) => sink.write(id, cursor, bytes, next),
      finish: (mark) => sink.finish(mark),
      abort: () => sink.abort(),
    }
    await send(source, racing)
    await racing.finish(markOf(source.index))
    source.close()
    const twin = new Twin()
    for (const entry of log) applyToTwin(twin, entry)
    await expectSame(b.replica, twin, 'received')
    await expectRange(b.replica, twin, 1, 0, 0, 6, 'received')
  })

  it('is there wholly or not at all after a crash at any moment of it', async () => {
    const a = await makeHost(1)
    const log: LogEntry[] = []
    const random = new Prng(5)
    const twin = new Twin()
    for (let index = 1; index <= 90; index++) {
      const entry = randomEntry(index, random, 3)
      log.push(entry)
      applyTo(a.replica, entry)
      applyToTwin(twin, entry)
    }
    const rig = makeRig(2)
    const events = rig.disk.record()
    const b = await (await openStore(rig)).openReplica(GROUP, 22)
    applyAll(b, log.slice(0, 40))
    await b.checkpoint(markOf(40))
    const before = new Twin()
    for (const entry of log.slice(0, 40)) applyToTwin(before, entry)
    const from = events.length
    await transfer(a.replica, b)
    const doneAt = events.length
    const seen = { old: 0, new: 0 }
    for (let n = from; n <= doneAt; n++) {
      for (const choice of ['lose', 'keep', new Prng(n)] as const) {
        const clock = new InstantClock()
        const disk = SimDisk.replay(clock, new Prng(n), events, n)
        disk.crash('power', choice)
        const store = await openStore(rigOf(disk, clock))
        const replica = await store.openReplica(GROUP, 22)
        const isNew = replica.appliedIndex === 90
        if (n === doneAt) expect(isNew).toBe(true)
        seen[isNew ? 'new' : 'old']++
        expect(replica.mark).toEqual(markOf(isNew ? 90 : 40))
        expectSameSets(replica, isNew ? twin : before, `event ${n}`)
        if (isNew) await expectSame(replica, twin, `event ${n}`, 3)
        await store.close()
      }
    }
    expect(seen.old).toBeGreaterThan(20)
    expect(seen.new).toBeGreaterThan(2)
  }, 60_000)
})
