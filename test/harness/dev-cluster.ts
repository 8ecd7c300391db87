// Owns a development cluster for tests and benches with real processes: `lemnis dev` in a directory and on
// ports of its own, commands asked of it as a person would, and kills of single processes or of all.

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { rolesOf } from '../../src/bin/dev/layout.ts'
import type { DevRole } from '../../src/bin/dev/role.ts'
import { freePorts, PORTS_FREE } from './ports.ts'

const execute = promisify(execFile)
const PROGRAM = fileURLToPath(new URL('../../src/bin/lemnis.js', import.meta.url))
const START_LIMIT_MS = 60_000
const STOP_LIMIT_MS = 30_000
/** Clock ticks of /proc/PID/stat a second; fixed in the kernel's interface to programs. */
const TICKS_PER_SECOND = 100

export interface DevClusterOptions {
  readonly chunkservers?: number
  /** Three MDS on three members of etcd. */
  readonly etcd?: boolean
  /** A new temporary directory without it, which goes away with the cluster. */
  readonly directory?: string
}

export interface RoleProcess {
  /** `mds`, `chunkserver-2`, `nbd`. */
  readonly name: string
  readonly pid: number
}

export class DevCluster {
  readonly directory: string
  /** The first MDS, or the only one. */
  readonly mds: string
  readonly mdsAddresses: readonly string[]
  readonly nbdPort: number
  readonly #chunkservers: number
  readonly #etcd: boolean
  readonly #portBase: number
  readonly #isTemporary: boolean
  #dev: ChildProcess | null = null
  #output = ''

  private constructor(directory: string, portBase: number, options: DevClusterOptions) {
    this.directory = directory
    this.#isTemporary = options.directory === undefined
    this.#chunkservers = options.chunkservers ?? 3
    this.#etcd = options.etcd === true
    this.#portBase = portBase
    this.mds = `127.0.0.1:${portBase}`
    this.nbdPort = portBase + PORTS_FREE - 1
    // The layout shares out the file system of the directory.
    mkdirSync(directory, { recursive: true })
    const mds = this.#layout().filter(({ kind }) => kind === 'mds')
    this.mdsAddresses = mds.map(({ address }) => address)
  }

  static async start(options: DevClusterOptions = {}): Promise<DevCluster> {
    const directory = options.directory ?? mkdtempSync(join(tmpdir(), 'lemnis-dev-'))
    for (;;) {
      const cluster = new DevCluster(directory, await freePorts(), options)
      try {
        await cluster.start()
        return cluster
      } catch (error) {
        // Another program took one of the ports between the look and the use.
        if (!String(error).includes('EADDRINUSE')) throw error
        await cluster.stop()
      }
    }
  }

  /** What dev has printed since its last start. */
  get output(): string {
    return this.#output
  }

  /** Where the NBD server serves its metrics. */
  get nbdHttp(): string {
    const role = this.#layout().find(({ kind }) => kind === 'nbd')
    if (role === undefined) throw new Error('no NBD server')
    return role.http
  }

  #layout(): DevRole[] {
    return rolesOf({
      data: this.directory,
      portBase: this.#portBase,
      nbdPort: this.nbdPort,
      chunkservers: this.#chunkservers,
      etcd: this.#etcd,
    })
  }

  nbdUri(volume: string): string {
    return `nbd://127.0.0.1:${this.nbdPort}/${volume}`
  }

  /** Again, after stop() or killAll(), on what is there. Resolves when it serves. */
  async start(): Promise<void> {
    const ports = ['--port-base', `${this.#portBase}`, '--nbd-port', `${this.nbdPort}`]
    const words = ['dev', '--data', this.directory, '--chunkservers', `${this.#chunkservers}`]
    if (this.#etcd) words.push('--etcd')
    this.#output = ''
    const dev = spawn(process.execPath, [PROGRAM, ...words, ...ports, '--json'], {
      env: { ...process.env, NO_COLOR: '1' },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#dev = dev
    let isReady = false
    dev.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.#output += text
      // The one JSON value is printed when everything serves.
      isReady = true
    })
    dev.stderr?.setEncoding('utf8').on('data', (text: string) => (this.#output += text))
    const endMs = performance.now() + START_LIMIT_MS
    while (!isReady) {
      if (hasEnded(dev) || performance.now() > endMs) {
        throw new Error(`dev did not start:\n${this.#output}`)
      }
      await pause(20)
    }
  }

  /** Runs `lemnis WORDS` against this cluster; its output. A failure has stdout and stderr in it. */
  async lemnis(...words: string[]): Promise<string> {
    const all = [PROGRAM, '--mds', this.mdsAddresses.join(','), ...words]
    const { stdout } = await execute(process.execPath, all, {
      env: { ...process.env, NO_COLOR: '1' },
      maxBuffer: 64 << 20,
    })
    return stdout
  }

  /** The same for a command whose exit code is its answer. */
  async tryLemnis(...words: string[]): Promise<{ readonly code: number; readonly output: string }> {
    try {
      return { code: 0, output: await this.lemnis(...words) }
    } catch (error) {
      const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string }
      return { code, output: `${stdout}${stderr}` }
    }
  }

  async json<T>(...words: string[]): Promise<T> {
    return JSON.parse(await this.lemnis('--json', ...words)) as T
  }

  /** Every role that runs now. */
  roles(): RoleProcess[] {
    const parent = this.#dev?.pid
    return readdirSync('/proc').flatMap((entry) => {
      const pid = Number(entry)
      if (!Number.isInteger(pid) || parentOf(pid) !== parent) return []
      const words = commandOf(pid)
      const at = words.indexOf('--name')
      return at < 0 ? [] : [{ name: words[at + 1] ?? '', pid }]
    })
  }

  pidOf(name: string): number {
    const found = this.roles().find((role) => role.name === name)
    if (found === undefined) throw new Error(`no process of ${name} runs`)
    return found.pid
  }

  kill(name: string, signal: NodeJS.Signals = 'SIGKILL'): void {
    process.kill(this.pidOf(name), signal)
  }

  /** kill -9 of every process at once, dev itself included; resolves when all are gone. */
  async killAll(): Promise<void> {
    const dev = this.#dev
    const pids = this.roles().map(({ pid }) => pid)
    if (dev?.pid !== undefined) pids.unshift(dev.pid)
    for (const pid of pids) kill(pid, 'SIGKILL')
    while (pids.some(isRunning)) await pause(10)
    this.#dev = null
  }

  /** kill -9 of dev alone; resolves when its roles, which it can't stop any more, are gone as well. */
  async killDev(): Promise<void> {
    const pids = this.roles().map(({ pid }) => pid)
    this.#dev?.kill('SIGKILL')
    while (pids.some(isRunning)) await pause(10)
    this.#dev = null
  }

  /** CPU time of all roles so far, in microseconds. */
  cpuMicros(): number {
    return this.roles().reduce((sum, { pid }) => sum + cpuMicrosOf(pid), 0)
  }

  /** As by Ctrl-C. */
  async stop(): Promise<void> {
    const dev = this.#dev
    this.#dev = null
    if (dev === null || hasEnded(dev)) return
    const gone = new Promise<void>((resolve) => dev.once('exit', () => resolve()))
    dev.kill('SIGINT')
    const limit = setTimeout(() => dev.kill('SIGKILL'), STOP_LIMIT_MS)
    await gone
    clearTimeout(limit)
  }

  async close(): Promise<void> {
    await this.stop()
    if (this.#isTemporary) rmSync(this.directory, { recursive: true, force: true })
  }
}

export function cpuMicrosOf(pid: number): number {
  const fields = statOf(pid)
  if (fields === null) return 0
  return ((Number(fields[11]) + Number(fields[12])) * 1e6) / TICKS_PER_SECOND
}

/** The fields of /proc/PID/stat after the name, which may hold spaces; null when the process is gone. */
function statOf(pid: number): string[] | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return text.slice(text.lastIndexOf(')') + 2).split(' ')
  } catch {
    return null
  }
}

function parentOf(pid: number): number | null {
  const fields = statOf(pid)
  return fields === null ? null : Number(fields[1])
}

function commandOf(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
  } catch {
    return []
  }
}

function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch {
    // It has ended already.
  }
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null
}

function isRunning(pid: number): boolean {
  const fields = statOf(pid)
  return fields !== null && fields[0] !== 'Z'
}
