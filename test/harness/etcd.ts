// Owns a real etcd for tests and proofs: its members as processes with directories of their own, that
// are killed, frozen and started again, and a proxy before each, through which clients reach it until
// they are cut off. Nothing of it outlives this process.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { readEtcdMembers } from '../../src/platform/etcd-check.ts'
import type { EtcdConfig } from '../../src/platform/etcd-config.ts'
import { EtcdPeers } from './etcd-peers.ts'
import { freePorts } from './ports.ts'

export const HAS_ETCD = spawnSync('etcd', ['--version']).status === 0

export interface EtcdOptions {
  readonly members?: number
  /** In place of a directory of its own, which is removed at the end. */
  readonly directory?: string
  /** Further flags of every member, or others for those given here. */
  readonly flags?: readonly string[]
  /** Files with which members speak to clients, of whom they ask a certificate of the same authority. */
  readonly tls?: { readonly ca: string; readonly cert: string; readonly key: string }
}

const FLAGS = [
  // A member that comes back does not depose a leader that is well; etcd 3.5 does this by itself.
  '--pre-vote',
  '--max-txn-ops=65536',
  '--max-request-bytes=33554432',
]
const READY_MS = 30_000

export class TestEtcd {
  readonly members: readonly EtcdMember[]
  readonly #peers: EtcdPeers
  readonly #directory: string
  readonly #isOwn: boolean
  readonly #config: Partial<EtcdConfig>

  private constructor(
    members: readonly EtcdMember[],
    peers: EtcdPeers,
    directory: string,
    { directory: given, tls }: EtcdOptions,
  ) {
    this.members = members
    this.#peers = peers
    this.#directory = directory
    this.#isOwn = given === undefined
    if (tls === undefined) this.#config = {}
    else this.#config = { caFile: tls.ca, certificateFile: tls.cert, keyFile: tls.key }
  }

  /** Resolves when the members have a leader. */
  static async start(options: EtcdOptions = {}): Promise<TestEtcd> {
    const scratch = join(import.meta.dirname, '../../.tmp')
    mkdirSync(scratch, { recursive: true })
    const directory = options.directory ?? mkdtempSync(join(scratch, 'etcd-'))
    const count = options.members ?? 1
    const base = await freePorts()
    const ports = Array.from({ length: count * 2 }, (_, i) => base + i)
    const between = new EtcdPeers(() => members.map(({ pid }) => pid))
    const peers: string[] = []
    for (const [i, port] of ports.slice(count).entries()) {
      peers.push(`http://127.0.0.1:${await between.open(i, port)}`)
    }
    const cluster = peers.map((peer, i) => `m${i}=${peer}`).join(',')
    const members: EtcdMember[] = peers.map((peer, i) => {
      const client = `${options.tls === undefined ? 'http' : 'https'}://127.0.0.1:${ports[i]}`
      const flags = [
        `--name=m${i}`,
        `--data-dir=${join(directory, `m${i}`)}`,
        `--listen-client-urls=${client}`,
        `--advertise-client-urls=${client}`,
        `--listen-peer-urls=http://127.0.0.1:${ports[count + i]}`,
        `--initial-advertise-peer-urls=${peer}`,
        `--initial-cluster=${cluster}`,
        '--initial-cluster-state=new',
        ...FLAGS,
        // Half of the defaults where there is nobody to wait for: the shortest lease is 1 s then.
        ...(count === 1 ? ['--heartbeat-interval=50', '--election-timeout=500'] : []),
        ...tlsFlags(options),
        ...(options.flags ?? []),
      ]
      return new EtcdMember(i, flags, ports[i] as number, join(directory, `m${i}.log`))
    })
    const etcd = new TestEtcd(members, between, directory, options)
    for (const member of members) await member.openProxy()
    await etcd.startAll()
    return etcd
  }

  /** host:port of every member, through its proxy. */
  get endpoints(): string[] {
    return this.members.map(({ endpoint }) => endpoint)
  }

  /** All run, can be reached, and have a leader. */
  async startAll(): Promise<void> {
    for (const member of this.members) {
      this.#peers.join(member.index)
      member.thaw()
      member.heal()
      if (!member.isRunning) member.start()
    }
    await this.leader()
  }

  /** Waits until one of those that run leads. */
  async leader(among: readonly EtcdMember[] = this.members): Promise<EtcdMember> {
    const endMs = performance.now() + READY_MS
    for (;;) {
      const asked = among.filter((member) => member.isRunning && !member.isFrozen)
      if (asked.length === 0) throw new Error(`no member of etcd runs:\n${this.#logs()}`)
      const endpoints = asked.map(({ ownEndpoint }) => ownEndpoint)
      const members = await readEtcdMembers(endpoints, this.#config)
      const leader = members.find(({ isLeader }) => isLeader)
      const found = asked.find(({ ownEndpoint }) => ownEndpoint === leader?.endpoint)
      if (found !== undefined) return found
      if (performance.now() > endMs) throw new Error(`etcd has no leader:\n${this.#logs()}`)
      await sleep(50)
    }
  }

  /** The other members no longer reach it, nor it them; clients do. Waits until they have a leader. */
  async isolate(member: EtcdMember): Promise<void> {
    this.#peers.isolate(member.index)
    await this.leader(this.members.filter((other) => other !== member))
  }

  /** Forgets what was before this revision, as etcd does by itself every so often. */
  async compact(revision: number): Promise<void> {
    const { ownEndpoint } = await this.leader()
    const body = JSON.stringify({ revision, physical: true })
    const url = `http://${ownEndpoint}/v3/kv/compaction`
    const answer = await fetch(url, { method: 'POST', body })
    if (!answer.ok) throw new Error(`compaction: ${await answer.text()}`)
  }

  async stop(): Promise<void> {
    for (const member of this.members) {
      await member.kill()
      member.closeProxy()
    }
    this.#peers.close()
    if (this.#isOwn) rmSync(this.#directory, { recursive: true, force: true })
  }

  #logs(): string {
    return this.members.map((member) => member.lastLines()).join('\n')
  }
}

export class EtcdMember {
  readonly index: number
  readonly #flags: readonly string[]
  readonly #port: number
  readonly #logPath: string
  readonly #proxy: Server
  readonly #sockets = new Map<Socket, 'client' | 'member'>()
  #child: ChildProcess | null = null
  #cut: 'no' | 'silent' | 'refused' | 'answers' = 'no'
  isFrozen = false

  constructor(index: number, flags: readonly string[], port: number, logPath: string) {
    this.index = index
    this.#flags = flags
    this.#port = port
    this.#logPath = logPath
    this.#proxy = createServer((socket) => this.#carry(socket))
  }

  /** What clients are given. */
  get endpoint(): string {
    return `127.0.0.1:${(this.#proxy.address() as AddressInfo).port}`
  }

  /** Past the proxy: for who looks from outside. */
  get ownEndpoint(): string {
    return `127.0.0.1:${this.#port}`
  }

  get pid(): number {
    return this.#child?.pid ?? 0
  }

  get isRunning(): boolean {
    return this.#child !== null
  }

  start(): void {
    const log = openSync(this.#logPath, 'a')
    // Whoever ends this process may not let it tidy up: then the kernel ends its members.
    const args = ['--pdeathsig', 'KILL', 'etcd', ...this.#flags]
    const child = spawn('setpriv', args, { stdio: ['ignore', log, log] })
    closeSync(log)
    child.on('exit', () => {
      if (this.#child === child) this.#child = null
    })
    this.#child = child
    this.isFrozen = false
  }

  /** kill -9. */
  kill(): Promise<void> {
    return this.#end('SIGKILL')
  }

  stop(): Promise<void> {
    return this.#end('SIGTERM')
  }

  freeze(): void {
    this.isFrozen = true
    this.#child?.kill('SIGSTOP')
  }

  thaw(): void {
    this.isFrozen = false
    this.#child?.kill('SIGCONT')
  }

  /**
   * Clients no longer reach it: nothing goes through, or connections are refused. Or it hears them, and
   * they do not hear its answers. Its peers reach it.
   */
  cut(how: 'silent' | 'refused' | 'answers' = 'silent'): void {
    this.#cut = how
    for (const [socket, side] of this.#sockets) {
      if (how === 'refused') socket.destroy()
      else if (how === 'silent' || side === 'member') socket.unpipe().pause()
    }
  }

  heal(): void {
    this.#cut = 'no'
    this.#destroyAll()
  }

  async openProxy(): Promise<void> {
    this.#proxy.listen(0, '127.0.0.1')
    await once(this.#proxy, 'listening')
  }

  closeProxy(): void {
    this.#proxy.close()
    this.#destroyAll()
  }

  lastLines(): string {
    return readFileSync(this.#logPath, 'utf8').split('\n').slice(-8).join('\n')
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child
    if (child === null) return
    const gone = once(child, 'exit')
    child.kill(signal)
    if (this.isFrozen) child.kill('SIGCONT')
    await gone
  }

  #destroyAll(): void {
    for (const socket of this.#sockets.keys()) socket.destroy()
  }

  #carry(socket: Socket): void {
    this.#own(socket, 'client')
    if (this.#cut === 'refused') socket.destroy()
    if (this.#cut === 'refused' || this.#cut === 'silent') return
    const inner = this.#own(connect(this.#port, '127.0.0.1'), 'member')
    socket.pipe(inner)
    if (this.#cut === 'no') inner.pipe(socket)
    const end = (): void => {
      if (this.#cut === 'silent' || this.#cut === 'answers') return
      socket.destroy()
      inner.destroy()
    }
    socket.on('close', end)
    inner.on('close', end)
  }

  #own(socket: Socket, side: 'client' | 'member'): Socket {
    this.#sockets.set(socket, side)
    socket.setNoDelay(true)
    socket.on('error', () => {})
    socket.on('close', () => this.#sockets.delete(socket))
    return socket
  }
}

function tlsFlags({ tls }: EtcdOptions): string[] {
  if (tls === undefined) return []
  const files = [`--cert-file=${tls.cert}`, `--key-file=${tls.key}`]
  return [...files, `--trusted-ca-file=${tls.ca}`, '--client-cert-auth']
}
