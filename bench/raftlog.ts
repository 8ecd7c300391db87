// Measures the log on the real disk: 1, 16 and 256 groups, each with one append outstanding, beside
// fio doing bare writes of one block to a file of the same directory. Rounds alternate, figures are
// medians of the rounds: a shared disk drifts by more than what is to be seen here.

import { execFile } from 'node:child_process'
import { closeSync, fsyncSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { must } from '../src/base/assert.ts'
import { Histogram } from '../src/base/histogram.ts'
import { MIB } from '../src/base/units.ts'
import type { Env } from '../src/env/env.ts'
import { SILENT } from '../src/observe/observe.ts'
import { nodeEnv } from '../src/platform/env.ts'
import type { ReplicaId } from '../src/raft/types.ts'
import { raftLogConfig } from '../src/raftlog/config.ts'
import { RaftLog } from '../src/raftlog/raftlog.ts'
import type { BenchOptions, BenchRow } from './table.ts'

const GROUP_COUNTS = [1, 16, 256]
/** The most that leaves a batch in one block, and a block of a volume, which makes it two. */
const PAYLOADS = [
  { label: 'one block', bytes: 3900 },
  { label: '4 KiB', bytes: 4096 },
]
const ROUNDS = 5
const FIO_FILE_BYTES = 64 * MIB
const CONFIGURATION = {
  epoch: 1,
  voters: [1 as ReplicaId],
  outgoing: [],
  learners: [],
  learnersNext: [],
}

interface Round {
  readonly perSecond: number
  readonly megabytesPerSecond: number
  readonly p50: number
  readonly p99: number
  readonly cpuUs: number
}

export interface RaftLogBenchOptions extends BenchOptions {
  /** Where the files go; the figures are this file system's. */
  readonly directory?: string
}

export async function run(options: RaftLogBenchOptions): Promise<BenchRow[]> {
  const { seconds, tiny, directory = tmpdir() } = options
  const root = mkdtempSync(join(directory, 'lemnis-bench-'))
  const env = nodeEnv(root)
  const log = await RaftLog.open(env, SILENT, 'log', raftLogConfig({ segmentsPinned: 2 }))
  try {
    checkpointWhenAsked(log)
    await makeGroups(log)
    const rounds = new Map<string, Round[]>()
    const roundCount = tiny ? 1 : ROUNDS
    const figures = 1 + GROUP_COUNTS.length * PAYLOADS.length
    const each = seconds / roundCount / figures
    const add = (name: string, round: Round): void => {
      rounds.set(name, [...(rounds.get(name) ?? []), round])
    }
    if (!tiny) await reachSteadyState(env, log)
    for (let i = 0; i < roundCount; i++) {
      const bare = await fio(root, Math.max(each, 0.5))
      if (bare !== null) add('fio psync, O_DIRECT|O_DSYNC, 4 KiB', bare)
      for (const { label, bytes } of PAYLOADS) {
        for (const groups of GROUP_COUNTS) {
          const name = `append ${label}, ${groups} group${groups === 1 ? '' : 's'}`
          add(name, await measure(env, log, groups, bytes, each))
        }
      }
    }
    return [...rounds].flatMap(([name, list]) => rowsOf(name, list))
  } finally {
    await log.close()
    rmSync(root, { recursive: true })
  }
}

function checkpointWhenAsked(log: RaftLog): void {
  log.onPinned = (group) => {
    const view = log.group(group)
    const index = view.lastIndex()
    const mark = { index, term: must(view.term(index), 'a term'), config: CONFIGURATION }
    log.append({ group, mark }, () => {})
  }
}

async function makeGroups(log: RaftLog): Promise<void> {
  const mark = { index: 0, term: 0, config: CONFIGURATION }
  const create = { replica: 1 as ReplicaId, epoch: 1 }
  const groups = Array.from({ length: Math.max(...GROUP_COUNTS) }, (_, i) => i + 1)
  const made = (group: number): Promise<unknown> =>
    new Promise((resolve) => log.append({ group, create, mark, restart: true }, resolve))
  await Promise.all(groups.map(made))
}

/** Until segments are reused rather than made: that is how a log spends its life. */
async function reachSteadyState(env: Env, log: RaftLog): Promise<void> {
  const enough = 6 * raftLogConfig().segmentBytes
  let written = 0
  while (written < enough) {
    const round = await measure(env, log, 64, 64 * 1024, 0.2)
    written += round.megabytesPerSecond * 1e6 * 0.2
  }
}

function measure(
  env: Env,
  log: RaftLog,
  groups: number,
  bytes: number,
  seconds: number,
): Promise<Round> {
  const { clock } = env
  const latencyUs = new Histogram()
  const cpu = process.cpuUsage()
  const startMs = clock.monotonicMs()
  const endMs = startMs + seconds * 1000
  const data = new Uint8Array(bytes).fill(7)
  let outstanding = groups
  return new Promise((resolve, reject) => {
    const end = (): void => {
      const perSecond = (latencyUs.count / (clock.monotonicMs() - startMs)) * 1000
      const { user, system } = process.cpuUsage(cpu)
      resolve({
        perSecond,
        megabytesPerSecond: (perSecond * bytes) / 1e6,
        p50: latencyUs.percentile(0.5),
        p99: latencyUs.percentile(0.99),
        cpuUs: (user + system) / latencyUs.count,
      })
    }
    const issue = (group: number): void => {
      const askedMs = clock.monotonicMs()
      const index = log.group(group).lastIndex() + 1
      log.append({ group, entries: [{ term: 1, index, kind: 'data', data }] }, (error) => {
        if (error !== null) reject(error)
        const nowMs = clock.monotonicMs()
        latencyUs.record((nowMs - askedMs) * 1000)
        if (nowMs < endMs) issue(group)
        else if (--outstanding === 0) end()
      })
    }
    for (let group = 1; group <= groups; group++) issue(group)
  })
}

/** The same writes without a log: one block after the other over a file that is all written. */
async function fio(root: string, seconds: number): Promise<Round | null> {
  const path = join(root, 'fio')
  const fd = openSync(path, 'w')
  for (let at = 0; at < FIO_FILE_BYTES; at += MIB) writeSync(fd, new Uint8Array(MIB), 0, MIB, at)
  fsyncSync(fd)
  closeSync(fd)
  const given = [
    `--filename=${path}`,
    `--size=${FIO_FILE_BYTES}`,
    `--runtime=${seconds}`,
    ...['--name=log', '--rw=write', '--bs=4k', '--ioengine=psync', '--direct=1', '--sync=dsync'],
    ...['--time_based', '--output-format=json'],
  ]
  try {
    const { stdout } = await promisify(execFile)('fio', given)
    const [{ write, usr_cpu, sys_cpu }] = (JSON.parse(stdout) as { jobs: [FioJob] }).jobs
    const { percentile } = write.clat_ns
    return {
      perSecond: write.iops,
      megabytesPerSecond: (write.iops * 4096) / 1e6,
      p50: must(percentile['50.000000'], 'a percentile') / 1000,
      p99: must(percentile['99.000000'], 'a percentile') / 1000,
      cpuUs: ((usr_cpu + sys_cpu) * 1e4) / write.iops,
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  } finally {
    rmSync(path)
  }
}

interface FioJob {
  readonly usr_cpu: number
  readonly sys_cpu: number
  readonly write: {
    readonly iops: number
    readonly clat_ns: { readonly percentile: Readonly<Record<string, number>> }
  }
}

function rowsOf(name: string, rounds: readonly Round[]): BenchRow[] {
  const row = (metric: string, unit: string, pick: (round: Round) => number): BenchRow => {
    const values = rounds.map(pick).sort((a, b) => a - b)
    const value = must(values[Math.floor(values.length / 2)], 'a round')
    return { bench: 'raftlog', name, metric, value, unit }
  }
  return [
    row('rate', 'appends/s', (round) => round.perSecond),
    row('payload', 'MB/s', (round) => round.megabytesPerSecond),
    row('p50', 'us', (round) => round.p50),
    row('p99', 'us', (round) => round.p99),
    row('CPU', 'us/append', (round) => round.cpuUs),
  ]
}
