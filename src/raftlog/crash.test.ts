// Crashes at every point of a scripted run and at random points of random runs. What must hold
// after each: all that was acknowledged is there, nothing is there that was never appended, and the
// log goes on.

import { describe, expect, it } from 'vitest'
import { Prng } from '../base/prng.ts'
import { KIB } from '../base/units.ts'
import { type DiskEvent, SimDisk } from '../sim/disk.ts'
import { InstantClock } from '../sim/disk-clock.ts'
import { makeRig, type Rig, rigOf } from '../sim/disk-rig.ts'
import type { RaftLogBug } from './config.ts'
import type { GroupWrite } from './group-write.ts'
import type { RaftLog } from './raftlog.ts'
import {
  append,
  creation,
  entriesOf,
  lastOf,
  mismatch,
  openLog,
  replica,
  type Step,
  Twin,
  writeOf,
} from './testing/log-rig.ts'

type Note = { readonly kind: 'asked' | 'told'; readonly number: number }

interface Script {
  readonly events: readonly DiskEvent[]
  readonly writes: readonly GroupWrite[]
}

const KINDS: readonly Step['kind'][] = [
  'append',
  'append',
  'append',
  'append',
  'append',
  'mark',
  'mark',
  'truncate',
  'hard',
  'restart',
  'destroy',
]

/** Some hundred writes of three groups in turns, with segments small enough for many purges. */
async function record(seed: number, bugs?: ReadonlySet<RaftLogBug>): Promise<Script> {
  const rig = makeRig(seed)
  const random = new Prng(seed)
  const events = rig.disk.record()
  const log = await openLog(rig, {}, bugs)
  const twin = new Twin()
  const writes: GroupWrite[] = []
  for (let turn = 0; turn < 50; turn++) {
    const told: Promise<void>[] = []
    for (let i = random.between(1, 4); i > 0; i--) {
      const write = randomWrite(twin, random, writes.length + 1)
      if (write === null) continue
      twin.apply(write)
      const number = writes.push(write)
      rig.disk.note({ kind: 'asked', number } satisfies Note)
      told.push(
        append(log, write).then(() => rig.disk.note({ kind: 'told', number } satisfies Note)),
      )
    }
    await Promise.all(told)
  }
  await log.close()
  return { events, writes }
}

function randomWrite(twin: Twin, random: Prng, count: number): GroupWrite | null {
  const kind = random.pick(KINDS)
  const size = random.chance(0.3) ? 3 * random.between(1, 20) : random.between(1, 60)
  const step: Step = { kind, group: random.between(1, 3), size }
  const write = writeOf(twin, step, count)
  if (write === null || !random.chance(0.04)) return write
  // One that needs several batches, of which a crash may leave some.
  const group = twin.groups.get(step.group)
  if (group === undefined || group.destroyedEpoch !== null) return write
  const from = lastOf(group) + 1
  const term = Math.max(1, group.hardState.term)
  const hardState = { term, vote: replica(1), commit: from + 7 }
  return {
    group: step.group,
    hardState,
    entries: entriesOf(step.group, from, from + 7, term, 3000),
  }
}

/**
 * The twins after the first `told`, `told` + 1, ... up to `asked` writes, parts of one included.
 */
function candidates(base: Twin, writes: readonly GroupWrite[]): Twin[] {
  const all = [base.clone()]
  const now = base.clone()
  for (const write of writes) {
    // A write may lie in several batches, the first of which a crash may leave.
    const { entries = [] } = write
    for (let n = 0; n < entries.length; n++) {
      const part = now.clone()
      part.apply({ ...write, entries: entries.slice(0, n) })
      all.push(part)
    }
    now.apply(write)
    all.push(now.clone())
  }
  return all
}

/** The twin that the log agrees with; fails when there is none. */
async function agreeing(log: RaftLog, twins: readonly Twin[], where: string): Promise<Twin> {
  const reasons: string[] = []
  if (log.damage !== null) reasons.push(log.damage)
  for (const twin of twins.toReversed()) {
    if (log.damage !== null) break
    const what = await mismatch(log, twin)
    if (what === null) return twin
    reasons.push(what)
  }
  throw new Error(`${where}: ${reasons.join(' | ')}`)
}

/** The state told durable before event `at`, and what had been asked for by then. */
class Progress {
  readonly #base = new Twin()
  #told = 0
  #asked = 0
  readonly #writes: readonly GroupWrite[]

  constructor(writes: readonly GroupWrite[]) {
    this.#writes = writes
  }

  see(event: DiskEvent): void {
    if (event.kind !== 'note') return
    const { kind, number } = event.note as Note
    if (kind === 'asked') this.#asked = number
    else {
      this.#told = number
      this.#base.apply(this.#writes[number - 1] as GroupWrite)
    }
  }

  candidates(): Twin[] {
    return candidates(this.#base, this.#writes.slice(this.#told, this.#asked))
  }
}

function tears(sectors: number, random: Prng): ((sector: number) => boolean)[] {
  const cuts: ((sector: number) => boolean)[] = []
  for (let cut = 1; cut < sectors; cut++) {
    cuts.push((sector) => sector < cut)
    cuts.push((sector) => sector >= cut)
  }
  for (const one of [1, sectors >> 1]) cuts.push((sector) => sector !== one)
  for (let i = 0; i < 3; i++) {
    const mask = random.u32()
    cuts.push((sector) => ((mask >>> (sector % 32)) & 1) === 1)
  }
  return cuts
}

/** Opens, checks, appends to a group, opens again and checks that too. */
async function checkGoesOn(rig: Rig, twins: readonly Twin[], where: string): Promise<void> {
  const log = await openLog(rig)
  const twin = (await agreeing(log, twins, where)).clone()
  const write = creation(9, 1)
  const entries = entriesOf(9, 1, 2, 1, 2000)
  await append(log, { ...write, entries })
  twin.apply({ ...write, entries })
  rig.disk.crash('power', 'lose')
  const again = await openLog(rig)
  await agreeing(again, [twin], `${where}, and once more`)
}

describe('RaftLog after a crash', () => {
  for (const seed of [11, 12]) {
    it(`at every point of script ${seed}, with every kind of tear`, async () => {
      const { events, writes } = await record(seed)
      const progress = new Progress(writes)
      const random = new Prng(seed)
      let checked = 0
      for (const [at, event] of events.entries()) {
        if (event.kind === 'note') {
          progress.see(event)
          continue
        }
        const twins = progress.candidates()
        const make = (): Rig => {
          const clock = new InstantClock()
          return rigOf(SimDisk.replay(clock, random.fork('disk'), events, at), clock)
        }
        for (const choice of ['lose', 'keep'] as const) {
          const rig = make()
          rig.disk.crash('power', choice)
          await checkGoesOn(rig, twins, `before event ${at}, ${choice}`)
          checked++
        }
        if (event.kind !== 'write') continue
        // New segments are filled with zeros before they have their name: few cuts say all.
        const isFill = event.data.byteLength > 12 * KIB
        const cuts = tears(event.data.byteLength / 512, random)
        for (const [i, keeps] of cuts.entries()) {
          if (isFill && i % 16 !== 0) continue
          const rig = make()
          rig.disk.tearInto(event, keeps)
          rig.disk.crash('power', 'keep')
          const where = `event ${at} torn by cut ${i}`
          if (i % 5 === 0) await checkGoesOn(rig, twins, where)
          else await agreeing(await openLog(rig), twins, where)
          checked++
        }
      }
      expect(checked).toBeGreaterThan(1000)
    }, 240_000)
  }

  it('at random points of random runs, crashes during recovery included', async () => {
    let crashes = 0
    let purged = 0
    for (let seed = 1; seed <= 40; seed++) {
      const clock = new InstantClock()
      const random = new Prng(seed)
      const rig = rigOf(new SimDisk(clock, random.fork('disk')), clock, seed)
      rig.disk.faults.latencyMaxMs = 2
      let twins = [new Twin()]
      for (let life = 0; life < 12; life++) {
        const result = await live(rig, twins, random, `seed ${seed}, life ${life}`)
        twins = result.twins
        purged = Math.max(purged, result.purged)
        crashes++
      }
    }
    expect(crashes).toBe(480)
    expect(purged).toBeGreaterThan(50)
  }, 120_000)

  it('the checks see a log that answers before its write has ended', async () => {
    const { events, writes } = await record(11, new Set(['ack-before-sync']))
    const progress = new Progress(writes)
    let caught = 0
    for (const [at, event] of events.entries()) {
      if (event.kind === 'note') {
        progress.see(event)
        continue
      }
      const clock = new InstantClock()
      const rig = rigOf(SimDisk.replay(clock, new Prng(1), events, at), clock)
      rig.disk.crash('power', 'lose')
      const log = await openLog(rig)
      await agreeing(log, progress.candidates(), '').catch(() => caught++)
    }
    expect(caught).toBeGreaterThan(20)
  })
})

/** One life of a log: recovery, some work, and a crash at any moment of either. */
async function live(
  rig: Rig,
  twins: readonly Twin[],
  random: Prng,
  where: string,
): Promise<{ twins: Twin[]; purged: number }> {
  let dead = false
  const dies = random.between(1, 150)
  let steps = 0
  const stopper = (async () => {
    while (steps < dies) {
      steps++
      await new Promise((resolve) => setImmediate(resolve))
    }
    dead = true
  })()
  let base: Twin | null = null
  let purged = 0
  const asked: GroupWrite[] = []
  let told = 0
  const work = (async () => {
    const log = await openLog(rig)
    if (dead) return
    base = (await agreeing(log, twins, where)).clone()
    const twin = base.clone()
    while (!dead) {
      const write = randomWrite(twin, random, 1000 + asked.length)
      if (write !== null) {
        twin.apply(write)
        asked.push(write)
        log.append(write, (error) => {
          if (error === null && !dead) told++
        })
      }
      purged = Math.max(purged, log.group(1).firstIndex())
      await new Promise((resolve) => setImmediate(resolve))
    }
  })()
  await Promise.race([stopper, work.then(() => stopper)])
  rig.disk.crash(random.chance(0.5) ? 'power' : 'process')
  if (base === null) return { twins: [...twins], purged }
  const sure: Twin = base
  for (const write of asked.slice(0, told)) sure.apply(write)
  return { twins: candidates(sure, asked.slice(told)), purged }
}
