// Owns a cluster for tests with real processes in which single roles are stopped, killed, frozen and
// started again, with other settings if wanted, which `lemnis dev` would undo. Its roles are those of
// dev, the NBD server when it is asked for; they end with this process.

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Io } from '../../src/bin/cli/io.ts'
import { allChunkservers, allCopysets, allOperators } from '../../src/bin/cli/pages.ts'
import { Session } from '../../src/bin/cli/session.ts'
import { findEtcd, untilHealthy } from '../../src/bin/dev/etcd.ts'
import { rolesOf } from '../../src/bin/dev/layout.ts'
import type { DevRole } from '../../src/bin/dev/role.ts'
import { connect, type LemnisClient } from '../../src/client/client.ts'
import type { ReplyOf } from '../../src/format/control/call.ts'
import { GIVE_ORDER } from '../../src/format/control/chunkserver.ts'
import { SHOW_MDS } from '../../src/format/control/election.ts'
import { CREATE_POOL, LIST_COPYSETS, STATUS } from '../../src/format/control/mds.ts'
import type { Operator } from '../../src/format/control/operators.ts'
import type { Chunkserver, Copyset } from '../../src/format/control/parts.ts'
import { SILENT } from '../../src/observe/observe.ts'
import { nodeEnv } from '../../src/platform/env.ts'
import { DATA_PROCESS_FLAGS } from '../../src/platform/runtime.ts'
import { freePorts } from './ports.ts'

const PROGRAM = fileURLToPath(new URL('../../src/bin/lemnis.js', import.meta.url))
const LIMIT_MS = 60_000
const POLL_MS = 50
const SHOW_LIMIT_MS = 1000

export interface RoleClusterOptions {
  readonly chunkservers?: number
  /** How many of these join later, by startChunkserver(). */
  readonly later?: number
  /** 0 for as many as the MDS chooses. */
  readonly copysets?: number
  /** Three MDS on three members of etcd. */
  readonly etcd?: boolean
  /** `table.setting=value`, for every chunkserver and for the MDS. */
  readonly chunkserverSettings?: readonly string[]
  readonly mdsSettings?: readonly string[]
  /** Called with the directory of each chunkserver before it starts first. */
  readonly prepare?: (directory: string, n: number) => void
  /** For one chunkserver alone. */
  readonly settingsOf?: (n: number) => readonly string[]
  /** Further words of its command line, which win over those before them. */
  readonly wordsOf?: (n: number) => readonly string[]
  /** Flags of node for chunkservers. */
  readonly nodeFlags?: readonly string[]
}

export interface CommandResult {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

export interface LogEvent {
  readonly level: string
  readonly event: string
  readonly fields: Readonly<Record<string, string | number>>
}

export class RoleCluster {
  readonly directory: string
  /** Of every MDS, with commas. */
  readonly mds: string
  readonly mdsAddresses: readonly string[]
  readonly session: Session
  readonly #options: RoleClusterOptions
  readonly #roles: ReadonlyMap<string, DevRole>
  readonly #running = new Map<string, ChildProcess>()
  readonly #clients: LemnisClient[] = []

  private constructor(directory: string, portBase: number, options: RoleClusterOptions) {
    const { chunkservers = 3, etcd = false } = options
    this.directory = directory
    this.#options = options
    const data = { data: directory, portBase, nbdPort: portBase + 130, chunkservers, etcd }
    this.#roles = new Map(rolesOf(data).map((role) => [role.name, role]))
    this.mdsAddresses = this.#namesOf('mds').map((name) => this.#role(name).address)
    this.mds = this.mdsAddresses.join(',')
    this.session = new Session(Io.ofProcess(true), this.mdsAddresses)
  }

  /** Resolves when all serve and every copyset of the one pool has a leader. */
  static async start(options: RoleClusterOptions = {}): Promise<RoleCluster> {
    const directory = mkdtempSync(join(tmpdir(), 'lemnis-roles-'))
    const cluster = new RoleCluster(directory, await freePorts(), options)
    try {
      await cluster.startMds()
      const { chunkservers = 3, later = 0, copysets = 4 } = options
      for (let n = 1; n <= chunkservers; n++) {
        mkdirSync(cluster.dataOf(n))
        options.prepare?.(cluster.dataOf(n), n)
        if (n <= chunkservers - later) await cluster.startChunkserver(n)
      }
      await cluster.untilOnline(chunkservers - later)
      await cluster.session.ask(CREATE_POOL, { name: 'default', replicas: 3, copysets })
      await cluster.untilOk()
    } catch (error) {
      await cluster.close()
      throw error
    }
    return cluster
  }

  dataOf(n: number): string {
    return join(this.directory, `chunkserver-${n}`)
  }

  // --- processes

  /** All of them, and what they are on; or one that was stopped. */
  async startMds(name?: string): Promise<void> {
    if (name === undefined) await this.#startEtcd()
    for (const one of name === undefined ? this.#namesOf('mds') : [name]) {
      await this.#start(one, [], setWords(this.#options.mdsSettings))
    }
  }

  startChunkserver(n: number, settings: readonly string[] = []): Promise<void> {
    const { chunkserverSettings = [], settingsOf, wordsOf, nodeFlags = [] } = this.#options
    const all = [...chunkserverSettings, ...(settingsOf?.(n) ?? []), ...settings]
    return this.#start(`chunkserver-${n}`, nodeFlags, [...(wordsOf?.(n) ?? []), ...setWords(all)])
  }

  /** Resolves with its address. */
  async startNbd(): Promise<string> {
    await this.#start('nbd', [], [])
    return this.#role('nbd').address
  }

  /** The members of etcd wait for each other, so that they are started together. */
  async #startEtcd(): Promise<void> {
    const names = this.#namesOf('etcd')
    await Promise.all(
      names.map(async (name) => {
        const { words, http } = this.#role(name)
        // Whoever ends this process may not let it tidy up: then the kernel ends its members.
        const all = ['--pdeathsig', 'KILL', findEtcd(), ...words]
        const child = this.#spawn(name, 'setpriv', all, false)
        const isRunning = (): boolean => child.exitCode === null && child.signalCode === null
        const isWell = await untilHealthy(http, isRunning)
        if (!isWell) throw new Error(`${name} ended:\n${this.#tailOf(name)}`)
      }),
    )
  }

  #namesOf(kind: DevRole['kind']): string[] {
    const all = [...this.#roles.values()]
    return all.filter((role) => role.kind === kind).map(({ name }) => name)
  }

  #role(name: string): DevRole {
    const role = this.#roles.get(name)
    if (role === undefined) throw new Error(`no role ${name}`)
    return role
  }

  #spawn(name: string, program: string, words: readonly string[], hasIpc: boolean): ChildProcess {
    const log = openSync(this.#logOf(name), 'a')
    const stdio = ['ignore' as const, log, log, ...(hasIpc ? (['ipc'] as const) : [])]
    const child = spawn(program, words, { stdio })
    closeSync(log)
    this.#running.set(name, child)
    child.once('exit', () => {
      if (this.#running.get(name) === child) this.#running.delete(name)
    })
    return child
  }

  async #start(
    name: string,
    nodeFlags: readonly string[],
    words: readonly string[],
  ): Promise<void> {
    const flags = [...DATA_PROCESS_FLAGS, ...nodeFlags]
    const all = [...flags, PROGRAM, ...this.#role(name).words, ...words]
    const child = this.#spawn(name, process.execPath, all, true)
    let isReady = false
    child.once('message', () => (isReady = true))
    await this.until(`${name} serves`, () => {
      if (child.exitCode !== null) {
        throw new Error(`${name} ended with ${child.exitCode}:\n${this.#tailOf(name)}`)
      }
      return isReady
    })
  }

  isRunning(name: string): boolean {
    return this.#running.has(name)
  }

  pidOf(name: string): number {
    const pid = this.#running.get(name)?.pid
    if (pid === undefined) throw new Error(`${name} does not run`)
    return pid
  }

  /** Ends it and resolves when it is gone. */
  async stop(name: string, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const child = this.#running.get(name)
    if (child === undefined) return
    const gone = once(child, 'exit')
    child.kill(signal)
    const limit = setTimeout(() => child.kill('SIGKILL'), LIMIT_MS)
    await gone
    clearTimeout(limit)
  }

  // --- what it says

  #logOf(name: string): string {
    return join(this.directory, `${name}.log`)
  }

  #tailOf(name: string): string {
    return readFileSync(this.#logOf(name), 'utf8').split('\n').slice(-20).join('\n')
  }

  /** How much a role has logged so far: from here on `eventsOf` finds what comes. */
  logBytes(name: string): number {
    return statSync(this.#logOf(name)).size
  }

  /** The events in the log of a role from byte `from` on. */
  eventsOf(name: string, from = 0): LogEvent[] {
    const lines = readFileSync(this.#logOf(name)).subarray(from).toString().split('\n')
    return lines.flatMap((line) => {
      if (!line.startsWith('{')) return []
      const { level, event, fields } = JSON.parse(line) as LogEvent
      return [{ level, event, fields: fields ?? {} }]
    })
  }

  /** A metric of a role, summed over its labels; 0 for one that it does not have yet. */
  async metric(name: string, metric: string): Promise<number> {
    const reply = await fetch(`http://${this.#roles.get(name)?.http}/metrics`)
    const lines = (await reply.text()).split('\n')
    return lines
      .filter(
        (line) => line.startsWith(`lemnis_${metric} `) || line.startsWith(`lemnis_${metric}{`),
      )
      .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0)
  }

  /** JSON of a role's HTTP port. */
  async http<T>(name: string, path: string): Promise<T> {
    const reply = await fetch(`http://${this.#roles.get(name)?.http}${path}`)
    return (await reply.json()) as T
  }

  status(): Promise<Awaited<ReturnType<typeof this.session.ask<typeof STATUS>>>> {
    return this.session.ask(STATUS, {})
  }

  chunkservers(): Promise<readonly Chunkserver[]> {
    return allChunkservers(this.session)
  }

  copysets(): Promise<readonly Copyset[]> {
    return allCopysets(this.session, [])
  }

  /** Those that move now, or the others as far as they are kept, or both. */
  operators(which: 'active' | 'ended' | 'all'): Promise<readonly Operator[]> {
    return allOperators(this.session, which)
  }

  /** What each MDS says of itself, as far as it answers. */
  async shownMds(): Promise<readonly ReplyOf<typeof SHOW_MDS>[]> {
    const shown = this.mdsAddresses.map((address) =>
      this.session.askAt(address, SHOW_MDS, {}, SHOW_LIMIT_MS).catch(() => null),
    )
    return (await Promise.all(shown)).filter((one) => one !== null)
  }

  async copyset(id: number): Promise<Copyset> {
    const [copyset] = (await this.session.ask(LIST_COPYSETS, { ids: [id] })).copysets
    if (copyset === undefined) throw new Error(`no copyset ${id}`)
    return copyset
  }

  untilOnline(count: number): Promise<void> {
    return this.until('all chunkservers are online', async () => {
      const all = await this.chunkservers()
      return all.filter(({ state }) => state === 'online').length === count
    })
  }

  /** Every copyset has all its members and a leader. */
  untilOk(limitMs = LIMIT_MS): Promise<void> {
    return this.until(
      'all copysets are ok',
      async () => {
        const { copysets } = await this.status()
        return copysets.total > 0 && copysets.ok === copysets.total
      },
      limitMs,
    )
  }

  async until(
    what: string,
    isSo: () => Promise<boolean> | boolean,
    limitMs = LIMIT_MS,
  ): Promise<void> {
    const endMs = performance.now() + limitMs
    while (!(await isSo())) {
      if (performance.now() > endMs) throw new Error(`not within ${limitMs / 1000} s: ${what}`)
      await pause(POLL_MS)
    }
  }

  /** Makes the replica of that chunkserver lead. */
  async lead(group: number, chunkserver: number): Promise<void> {
    await this.until(`chunkserver ${chunkserver} leads copyset ${group}`, async () => {
      const { leader, members } = await this.copyset(group)
      if (leader === chunkserver) return true
      const from = members.find((member) => member.chunkserver === leader)
      const to = members.find((member) => member.chunkserver === chunkserver)
      if (from === undefined || to === undefined) return false
      const order = { kind: 'lead', group, replica: to.replica } as const
      // Refused while it still catches up.
      await this.session.askAt(from.address, GIVE_ORDER, { order }).catch(() => {})
      await pause(500)
      return false
    })
  }

  /** `lemnis WORDS` as a person would type it. */
  lemnis(...words: string[]): Promise<CommandResult> {
    const all = [PROGRAM, '--mds', this.mds, ...words]
    const options = { env: { ...process.env, NO_COLOR: '1' }, maxBuffer: 64 << 20 }
    return new Promise((resolve) => {
      execFile(process.execPath, all, options, (error, stdout, stderr) => {
        const code = error === null ? 0 : Number(error.code ?? 1)
        resolve({ code, stdout, stderr })
      })
    })
  }

  client(name: string): LemnisClient {
    const client = connect(nodeEnv('/'), SILENT, { mds: this.mdsAddresses, name })
    this.#clients.push(client)
    return client
  }

  /** Ends everything and removes its files; `unprepare` before that, for each chunkserver. */
  async close(unprepare?: (directory: string, n: number) => void): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.close()))
    await this.session.close()
    for (const child of this.#running.values()) child.kill('SIGCONT')
    const names = [...this.#running.keys()]
    await Promise.all(names.map((name) => this.stop(name, 'SIGKILL')))
    const { chunkservers = 3 } = this.#options
    for (let n = 1; n <= chunkservers; n++) unprepare?.(this.dataOf(n), n)
    rmSync(this.directory, { recursive: true, force: true })
  }
}

function setWords(settings: readonly string[] = []): string[] {
  return settings.flatMap((one) => ['--set', one])
}
