// Owns a real etcd and three `lemnis mds` on it, each with a way of its own to etcd that can be cut; what a
// probe that asks all of them constantly was answered; and a caller that knows all addresses.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { clientConfig } from '../../src/client/config.ts'
import { MdsCaller } from '../../src/client/mds-caller.ts'
import { REGISTER_CHUNKSERVER } from '../../src/format/control/chunkserver.ts'
import { SHOW_MDS } from '../../src/format/control/election.ts'
import { Reigns } from '../../src/mds/testing/reigns.ts'
import { SILENT } from '../../src/observe/observe.ts'
import { nodeEnv } from '../../src/platform/env.ts'
import { EtcdStore } from '../../src/platform/etcd-store.ts'
import { RpcClient } from '../../src/rpc/client.ts'
import { rpcConfig } from '../../src/rpc/config.ts'
import { askControl } from '../../src/rpc/control.ts'
import { TestEtcd } from './etcd.ts'
import { freePorts } from './ports.ts'

const PROGRAM = fileURLToPath(new URL('../../src/bin/lemnis.js', import.meta.url))
const COUNT = 3
const LIMIT_MS = 60_000
const PROBE_PAUSE_MS = 3
const PROBE_LIMIT_MS = 1000
const PATIENCE_MS = 40_000

const env = nodeEnv('/')

/** The way of one MDS to one member of etcd. */
class Wire {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #to: () => string
  #cut: 'no' | 'silent' | 'refused' = 'no'

  constructor(to: () => string) {
    this.#to = to
    this.#server = createServer((socket) => this.#carry(socket))
  }

  async open(): Promise<void> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
  }

  get endpoint(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  cut(how: 'silent' | 'refused'): void {
    this.#cut = how
    for (const socket of this.#sockets) {
      if (how === 'refused') socket.destroy()
      else socket.unpipe().pause()
    }
  }

  heal(): void {
    if (this.#cut === 'no') return
    this.#cut = 'no'
    for (const socket of this.#sockets) socket.destroy()
  }

  close(): void {
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
  }

  #carry(socket: Socket): void {
    this.#own(socket)
    if (this.#cut === 'refused') socket.destroy()
    if (this.#cut !== 'no') return
    const port = Number(this.#to().split(':')[1])
    const inner = this.#own(connect(port, '127.0.0.1'))
    socket.pipe(inner).pipe(socket)
    const end = (): void => {
      if (this.#cut === 'silent') return
      socket.destroy()
      inner.destroy()
    }
    socket.on('close', end)
    inner.on('close', end)
  }

  #own(socket: Socket): Socket {
    this.#sockets.add(socket)
    socket.setNoDelay(true)
    socket.on('error', () => {})
    socket.on('close', () => this.#sockets.delete(socket))
    return socket
  }
}

interface Mds {
  readonly name: string
  readonly address: string
  readonly wires: readonly Wire[]
  child: ChildProcess | null
}

export class MdsCluster {
  readonly etcd: TestEtcd
  readonly all: readonly Mds[]
  /** Past everything that is cut. */
  readonly store: EtcdStore
  readonly reigns = new Reigns()
  readonly #directory: string
  readonly #settings: readonly string[]
  readonly #caller: MdsCaller
  readonly #probes: RpcClient[] = []
  /** Moments at which some MDS answered as leader, in the order of asking. */
  readonly #heardMs: number[] = []
  #isProbing = true
  #writes = 0

  private constructor(
    etcd: TestEtcd,
    store: EtcdStore,
    all: readonly Mds[],
    settings: readonly string[],
  ) {
    this.etcd = etcd
    this.store = store
    this.all = all
    this.#settings = settings
    this.#directory = mkdtempSync(join(tmpdir(), 'lemnis-election-'))
    const addresses = all.map(({ address }) => address)
    this.#caller = new MdsCaller(env, SILENT, addresses, rpcConfig(), clientConfig(), 'proof')
  }

  /** Resolves when one leads and the others stand by with all records. */
  static async start(settings: readonly string[]): Promise<MdsCluster> {
    const etcd = await TestEtcd.start({ members: 3 })
    const base = await freePorts()
    const all = await Promise.all(
      Array.from({ length: COUNT }, async (_, i) => {
        const wires = etcd.members.map((member) => new Wire(() => member.ownEndpoint))
        for (const wire of wires) await wire.open()
        return { name: `mds-${i + 1}`, address: `127.0.0.1:${base + i}`, wires, child: null }
      }),
    )
    const store = await EtcdStore.open(etcd.members.map((member) => member.ownEndpoint))
    const cluster = new MdsCluster(etcd, store, all, settings)
    for (const mds of all) cluster.begin(mds)
    for (const { address } of all) void cluster.#probe(address)
    await cluster.untilSettled()
    return cluster
  }

  begin(mds: Mds): void {
    const log = openSync(join(this.#directory, `${mds.name}.log`), 'a')
    const etcd = mds.wires.map(({ endpoint }) => endpoint).join(',')
    const place = ['--listen', mds.address, '--http', '', '--name', mds.name]
    const sets = this.#settings.flatMap((one) => ['--set', one])
    const words = [PROGRAM, 'mds', '--store', 'etcd', '--etcd', etcd, ...place, ...sets]
    const child = spawn(process.execPath, words, { stdio: ['ignore', log, log] })
    closeSync(log)
    mds.child = child
    child.once('exit', () => {
      if (mds.child === child) mds.child = null
    })
  }

  async end(mds: Mds, signal: NodeJS.Signals): Promise<void> {
    const { child } = mds
    if (child === null) return
    const gone = once(child, 'exit')
    child.kill(signal)
    await gone
  }

  freeze(mds: Mds): void {
    mds.child?.kill('SIGSTOP')
  }

  thaw(mds: Mds): void {
    mds.child?.kill('SIGCONT')
  }

  cut(mds: Mds, how: 'silent' | 'refused'): void {
    for (const wire of mds.wires) wire.cut(how)
  }

  heal(mds: Mds): void {
    for (const wire of mds.wires) wire.heal()
  }

  // --- who leads

  async #probe(address: string): Promise<void> {
    const client = new RpcClient(env, SILENT, address, rpcConfig(), 'probe')
    this.#probes.push(client)
    while (this.#isProbing) {
      const askedMs = performance.now()
      try {
        const { role, term } = await askControl(client, SHOW_MDS, {}, PROBE_LIMIT_MS)
        const heardMs = performance.now()
        if (role === 'leader') {
          this.reigns.take({ term, askedMs, heardMs, address })
          this.#heardMs.push(heardMs)
        }
      } catch {
        // Whoever does not answer does not lead, as far as anybody can tell.
      }
      await pause(PROBE_PAUSE_MS)
    }
  }

  /** The longest time since `fromMs` in which nobody answered as leader. */
  longestGapMs(fromMs: number): number {
    let lastMs = fromMs
    let gapMs = 0
    for (const heardMs of this.#heardMs) {
      if (heardMs < fromMs) continue
      gapMs = Math.max(gapMs, heardMs - lastMs)
      lastMs = heardMs
    }
    return Math.max(gapMs, performance.now() - lastMs)
  }

  async show(mds: Mds): Promise<{ role: string; term: number; warm: boolean } | null> {
    const client = this.#probes.find(({ address }) => address === mds.address)
    if (client === undefined) return null
    return askControl(client, SHOW_MDS, {}, PROBE_LIMIT_MS).catch(() => null)
  }

  async leader(): Promise<Mds> {
    for (const endMs = performance.now() + LIMIT_MS; performance.now() < endMs; ) {
      for (const mds of this.all) if ((await this.show(mds))?.role === 'leader') return mds
      await pause(20)
    }
    throw new Error(`no MDS leads:\n${this.logs()}`)
  }

  /** One leads and all others stand by with all records. */
  async untilSettled(): Promise<void> {
    for (const endMs = performance.now() + LIMIT_MS; performance.now() < endMs; ) {
      const shown = await Promise.all(this.all.map((mds) => this.show(mds)))
      const warm = shown.filter((one) => one?.role === 'standby' && one.warm).length
      const leading = shown.filter((one) => one?.role === 'leader').length
      if (leading === 1 && warm === COUNT - 1) return
      await pause(20)
    }
    throw new Error(`not settled:\n${this.logs()}`)
  }

  /** A control call that writes; how long it took in milliseconds. */
  async write(): Promise<number> {
    const startedMs = performance.now()
    const server = `disk${++this.#writes}`
    const disk = { diskId: `${server}-0123456789abcdef`, clusterId: '', id: 0, token: '' }
    const place = { address: `${server}:1`, httpAddress: '', pool: 'default', zone: 'z', server }
    const request = { ...disk, ...place, capacityBytes: 1, version: 'proof' }
    await this.#caller.ask(REGISTER_CHUNKSERVER, request, {
      isRepeatable: true,
      patienceMs: PATIENCE_MS,
    })
    return performance.now() - startedMs
  }

  get writes(): number {
    return this.#writes
  }

  /** The key by which the leader leads, for who wants to write in its name later. */
  async leaderKey(): Promise<{ key: string; revision: number }> {
    const items = await this.store.range('election/', 'election0', 100)
    const [oldest] = items.toSorted((a, b) => a.createdRevision - b.createdRevision)
    if (oldest === undefined) throw new Error('nobody stands')
    return { key: oldest.key, revision: oldest.createdRevision }
  }

  logs(): string {
    return this.all
      .map(({ name }) => {
        const lines = readFileSync(join(this.#directory, `${name}.log`), 'utf8').split('\n')
        return [name, ...lines.slice(-8)].join('\n')
      })
      .join('\n')
  }

  async close(): Promise<void> {
    this.#isProbing = false
    await this.#caller.close()
    await Promise.all(this.#probes.map((probe) => probe.close()))
    for (const mds of this.all) {
      this.thaw(mds)
      await this.end(mds, 'SIGKILL')
      for (const wire of mds.wires) wire.close()
    }
    await this.store.close()
    await this.etcd.stop()
    rmSync(this.#directory, { recursive: true, force: true })
  }
}
