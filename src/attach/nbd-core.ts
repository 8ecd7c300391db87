// Owns what the connections of one NBD server share: exports, settings, counters and the bound on
// bytes under way. Connections that met the bound are woken in the order in which they met it.

import { ByteBudget } from '../base/budget.ts'
import type { Env } from '../env/env.ts'
import type { Counter, Observer, Timing } from '../observe/observe.ts'
import type { NbdConfig } from './config.ts'
import type { SharedExports } from './exports.ts'
import { COMMAND_NAMES } from './nbd-protocol.ts'
import type { NbdFault } from './nbd-reader.ts'

export type NbdEnv = Pick<Env, 'clock' | 'network'>

/** Why a connection ended, as it is counted. */
export type NbdEnd =
  | NbdFault
  | 'bad-client-flags'
  | 'closed'
  | 'disconnected'
  | 'finished'
  | 'handshake-timeout'
  | 'no-such-export'
  | 'too-many-connections'

interface Waiting {
  /** There may be room now. */
  wake(): void
}

export class NbdCore {
  readonly env: NbdEnv
  readonly observer: Observer
  readonly config: NbdConfig
  readonly exports: SharedExports
  readonly inflight: ByteBudget
  /** By the command's number. */
  readonly requests: readonly Counter[]
  readonly seconds: readonly Timing[]
  readonly #waiting = new Set<Waiting>()

  constructor(env: NbdEnv, observer: Observer, config: NbdConfig, exports: SharedExports) {
    this.env = env
    this.observer = observer
    this.config = config
    this.exports = exports
    this.inflight = new ByteBudget(config.nbdServerInflightBytesMax)
    this.requests = COMMAND_NAMES.map((name) => observer.counter('nbd_requests_total', name))
    this.seconds = COMMAND_NAMES.map((name) => observer.histogram('nbd_request_seconds', name))
  }

  ended(reason: NbdEnd): void {
    this.observer.counter('nbd_connections_closed_total', reason).add(1)
  }

  /** False: nothing was claimed, and `waiter` is woken when something has been released. */
  tryClaim(bytes: number, waiter: Waiting): boolean {
    if (this.inflight.tryClaim(bytes)) return true
    this.#waiting.add(waiter)
    return false
  }

  release(bytes: number): void {
    this.inflight.release(bytes)
    for (const waiter of this.#waiting) {
      this.#waiting.delete(waiter)
      waiter.wake()
      if (this.#waiting.has(waiter)) break
    }
  }

  forget(waiter: Waiting): void {
    this.#waiting.delete(waiter)
  }
}
