// Owns what a command asks: the metadata servers of its cluster, in turn until one answers, and single
// servers by address. Connections are made when first used and closed with the session.

import { LemnisError } from '../../base/errors.ts'
import { Scope } from '../../base/scope.ts'
import type { ControlCall, ReplyOf, RequestOf } from '../../format/control/call.ts'
import { SILENT } from '../../observe/observe.ts'
import { nodeEnv } from '../../platform/env.ts'
import { RpcClient } from '../../rpc/client.ts'
import { rpcConfig } from '../../rpc/config.ts'
import { askControl } from '../../rpc/control.ts'
import { CommandError } from './failure.ts'
import type { Io } from './io.ts'

/** Enough for an MDS that is busy; a person who waits longer asks what is wrong. */
const BUDGET_MS = 10_000

export class Session {
  readonly env = nodeEnv('/')
  readonly io: Io
  readonly mdsAddresses: readonly string[]
  readonly #clients = new Map<string, RpcClient>()
  readonly #scope = new Scope()

  constructor(io: Io, mdsAddresses: readonly string[]) {
    this.io = io
    this.mdsAddresses = mdsAddresses
  }

  /** Asks the MDS. */
  async ask<C extends ControlCall>(call: C, request: RequestOf<C>): Promise<ReplyOf<C>> {
    let last: LemnisError | null = null
    for (const address of this.mdsAddresses) {
      try {
        return await this.askAt(address, call, request)
      } catch (error) {
        if (!(error instanceof LemnisError) || !this.#didNothing(address, error)) throw error
        last = error
      }
    }
    const where = this.mdsAddresses.join(', ')
    const why = last?.code === 'NOT_LEADER' ? 'there is no leader yet' : 'nothing answers there'
    throw new CommandError(
      `The metadata server at ${where} could not be asked: ${why}. Nothing was changed.`,
      'Start a cluster on this machine by `lemnis dev`, or name yours by --mds or LEMNIS_MDS.',
    )
  }

  askAt<C extends ControlCall>(
    address: string,
    call: C,
    request: RequestOf<C>,
    budgetMs = BUDGET_MS,
  ): Promise<ReplyOf<C>> {
    return askControl(this.#client(address), call, request, budgetMs)
  }

  /** The server surely did nothing with the request, so that another one may be asked. */
  #didNothing(address: string, { code }: LemnisError): boolean {
    const neverSent = this.#client(address).peerName === ''
    return code === 'NOT_LEADER' || (neverSent && code !== 'VERSION_MISMATCH')
  }

  /** Closes `thing` with the session. */
  own<T extends { close(): Promise<void> | void }>(thing: T): T {
    return this.#scope.own(thing)
  }

  #client(address: string): RpcClient {
    const known = this.#clients.get(address)
    if (known !== undefined) return known
    const made = this.own(new RpcClient(this.env, SILENT, address, rpcConfig(), 'cli'))
    this.#clients.set(address, made)
    return made
  }

  close(): Promise<void> {
    return this.#scope.close()
  }
}
