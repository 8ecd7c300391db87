// Owns what a command asks: the metadata server of its cluster that leads, and single servers by
// address. Connections are made when first used and closed with the session.

import { type ErrorCode, LemnisError } from '../../base/errors.ts'
import { Scope } from '../../base/scope.ts'
import { clientConfig } from '../../client/config.ts'
import { MdsCaller } from '../../client/mds-caller.ts'
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

const UNREACHED: ReadonlySet<ErrorCode> = new Set([
  'DISCONNECTED',
  'NOT_LEADER',
  'DEADLINE_EXCEEDED',
])

export class Session {
  readonly env = nodeEnv('/')
  readonly io: Io
  readonly mdsAddresses: readonly string[]
  readonly #clients = new Map<string, RpcClient>()
  readonly #scope = new Scope()
  #mds: MdsCaller | null = null

  constructor(io: Io, mdsAddresses: readonly string[]) {
    this.io = io
    this.mdsAddresses = mdsAddresses
  }

  /**
   * Asks the MDS that leads. Waits for one that comes back or is being elected if some MDS answers;
   * where none ever did, asking all once is enough to say so.
   */
  async ask<C extends ControlCall>(call: C, request: RequestOf<C>): Promise<ReplyOf<C>> {
    const mds = (this.#mds ??= this.own(this.#connectMds()))
    const isWanted = (): boolean => mds.wasAnswered
    try {
      return await mds.ask(call, request, { isRepeatable: false, patienceMs: BUDGET_MS, isWanted })
    } catch (error) {
      if (!(error instanceof LemnisError) || !UNREACHED.has(error.code)) throw error
      if (mds.wasAnswered && error.code !== 'NOT_LEADER') throw error
      throw this.#unreachable(error.code)
    }
  }

  #unreachable(code: ErrorCode): CommandError {
    const where = this.mdsAddresses.join(', ')
    const why = code === 'NOT_LEADER' ? 'there is no leader yet' : 'nothing answers there'
    return new CommandError(
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

  /** Closes `thing` with the session. */
  own<T extends { close(): Promise<void> | void }>(thing: T): T {
    return this.#scope.own(thing)
  }

  #connectMds(): MdsCaller {
    const config = clientConfig({ mdsTimeoutMs: BUDGET_MS })
    return new MdsCaller(this.env, SILENT, this.mdsAddresses, rpcConfig(), config, 'cli')
  }

  /** Whoever asks again after a connection broke does not wait for the pause before the next try. */
  #client(address: string): RpcClient {
    const known = this.#clients.get(address)
    if (known !== undefined && known.state !== 'backoff') return known
    const made = this.own(new RpcClient(this.env, SILENT, address, rpcConfig(), 'cli'))
    this.#clients.set(address, made)
    return made
  }

  close(): Promise<void> {
    return this.#scope.close()
  }
}
