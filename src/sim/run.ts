// Owns one run of a system under test from a seed: faults and clients together, then healing, proof of
// progress, a last look at everything, and the judgement of what clients saw. The outcome of a seed is
// always the same; a failure carries what is needed to read it.

import { InvariantError } from '../base/assert.ts'
import type { Crc32c } from '../base/crc32c.ts'
import { BrokenPromise, type ObservedReplica, ReplicationChecker } from './checkers.ts'
import { describePlan, type FaultKind, makePlan } from './fault-plan.ts'
import { History } from './history.ts'
import type { SimHost } from './host.ts'
import { checkHistory } from './linearizability.ts'
import { Nemesis, type SystemActions } from './nemesis.ts'
import { SimNetwork } from './network.ts'
import { type Checker, Verdict } from './verdict.ts'
import { type RegisterClient, Workload } from './workload.ts'
import { describe, SimFailure, World } from './world.ts'

/** A system that a run builds, disturbs and watches. */
export interface System {
  readonly hosts: readonly SimHost[]
  readonly clients: readonly RegisterClient[]
  readonly actions: SystemActions
  /** Kinds of faults that it should survive. */
  readonly faultKinds: readonly FaultKind[]
  /** Of the hosts, those whose disks may lose acknowledged data; all of them without. */
  readonly victims?: readonly SimHost[]
  /** What clients do beside reading and writing. */
  readonly mix?: 'cas' | 'erase'
  /** How many disks may lose acknowledged data without loss to clients. */
  readonly victimCountMax: number
  readonly driftPpmMax: number
  start(): void
  /** Faults begin: its own ones too, where it has any. */
  disturb?(): void
  /** Everything is healed: from now on what faults have destroyed is rebuilt by the system's own means. */
  repair(): void
  /** Everything that it needs has been set up, and faults may begin. */
  isUp(): boolean
  /** Every living replica that is in service, on one host or on all. */
  observe(host?: string): Iterable<ObservedReplica>
  /** The register was taken away on purpose, and nobody can read it any more. */
  isGone?(key: string): boolean
  /** What else has happened, by name. */
  counts?(): ReadonlyMap<string, number>
  /** What must come true, one after the other, when all is healed and clients are still. */
  lastSteps?(): readonly LastStep[]
}

/** May throw a Verdict: then it can never come true. */
export interface LastStep {
  readonly what: string
  begin?(): void
  /** Asked after every event. */
  isDone(): boolean
  /** What is missing, for the reader of a failure. */
  missing?(): string
}

/** Who found the failure. */
export function checkerOf(failure: SimFailure): Checker {
  const { cause } = failure
  if (cause instanceof Verdict) return cause.checker
  if (cause instanceof BrokenPromise) return 'replication'
  return cause instanceof InvariantError ? 'assertion' : 'exception'
}

export type MakeSystem = (world: World, network: SimNetwork) => System

export interface RunOptions {
  readonly make: MakeSystem
  readonly crc32c?: Crc32c
  /** Virtual time with faults. */
  readonly faultMs?: number
  /** All kinds of faults that the system names, and often: to lead a planted bug out. */
  readonly storm?: boolean
  /** After healing clients must have answers within this virtual time. */
  readonly livenessMs?: number
  readonly traceLines?: number
}

export interface RunResult {
  readonly ok: boolean
  readonly seed: number
  readonly hash: string
  readonly events: number
  readonly virtualMs: number
  /** Operations begun, and those that were answered as done. */
  readonly operations: number
  readonly done: number
  /** How often each kind of fault struck. */
  readonly struck: ReadonlyMap<string, number>
  readonly plan: string
  /** A register whose history was too tangled to judge in bounded memory. */
  readonly undecided: string | null
  readonly failure: SimFailure | null
}

const FAULT_MS = 20_000
const LIVENESS_MS = 30_000
/** Between two operations of a client: a seed has much load or little. */
const THINK_US_MAX = [20_000, 100_000, 200_000, 500_000]
const MS = 1000

export async function runSeed(seed: number, options: RunOptions): Promise<RunResult> {
  const run = new Run(seed, options)
  try {
    await run.all()
  } catch (error) {
    if (!(error instanceof SimFailure)) throw error
    return run.result(error)
  }
  return run.result(null)
}

class Run {
  readonly #world: World
  readonly #system: System
  readonly #nemesis: Nemesis
  readonly #history: History
  readonly #workload: Workload
  readonly #checker = new ReplicationChecker()
  readonly #options: RunOptions
  readonly #plan: string
  #undecided: string | null = null

  constructor(seed: number, options: RunOptions) {
    this.#options = options
    const { crc32c, traceLines } = options
    this.#world = new World({
      seed,
      ...(crc32c === undefined ? {} : { crc32c }),
      ...(traceLines === undefined ? {} : { traceLines }),
    })
    const world = this.#world
    const network = new SimNetwork(world)
    const system = options.make(world, network)
    this.#system = system
    const { hosts, actions, driftPpmMax, faultKinds, victimCountMax, mix = 'cas' } = system
    const names = (system.victims ?? hosts).map((host) => host.name)
    const storm = options.storm === true
    const plan = makePlan(world.random.fork('plan'), faultKinds, names, victimCountMax, storm)
    this.#plan = describePlan(plan)
    this.#nemesis = new Nemesis({ world, network, hosts, actions, plan, driftPpmMax })
    this.#history = new History(() => world.nowUs)
    const workload = world.random.fork('workload')
    this.#workload = new Workload({
      world,
      history: this.#history,
      clients: system.clients,
      random: workload,
      thinkUsMax: workload.pick(THINK_US_MAX),
      mix,
    })
    world.watch((event) => {
      // Inputs come first and a turn at the same instant handles them: there is nothing to see before.
      if (event.label !== 'soon' || event.actor === null) return
      this.#checker.look(system.observe(event.actor.name))
    })
  }

  async all(): Promise<void> {
    this.#system.start()
    this.#workload.start()
    await this.#until('the first answers', () => {
      return this.#system.isUp() && this.#workload.doneCount > 0
    })
    this.#nemesis.start()
    this.#system.disturb?.()
    const faultUs = (this.#options.faultMs ?? FAULT_MS) * MS
    await this.#world.run({ untilUs: this.#world.nowUs + faultUs })
    this.#nemesis.heal()
    this.#system.repair()
    const before = this.#workload.doneCount
    const enough = 3 * this.#system.clients.length
    await this.#until('answers after healing', () => this.#workload.doneCount >= before + enough)
    this.#workload.stop()
    await this.#until('the end of all calls', () => this.#workload.busyCount === 0)
    await this.#readAll()
    await this.#until('replicas to catch up', () => this.#hasSettled())
    this.#checker.settled(this.#system.observe())
    // First what clients saw: it explains more than what is left behind.
    this.#judge()
    for (const step of this.#system.lastSteps?.() ?? []) {
      step.begin?.()
      await this.#until(step.what, () => step.isDone(), step.missing?.bind(step))
    }
  }

  result(failure: SimFailure | null): RunResult {
    return {
      ok: failure === null,
      seed: this.#world.seed,
      hash: this.#world.trace.hash(),
      events: this.#world.eventCount,
      virtualMs: Math.floor(this.#world.nowUs / MS),
      operations: this.#workload.startedCount,
      done: this.#workload.doneCount,
      struck: new Map([...this.#nemesis.counts, ...(this.#system.counts?.() ?? [])]),
      plan: this.#plan,
      undecided: this.#undecided,
      failure,
    }
  }

  /** Runs until `done`; a failure when that takes longer than a healthy system may need. */
  async #until(what: string, done: () => boolean, missing?: () => string): Promise<void> {
    const world = this.#world
    const untilUs = world.nowUs + (this.#options.livenessMs ?? LIVENESS_MS) * MS
    await world.run({ untilUs, until: done })
    if (done()) return
    const lines = missing === undefined ? [] : [missing()]
    throw this.#failure('liveness', [`waited in vain for ${what}`, ...lines, ...this.#replicas()])
  }

  /** Who is there, for the reader of a failure. */
  #replicas(): string[] {
    const lines: string[] = []
    for (const r of this.#system.observe()) {
      lines.push(
        `group ${r.group} replica ${r.replica} on ${r.host}: ${r.role} of term ${r.term}, ` +
          `log ${r.firstIndex} to ${r.lastIndex}, commit ${r.commit}, applied ${r.applied}`,
      )
    }
    return lines
  }

  /** What was acknowledged must be readable: every register once, after everything else. */
  async #readAll(): Promise<void> {
    let left = 0
    const clients = this.#system.clients.length
    const read = (key: string, client: number): void => {
      if (this.#system.isGone?.(key) === true) {
        left--
        return
      }
      this.#workload.read(client % clients, key, (outcome) => {
        if (outcome === 'done') left--
        else this.#world.after(100 * MS, 'read again', () => read(key, client + 1))
      })
    }
    for (const [at, key] of this.#workload.keys().entries()) {
      left++
      read(key, at)
    }
    await this.#until('the last reads', () => left === 0)
  }

  #hasSettled(): boolean {
    for (const replica of this.#system.observe()) {
      if (replica.applied < this.#checker.commitOf(replica.group)) return false
    }
    return true
  }

  #judge(): void {
    const verdict = checkHistory(this.#history.operations)
    if (verdict.verdict === 'violation') {
      throw this.#failure('linearizability', ['not linearizable', verdict.text])
    }
    if (verdict.verdict === 'gave up') this.#undecided = verdict.key
  }

  #failure(checker: Checker, lines: readonly string[]): SimFailure {
    const { seed, nowUs, trace } = this.#world
    const what = lines.join('\n')
    return new SimFailure(seed, nowUs, what, trace.lines(), new Verdict(checker, what))
  }
}

/** A failure as text: what, the plan, and the last events. */
export function describeResult(result: RunResult): string {
  const { seed, hash, events, virtualMs, done, operations, failure, plan } = result
  const head =
    `seed ${seed}: ${failure === null ? 'ok' : 'FAILED'}, hash ${hash}, ${events} events, ` +
    `${(virtualMs / 1000).toFixed(1)} virtual seconds, ${done} of ${operations} operations done`
  if (failure === null) return head
  const told = failure.cause === undefined || failure.cause instanceof Verdict
  const cause = told ? [] : [describeCause(failure.cause)]
  return [...failure.trace, head, plan, failure.message, ...cause].join('\n')
}

function describeCause(cause: unknown): string {
  return cause instanceof Error && cause.stack !== undefined ? cause.stack : describe(cause)
}
