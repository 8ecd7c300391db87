// Owns virtual time and the loop that takes one event after the other: run it, let every promise
// settle, look at the world, go on. Invariant: given a seed, everything happens in the same order.
// An exception or an unhandled rejection inside an event ends the run as a failure with its trace.
// Knows no hosts, disks or networks; those schedule themselves here.

import { assert } from '../base/assert.ts'
import { type Crc32c, crc32cPure } from '../base/crc32c.ts'
import { Prng } from '../base/prng.ts'
import { type Actor, EventQueue, type SimEvent } from './event-queue.ts'
import { Trace } from './trace.ts'
import { runTurns } from './turns.ts'

export interface WorldOptions {
  readonly seed: number
  /** The native one makes no other trace than the pure one, only a faster run. */
  readonly crc32c?: Crc32c
  /** How many of the last events a failure shows. */
  readonly traceLines?: number
}

export interface RunLimits {
  /** Stop before the first event later than this. */
  readonly untilUs?: number
  /** Stop when this says so; asked after each event. */
  readonly until?: () => boolean
  /** More events than this are a failure: something spins. */
  readonly eventsMax?: number
}

const EVENTS_MAX = 20_000_000

/** The end of a run that went wrong, with what is needed to repeat and to read it. */
export class SimFailure extends Error {
  override readonly name = 'SimFailure'
  readonly seed: number
  readonly atUs: number
  readonly trace: readonly string[]

  constructor(seed: number, atUs: number, what: string, trace: readonly string[], cause: unknown) {
    super(`seed ${seed} at ${(atUs / 1_000_000).toFixed(6)} s: ${what}`, { cause })
    this.seed = seed
    this.atUs = atUs
    this.trace = trace
  }
}

export class World {
  readonly seed: number
  readonly random: Prng
  readonly crc32c: Crc32c
  readonly trace: Trace
  readonly #queue = new EventQueue()
  readonly #watchers: ((event: SimEvent) => void)[] = []
  #nowUs = 0
  #sequence = 0
  #eventCount = 0
  #failure: SimFailure | null = null

  constructor(options: WorldOptions) {
    this.seed = options.seed
    this.random = new Prng(options.seed)
    this.crc32c = options.crc32c ?? crc32cPure
    this.trace = new Trace(options.traceLines ?? 400)
  }

  /** Whole microseconds since the start of the world. */
  get nowUs(): number {
    return this.#nowUs
  }
  get eventCount(): number {
    return this.#eventCount
  }
  get failure(): SimFailure | null {
    return this.#failure
  }

  /**
   * Runs `fire` `delayUs` from now. With an actor it is dropped when that has died meanwhile, and
   * waits while that is paused.
   */
  after(delayUs: number, label: string, fire: () => void, actor: Actor | null = null): SimEvent {
    assert(Number.isSafeInteger(delayUs) && delayUs >= 0, 'delay in whole microseconds')
    const event: SimEvent = {
      atUs: this.#nowUs + delayUs,
      sequence: this.#sequence++,
      label,
      actor,
      generation: actor === null ? 0 : actor.generation,
      fire,
      state: 'waiting',
    }
    this.#queue.push(event)
    return event
  }

  /** Forgets an event; harmless when it is past. */
  cancel(event: SimEvent): void {
    this.#queue.cancel(event)
  }

  /** Puts events that were kept during a pause back, in their order, due now. */
  undefer(events: readonly SimEvent[]): void {
    for (const event of events) {
      if (event.state !== 'deferred') continue
      event.atUs = this.#nowUs
      event.sequence = this.#sequence++
      event.state = 'waiting'
      this.#queue.push(event)
    }
  }

  /** Called after each event, when all promises have settled: the place of checkers. */
  watch(check: (event: SimEvent) => void): void {
    this.#watchers.push(check)
  }

  /** A line for the reader of a failure; part of the hash. */
  note(who: string, what: string, detail: string | number = ''): void {
    this.trace.record(this.#nowUs, who, what, detail)
  }

  /** Ends the run. The first failure is the one that counts. */
  fail(what: string, cause?: unknown): void {
    this.#failure ??= this.#failureOf(what, cause)
  }

  #failureOf(what: string, cause?: unknown): SimFailure {
    return new SimFailure(this.seed, this.#nowUs, what, this.trace.lines(), cause)
  }

  /** Takes events until a limit is reached or none is left; throws a SimFailure when one went wrong. */
  async run(limits: RunLimits = {}): Promise<void> {
    const untilUs = limits.untilUs ?? Number.POSITIVE_INFINITY
    const eventCountMax = this.#eventCount + (limits.eventsMax ?? EVENTS_MAX)
    let last: SimEvent | undefined
    const turn = (): 'again' | 'stop' => {
      if (last !== undefined && this.#failure === null) this.#look(last)
      last = undefined
      if (this.#failure !== null || this.#isEnough(limits)) return 'stop'
      if (this.#queue.nextAtUs() > untilUs) return 'stop'
      if (this.#eventCount >= eventCountMax) {
        this.fail('too many events: something spins')
        return 'stop'
      }
      const event = this.#queue.pop()
      if (event === undefined) return 'stop'
      if (this.#take(event)) last = event
      return 'again'
    }
    await runTurns(turn, (reason) => this.fail(`unhandled rejection: ${describe(reason)}`, reason))
    const isEnough = untilUs === Number.POSITIVE_INFINITY || this.#isEnough(limits)
    if (this.#failure !== null) throw this.#failure
    if (!isEnough) {
      this.#nowUs = Math.max(this.#nowUs, untilUs)
    }
  }

  /** Who asks may find the run wrong, by throwing. */
  #isEnough({ until }: RunLimits): boolean {
    try {
      return until?.() === true
    } catch (error) {
      this.fail(describe(error), error)
      return true
    }
  }

  /** Runs until `promise` has settled and gives what it gave; a failure when nothing can settle it. */
  async settle<T>(promise: Promise<T>, limits: RunLimits = {}): Promise<T> {
    let settled = false
    const done = (): void => {
      settled = true
    }
    promise.then(done, done)
    await this.run({ ...limits, until: () => settled })
    if (!settled) {
      throw this.#failureOf('a promise was never settled')
    }
    return promise
  }

  /** False when nobody is there for it, or not now. */
  #take(event: SimEvent): boolean {
    this.#nowUs = Math.max(this.#nowUs, event.atUs)
    const actor = event.actor
    if (actor !== null) {
      if (actor.generation !== event.generation) {
        event.state = 'done'
        return false
      }
      if (actor.paused) {
        event.state = 'deferred'
        actor.defer(event)
        return false
      }
    }
    event.state = 'done'
    this.#eventCount++
    this.trace.record(this.#nowUs, actor === null ? '' : actor.name, event.label)
    try {
      event.fire()
    } catch (error) {
      this.fail(`${event.label}: ${describe(error)}`, error)
    }
    return true
  }

  #look(event: SimEvent): void {
    try {
      for (const check of this.#watchers) check(event)
    } catch (error) {
      this.fail(describe(error), error)
    }
  }
}

export function describe(thrown: unknown): string {
  return thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : String(thrown)
}
