// Owns the way to the MDS: a list of addresses of which one leads. A question goes to the one that
// answered last and moves on to the next when that does not answer or does not lead.

import { must } from '../base/assert.ts'
import { asLemnisError, type ErrorCode } from '../base/errors.ts'
import type { Env } from '../env/env.ts'
import type { Address } from '../env/network.ts'
import type { ControlCall, ReplyOf, RequestOf } from '../format/control/call.ts'
import type { Observer } from '../observe/observe.ts'
import { RpcClient } from '../rpc/client.ts'
import type { RpcConfig } from '../rpc/config.ts'
import { askControl } from '../rpc/control.ts'

/** With these another MDS may give an answer. */
const ELSEWHERE: ReadonlySet<ErrorCode> = new Set([
  'NOT_LEADER',
  'DISCONNECTED',
  'DEADLINE_EXCEEDED',
  'OVERLOADED',
  'CLOSED',
  'UNKNOWN_METHOD',
])

export class MdsLink {
  readonly #clients: readonly RpcClient[]
  readonly #timeoutMs: number
  #current = 0

  constructor(
    env: Env,
    observer: Observer,
    rpc: RpcConfig,
    addresses: readonly Address[],
    name: string,
    timeoutMs: number,
  ) {
    this.#clients = addresses.map((address) => new RpcClient(env, observer, address, rpc, name))
    this.#timeoutMs = timeoutMs
  }

  /** The one that is asked first. */
  get address(): Address {
    return this.#client().address
  }

  /** Asks each MDS at most once; rejects with the last one's error. */
  async ask<C extends ControlCall>(call: C, request: RequestOf<C>): Promise<ReplyOf<C>> {
    for (let left = this.#clients.length; ; left--) {
      try {
        return await askControl(this.#client(), call, request, this.#timeoutMs)
      } catch (thrown) {
        const error = asLemnisError(thrown)
        if (!ELSEWHERE.has(error.code)) throw error
        this.#current = (this.#current + 1) % this.#clients.length
        if (left <= 1) throw error
      }
    }
  }

  #client(): RpcClient {
    return must(this.#clients[this.#current], 'an address of an MDS')
  }

  async close(): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.close()))
  }
}
