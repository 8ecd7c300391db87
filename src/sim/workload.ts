// Owns what clients do in a run: read, write and compare-and-set a few registers at once, each write
// with a value of its own, each attempt an operation of its own in the history. An attempt without an
// answer has an unknown outcome and is never repeated under the same name.
// Registers change over time, so that no single one gathers more open operations than can be judged.

import type { Prng } from '../base/prng.ts'
import type { History, RegisterValue } from './history.ts'
import type { World } from './world.ts'

/** 'refused': it certainly did nothing. 'unknown': it may have, and still may. */
export type Outcome<T> =
  | { readonly outcome: 'done'; readonly value: T }
  | { readonly outcome: 'refused' | 'unknown' }

/** The system as a client sees it. Calls `done` once for each call, in its own time. */
export interface RegisterClient {
  get(key: string, done: (outcome: Outcome<RegisterValue>) => void): void
  /** Null erases. */
  put(key: string, value: RegisterValue, done: (outcome: Outcome<true>) => void): void
  cas(
    key: string,
    expected: RegisterValue,
    value: string,
    done: (outcome: Outcome<boolean>) => void,
  ): void
}

export interface WorkloadOptions {
  readonly world: World
  readonly history: History
  /** One for each client. */
  readonly clients: readonly RegisterClient[]
  readonly random: Prng
  /** Registers in use at a time. */
  readonly keyCount?: number
  /** Operations after which another register takes the place of the oldest one. */
  readonly operationsPerKey?: number
  /** Longest pause of a client between two operations. */
  readonly thinkUsMax: number
  /** 'cas' for registers that can be compared and set (the default), 'erase' for those that can't. */
  readonly mix?: 'cas' | 'erase'
}

const KEY_COUNT = 3
const OPERATIONS_PER_KEY = 40
const IDLE_ONE_IN = 30
const IDLE_US_MAX = 6_000_000

export class Workload {
  readonly #world: World
  readonly #history: History
  readonly #random: Prng
  readonly #clients: readonly RegisterClient[]
  readonly #keyCount: number
  readonly #operationsPerKey: number
  readonly #thinkUsMax: number
  readonly #mix: 'cas' | 'erase'
  /** What each client last saw of each register: what it expects in a compare-and-set. */
  readonly #lastSeen: Map<string, RegisterValue>[]
  #running = false
  #started = 0
  #done = 0
  #busy = 0
  #nextValue = 1

  constructor(options: WorkloadOptions) {
    this.#world = options.world
    this.#history = options.history
    this.#random = options.random
    this.#clients = options.clients
    this.#keyCount = options.keyCount ?? KEY_COUNT
    this.#operationsPerKey = options.operationsPerKey ?? OPERATIONS_PER_KEY
    this.#thinkUsMax = options.thinkUsMax
    this.#mix = options.mix ?? 'cas'
    this.#lastSeen = this.#clients.map(() => new Map())
  }

  /** Operations that were answered as done. */
  get doneCount(): number {
    return this.#done
  }
  get startedCount(): number {
    return this.#started
  }
  /** Clients that wait for an answer. */
  get busyCount(): number {
    return this.#busy
  }

  start(): void {
    this.#running = true
    for (const [client] of this.#clients.entries()) this.#think(client)
  }

  /** No new operations; those under way end in their time. */
  stop(): void {
    this.#running = false
  }

  /** Every register that was ever used. */
  keys(): string[] {
    return Array.from({ length: this.#newestKey() + 1 }, (_, n) => `r${n}`)
  }

  /** Reads one register through one client, as part of the history. */
  read(client: number, key: string, done: (outcome: 'done' | 'refused' | 'unknown') => void): void {
    const operation = this.#begin(client, () => this.#history.invoke(client, key, 'read'))
    this.#client(client).get(key, (outcome) => {
      this.#busy--
      if (outcome.outcome === 'done') {
        this.#done++
        this.#history.returnRead(operation, outcome.value)
        this.#lastSeen[client]?.set(key, outcome.value)
      } else if (outcome.outcome === 'refused') this.#history.refuse(operation)
      done(outcome.outcome)
    })
  }

  #newestKey(): number {
    return this.#keyCount - 1 + Math.floor(this.#started / this.#operationsPerKey)
  }

  #client(client: number): RegisterClient {
    return this.#clients[client] as RegisterClient
  }

  #begin<T>(client: number, invoke: () => T): T {
    this.#started++
    this.#busy++
    this.#world.trace.mix(client)
    return invoke()
  }

  #think(client: number): void {
    // Who was idle for long may still believe in a leader that was deposed meanwhile.
    const idles = this.#random.below(IDLE_ONE_IN) === 0
    const delayUs = this.#random.below((idles ? IDLE_US_MAX : this.#thinkUsMax) + 1)
    this.#world.after(delayUs, 'client', () => {
      if (this.#running) this.#act(client)
    })
  }

  #act(client: number): void {
    const key = `r${this.#newestKey() - this.#random.below(this.#keyCount)}`
    const dice = this.#random.below(10)
    if (dice < 4) this.read(client, key, () => this.#think(client))
    else if (dice < 7) this.#put(client, key, `v${this.#nextValue++}`)
    else if (this.#mix === 'cas') this.#cas(client, key)
    else this.#put(client, key, dice < 9 ? `v${this.#nextValue++}` : null)
  }

  #put(client: number, key: string, value: RegisterValue): void {
    const operation = this.#begin(client, () => this.#history.invoke(client, key, 'write', value))
    this.#client(client).put(key, value, (outcome) => {
      this.#busy--
      if (outcome.outcome === 'done') {
        this.#done++
        this.#history.returnWrite(operation)
        this.#lastSeen[client]?.set(key, value)
      } else if (outcome.outcome === 'refused') this.#history.refuse(operation)
      this.#think(client)
    })
  }

  #cas(client: number, key: string): void {
    const value = `v${this.#nextValue++}`
    const expected = this.#lastSeen[client]?.get(key) ?? null
    const operation = this.#begin(client, () =>
      this.#history.invoke(client, key, 'cas', value, expected),
    )
    this.#client(client).cas(key, expected, value, (outcome) => {
      this.#busy--
      if (outcome.outcome === 'done') {
        this.#done++
        this.#history.returnCas(operation, outcome.value)
        if (outcome.value) this.#lastSeen[client]?.set(key, value)
        else this.#lastSeen[client]?.delete(key)
      } else if (outcome.outcome === 'refused') this.#history.refuse(operation)
      this.#think(client)
    })
  }
}
