// Owns what stands around the processes of a simulated system: the machines that they run on, a supervisor
// that starts them again, somebody who has spare disks, and the ear for what they say.
// Invariant: only what a bad disk or store explains is started again; any other end of a process is a bug
// and ends the run.

import { asLemnisError } from '../base/errors.ts'
import type { Env } from '../env/env.ts'
import { type Field, type Observer, SILENT } from '../observe/observe.ts'
import { SimHost } from './host.ts'
import type { SimNetwork } from './network.ts'
import type { World } from './world.ts'

export interface SupervisorOptions {
  readonly world: World
  readonly network: SimNetwork
  /** From the end of a process to its next start. */
  readonly restartUs: number
  /** What a process says is written down, and told here. */
  readonly onEvent?: (host: SimHost, name: string, fields: Readonly<Record<string, Field>>) => void
}

export class Supervisor {
  readonly #options: SupervisorOptions
  readonly #world: World

  constructor(options: SupervisorOptions) {
    this.#options = options
    this.#world = options.world
  }

  /** A machine of the network. */
  addHost(name: string): SimHost {
    const { network } = this.#options
    const host = new SimHost(this.#world, { name, network })
    network.add(host)
    Object.assign(host.disk.faults, { latencyMinMs: 0.1, latencyMaxMs: 2 })
    return host
  }

  /** Starts a process, and again whenever it ends. */
  begin(host: SimHost, main: (env: Env) => Promise<void>): void {
    host.start((env) => {
      main(env).catch((error: unknown) => this.ended(host, error))
    })
  }

  /**
   * The process ends on a failed disk or store, and is started again. A disk that can't be started from
   * any more is replaced, if it was made to lie; anything else is a bug.
   */
  ended(host: SimHost, error: unknown): void {
    const { generation } = host
    const { code, message } = asLemnisError(error)
    const isHopeless = code === 'CORRUPT' || code === 'WRONG_DISK'
    if (code === 'INTERNAL' || (isHopeless && !host.diskLies)) {
      this.wrong(host, error)
      return
    }
    this.#world.note(host.name, 'process ends', message)
    this.#world.after(0, 'exit', () => {
      if (host.generation !== generation) return
      host.crash()
      this.#world.after(this.#options.restartUs, 'supervisor', () => {
        if (host.state !== 'down' || host.generation !== generation + 1) return
        if (isHopeless) host.replaceDisk()
        host.start()
      })
    })
  }

  /** Something is wrong with the system, or with the code around it. */
  wrong(host: SimHost, error: unknown): void {
    const what = error instanceof Error ? error.message : String(error)
    this.#world.fail(`${host.name}: ${what}`, error)
  }

  /** Its process ends, and begins on an empty disk. */
  replaceDisk(host: SimHost): void {
    host.powerLoss()
    host.replaceDisk()
    host.start()
  }

  observerOf(host: SimHost): Observer {
    return {
      ...SILENT,
      emit: (name, fields) => {
        const text = Object.entries(fields).map(([key, value]) => `${key}=${value}`)
        this.#world.note(host.name, name, text.join(' '))
        this.#options.onEvent?.(host, name, fields)
      },
    }
  }
}
