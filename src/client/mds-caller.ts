// Owns the way to the MDS that leads: which of the addresses is asked, when the next one is, and how
// long. Repeats a call only where that is safe: calls that change something twice when they are executed
// twice are repeated only if they surely were not sent.

import { asLemnisError, type ErrorCode, LemnisError } from '../base/errors.ts'
import type { Clock } from '../env/clock.ts'
import type { Env } from '../env/env.ts'
import type { Address } from '../env/network.ts'
import type { ControlCall, ReplyOf, RequestOf } from '../format/control/call.ts'
import type { Observer } from '../observe/observe.ts'
import { RpcClient } from '../rpc/client.ts'
import type { RpcConfig } from '../rpc/config.ts'
import { askControl } from '../rpc/control.ts'
import type { ClientConfig } from './config.ts'

/** Another MDS, or the same one later, may answer; nothing is known about what this one did. */
const UNANSWERED: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'DISCONNECTED',
  'DEADLINE_EXCEEDED',
  'CLOSED',
])
/** The MDS said that it did nothing. */
const REFUSED: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['NOT_LEADER', 'OVERLOADED'])

export interface AskOptions {
  /** Answered twice as well as once. */
  readonly isRepeatable: boolean
  readonly patienceMs: number
  /** Asked before each further round over the addresses; false gives up. */
  readonly isWanted?: () => boolean
}

export class MdsCaller {
  readonly #clock: Clock
  readonly #config: ClientConfig
  readonly #clients: readonly RpcClient[]
  readonly #pauses = new Set<() => void>()
  #current = 0
  #isClosed = false

  constructor(
    env: Env,
    observer: Observer,
    addresses: readonly Address[],
    rpc: RpcConfig,
    config: ClientConfig,
    name: string,
  ) {
    if (addresses.length === 0) throw new LemnisError('INVALID_ARGUMENT', { reason: 'no MDS' })
    this.#clock = env.clock
    this.#config = config
    this.#clients = addresses.map((address) => new RpcClient(env, observer, address, rpc, name))
  }

  /** Some MDS has answered since the start, if only to refuse. */
  get wasAnswered(): boolean {
    return this.#clients.some((client) => client.peerName !== '')
  }

  /** One answer, or the last error when patience is over. */
  async ask<C extends ControlCall>(
    call: C,
    request: RequestOf<C>,
    options: AskOptions,
  ): Promise<ReplyOf<C>> {
    const { mdsTimeoutMs } = this.#config
    const untilMs = this.#clock.monotonicMs() + options.patienceMs
    for (let tries = 1; ; tries++) {
      if (this.#isClosed) throw new LemnisError('CLOSED', { call: call.name })
      const asked = this.#current
      const client = this.#clients[asked] as RpcClient
      const leftMs = untilMs - this.#clock.monotonicMs()
      try {
        return await askControl(client, call, request, Math.max(1, Math.min(mdsTimeoutMs, leftMs)))
      } catch (error) {
        if (!(error instanceof LemnisError) || !mayRepeat(error, options.isRepeatable)) throw error
        if (this.#current === asked) this.#current = (asked + 1) % this.#clients.length
        const pauseMs = this.#pauseMs(tries)
        const isLate = this.#clock.monotonicMs() + pauseMs >= untilMs
        const isRoundOver = tries % this.#clients.length === 0
        if (isLate || (isRoundOver && options.isWanted?.() === false)) throw error
        await this.#pause(pauseMs)
      }
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true
    for (const end of [...this.#pauses]) end()
    await Promise.all(this.#clients.map((client) => client.close()))
  }

  /** None while there are others to ask, then doubling with each round. */
  #pauseMs(tries: number): number {
    const { mdsPauseMinMs, mdsPauseMaxMs } = this.#config
    if (tries % this.#clients.length !== 0) return 0
    const rounds = tries / this.#clients.length
    return Math.min(mdsPauseMaxMs, mdsPauseMinMs * 2 ** Math.min(rounds - 1, 16))
  }

  #pause(pauseMs: number): Promise<void> {
    if (pauseMs === 0) return Promise.resolve()
    return new Promise((resolve) => {
      const end = (): void => {
        timer.cancel()
        this.#pauses.delete(end)
        resolve()
      }
      const timer = this.#clock.after(pauseMs, end)
      this.#pauses.add(end)
    })
  }
}

/** For a call whose answer is no more than welcome; a broken invariant is thrown on. */
export function orNull(thrown: unknown): null {
  asLemnisError(thrown)
  return null
}

function mayRepeat(error: LemnisError, isRepeatable: boolean): boolean {
  if (REFUSED.has(error.code)) return true
  if (!UNANSWERED.has(error.code)) return false
  return isRepeatable || wasNeverSent(error)
}

/** The connection was not made, or the caller was told so before anything left. */
function wasNeverSent(error: LemnisError): boolean {
  const { reason, leaving, hintMs } = error.detail
  if (error.code !== 'DISCONNECTED') return false
  return reason === 'connect-failed' || leaving === true || hintMs !== undefined
}
