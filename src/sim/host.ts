// Owns one simulated machine and the process on it: its life (start, crash, power loss, pause), its
// clock with drift and jumps, and the Env that its code receives. Invariant: nothing of a dead
// process runs any more; each life is a generation, and events of an older one are dropped.
// The disk and the network of the machine outlive its processes.

import { assert, must } from '../base/assert.ts'
import type { Prng } from '../base/prng.ts'
import type { Clock, Timer } from '../env/clock.ts'
import type { Env } from '../env/env.ts'
import type { Network } from '../env/network.ts'
import { SimDisk } from './disk.ts'
import type { Actor, SimEvent } from './event-queue.ts'
import type { World } from './world.ts'

/** The network as a machine sees it: sockets live in the kernel, not in the process. */
export interface HostNetwork {
  networkOf(host: SimHost): Network
  processDied(host: SimHost): void
  powerLost(host: SimHost): void
  started(host: SimHost): void
  resumed(host: SimHost): void
}

export interface HostOptions {
  readonly name: string
  readonly network: HostNetwork
  /** Timers fire late by up to this, as a real kernel's do; it also keeps hosts out of step. */
  readonly timerSlackUsMax?: number
}

/** What runs on a host: called at each start with a fresh Env. */
export type Program = (env: Env, host: SimHost) => void

export type HostState = 'running' | 'paused' | 'down' | 'unpowered'

/** 2026-01-01T00:00:00Z, where every host's idea of the date starts. */
const WALL_START_MS = 1_767_225_600_000
const TIMER_SLACK_US_MAX = 200
const MILLION = 1_000_000

export class SimHost implements Actor {
  readonly name: string
  readonly world: World
  readonly #network: HostNetwork
  readonly #timerSlackUsMax: number
  readonly #random: Prng
  readonly #machine: MachineActor
  #disk: SimDisk
  #diskCount = 0
  /** This disk may have damaged or lost what it acknowledged; set by whoever makes it do so. */
  diskLies = false
  #generation = 0
  #state: HostState = 'down'
  #program: Program | null = null
  #deferred: SimEvent[] = []
  #anchorUs = 0
  #anchorLocalUs = 0
  #driftPpm = 0
  #wallOffsetMs = WALL_START_MS

  constructor(world: World, options: HostOptions) {
    this.world = world
    this.name = options.name
    this.#network = options.network
    this.#timerSlackUsMax = options.timerSlackUsMax ?? TIMER_SLACK_US_MAX
    this.#random = world.random.fork(`host/${options.name}`)
    this.#machine = new MachineActor(this)
    this.#disk = this.#newDisk()
  }

  get disk(): SimDisk {
    return this.#disk
  }
  /** Counts the disks that this machine has had. */
  get diskCount(): number {
    return this.#diskCount
  }
  get generation(): number {
    return this.#generation
  }
  get state(): HostState {
    return this.#state
  }
  get paused(): boolean {
    return this.#state === 'paused'
  }
  /** The kernel answers: false only without power. */
  get powered(): boolean {
    return this.#state !== 'unpowered'
  }
  get driftPpm(): number {
    return this.#driftPpm
  }

  /** Starts a process; the next life after a crash runs the same program unless another is given. */
  start(program?: Program): void {
    assert(this.#state === 'down' || this.#state === 'unpowered', `${this.name} runs already`)
    this.#program = program ?? this.#program
    const main = must(this.#program, `${this.name} has a program`)
    const wasDark = this.#state === 'unpowered'
    this.#state = 'running'
    this.#generation++
    this.world.note(this.name, 'start', `life ${this.#generation}`)
    const random = this.#random.fork(`life/${this.#generation}`)
    // A new life may find another origin of the monotonic clock, so that nobody may compare with the last.
    this.#reanchor(random.below(MILLION) * 1000)
    const env: Env = {
      clock: this.#clockOf(this),
      random,
      disk: this.#disk.mount(),
      network: this.#network.networkOf(this),
      crc32c: this.world.crc32c,
    }
    if (wasDark) this.#network.started(this)
    this.world.after(0, 'main', () => main(env, this), this)
  }

  /** kill -9: the process ends at once; its kernel closes the sockets. */
  crash(): void {
    if (!this.#die('crash', 'down')) return
    this.#disk.crash('process')
    this.#network.processDied(this)
  }

  /** The machine goes dark: no peer is told, and what was not synced may be lost. */
  powerLoss(): void {
    if (!this.#die('power loss', 'unpowered')) return
    this.#disk.crash('power')
    this.#network.powerLost(this)
  }

  /** Somebody puts an empty disk in; only while nothing runs. */
  replaceDisk(): void {
    assert(
      this.#state === 'down' || this.#state === 'unpowered',
      'no disk is replaced under a process',
    )
    this.world.note(this.name, 'new disk')
    const { latencyMinMs, latencyMaxMs } = this.#disk.faults
    this.#disk = this.#newDisk()
    this.diskLies = false
    Object.assign(this.#disk.faults, { latencyMinMs, latencyMaxMs })
  }

  #newDisk(): SimDisk {
    const random = this.#random.fork(`disk/${++this.#diskCount}`)
    return new SimDisk(this.#clockOf(this.#machine), random)
  }

  /** SIGSTOP: nothing of the process runs, but its clock goes on and its kernel takes in data. */
  pause(): void {
    if (this.#state !== 'running') return
    this.world.note(this.name, 'pause')
    this.#state = 'paused'
  }

  /** SIGCONT: what came due meanwhile happens now; timers keep their order, and so do sockets. */
  resume(): void {
    if (this.#state !== 'paused') return
    this.world.note(this.name, 'resume')
    this.#state = 'running'
    // A process that was stopped while it waited for its sockets sees them before its timers.
    const socketsFirst = this.#random.chance(0.5)
    if (socketsFirst) this.#network.resumed(this)
    this.#releaseDeferred()
    if (!socketsFirst) this.#network.resumed(this)
  }

  /** Parts per million by which this host's clock runs fast (or slow, when negative). */
  setDrift(ppm: number): void {
    this.#reanchor(this.#localUs())
    this.#driftPpm = ppm
    this.world.note(this.name, 'drift', `${ppm} ppm`)
  }

  /** Somebody sets the date. The monotonic clock does not mind. */
  jumpWall(byMs: number): void {
    this.#wallOffsetMs += byMs
    this.world.note(this.name, 'wall clock jumps', `${byMs} ms`)
  }

  defer(event: SimEvent): void {
    this.#deferred.push(event)
  }

  #die(how: string, state: 'down' | 'unpowered'): boolean {
    if (this.#state === 'unpowered' || this.#state === state) return false
    this.world.note(this.name, how)
    this.#generation++
    this.#state = state
    this.#releaseDeferred()
    return true
  }

  #releaseDeferred(): void {
    const events = this.#deferred
    this.#deferred = []
    this.world.undefer(events)
  }

  #localUs(): number {
    const passed = this.world.nowUs - this.#anchorUs
    return this.#anchorLocalUs + passed + (passed * this.#driftPpm) / MILLION
  }

  #reanchor(localUs: number): void {
    this.#anchorUs = this.world.nowUs
    this.#anchorLocalUs = localUs
  }

  #clockOf(actor: Actor): Clock {
    return {
      monotonicMs: () => this.#localUs() / 1000,
      wallMs: () => this.#wallOffsetMs + Math.floor(this.#localUs() / 1000),
      after: (delayMs, fire) => this.#arm(actor, this.#localUs() + delayMs * 1000, fire),
      soon: (fire) => {
        this.world.after(0, 'soon', fire, actor)
      },
    }
  }

  #arm(actor: Actor, dueLocalUs: number, fire: () => void): Timer {
    const generation = actor.generation
    let event: SimEvent
    const arm = (): void => {
      const leftUs = Math.max(0, dueLocalUs - this.#localUs())
      const delayUs = Math.ceil((leftUs * MILLION) / (MILLION + this.#driftPpm))
      const slackUs = this.#random.below(this.#timerSlackUsMax + 1)
      event = this.world.after(delayUs + slackUs, 'timer', check, actor)
    }
    // The drift may have changed while it waited: then it is not yet due by this clock.
    const check = (): void => {
      if (this.#localUs() < dueLocalUs) arm()
      else fire()
    }
    arm()
    return {
      cancel: () => {
        if (generation === actor.generation) this.world.cancel(event)
      },
    }
  }
}

/** The machine under the process: its disk goes on when the process dies, and stops answering in a pause. */
class MachineActor implements Actor {
  readonly generation = 0
  readonly #host: SimHost

  constructor(host: SimHost) {
    this.#host = host
  }

  get name(): string {
    return this.#host.name
  }
  get paused(): boolean {
    return this.#host.paused
  }
  defer(event: SimEvent): void {
    this.#host.defer(event)
  }
}
