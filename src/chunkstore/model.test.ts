// Random lives of a replica against its naive twin: entries of all kinds, write-back, checkpoints,
// crashes with replay of the log; and two replicas with different lives that must come to the same.

import { describe, expect, it } from 'vitest'
import { Prng } from '../base/prng.ts'
import { makeRig, type Rig, turns } from '../sim/disk-rig.ts'
import type { ChunkStore } from './chunk-store.ts'
import type { ReplicaChunks } from './replica-chunks.ts'
import {
  applyTo,
  applyToTwin,
  expectSame,
  GROUP,
  type LogEntry,
  markOf,
  openStore,
  REPLICA,
  randomEntry,
} from './testing/chunk-rig.ts'
import { Twin } from './testing/twin.ts'

/** A replica that lives, dies and comes back from its checkpoint and the log. */
class Life {
  readonly rig: Rig
  readonly random: Prng
  store!: ChunkStore
  replica!: ReplicaChunks
  running: Promise<void> = Promise.resolve()

  constructor(seed: number) {
    this.rig = makeRig(seed)
    this.random = new Prng(seed)
    this.rig.disk.faults.latencyMaxMs = this.random.pick([0, 1, 30])
  }

  async open(log: readonly LogEntry[]): Promise<void> {
    this.store = await openStore(this.rig)
    this.replica = await this.store.openReplica(GROUP, REPLICA)
    for (const entry of log)
      if (entry.index > this.replica.appliedIndex) applyTo(this.replica, entry)
  }

  checkpoint(): void {
    this.running = this.replica.checkpoint(markOf(this.replica.appliedIndex))
    this.running.catch(() => {})
  }

  async step(log: readonly LogEntry[]): Promise<void> {
    const fate = this.random.below(100)
    if (fate < 8) this.checkpoint()
    else if (fate < 10) await this.running
    else if (fate < 30) await turns(this.random.between(1, 40))
    else if (fate < 34) {
      const choice = this.random.pick(['lose', 'keep', this.random] as const)
      this.rig.disk.crash(this.random.pick(['power', 'process'] as const), choice)
      this.running = Promise.resolve()
      await this.open(log)
    } else if (fate === 34) {
      await this.running
      await this.replica.close()
      this.replica = await this.store.openReplica(GROUP, REPLICA)
      for (const e of log) if (e.index > this.replica.appliedIndex) applyTo(this.replica, e)
    }
  }
}

describe('ReplicaChunks', () => {
  for (let seed = 1; seed <= 12; seed++) {
    it(`is what its twin is, through crashes, with seed ${seed}`, async () => {
      const random = new Prng(1000 + seed)
      const one = new Life(seed)
      const other = new Life(500 + seed)
      const log: LogEntry[] = []
      const twin = new Twin()
      await one.open(log)
      await other.open(log)
      for (let index = 1; index <= 400; index++) {
        const entry = randomEntry(index, random)
        log.push(entry)
        const expected = applyToTwin(twin, entry)
        expect(applyTo(one.replica, entry), `entry ${index} ${entry.request.op}`).toEqual(expected)
        expect(applyTo(other.replica, entry)).toEqual(expected)
        await one.step(log)
        await other.step(log)
        if (index % 40 === 0) {
          await expectSame(one.replica, twin, `one at ${index}`)
          await expectSame(other.replica, twin, `other at ${index}`)
          const digests = [one.replica, other.replica].map((replica) => replica.digest())
          const [a, b] = await Promise.all(digests)
          expect(a, `digests at ${index}`).toBe(b)
        }
      }
      await one.running
      await turns(400)
      const { usedBytes, badBlocks, dirtyBytes } = one.store.usage()
      expect({ badBlocks, dirtyBytes }).toEqual({ badBlocks: 0, dirtyBytes: 0 })
      expect(usedBytes).toBe(one.replica.state.chunks().reduce((sum, c) => sum + c.usedBytes, 0))
      const checked = await one.replica.digests(1, 100, true)
      expect(checked.flatMap((chunk) => chunk.badBlocks)).toEqual([])
      expect(checked).toEqual(
        (await other.replica.digests(1, 100, false)).map((chunk, i) => ({
          ...chunk,
          usedBytes: checked[i]?.usedBytes,
        })),
      )
      await one.store.close()
      await other.store.close()
    }, 60_000)
  }
})
