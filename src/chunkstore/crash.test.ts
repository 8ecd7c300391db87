// Crashes at every point of a scripted life, with every kind of loss and torn writes. What must hold
// after each: the replica opens at a checkpoint that was asked for and at no older one than was told
// done, its sets are exactly those of that index, and the log since makes it what it was.

import { describe, expect, it } from 'vitest'
import { Prng } from '../base/prng.ts'
import type { Disk } from '../env/disk.ts'
import { SILENT } from '../observe/observe.ts'
import { type DiskEvent, SimDisk } from '../sim/disk.ts'
import { InstantClock } from '../sim/disk-clock.ts'
import { makeRig, type Rig, rigOf, turns } from '../sim/disk-rig.ts'
import type { ReplicaChunks } from './replica-chunks.ts'
import {
  applyTo,
  applyToTwin,
  expectSame,
  expectSameSets,
  GROUP,
  type LogEntry,
  markOf,
  openStore,
  REPLICA,
  randomEntry,
} from './testing/chunk-rig.ts'
import { Twin } from './testing/twin.ts'

type Note = { readonly kind: 'applied' | 'asked' | 'told'; readonly index: number }

interface Script {
  readonly log: readonly LogEntry[]
  readonly events: readonly DiskEvent[]
  /** The twin after each index. */
  readonly twins: readonly Twin[]
}

const CHUNKS = 3

async function record(
  seed: number,
  entries: number,
  change = (disk: Disk): Disk => disk,
): Promise<Script> {
  const rig = makeRig(seed)
  const random = new Prng(seed)
  const events = rig.disk.record()
  const store = await openStore(rig, { dirtyAgeMs: 5, dropAfterMs: 30 }, SILENT, change)
  const replica = await store.openReplica(GROUP, REPLICA)
  rig.disk.note({ kind: 'told', index: 0 } satisfies Note)
  const log: LogEntry[] = []
  const twins = [new Twin()]
  for (let index = 1; index <= entries; index++) {
    const entry = randomEntry(index, random, CHUNKS)
    log.push(entry)
    const twin = (twins.at(-1) as Twin).clone()
    applyToTwin(twin, entry)
    twins.push(twin)
    applyTo(replica, entry)
    rig.disk.note({ kind: 'applied', index } satisfies Note)
    if (random.chance(0.12)) {
      rig.disk.note({ kind: 'asked', index } satisfies Note)
      const done = replica.checkpoint(markOf(index)).then(() => {
        rig.disk.note({ kind: 'told', index } satisfies Note)
      })
      if (random.chance(0.5)) await done
    }
    if (random.chance(0.4)) await turns(random.between(1, 25))
  }
  await turns(200)
  await store.close()
  return { log, events, twins }
}

class Progress {
  applied = 0
  told = 0
  readonly asked = new Set([0])

  see({ kind, index }: Note): void {
    if (kind === 'applied') this.applied = index
    else if (kind === 'asked') this.asked.add(index)
    else this.told = Math.max(this.told, index)
  }
}

async function reopen(rig: Rig, script: Script, progress: Progress, where: string): Promise<void> {
  const store = await openStore(rig)
  let replica: ReplicaChunks
  try {
    replica = await store.openReplica(GROUP, REPLICA)
  } catch (error) {
    throw new Error(`${where}: ${String(error)}`)
  }
  const at = replica.appliedIndex
  expect(at, where).toBeGreaterThanOrEqual(progress.told)
  expect(progress.asked.has(at), `${where}: opened at ${at}`).toBe(true)
  if (at > 0) expect(replica.mark, where).toEqual(markOf(at))
  if (replica.settledIndex <= at) expectSameSets(replica, script.twins[at] as Twin, where)
  for (const entry of script.log) {
    if (entry.index > at && entry.index <= progress.applied) applyTo(replica, entry)
  }
  await expectSame(replica, script.twins[progress.applied] as Twin, where, CHUNKS)
  await store.close()
}

function tears(sectors: number, random: Prng): ((sector: number) => boolean)[] {
  const cut = random.between(1, Math.max(1, sectors - 1))
  const mask = random.u32()
  return [
    (sector) => sector < cut,
    (sector) => sector >= cut,
    (sector) => ((mask >>> (sector % 32)) & 1) === 1,
  ]
}

describe('a chunk store after a crash', () => {
  for (const seed of [1, 2, 3]) {
    it(`is whole at every point of script ${seed}`, async () => {
      const script = await record(seed, 120)
      const { events } = script
      const progress = new Progress()
      const random = new Prng(seed)
      let checked = 0
      for (const [n, event] of events.entries()) {
        if (event.kind === 'note') {
          progress.see(event.note as Note)
          continue
        }
        const make = (): Rig => {
          const clock = new InstantClock()
          return rigOf(SimDisk.replay(clock, random.fork(`disk ${n}`), events, n), clock)
        }
        const where = `seed ${seed}, before event ${n} (${event.kind})`
        for (const choice of ['lose', random.fork(`crash ${n}`)] as const) {
          const rig = make()
          rig.disk.crash('power', choice)
          await reopen(rig, script, progress, where)
          checked++
        }
        if (event.kind !== 'write') continue
        const cuts = tears(event.data.byteLength / 512, random)
        const torn = make()
        torn.disk.tearInto(event, cuts[n % 3] as (sector: number) => boolean)
        torn.disk.crash('power', 'keep')
        await reopen(torn, script, progress, `${where} torn`)
        checked++
      }
      expect(checked).toBeGreaterThan(300)
    }, 240_000)
  }

  it('the checks see a store that does not sync its files', async () => {
    const script = await record(4, 60, withoutSyncs)
    const { events } = script
    const progress = new Progress()
    let caught = 0
    for (const [n, event] of events.entries()) {
      if (event.kind === 'note') {
        progress.see(event.note as Note)
        continue
      }
      const clock = new InstantClock()
      const rig = rigOf(SimDisk.replay(clock, new Prng(n), events, n), clock)
      rig.disk.crash('power', 'lose')
      await reopen(rig, script, progress, '').catch(() => caught++)
    }
    expect(caught).toBeGreaterThan(20)
  }, 120_000)
})

function withoutSyncs(disk: Disk): Disk {
  const open: Disk['open'] = async (path, options) => {
    const file = await disk.open(path, options)
    file.sync = async () => {}
    return file
  }
  return { ...disk, open }
}
