// Owns how long and how often the MDS is asked for an answer (whom: mds-finder.ts). Repeats a call only
// where that is safe: calls that change something twice when they are executed twice are repeated only
// if they surely were not sent.

import { asLemnisError, type ErrorCode, LemnisError } from '../base/errors.ts'
import type { Clock } from '../env/clock.ts'
import type { Env } from '../env/env.ts'
import type { Address } from '../env/network.ts'
import type { ControlCall, ReplyOf, RequestOf } from '../format/control/call.ts'
import type { Observer } from '../observe/observe.ts'
import type { RpcConfig } from '../rpc/config.ts'
import type { ClientConfig } from './config.ts'
import { MdsFinder } from './mds-finder.ts'

/** The MDS may answer later, or another one; nothing is known about what this one did. */
const UNANSWERED: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'DISCONNECTED',
  'DEADLINE_EXCEEDED',
  'CLOSED',
  'PROPOSAL_DROPPED',
])
/** The MDS said that it did nothing. */
const REFUSED: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['NOT_LEADER', 'OVERLOADED'])

/** A standby says that nobody leads yet: one is elected any moment. */
const ELECTION_PAUSE_MS = 200

export interface AskOptions {
  /** Answered twice as well as once. */
  readonly isRepeatable: boolean
  readonly patienceMs: number
  /** Asked before each repetition; false gives up. */
  readonly isWanted?: () => boolean
}

export class MdsCaller {
  readonly #clock: Clock
  readonly #config: ClientConfig
  readonly #finder: MdsFinder
  readonly #pauses = new Set<() => void>()
  #isClosed = false

  constructor(
    env: Env,
    observer: Observer,
    addresses: readonly Address[],
    rpc: RpcConfig,
    config: ClientConfig,
    name: string,
  ) {
    this.#clock = env.clock
    this.#config = config
    this.#finder = new MdsFinder(env, observer, addresses, rpc, name)
  }

  /** Some MDS has answered since the start, if only to refuse. */
  get wasAnswered(): boolean {
    return this.#finder.wasAnswered
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
      const leftMs = Math.max(1, untilMs - this.#clock.monotonicMs())
      try {
        return await this.#finder.ask(call, request, Math.min(mdsTimeoutMs, leftMs))
      } catch (error) {
        if (!(error instanceof LemnisError) || !mayRepeat(error, options.isRepeatable)) throw error
        const pauseMs = this.#pauseMs(tries, error.code)
        const isLate = this.#clock.monotonicMs() + pauseMs >= untilMs
        if (isLate || options.isWanted?.() === false) throw error
        await this.#pause(pauseMs)
      }
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true
    for (const end of [...this.#pauses]) end()
    await this.#finder.close()
  }

  /** Doubles; none for the first time that another MDS was named. */
  #pauseMs(tries: number, code: ErrorCode): number {
    const { mdsPauseMinMs, mdsPauseMaxMs } = this.#config
    if (tries === 1 && code === 'NOT_LEADER' && this.#finder.isSure) return 0
    const pauseMs = Math.min(mdsPauseMaxMs, mdsPauseMinMs * 2 ** Math.min(tries - 1, 16))
    return code === 'NOT_LEADER' ? Math.min(pauseMs, ELECTION_PAUSE_MS) : pauseMs
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
