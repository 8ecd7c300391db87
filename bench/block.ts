// 4 KiB and 1 MiB reads and writes by the same fio jobs on a volume of a development cluster, on an image
// of Ceph with three OSDs where Ceph is installed, and on a file of the bare disk: all on this machine,
// alternating round by round, so that the ratios mean something even where the figures drift.

import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { must } from '../src/base/assert.ts'
import { GIB, MIB } from '../src/base/units.ts'
import { cpuMicrosOf, DevCluster } from '../test/harness/dev-cluster.ts'
import { CephBench } from './block/ceph.ts'
import {
  type FioCase,
  type FioFigures,
  type FioTarget,
  fill,
  hasFioEngine,
  runFio,
} from './block/fio.ts'
import type { BenchOptions, BenchRow } from './table.ts'

const CASES: readonly FioCase[] = [
  { name: '4 KiB random write, depth 1', rw: 'randwrite', blockBytes: 4096, depth: 1 },
  { name: '4 KiB random write, depth 32', rw: 'randwrite', blockBytes: 4096, depth: 32 },
  { name: '4 KiB random read, depth 1', rw: 'randread', blockBytes: 4096, depth: 1 },
  { name: '4 KiB random read, depth 32', rw: 'randread', blockBytes: 4096, depth: 32 },
  { name: '1 MiB write, depth 4', rw: 'write', blockBytes: MIB, depth: 4 },
  { name: '1 MiB read, depth 4', rw: 'read', blockBytes: MIB, depth: 4 },
]
const ROUNDS = 3
/** Rounds before these, not counted: caches fill, and what is compiled as it runs is compiled. */
const WARM_UP_ROUNDS = 1
const VOLUME = 'bench'

/** One of the systems that are compared. */
interface Contestant {
  readonly name: string
  readonly target: FioTarget
  cpuMicros(): number
  stop(): Promise<void>
}

type Figures = FioFigures & { readonly cpuUs: number }

export async function run(options: BenchOptions): Promise<BenchRow[]> {
  if (!(await hasFioEngine('nbd'))) {
    console.log('block: fio with its nbd engine is not installed')
    return []
  }
  const directory = mkdtempSync(join(process.env['LEMNIS_BENCH_DIR'] ?? tmpdir(), 'lemnis-bench-'))
  const bytes = options.tiny ? 64 * MIB : GIB
  const contestants: Contestant[] = []
  try {
    contestants.push(await lemnis(directory, bytes))
    if (!options.tiny) {
      if (await CephBench.isInstalled()) contestants.push(await ceph(directory, bytes))
      else console.log('block: Ceph is not installed; nothing is compared with it')
      contestants.push(bareDisk(directory, bytes))
    }
    for (const { target } of contestants) await fill(target, bytes)
    const all = await measureAll(contestants, options, bytes)
    return CASES.flatMap((job) => rowsOf(job, contestants, must(all.get(job), 'figures of a case')))
  } finally {
    for (const contestant of contestants) await contestant.stop()
    rmSync(directory, { recursive: true, force: true })
  }
}

async function lemnis(root: string, bytes: number): Promise<Contestant> {
  const cluster = await DevCluster.start({ directory: join(root, 'lemnis') })
  await cluster.lemnis('volume', 'create', VOLUME, '--size', `${bytes / MIB}MiB`)
  return {
    name: 'Lemnis',
    target: ['--ioengine=nbd', `--uri=${cluster.nbdUri(VOLUME)}`],
    cpuMicros: () => cluster.cpuMicros(),
    stop: () => cluster.stop(),
  }
}

async function ceph(root: string, bytes: number): Promise<Contestant> {
  const cluster = await CephBench.start(join(root, 'ceph'), bytes / MIB)
  cluster.useHere()
  return {
    name: 'Ceph',
    target: [...cluster.target, '--direct=1'],
    cpuMicros: () => cluster.pids().reduce((sum, pid) => sum + cpuMicrosOf(pid), 0),
    stop: () => cluster.stop(),
  }
}

/** What every replica's write has to pay at least: direct and durable, on the same file system. */
function bareDisk(root: string, bytes: number): Contestant {
  const path = join(root, 'bare')
  execFileSync('fallocate', ['-l', `${bytes}`, path])
  return {
    name: 'bare disk',
    target: ['--ioengine=libaio', `--filename=${path}`, '--direct=1', '--sync=dsync'],
    cpuMicros: () => 0,
    stop: async () => rmSync(path, { force: true }),
  }
}

async function measureAll(
  contestants: readonly Contestant[],
  options: BenchOptions,
  bytes: number,
): Promise<Map<FioCase, Map<Contestant, Figures[]>>> {
  const all = new Map(
    CASES.map((job) => [job, new Map(contestants.map((c) => [c, [] as Figures[]]))]),
  )
  for (
    let round = options.tiny ? 0 : -WARM_UP_ROUNDS;
    round < (options.tiny ? 1 : ROUNDS);
    round++
  ) {
    for (const [job, byContestant] of all) {
      for (const [contestant, list] of byContestant) {
        const before = contestant.cpuMicros()
        const figures = await runFio(contestant.target, job, bytes, options.seconds)
        const cpuUs = (contestant.cpuMicros() - before) / Math.max(1, figures.operations)
        if (round >= 0) list.push({ ...figures, cpuUs })
      }
    }
  }
  return all
}

function rowsOf(
  job: FioCase,
  contestants: readonly Contestant[],
  figures: ReadonlyMap<Contestant, readonly Figures[]>,
): BenchRow[] {
  const isLarge = job.blockBytes >= MIB
  const rates = contestants.map((contestant) => {
    const list = must(figures.get(contestant), 'figures of a contestant')
    const pick = (of: (f: Figures) => number): number => median(list.map(of))
    const value = pick((f) => (isLarge ? f.megabytesPerSecond : f.iops))
    const cpu = pick((f) => f.cpuUs)
    const note =
      `p50 ${Math.round(pick((f) => f.p50Us))} us, p99 ${Math.round(pick((f) => f.p99Us))} us` +
      (cpu > 0 ? `, CPU ${Math.round(cpu)} us/op` : '')
    const unit = isLarge ? 'MB/s' : 'IOPS'
    return { bench: 'block', name: job.name, metric: contestant.name, value, unit, note }
  })
  const [own, ...others] = rates
  const ratios = others.map(({ metric, value }) => ({
    bench: 'block',
    name: job.name,
    metric: `Lemnis / ${metric}`,
    value: must(own, 'our own figure').value / value,
    unit: 'x',
  }))
  return [...rates, ...ratios]
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  return must(sorted[Math.floor(sorted.length / 2)], 'a figure')
}
