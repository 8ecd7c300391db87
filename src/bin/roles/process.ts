// Owns the process of a role from its start to its end: log, metrics, HTTP port, signals, exit code.
// A child of `lemnis dev` also ends when its parent is gone, however that went.
// Invariant: a broken invariant or a failed disk ends the process with a report; neither is survived.

import { InvariantError } from '../../base/assert.ts'
import type { LemnisError } from '../../base/errors.ts'
import { Scope } from '../../base/scope.ts'
import type { Observer } from '../../observe/observe.ts'
import { HttpServer, type HttpSource } from '../../platform/http.ts'
import { Log } from '../../platform/log.ts'
import { Metrics } from '../../platform/metrics.ts'
import { NodeObserver } from '../../platform/observer.ts'
import { EXIT, reportFailure } from '../cli/failure.ts'
import { Io } from '../cli/io.ts'
import type { Ready } from '../dev/messages.ts'
import type { RoleFlags } from './flags.ts'

/** Longer than any clean stop of a healthy process; past it the log and Raft take care, as after a crash. */
const STOP_LIMIT_MS = 10_000

export class RoleProcess {
  readonly observer: Observer
  readonly #metrics = new Metrics()
  readonly #scope = new Scope()
  readonly #role: string
  #stopping = false

  constructor(role: string, { name, logFile, logLevel }: RoleFlags) {
    this.#role = role
    const log = new Log({
      about: { role, name },
      ...(logFile === undefined ? {} : { path: logFile }),
      ...(logLevel === undefined ? {} : { level: logLevel }),
    })
    this.observer = new NodeObserver(log, this.#metrics)
    stopAtBugs(this.observer)
    process.on('SIGTERM', () => void this.stop())
    // Ctrl-C in a terminal reaches the children of `lemnis dev` too; those are stopped in order by it.
    process.on('SIGINT', () => (process.connected ? undefined : void this.stop()))
    process.on('disconnect', () => void this.stop())
  }

  own<T extends { close(): Promise<void> | void }>(thing: T): T {
    return this.#scope.own(thing)
  }

  /** Serves HTTP at `address`; returns the address with its port. Nothing is served for ''. */
  async serveHttp(address: string, source: Omit<HttpSource, 'role' | 'metrics'>): Promise<string> {
    if (address === '') return ''
    const all = { ...source, role: this.#role, metrics: this.#metrics }
    return this.own(await HttpServer.listen(address, all)).address
  }

  /** Runs until it is stopped; `start` puts the parts together and owns them here. */
  async run(start: () => Promise<Ready>): Promise<void> {
    try {
      const ready = await start()
      this.observer.emit('role_started', { ...ready })
      process.send?.({ kind: 'ready', ...ready })
    } catch (error) {
      if (error instanceof InvariantError) reportBug(this.observer, error)
      process.exitCode = reportFailure(Io.ofProcess(false), error)
      await this.#close()
    }
  }

  /** It can not go on: what is served elsewhere goes on there, and nothing is closed cleanly here. */
  giveUp(error: LemnisError): void {
    this.observer.emit('role_gave_up', { code: error.code, error: error.message })
    process.exit(error.code === 'DISK_FAILED' ? EXIT.disk : EXIT.failed)
  }

  async stop(): Promise<void> {
    if (this.#stopping) return
    this.#stopping = true
    this.observer.emit('role_stopped', {})
    await this.#close()
  }

  async #close(): Promise<void> {
    setTimeout(() => {
      this.observer.emit('role_stop_timeout', { limitMs: STOP_LIMIT_MS })
      process.exit()
    }, STOP_LIMIT_MS).unref()
    await this.#scope.close()
    process.exit()
  }
}

/** Whatever nobody caught ends the process. */
export function stopAtBugs(observer: Observer): void {
  process.on('uncaughtException', (error) => reportBug(observer, error))
}

function reportBug(observer: Observer, error: unknown): never {
  const report = error instanceof Error ? (error.stack ?? error.message) : String(error)
  observer.emit('role_broken', { report })
  process.exit(EXIT.bug)
}
