// Owns the simulated metadata store of a host: what is durable outlives its processes, as a file of a
// disk does. A commit lands after a latency; one under way when the process dies has landed or not, by
// the seed, and none lands after a later one was lost. Failures are switched on by tests and fault plans.

import { assert } from '../base/assert.ts'
import { LemnisError } from '../base/errors.ts'
import type { Prng } from '../base/prng.ts'
import {
  checkCommit,
  checkMetaKey,
  type MetaChange,
  type MetaCondition,
  type MetaItem,
  type MetaStore,
} from '../env/metastore.ts'
import type { SimHost } from './host.ts'

export interface MetaFaults {
  latencyMinMs: number
  latencyMaxMs: number
  /** That a commit is answered by an error; whether it took effect is chance. */
  failChance: number
}

interface UnderWay {
  readonly conditions: readonly MetaCondition[]
  readonly changes: readonly MetaChange[]
  readonly resolve: (revision: number | null) => void
  readonly reject: (error: LemnisError) => void
}

/** Reads come from memory, mostly. */
const READ_US_MAX = 500

/** The durable part, one a host. */
export class SimMetaDisk {
  readonly faults: MetaFaults = { latencyMinMs: 0.2, latencyMaxMs: 8, failChance: 0 }
  /** Called right before, and right after, a commit takes effect; it may crash the host. */
  onLanding: ((when: 'before' | 'after') => void) | null = null
  readonly #host: SimHost
  readonly #random: Prng
  readonly #items = new Map<string, MetaItem>()
  #sortedKeys: string[] | null = null
  #revision = 0
  #life: SimMetaStore | null = null

  constructor(host: SimHost) {
    this.#host = host
    this.#random = host.world.random.fork(`metastore/${host.name}`)
  }

  /** The store as the process that runs now sees it; what an earlier one had under way is decided. */
  mount(): SimMetaStore {
    this.#life?.abandon()
    this.#life = new SimMetaStore(this, this.#host, this.#random)
    return this.#life
  }

  get revision(): number {
    return this.#revision
  }

  get(key: string): MetaItem | null {
    return this.#items.get(key) ?? null
  }

  range(from: string, to: string, limit: number): MetaItem[] {
    this.#sortedKeys ??= [...this.#items.keys()].sort()
    const found: MetaItem[] = []
    for (const key of this.#sortedKeys) {
      if (found.length >= limit || key >= to) break
      if (key >= from) found.push(this.#items.get(key) as MetaItem)
    }
    return found
  }

  land(conditions: readonly MetaCondition[], changes: readonly MetaChange[]): number | null {
    for (const condition of conditions) {
      const revision = this.get(condition.key)?.revision
      const wanted = condition.kind === 'absent' ? undefined : condition.revision
      if (revision !== wanted) return null
    }
    const revision = ++this.#revision
    for (const change of changes) {
      if (change.kind === 'remove') this.#items.delete(change.key)
      else this.#items.set(change.key, { key: change.key, value: change.value, revision })
    }
    this.#sortedKeys = null
    return revision
  }
}

/** One process's view of it. */
export class SimMetaStore implements MetaStore {
  readonly #disk: SimMetaDisk
  readonly #host: SimHost
  readonly #generation: number
  readonly #random: Prng
  readonly #queue: UnderWay[] = []
  #failure: LemnisError | null = null
  #whenIdle: (() => void)[] = []

  constructor(disk: SimMetaDisk, host: SimHost, random: Prng) {
    this.#disk = disk
    this.#host = host
    this.#generation = host.generation
    this.#random = random
  }

  async get(key: string): Promise<MetaItem | null> {
    checkMetaKey(key)
    await this.#pause('meta get')
    return this.#disk.get(key)
  }

  async range(from: string, to: string, limit: number): Promise<MetaItem[]> {
    await this.#pause('meta range')
    return this.#disk.range(from, to, limit)
  }

  async commit(
    conditions: readonly MetaCondition[],
    changes: readonly MetaChange[],
  ): Promise<number | null> {
    checkCommit(conditions, changes)
    this.#checkOpen()
    return new Promise((resolve, reject) => {
      this.#queue.push({ conditions, changes, resolve, reject })
      if (this.#queue.length === 1) this.#begin()
    })
  }

  async close(): Promise<void> {
    if (this.#queue.length > 0) {
      await new Promise<void>((done) => void this.#whenIdle.push(done))
    }
    this.#failure ??= new LemnisError('CLOSED', { what: 'metadata store' })
  }

  /** Its process is dead: what was under way took effect or did not. */
  abandon(): void {
    assert(this.#isDead || this.#queue.length === 0, 'a store is used by one process at a time')
    const first = this.#queue[0]
    this.#queue.length = 0
    if (first !== undefined && this.#random.chance(0.5)) {
      this.#disk.land(first.conditions, first.changes)
    }
  }

  get #isDead(): boolean {
    return this.#host.generation !== this.#generation
  }

  #checkOpen(): void {
    if (this.#failure !== null) throw this.#failure
  }

  #latencyUs(): number {
    const { latencyMinMs, latencyMaxMs } = this.#disk.faults
    return Math.round(this.#random.between(latencyMinMs * 1000, latencyMaxMs * 1000))
  }

  async #pause(label: string): Promise<void> {
    this.#checkOpen()
    const { world } = this.#host
    const delayUs = Math.min(this.#latencyUs(), READ_US_MAX)
    await new Promise<void>((done) => void world.after(delayUs, label, done, this.#host))
    this.#checkOpen()
  }

  /** The disk writes on while the process is stopped, but does nothing new for it. */
  #begin(): void {
    this.#host.world.after(this.#latencyUs(), `meta commit ${this.#host.name}`, () => this.#land())
  }

  #land(): void {
    const first = this.#queue[0]
    if (this.#isDead || first === undefined) return
    this.#disk.onLanding?.('before')
    if (this.#isDead) {
      this.#queue.length = 0
      return
    }
    const fails = this.#random.chance(this.#disk.faults.failChance)
    const takesEffect = !fails || this.#random.chance(0.5)
    const revision = takesEffect ? this.#disk.land(first.conditions, first.changes) : null
    this.#disk.onLanding?.('after')
    if (this.#isDead) {
      this.#queue.length = 0
      return
    }
    const answer = (): void => (fails ? this.#fail() : this.#answer(first, revision))
    this.#host.world.after(0, 'meta committed', answer, this.#host)
  }

  #answer(first: UnderWay, revision: number | null): void {
    this.#queue.shift()
    first.resolve(revision)
    if (this.#queue.length > 0) this.#begin()
    else this.#becomeIdle()
  }

  #fail(): void {
    this.#failure = new LemnisError('DISK_FAILED', { what: 'metadata store' })
    for (const { reject } of this.#queue.splice(0)) reject(this.#failure)
    this.#becomeIdle()
  }

  #becomeIdle(): void {
    for (const done of this.#whenIdle.splice(0)) done()
  }
}
