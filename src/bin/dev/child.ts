// Owns one role of a development cluster as a child process: started, watched, started again when it
// dies, with pauses that double. It ends by itself when this process is gone: the channel to it closes.

import type { ChildProcess } from 'node:child_process'
import { EXIT } from '../cli/failure.ts'
import { Backoff } from './backoff.ts'
import type { LogFile } from './log-file.ts'
import type { DevRole } from './role.ts'
import { hopeless, spawnRole } from './spawn.ts'

/** A role that ends so before it ever served will do so again: its cluster can not start. */
const HOPELESS: ReadonlySet<number | null> = new Set<number | null>([EXIT.failed, EXIT.usage])
/** A little more than a role allows itself. */
const STOP_LIMIT_MS = 12_000

export interface ChildEvents {
  /** It died by itself, and is started again after the pause. */
  onDied(role: DevRole, how: string, restartMs: number): void
  onReady(role: DevRole, isFirst: boolean): void
}

export class Child {
  readonly role: DevRole
  /** Resolves when it serves for the first time; rejects when it can not. */
  readonly ready: Promise<void>
  readonly #log: LogFile
  readonly #events: ChildEvents
  #process: ChildProcess | null = null
  #timer: NodeJS.Timeout | null = null
  readonly #backoff = new Backoff()
  #isStopping = false
  #resolveReady: () => void = () => {}
  #rejectReady: (error: Error) => void = () => {}
  #wasReady = false

  constructor(role: DevRole, log: LogFile, events: ChildEvents) {
    this.role = role
    this.#log = log
    this.#events = events
    this.ready = new Promise((resolve, reject) => {
      this.#resolveReady = resolve
      this.#rejectReady = reject
    })
  }

  get pid(): number | undefined {
    return this.#process?.pid
  }

  start(): void {
    this.#timer = null
    this.#backoff.began(performance.now())
    const child = spawnRole(this.role, this.#log, () => {
      this.#resolveReady()
      this.#events.onReady(this.role, !this.#wasReady)
      this.#wasReady = true
    })
    this.#process = child
    child.on('exit', (code, signal) => {
      this.#process = null
      if (this.#isStopping) return
      if (!this.#wasReady && HOPELESS.has(code)) this.#rejectReady(hopeless(this.role, this.#log))
      else this.#restart(signal ?? `exit code ${code}`)
    })
  }

  #restart(how: string): void {
    const pauseMs = this.#backoff.pauseMs(performance.now())
    this.#events.onDied(this.role, how, pauseMs)
    this.#timer = setTimeout(() => this.start(), pauseMs)
  }

  /** It may end now, and is not started again. */
  release(): void {
    this.#isStopping = true
    if (this.#timer !== null) clearTimeout(this.#timer)
  }

  /** Asks it to end, and kills it when it does not within the limit. */
  async stop(): Promise<void> {
    this.release()
    const child = this.#process
    if (child === null) return
    const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()))
    // All of a member of etcd is on disk; asked to end, it waits seconds for others that end as well.
    child.kill(this.role.kind === 'etcd' ? 'SIGKILL' : 'SIGTERM')
    const limit = setTimeout(() => this.kill(), STOP_LIMIT_MS)
    await gone
    clearTimeout(limit)
  }

  kill(): void {
    this.release()
    this.#process?.kill('SIGKILL')
  }
}
