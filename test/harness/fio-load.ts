// Owns fio as a load that goes on while other things happen: random reads and writes of 4 KiB at a set rate
// over NBD, with every request in a log, so that afterwards each stretch of time has its figures.
// Any error that fio sees ends the check.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { check } from './proof.ts'

/** fio is here and has an engine for NBD. */
export const HAS_FIO = /^\s*nbd$/m.test(String(spawnSync('fio', ['--enghelp']).stdout))

const BLOCK_BYTES = 4096
const DEPTH = 8
const NS_PER_MS = 1e6

export interface FioLoadOptions {
  readonly bytes: number
  /** Reads and writes a second, half of them each. */
  readonly iops: number
}

interface Answer {
  /** By the wall clock, when it came. */
  readonly atMs: number
  readonly tookMs: number
}

export interface Stretch {
  readonly iops: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
  /** The longest time in which nothing was answered. */
  readonly stallMs: number
}

export class FioLoad {
  readonly #directory = mkdtempSync(join(tmpdir(), 'lemnis-fio-'))
  readonly #child: ChildProcess
  #output = ''
  #answers: Answer[] = []

  constructor(uri: string, { bytes, iops }: FioLoadOptions) {
    const each = Math.round(iops / 2)
    const args = [
      ...['--name=load', '--ioengine=nbd', `--uri=${uri}`, '--rw=randrw', `--bs=${BLOCK_BYTES}`],
      ...[`--iodepth=${DEPTH}`, `--size=${bytes}`, '--randrepeat=0', '--norandommap'],
      ...['--time_based', '--runtime=86400', `--rate_iops=${each},${each}`, '--output-format=json'],
      ...[`--write_lat_log=${join(this.#directory, 'log')}`, '--log_unix_epoch=1'],
    ]
    // In one process: it ends at the first signal, with its figures.
    this.#child = spawn('fio', [...args, '--thread'], { stdio: ['ignore', 'pipe', 'pipe'] })
    const hear = (text: Buffer): void => void (this.#output += String(text))
    this.#child.stdout?.on('data', hear)
    this.#child.stderr?.on('data', hear)
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }

  /** Ends it; throws what fio says if any request had an error. */
  async stop(): Promise<void> {
    check(this.isRunning, `fio ended by itself:\n${this.#output}`)
    const gone = once(this.#child, 'close')
    this.#child.kill('SIGINT')
    await gone
    const json = this.#output.slice(this.#output.indexOf('{\n'))
    const { jobs } = JSON.parse(json.slice(0, json.lastIndexOf('}') + 1)) as {
      jobs: { readonly error: number }[]
    }
    check(jobs.length > 0 && jobs.every(({ error }) => error === 0), `fio: ${this.#output}`)
    this.#answers = this.#readLog()
  }

  #readLog(): Answer[] {
    const name = readdirSync(this.#directory).find((one) => /^log_lat\..*log$/.test(one))
    if (name === undefined) throw new Error('fio left no log')
    const lines = readFileSync(join(this.#directory, name), 'utf8').trim().split('\n')
    const answers = lines.map((line) => {
      const [atMs, tookNs] = line.split(',')
      return { atMs: Number(atMs), tookMs: Number(tookNs) / NS_PER_MS }
    })
    return answers.sort((a, b) => a.atMs - b.atMs)
  }

  /** What came between two moments of the wall clock; after stop(). */
  stretch(fromMs: number, toMs: number): Stretch {
    const within = this.#answers.filter(({ atMs }) => atMs >= fromMs && atMs < toMs)
    const took = within.map(({ tookMs }) => tookMs).sort((a, b) => a - b)
    const at = (share: number): number => took[Math.floor(took.length * share)] ?? 0
    let stallMs = 0
    let lastMs = fromMs
    for (const { atMs } of [...within, { atMs: toMs }]) {
      stallMs = Math.max(stallMs, atMs - lastMs)
      lastMs = atMs
    }
    return {
      iops: (took.length * 1000) / (toMs - fromMs),
      p50Ms: at(0.5),
      p99Ms: at(0.99),
      maxMs: took.at(-1) ?? 0,
      stallMs,
    }
  }

  close(): void {
    if (this.isRunning) this.#child.kill('SIGKILL')
    rmSync(this.#directory, { recursive: true, force: true })
  }
}
