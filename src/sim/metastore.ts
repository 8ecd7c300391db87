// Owns the simulated metadata store that one host has alone (the one of several: etcd.ts): what is
// durable outlives its processes, as a file of a disk does. A commit lands after a latency; one under way
// when the process dies has landed or not, by the seed, and none lands after a later one was lost.
// Failures are switched on by tests and fault plans.

import { assert } from '../base/assert.ts'
import { asLemnisError, LemnisError } from '../base/errors.ts'
import type { Prng } from '../base/prng.ts'
import {
  checkCommit,
  checkMetaKey,
  checkMetaLeaseMs,
  checkMetaWatch,
  type MetaChange,
  type MetaChanged,
  type MetaCondition,
  type MetaItem,
  type MetaLease,
  type MetaStore,
  type MetaWatch,
  type MetaWatcher,
  metaChangesWithin,
} from '../env/metastore.ts'
import type { SimEvent } from './event-queue.ts'
import type { SimHost } from './host.ts'
import { MetaRecords } from './meta-records.ts'

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
  readonly #records = new MetaRecords()
  readonly #ends = new Map<string, SimEvent>()
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
    return this.#records.revision
  }

  get(key: string): MetaItem | null {
    return this.#records.get(key)
  }

  range(from: string, to: string, limit: number): MetaItem[] {
    return this.#records.range(from, to, limit)
  }

  /** Throws when a change is under a lease that has ended; nothing is changed then. */
  land(conditions: readonly MetaCondition[], changes: readonly MetaChange[]): number | null {
    return this.#records.land(conditions, changes)
  }

  grant(ttlMs: number): MetaLease {
    const lease = this.#records.grant(ttlMs)
    this.#endLater(lease)
    return lease
  }

  keep(lease: MetaLease): void {
    if (!this.#records.has(lease)) throw new LemnisError('NOT_FOUND', { what: 'lease' })
    this.#endLater(lease)
  }

  /** The lease is over, by its time or because it was asked for. */
  end(lease: MetaLease): void {
    this.#forgetEnd(lease)
    this.#records.end(lease)
  }

  listen(listener: (changes: readonly MetaChanged[], revision: number) => void): () => void {
    return this.#records.listen(listener)
  }

  /** A lease lasts by the store's clock, not by that of who holds it. */
  #endLater(lease: MetaLease): void {
    this.#forgetEnd(lease)
    const { world } = this.#host
    const delayUs = Math.ceil(lease.ttlMs * 1000)
    const end = world.after(delayUs, `meta lease ${lease.id} ends`, () => this.end(lease))
    this.#ends.set(lease.id, end)
  }

  #forgetEnd({ id }: MetaLease): void {
    const end = this.#ends.get(id)
    if (end !== undefined) this.#host.world.cancel(end)
    this.#ends.delete(id)
  }
}

/** One process's view of it. */
export class SimMetaStore implements MetaStore {
  readonly #disk: SimMetaDisk
  readonly #host: SimHost
  readonly #generation: number
  readonly #random: Prng
  readonly #queue: UnderWay[] = []
  readonly #watches = new Set<MetaWatch>()
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

  async grantLease(ttlMs: number): Promise<MetaLease> {
    checkMetaLeaseMs(ttlMs)
    await this.#pause('meta grant')
    return this.#disk.grant(ttlMs)
  }

  async keepLease(lease: MetaLease): Promise<void> {
    await this.#pause('meta keep')
    this.#disk.keep(lease)
  }

  async revokeLease(lease: MetaLease): Promise<void> {
    await this.#pause('meta revoke')
    this.#disk.end(lease)
  }

  watch(from: string, to: string, watcher: MetaWatcher): MetaWatch {
    checkMetaWatch(from, to)
    this.#checkOpen()
    const tell = (fire: () => void): void => {
      this.#host.world.after(
        0,
        'meta watch',
        () => {
          if (this.#watches.has(watch)) fire()
        },
        this.#host,
      )
    }
    const unlisten = this.#disk.listen((changes, revision) => {
      const seen = metaChangesWithin(changes, from, to)
      if (seen.length > 0) tell(() => watcher.onChanges(seen, revision))
    })
    const watch = {
      close: (): void => {
        this.#watches.delete(watch)
        unlisten()
      },
    }
    this.#watches.add(watch)
    const revision = this.#disk.revision
    tell(() => watcher.onStarted(revision))
    return watch
  }

  async close(): Promise<void> {
    for (const watch of [...this.#watches]) watch.close()
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
    for (const watch of [...this.#watches]) watch.close()
    if (first !== undefined && this.#random.chance(0.5)) this.#take(first)
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
    const outcome = takesEffect ? this.#take(first) : null
    this.#disk.onLanding?.('after')
    if (this.#isDead) {
      this.#queue.length = 0
      return
    }
    const answer = (): void => (fails ? this.#fail() : this.#answer(first, outcome))
    this.#host.world.after(0, 'meta committed', answer, this.#host)
  }

  /** What the store says: the revision, null, or why it refuses. */
  #take({ conditions, changes }: UnderWay): number | null | LemnisError {
    try {
      return this.#disk.land(conditions, changes)
    } catch (error) {
      return asLemnisError(error)
    }
  }

  #answer(first: UnderWay, outcome: number | null | LemnisError): void {
    this.#queue.shift()
    if (outcome instanceof LemnisError) first.reject(outcome)
    else first.resolve(outcome)
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
