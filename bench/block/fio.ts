// Owns running fio: one job against one device, and what came of it. fio is asked for figures in
// JSON, so that nothing is read from texts for people.

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { must } from '../../src/base/assert.ts'

const execute = promisify(execFile)

export interface FioCase {
  /** For the table: `4 KiB random write, depth 32`. */
  readonly name: string
  readonly rw: 'randwrite' | 'randread' | 'write' | 'read'
  readonly blockBytes: number
  readonly depth: number
}

export interface FioFigures {
  readonly iops: number
  readonly megabytesPerSecond: number
  readonly p50Us: number
  readonly p99Us: number
  readonly operations: number
}

interface Side {
  readonly iops: number
  readonly bw_bytes: number
  readonly total_ios: number
  readonly clat_ns: { readonly percentile?: Readonly<Record<string, number>> }
}

/** Arguments that name the engine and the device: what differs between the systems compared. */
export type FioTarget = readonly string[]

/** Writes the first `bytes` of the device once, so that later cases meet data and not holes. */
export async function fill(target: FioTarget, bytes: number): Promise<void> {
  const given = ['--rw=write', '--bs=1m', '--iodepth=4', `--size=${bytes}`]
  await execute('fio', ['--name=fill', ...target, ...given])
}

/** One case for `seconds` (whole ones, at least 1) over the first `bytes` of the device. */
export async function runFio(
  target: FioTarget,
  job: FioCase,
  bytes: number,
  seconds: number,
): Promise<FioFigures> {
  const given = [
    ...['--name=case', `--rw=${job.rw}`, `--bs=${job.blockBytes}`, `--iodepth=${job.depth}`],
    ...[`--size=${bytes}`, '--randrepeat=0', '--norandommap', '--time_based'],
    ...[`--runtime=${Math.max(1, Math.round(seconds))}`, '--output-format=json'],
  ]
  const { stdout } = await execute('fio', [...target, ...given], { maxBuffer: 16 << 20 })
  // Some engines print a line of their own before the figures.
  const parsed = JSON.parse(stdout.slice(stdout.indexOf('{'))) as {
    jobs: { read: Side; write: Side; error: number }[]
  }
  const [result] = parsed.jobs
  const { read, write, error } = must(result, 'a job in the figures of fio')
  if (error !== 0) throw new Error(`fio ended with error ${error} in ${job.name}`)
  const side = job.rw.endsWith('read') ? read : write
  return {
    iops: side.iops,
    megabytesPerSecond: side.bw_bytes / 1e6,
    p50Us: (side.clat_ns.percentile?.['50.000000'] ?? 0) / 1000,
    p99Us: (side.clat_ns.percentile?.['99.000000'] ?? 0) / 1000,
    operations: side.total_ios,
  }
}

export async function hasFioEngine(engine: string): Promise<boolean> {
  try {
    const { stdout } = await execute('fio', ['--enghelp'])
    return stdout.split('\n').some((line) => line.trim() === engine)
  } catch {
    return false
  }
}
