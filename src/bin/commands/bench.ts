// Owns `lemnis bench volume`: a workload on one volume, with a line each second and a table at the end.

import { type Command, Option } from 'commander'
import {
  type BenchResult,
  type BenchSide,
  runBench,
  WORKLOADS,
  type Workload,
} from '../../client/bench.ts'
import { connect } from '../../client/client.ts'
import { SILENT } from '../../observe/observe.ts'
import { confirm } from '../cli/confirm.ts'
import type { Io } from '../cli/io.ts'
import { asking, declare, family } from '../cli/program.ts'
import type { Session } from '../cli/session.ts'
import { countArgument, durationArgument, size, sizeArgument } from '../cli/words.ts'
import { holderName } from '../roles/holder.ts'

interface BenchFlags {
  readonly rw: Workload
  readonly bs: number
  readonly iodepth: number
  readonly time: number
  readonly yes?: boolean
}

function sides({ reads, writes }: BenchResult): (readonly [string, BenchSide])[] {
  return (
    [
      ['read', reads],
      ['write', writes],
    ] as const
  ).filter(([, side]) => side.ops > 0)
}

const ms = (us: number): string => `${(us / 1000).toFixed(us < 10_000 ? 2 : 1)} ms`

function line(second: number, result: BenchResult): string {
  const parts = sides(result).map(([name, { iops, bytesPerSecond, p50Us, p99Us }]) => {
    const rate = `${Math.round(iops)} IOPS, ${size(Math.round(bytesPerSecond))}/s`
    return `${name} ${rate}, p50 ${ms(p50Us)}, p99 ${ms(p99Us)}`
  })
  return `${String(second).padStart(4)} s  ${parts.join('; ') || 'nothing was answered'}`
}

export function benchText(io: Io, result: BenchResult): string {
  const rows = sides(result).map(([name, side]) => [
    name,
    Math.round(side.iops).toString(),
    `${size(Math.round(side.bytesPerSecond))}/s`,
    ...[side.p50Us, side.p95Us, side.p99Us, side.p999Us, side.maxUs].map(ms),
  ])
  return io.table(['', 'IOPS', 'RATE', 'P50', 'P95', 'P99', 'P99.9', 'MAX'], rows)
}

async function bench(session: Session, name: string, flags: BenchFlags): Promise<void> {
  const { io, env } = session
  const client = session.own(
    connect(env, SILENT, { mds: session.mdsAddresses, name: holderName('bench', '') }),
  )
  const isReader = flags.rw === 'read' || flags.rw === 'randread'
  const { segmentsAllocated } = await client.volumes.show(name)
  if (!isReader && segmentsAllocated > 0 && flags.yes !== true) {
    if (!(await confirm(`${name} holds data. Overwrite it?`))) return
  }
  const volume = await client.open(name, { mode: isReader ? 'read' : 'write' })
  let second = 0
  const result = await runBench(env, volume, {
    workload: flags.rw,
    opBytes: flags.bs,
    depth: flags.iodepth,
    seconds: flags.time / 1000,
    onProgress: (progress) => io.note(line(++second, progress)),
  })
  await volume.close()
  io.result(result, () => benchText(io, result))
}

export function addBenchCommands(program: Command): void {
  const measured = family(program, 'bench', 'how fast it is')
  declare(
    measured,
    'volume <name>',
    'measure one volume, through the client and without a file system',
    'bench volume scratch --rw randwrite --bs 4KiB --iodepth 32 --time 10s',
  )
    .addOption(new Option('--rw <workload>', 'what is done').choices(WORKLOADS).default('randread'))
    .option('--bs <size>', 'bytes of one request', sizeArgument, 4096)
    .option('--iodepth <count>', 'requests under way at once', countArgument, 32)
    .option('--time <duration>', 'how long', durationArgument, 10_000)
    .option('--yes', 'overwrite what the volume holds')
    .action(asking(bench))
}
