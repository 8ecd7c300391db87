// Owns the chunkserver's way to the MDS that leads: a question that one could not answer goes to the one
// that leads instead, as long as one is found; the next heartbeat is soon enough for everything else.

import { asLemnisError, type ErrorCode } from '../base/errors.ts'
import { MdsFinder } from '../client/mds-finder.ts'
import type { Env } from '../env/env.ts'
import type { Address } from '../env/network.ts'
import type { ControlCall, ReplyOf, RequestOf } from '../format/control/call.ts'
import type { Observer } from '../observe/observe.ts'
import type { RpcConfig } from '../rpc/config.ts'

/** With these another MDS may give an answer: all that is asked here may be done twice. */
const ELSEWHERE: ReadonlySet<ErrorCode> = new Set([
  'NOT_LEADER',
  'PROPOSAL_DROPPED',
  'DISCONNECTED',
  'DEADLINE_EXCEEDED',
  'OVERLOADED',
  'CLOSED',
  'UNKNOWN_METHOD',
])

export class MdsLink {
  readonly #finder: MdsFinder
  readonly #triesMax: number
  readonly #timeoutMs: number

  constructor(
    env: Env,
    observer: Observer,
    rpc: RpcConfig,
    addresses: readonly Address[],
    name: string,
    timeoutMs: number,
  ) {
    this.#finder = new MdsFinder(env, observer, addresses, rpc, name)
    this.#triesMax = addresses.length
    this.#timeoutMs = timeoutMs
  }

  /** The one that is asked first. */
  get address(): Address {
    return this.#finder.address
  }

  /** Asks as many times as there are MDS; rejects with the last error. */
  async ask<C extends ControlCall>(call: C, request: RequestOf<C>): Promise<ReplyOf<C>> {
    for (let left = this.#triesMax; ; left--) {
      try {
        return await this.#finder.ask(call, request, this.#timeoutMs)
      } catch (thrown) {
        const error = asLemnisError(thrown)
        if (!ELSEWHERE.has(error.code) || left <= 1) throw error
      }
    }
  }

  async close(): Promise<void> {
    await this.#finder.close()
  }
}
