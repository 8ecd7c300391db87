// Owns the life of a metadata server in a process: its place on the network, whether it stands by or
// leads, and the way between the two, there and back as often as it comes. Invariant: what an Mds
// answers leaves only while its leadership is valid and its ledger has not failed; at all other times
// every call is answered NOT_LEADER with the leader to ask.
// With a store of its own it leads at once and for ever, and a failed ledger ends the process.

import { must } from '../../base/assert.ts'
import { asLemnisError, type ErrorCode, LemnisError } from '../../base/errors.ts'
import type { Env } from '../../env/env.ts'
import type { MetaStore } from '../../env/metastore.ts'
import type { Address } from '../../env/network.ts'
import type { ReplyOf } from '../../format/control/call.ts'
import { encodeControl } from '../../format/control/call.ts'
import { type MdsSeen, SHOW_MDS } from '../../format/control/election.ts'
import { decodeRecord } from '../../format/records/record.ts'
import { ClusterRecord } from '../../format/records/topology.ts'
import type { Observer } from '../../observe/observe.ts'
import { rpcConfig } from '../../rpc/config.ts'
import type { IncomingCall } from '../../rpc/incoming.ts'
import { RpcServer } from '../../rpc/server.ts'
import { mdsConfig } from '../config.ts'
import { Mds, type MdsOptions, type MdsWait } from '../mds.ts'
import { CLUSTER_KEY } from '../topology/topology.ts'
import { refuseAll, TermCalls } from './calls.ts'
import { type Candidate, Election, type Leadership } from './election.ts'
import { Mirror } from './mirror.ts'
import { untilYielded } from './predecessor.ts'
import type { LossReason } from './session.ts'
import { TermGauges } from './term-observer.ts'

export interface MdsServerOptions extends MdsOptions {
  /** Where it listens, when that is not `address`; port 0 picks a free one. */
  readonly listen?: Address
  /** Stands for election under this name; null with a store that it has alone. */
  readonly candidate: { readonly name: string } | null
  /** It can not go on: the process should report, end, and start anew. */
  readonly onFailed?: (error: LemnisError) => void
}

export type MdsShown = ReplyOf<typeof SHOW_MDS>

/** The time from the first answer as leader to the last. */
interface Reign {
  readonly mds: Mds
  readonly calls: TermCalls
  isOver: boolean
  /** Ends it; done twice it does no harm. */
  readonly end: () => void
}

/** Nothing that asking again could change. */
const FATAL: ReadonlySet<ErrorCode> = new Set([
  'CORRUPT',
  'VERSION_MISMATCH',
  'DISK_FAILED',
  'INVALID_ARGUMENT',
  'INTERNAL',
])
const RETRY_MS = 200
/** What is in flight at a clean stop may end; a standby waits for that. */
const DRAIN_LIMIT_MS = 100
/** The first leader of a cluster makes it; until then nobody knows what it is called. */
const FOUNDING_POLL_MS = 50
/** The term of an MDS that is never elected. */
const ONLY_TERM = 1

export class MdsServer {
  readonly #env: Env
  readonly #observer: Observer
  readonly #gauges: TermGauges
  readonly #store: MetaStore
  readonly #options: MdsServerOptions
  readonly #election: Election | null
  readonly #mirror: Mirror | null
  #rpc: RpcServer | null = null
  #listening: Promise<RpcServer> | null = null
  #leadership: Leadership | null = null
  #reign: Reign | null = null
  #leaderSeen: Address = ''
  /** Mds that lead no more and end what they do by themselves. */
  readonly #endings = new Set<Promise<void>>()
  #failure: LemnisError | null = null
  #isClosing = false
  #closed: Promise<void> | null = null

  private constructor(env: Env, observer: Observer, store: MetaStore, options: MdsServerOptions) {
    this.#env = env
    this.#observer = observer
    this.#gauges = new TermGauges(observer)
    this.#store = store
    this.#options = options
    const { candidate } = options
    this.#mirror = candidate === null ? null : new Mirror(store, env.clock)
    this.#election = candidate === null ? null : this.#stand(candidate.name)
    observer.gauge('mds_leading', () => (this.isLeading ? 1 : 0))
  }

  #stand(name: string): Election {
    const { address, httpAddress = '', config = mdsConfig() } = this.#options
    return new Election({
      clock: this.#env.clock,
      random: this.#env.random.fork('election'),
      observer: this.#observer,
      store: this.#store,
      config,
      candidate: { name, address, ...(httpAddress === '' ? {} : { httpAddress }) },
      onSeen: () => this.#noteLeader(),
    })
  }

  /** Resolves when it answers calls, as leader or standby. The caller closes `store` after it. */
  static async start(
    env: Env,
    observer: Observer,
    store: MetaStore,
    options: MdsServerOptions,
  ): Promise<MdsServer> {
    const server = new MdsServer(env, observer, store, options)
    if (server.#election === null) await server.#leadAlone()
    else {
      void server.#runElected(server.#election)
      await server.#listenAsStandby()
    }
    return server
  }

  /** The address listened at, with the port that was picked. */
  get address(): Address {
    return must(this.#rpc, 'it listens').address
  }

  get isLeading(): boolean {
    return this.#reign !== null && this.#isValid(this.#reign)
  }

  /** What lasts, for people. */
  waits(): MdsWait[] {
    return this.#reign?.mds.waits() ?? []
  }

  /** Stops serving so that a standby can begin at once, then ends what is in flight. */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    this.#isClosing = true
    const reign = this.#reign
    if (this.#election !== null) {
      await reign?.calls.drain(DRAIN_LIMIT_MS)
      reign?.end()
      await this.#election.close()
      this.#mirror?.stop()
    }
    reign?.mds.seal()
    await this.#rpc?.close()
    await Promise.all([...this.#endings, reign?.mds.close()])
  }

  // --- a store of its own

  async #leadAlone(): Promise<void> {
    const mds = await Mds.load(this.#env, this.#gauges.begin(), this.#store, this.#options, null)
    const rpc = await this.#listen(mds.clusterId)
    const reign = this.#begin(rpc, mds, () => {})
    mds.onFailed = (error) => {
      reign.end()
      this.#failed(error)
    }
    if (mds.failure !== null) mds.onFailed(mds.failure)
  }

  #failed(error: LemnisError): void {
    if (this.#isClosing) return
    this.#failure = error
    void this.close()
    if (this.#rpc !== null) this.#options.onFailed?.(error)
  }

  // --- one of several

  async #runElected(election: Election): Promise<void> {
    try {
      while (!this.#isClosing) {
        this.#mirror?.start()
        const leadership = await election.campaign()
        this.#leadership = leadership
        this.#observer.emit('mds_elected', { term: leadership.term })
        const why = await this.#lead(leadership)
        this.#leadership = null
        if (!this.#isClosing) {
          this.#observer.emit('mds_leader_lost', { term: leadership.term, why })
        }
        await leadership.resign()
      }
    } catch (thrown) {
      this.#failed(asLemnisError(thrown))
    }
  }

  /** Serves as long as the leadership lasts, with a new Mds after each failure of the ledger. */
  async #lead(leadership: Leadership): Promise<LossReason> {
    let why: LossReason = 'refused'
    let wasRefused = false
    const lost = new Promise<void>((resolve) => {
      leadership.onLost = (reason) => {
        why = reason
        resolve()
      }
    })
    while (leadership.isValid() && !this.#isClosing && !wasRefused) {
      const mds = await this.#takeOver(leadership)
      if (mds === null) await Promise.race([lost, this.#pause(RETRY_MS)])
      else wasRefused = (await this.#serve(leadership, mds, lost)) === 'NOT_LEADER'
    }
    return why
  }

  /** Null when that has to be tried again. */
  async #takeOver(leadership: Leadership): Promise<Mds | null> {
    const { condition } = leadership
    const mirror = must(this.#mirror, 'an elected MDS has one')
    const startedMs = this.#env.clock.monotonicMs()
    try {
      const observer = this.#gauges.begin()
      const elected = { condition, mirror }
      const yielded = this.#predecessorYields(leadership)
      const mds = await Mds.load(this.#env, observer, this.#store, this.#options, elected)
      mirror.stop()
      await yielded
      await this.#listen(mds.clusterId)
      const tookMs = Math.round(this.#env.clock.monotonicMs() - startedMs)
      this.#observer.emit('mds_taken_over', { tookMs, warm: mds.wasWarm })
      return mds
    } catch (thrown) {
      const error = asLemnisError(thrown)
      if (FATAL.has(error.code) && leadership.isValid()) throw error
      this.#observer.emit('mds_takeover_delayed', { code: error.code, reason: error.message })
      return null
    }
  }

  #predecessorYields(leadership: Leadership): Promise<void> {
    const { address = '' } = this.#election?.predecessor ?? {}
    if (address === '' || address === this.#options.address) return Promise.resolve()
    const rpc = this.#options.rpc ?? rpcConfig()
    const isNeeded = (): boolean => leadership.isValid()
    return untilYielded(this.#env, this.#observer, rpc, address, isNeeded)
  }

  /** The code of what ended it, or null when the leadership did. */
  async #serve(leadership: Leadership, mds: Mds, lost: Promise<void>): Promise<ErrorCode | null> {
    const rpc = must(this.#rpc, 'it listens')
    const ended = new Promise<void>((resolve) => {
      const reign = this.#begin(rpc, mds, resolve)
      mds.onFailed = () => reign.end()
      if (mds.failure !== null) reign.end()
    })
    const reign = must(this.#reign, 'it has just begun')
    await Promise.race([ended, lost])
    reign.end()
    this.#reign = null
    this.#standBy(rpc)
    const ending = mds.close().finally(() => this.#endings.delete(ending))
    this.#endings.add(ending)
    return leadership.isValid() ? (mds.failure?.code ?? null) : null
  }

  #begin(rpc: RpcServer, mds: Mds, ended: () => void): Reign {
    const { clock } = this.#env
    const term = { isValid: () => this.#isValid(reign), leader: () => this.#leaderToAsk() }
    const reign: Reign = {
      mds,
      calls: new TermCalls(rpc, clock, this.#observer, term),
      isOver: false,
      end: () => {
        reign.isOver = true
        ended()
      },
    }
    this.#reign = reign
    mds.serve(reign.calls)
    this.#observer.emit('mds_started', { address: rpc.address, clusterId: mds.clusterId })
    return reign
  }

  #isValid(reign: Reign): boolean {
    if (reign.isOver) return false
    const isBold = this.#options.bugs?.has('serves-past-deadline') === true
    return this.#election === null || isBold || this.#leadership?.isValid() === true
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => void this.#env.clock.after(ms, resolve))
  }

  // --- on the network

  #listen(clusterId: string): Promise<RpcServer> {
    this.#listening ??= this.#listenNow(clusterId)
    return this.#listening
  }

  async #listenNow(clusterId: string): Promise<RpcServer> {
    const { listen, address } = this.#options
    const rpc = { ...(this.#options.rpc ?? rpcConfig()), clusterId }
    const server = await RpcServer.listen(this.#env, this.#observer, listen ?? address, rpc, 'mds')
    this.#rpc = server
    this.#standBy(server)
    return server
  }

  /** As soon as there is a cluster to speak for. */
  async #listenAsStandby(): Promise<void> {
    while (this.#listening === null) {
      if (this.#isClosing) throw this.#failure ?? new LemnisError('CLOSED', { what: 'MDS' })
      try {
        const item = await this.#store.get(CLUSTER_KEY)
        if (item !== null) {
          await this.#listen(decodeRecord(ClusterRecord, item).clusterId)
          return
        }
      } catch (thrown) {
        const error = asLemnisError(thrown)
        if (FATAL.has(error.code)) throw error
      }
      await this.#pause(FOUNDING_POLL_MS)
    }
    await this.#listening
  }

  #standBy(rpc: RpcServer): void {
    refuseAll(rpc, () => this.#leaderToAsk())
    const show = (incoming: IncomingCall): void => incoming.reply(encodeControl(this.show()))
    rpc.handle(SHOW_MDS.method, show, SHOW_MDS.name)
  }

  // --- who leads

  #leaderToAsk(): Address {
    const [first] = this.#election?.candidates ?? []
    return first === undefined || first.address === this.#options.address ? '' : first.address
  }

  #noteLeader(): void {
    const leader = this.#leaderToAsk()
    if (leader === this.#leaderSeen) return
    this.#leaderSeen = leader
    if (leader !== '') this.#observer.emit('mds_leader_seen', { leader })
  }

  /** What this MDS says of itself and the others; true at this moment. */
  show(): MdsShown {
    const { address, httpAddress = '', version, candidate } = this.#options
    const name = candidate?.name ?? address
    const http = httpAddress === '' ? {} : { httpAddress }
    const own = { name, address, ...http }
    const seen = this.#election?.candidates ?? [{ ...own, term: ONLY_TERM }]
    const [leader] = seen
    const isElected = this.#leadership?.isValid() === true
    return {
      ...own,
      version,
      role: this.isLeading ? 'leader' : isElected ? 'rising' : 'standby',
      term: (isElected ? this.#leadership?.term : leader?.term) ?? 0,
      ...(leader === undefined ? {} : { leader: seenOf(leader) }),
      candidates: seen.map(seenOf),
      store: this.#election === null ? 'embedded' : 'etcd',
      wallMs: this.#env.clock.wallMs(),
      warm: this.#mirror?.isLoaded ?? false,
    }
  }
}

function seenOf({ name, address, httpAddress }: Candidate): MdsSeen {
  return { name, address, ...(httpAddress === undefined ? {} : { httpAddress }) }
}
