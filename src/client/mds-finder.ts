// Owns which MDS is asked. Of several one leads: all are asked at once which one it is, so that a dead or
// stopped one is in nobody's way, and whoever refuses may name it. While a call waits for long the others
// are asked again: a call to an MDS that was replaced meanwhile is given up.
// Invariant: nothing is sent to a second MDS here; what may be repeated is for the caller to know.

import { must } from '../base/assert.ts'
import { asLemnisError, type ErrorCode, LemnisError } from '../base/errors.ts'
import type { Clock, Timer } from '../env/clock.ts'
import type { Env } from '../env/env.ts'
import type { Address } from '../env/network.ts'
import type { ControlCall, ReplyOf, RequestOf } from '../format/control/call.ts'
import { SHOW_MDS } from '../format/control/election.ts'
import type { Observer } from '../observe/observe.ts'
import { RpcClient } from '../rpc/client.ts'
import type { RpcConfig } from '../rpc/config.ts'
import { askControl } from '../rpc/control.ts'

/** How long an MDS may take to say whether it leads; also, of a call, before the others are asked. */
const FIND_MS = 1000
/** Named by others, beside those that were given. */
const LEARNT_MAX = 16
/** After these the one that was asked may lead no more, or be gone. */
const DOUBTFUL: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'NOT_LEADER',
  'PROPOSAL_DROPPED',
  'DISCONNECTED',
  'DEADLINE_EXCEEDED',
  'CLOSED',
])

export class MdsFinder {
  readonly #env: Env
  readonly #clock: Clock
  readonly #observer: Observer
  readonly #rpc: RpcConfig
  readonly #name: string
  readonly #clients: RpcClient[]
  readonly #given: number
  #current: RpcClient
  /** It led when it was heard last. */
  #isSure = false
  #isClosed = false

  constructor(
    env: Env,
    observer: Observer,
    addresses: readonly Address[],
    rpc: RpcConfig,
    name: string,
  ) {
    if (addresses.length === 0) throw new LemnisError('INVALID_ARGUMENT', { reason: 'no MDS' })
    this.#env = env
    this.#clock = env.clock
    this.#observer = observer
    this.#rpc = rpc
    this.#name = name
    this.#clients = addresses.map((address) => this.#connect(address))
    this.#given = addresses.length
    this.#current = must(this.#clients[0], 'an address')
  }

  #connect(address: Address): RpcClient {
    return new RpcClient(this.#env, this.#observer, address, this.#rpc, this.#name)
  }

  /** The one that is asked next, unless another one is found to lead. */
  get address(): Address {
    return this.#current.address
  }

  /** Some MDS has answered since the start, if only to refuse. */
  get wasAnswered(): boolean {
    return this.#clients.some((client) => client.peerName !== '')
  }

  /** It is known whom to ask: one that led when it was heard last, or that another one named. */
  get isSure(): boolean {
    return this.#isSure || this.#isSingle
  }

  get #isSingle(): boolean {
    return this.#clients.length === 1
  }

  /** Asks the one that leads, once. NOT_LEADER when nobody does. */
  async ask<C extends ControlCall>(
    call: C,
    request: RequestOf<C>,
    budgetMs: number,
  ): Promise<ReplyOf<C>> {
    const startedMs = this.#clock.monotonicMs()
    if (!this.isSure) {
      const leader = await this.#find(Math.min(budgetMs, FIND_MS))
      if (leader === null) throw new LemnisError('NOT_LEADER', { reason: 'no MDS leads' })
      this.#trust(leader)
    }
    const client = this.#current
    const leftMs = Math.max(1, budgetMs - (this.#clock.monotonicMs() - startedMs))
    try {
      const asked = askControl(client, call, request, leftMs)
      const reply = await (this.#isSingle ? asked : this.#orReplaced(client, asked))
      if (this.#current === client) this.#isSure = true
      return reply
    } catch (thrown) {
      const error = asLemnisError(thrown)
      this.#doubt(client, error)
      throw error
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await Promise.all(this.#clients.map((client) => client.close()))
  }

  #trust(client: RpcClient): void {
    this.#current = client
    this.#isSure = true
  }

  #doubt(asked: RpcClient, { code, detail }: LemnisError): void {
    if (!DOUBTFUL.has(code) || this.#current !== asked) return
    this.#isSure = false
    const { leader } = detail
    const named = typeof leader === 'string' ? this.#at(leader) : null
    if (named !== null && named !== asked) this.#trust(named)
  }

  #at(address: Address): RpcClient | null {
    const known = this.#clients.find((client) => client.address === address)
    if (known !== undefined || this.#isClosed) return known ?? null
    if (this.#clients.length >= this.#given + LEARNT_MAX) return null
    const learnt = this.#connect(address)
    this.#clients.push(learnt)
    return learnt
  }

  // --- who leads

  /** The first that says it leads; null when all have said otherwise, or the time is over. */
  #find(budgetMs: number): Promise<RpcClient | null> {
    return new Promise((resolve) => {
      let leftCount = this.#clients.length
      for (const client of this.#clients) {
        void this.#leads(client, budgetMs).then((leads) => {
          leftCount--
          if (leads) resolve(client)
          else if (leftCount === 0) resolve(null)
        })
      }
    })
  }

  async #leads(client: RpcClient, budgetMs: number): Promise<boolean> {
    try {
      const { role } = await askControl(client, SHOW_MDS, {}, budgetMs)
      return role === 'leader'
    } catch (thrown) {
      // One that does not know the question is of a version that knew no others.
      return asLemnisError(thrown).code === 'UNKNOWN_METHOD'
    }
  }

  /** The answer of `asked`, unless another MDS leads while that does not come. */
  #orReplaced<T>(client: RpcClient, asked: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      let isDone = false
      let timer: Timer
      const end = (settle: () => void): void => {
        if (isDone) return
        isDone = true
        timer.cancel()
        settle()
      }
      const look = async (): Promise<void> => {
        const leader = await this.#find(FIND_MS)
        if (isDone) return
        if (leader === null || leader === client) {
          plan()
          return
        }
        const detail = { address: client.address, leader: leader.address }
        end(() => reject(new LemnisError('DEADLINE_EXCEEDED', detail)))
      }
      const plan = (): void => {
        timer = this.#clock.after(FIND_MS, () => void look())
      }
      plan()
      asked.then(
        (reply) => end(() => resolve(reply)),
        (error: unknown) => end(() => reject(asLemnisError(error))),
      )
    })
  }
}
