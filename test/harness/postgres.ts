// Owns one PostgreSQL server with pgbench's tables for a proof: starting, loading, and what must hold of
// them afterwards. The server may not run as root; it runs as the user postgres.
// Invariant: only a transaction that pgbench was told is committed is counted as acknowledged.

import { type ChildProcess, spawn } from 'node:child_process'
import {
  chownSync,
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
} from 'node:fs'
import { join } from 'node:path'
import { runProgram } from '../../src/platform/run-program.ts'
import { askWithin, within } from './attached.ts'
import { tryRun } from './programs.ts'
import { check, until } from './report.ts'

const DEBIAN_DIRECTORY = '/usr/lib/postgresql'
const USER = 'postgres'
const DATABASE = 'postgres'
const CLIENTS = 4
const START_LIMIT_MS = 60_000
const LOAD_LIMIT_MS = 300_000
/** Beyond the time that pgbench is given. */
const BENCH_MARGIN_MS = 90_000
/** What a server that lost nothing never logs. */
const TROUBLE = /\b(PANIC|FATAL|ERROR):.*/
/** Small caches and frequent checkpoints, so that the device has something to do. */
const SETTINGS = {
  listen_addresses: '',
  shared_buffers: '32MB',
  max_wal_size: '128MB',
  checkpoint_timeout: '30s',
  autovacuum: 'off',
}

export interface BenchResult {
  readonly transactions: number
  /** The longest time in which no client finished a transaction. */
  readonly stallMs: number
  readonly slowestMs: number
}

/** Where the programs are; null when there are none, or no user to run them. */
export function findPostgres(): string | null {
  try {
    const hasUser = readFileSync('/etc/passwd', 'utf8').includes(`\n${USER}:`)
    const newest = readdirSync(DEBIAN_DIRECTORY).toSorted().at(-1)
    return hasUser && newest !== undefined ? join(DEBIAN_DIRECTORY, newest, 'bin') : null
  } catch {
    return null
  }
}

export class Postgres {
  /** Transactions that pgbench was told are committed. */
  acknowledged = 0
  readonly #programs: string
  readonly #data: string
  readonly #scratch: string
  readonly #own: string
  #server: ChildProcess | null = null
  #runs = 0

  /** `scratch` is for sockets and logs, and must not be on the volume. */
  constructor(programs: string, data: string, scratch: string) {
    this.#programs = programs
    this.#data = data
    this.#scratch = scratch
    this.#own = join(scratch, 'postgres')
  }

  async create(scale: number): Promise<void> {
    const [uid, gid] = await this.#ids()
    for (const path of [this.#data, this.#own]) {
      mkdirSync(path)
      chownSync(path, uid, gid)
    }
    await this.#ask(LOAD_LIMIT_MS, 'initdb', '--data-checksums', '-A', 'trust', '-D', this.#data)
    await this.start()
    await this.#ask(LOAD_LIMIT_MS, 'pgbench', '-i', '-q', '-s', String(scale), DATABASE)
    await this.#sql('create extension amcheck')
  }

  async start(): Promise<void> {
    const settings = Object.entries({ ...SETTINGS, unix_socket_directories: this.#own })
    const words = settings.flatMap(([name, value]) => ['-c', `${name}=${value}`])
    const log = openSync(this.#log, 'a')
    const [program, ...args] = this.#command('postgres', '-D', this.#data, ...words)
    this.#server = spawn(program as string, args, { stdio: ['ignore', log, log] })
    closeSync(log)
    const isReady = async (): Promise<boolean> => {
      const [first, ...rest] = this.#command('pg_isready', '-h', this.#own)
      return (await tryRun(first as string, rest, { limitMs: 5000 })).code === 0
    }
    await until(isReady, START_LIMIT_MS, () => `PostgreSQL serves: ${this.logTail()}`)
  }

  /** Transactions of pgbench's own kind for so long; throws at any error of theirs or the server's. */
  async bench(seconds: number): Promise<BenchResult> {
    const before = this.#logText().length
    const limitMs = 1000 * seconds + BENCH_MARGIN_MS
    const output = await this.#ask(limitMs, 'pgbench', ...this.#benchWords(seconds))
    const failed = /number of failed transactions: (\d+)/.exec(output)?.[1]
    check(failed === '0' && !/error|abort/i.test(output), `pgbench: ${output}`)
    const trouble = TROUBLE.exec(this.#logText().slice(before))
    check(trouble === null, `the server's log: ${trouble?.[0]}`)
    const result = this.#readRun()
    this.acknowledged += result.transactions
    return result
  }

  /** Until the server breaks, which it must; how many transactions were acknowledged before. */
  async benchUntilBroken(): Promise<number> {
    const limitMs = BENCH_MARGIN_MS
    const [program, ...args] = this.#command('pgbench', ...this.#benchWords(limitMs / 2000))
    const run = tryRun(program as string, args, { limitMs })
    const { code, output } = await within(limitMs, 'pgbench ends when the device is lost', run)
    check(code !== 0, `pgbench must have failed: ${output}`)
    const { transactions } = this.#readRun()
    this.acknowledged += transactions
    return transactions
  }

  /** Nothing acknowledged is missing, nothing is half done, tables and indexes are sound. */
  async verify(): Promise<void> {
    const rows = Number(await this.#sql('select count(*) from pgbench_history'))
    // Each client may have had one that was committed but not acknowledged when the server broke.
    const isRight = rows >= this.acknowledged && rows <= this.acknowledged + CLIENTS
    check(isRight, `${rows} transactions are there, ${this.acknowledged} were acknowledged`)
    const sums = ['accounts', 'tellers', 'branches'].map(
      (table) => `(select sum(${table[0]}balance) from pgbench_${table})`,
    )
    const balances = (
      await this.#sql(`select ${sums.join(', ')}, (select sum(delta) from pgbench_history)`)
    ).split('|')
    check(new Set(balances).size === 1, `balances differ: ${balances.join(', ')}`)
    const words = ['-h', this.#own, '--heapallindexed', '--parent-check', '-d', DATABASE]
    await this.#ask(LOAD_LIMIT_MS, 'pg_amcheck', ...words)
    this.acknowledged = rows
  }

  /** Of a server that was stopped. */
  async verifyChecksums(): Promise<void> {
    const output = await this.#ask(LOAD_LIMIT_MS, 'pg_checksums', '--check', '-D', this.#data)
    check(/Bad checksums: +0\b/.test(output), output)
  }

  async stop(): Promise<void> {
    await this.#end('SIGINT')
    check(this.#logText().includes('database system is shut down'), 'the server stopped cleanly')
  }

  /** Also a server whose disk is gone. */
  async kill(): Promise<void> {
    await this.#end('SIGQUIT').catch(() => {})
  }

  logTail(): string {
    return this.#logText().slice(-2000)
  }

  get #log(): string {
    return join(this.#scratch, 'postgres.log')
  }

  #logText(): string {
    try {
      return readFileSync(this.#log, 'utf8')
    } catch {
      return ''
    }
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const server = this.#server
    this.#server = null
    if (server === null || server.exitCode !== null || server.signalCode !== null) return
    const ended = new Promise<void>((resolve) => server.once('exit', () => resolve()))
    server.kill(signal)
    await within(START_LIMIT_MS, 'end of PostgreSQL', ended)
  }

  #benchWords(seconds: number): string[] {
    const prefix = join(this.#own, `run-${++this.#runs}`)
    const load = ['-c', String(CLIENTS), '-T', String(seconds)]
    return ['-h', this.#own, '-n', ...load, '--log', `--log-prefix=${prefix}`, DATABASE]
  }

  /**
   * pgbench's log has a line for each acknowledged transaction: client, number, microseconds that it
   * took, script, and when it ended in seconds and microseconds.
   */
  #readRun(): BenchResult {
    const files = readdirSync(this.#own).filter((name) => name.startsWith(`run-${this.#runs}.`))
    const lines = files.flatMap((name) => readFileSync(join(this.#own, name), 'utf8').split('\n'))
    for (const name of files) rmSync(join(this.#own, name))
    const whole = lines.map((line) => line.split(' ').map(Number)).filter((row) => row.length >= 6)
    const ends = whole.map((row) => 1000 * (row[4] ?? 0) + (row[5] ?? 0) / 1000).toSorted(ascending)
    const gaps = ends.slice(1).map((endMs, i) => endMs - (ends[i] ?? endMs))
    const slowestMs = Math.max(0, ...whole.map((row) => (row[2] ?? 0) / 1000))
    return { transactions: whole.length, stallMs: Math.max(0, ...gaps), slowestMs }
  }

  #sql(query: string): Promise<string> {
    return this.#ask(START_LIMIT_MS, 'psql', '-At', '-h', this.#own, '-c', query, DATABASE)
  }

  async #ask(limitMs: number, program: string, ...args: string[]): Promise<string> {
    const [first, ...rest] = this.#command(program, ...args)
    return (await askWithin(limitMs, first as string, ...rest)).trim()
  }

  #command(program: string, ...args: string[]): string[] {
    const user = ['setpriv', `--reuid=${USER}`, `--regid=${USER}`, '--clear-groups', '--']
    return [
      ...user,
      'env',
      'LC_ALL=C',
      `PGHOST=${this.#own}`,
      join(this.#programs, program),
      ...args,
    ]
  }

  async #ids(): Promise<[number, number]> {
    const ask = async (flag: string): Promise<number> =>
      Number(await runProgram('id', [flag, USER]))
    return [await ask('-u'), await ask('-g')]
  }
}

const ascending = (a: number, b: number): number => a - b
