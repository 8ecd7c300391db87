// Owns one process's view of the simulated etcd: every call ends within a deadline by the host's clock,
// what was asked may take effect although nobody hears of it, and watches go on by themselves.
// Invariant: a dead process hears nothing, and a stopped one hears it when it goes on.

import { asLemnisError, LemnisError } from '../base/errors.ts'
import {
  checkCommit,
  checkMetaKey,
  checkMetaLeaseMs,
  checkMetaWatch,
  type MetaChange,
  type MetaCondition,
  type MetaItem,
  type MetaLease,
  type MetaStore,
  type MetaWatch,
  type MetaWatcher,
  metaChangesWithin,
} from '../env/metastore.ts'
import type { EtcdView, SimEtcd } from './etcd.ts'
import type { SimHost } from './host.ts'

const DEADLINE_US = 2_000_000
const LATE_US_MAX = 6_000_000
/** How often a broken watch tries again. */
const RECONNECT_US = 150_000
/** A closed connection is noticed at once, more often than not. */
const REFUSAL_CHANCE = 0.5

/** For the process that runs on `host` now. */
export class SimEtcdClient implements MetaStore, EtcdView {
  readonly #etcd: SimEtcd
  readonly #host: SimHost
  readonly #generation: number
  readonly #watches = new Set<SimEtcdWatch>()
  readonly #commits = new Set<Promise<unknown>>()
  #lastArrivalUs = 0
  #isClosed = false

  constructor(etcd: SimEtcd, host: SimHost) {
    this.#etcd = etcd
    this.#host = host
    this.#generation = host.generation
    etcd.know(this)
  }

  get isDead(): boolean {
    return this.#host.generation !== this.#generation
  }

  get(key: string): Promise<MetaItem | null> {
    return this.#ask('etcd get', () => {
      checkMetaKey(key)
      return () => this.#etcd.records.get(key)
    })
  }

  range(from: string, to: string, limit: number): Promise<MetaItem[]> {
    return this.#ask('etcd range', () => () => this.#etcd.records.range(from, to, limit))
  }

  commit(
    conditions: readonly MetaCondition[],
    changes: readonly MetaChange[],
  ): Promise<number | null> {
    const committed = this.#ask('etcd commit', () => {
      checkCommit(conditions, changes)
      return () => this.#etcd.land(this.#host, conditions, changes)
    })
    const done = (): void => void this.#commits.delete(committed)
    this.#commits.add(committed)
    committed.then(done, done)
    return committed
  }

  grantLease(ttlMs: number): Promise<MetaLease> {
    return this.#ask('etcd grant', () => {
      checkMetaLeaseMs(ttlMs)
      return () => this.#etcd.grantLease(ttlMs)
    })
  }

  keepLease(lease: MetaLease): Promise<void> {
    return this.#ask('etcd keep', () => () => this.#etcd.keepLease(lease))
  }

  revokeLease(lease: MetaLease): Promise<void> {
    return this.#ask('etcd revoke', () => () => this.#etcd.endLease(lease))
  }

  watch(from: string, to: string, watcher: MetaWatcher): MetaWatch {
    checkMetaWatch(from, to)
    if (this.#isClosed) throw closed()
    const watch = new SimEtcdWatch(this.#etcd, this.#host, this, from, to, watcher)
    this.#watches.add(watch)
    watch.connect()
    return {
      close: () => {
        watch.close()
        this.#watches.delete(watch)
      },
    }
  }

  async close(): Promise<void> {
    for (const watch of this.#watches) watch.close()
    this.#watches.clear()
    this.#isClosed = true
    await Promise.allSettled([...this.#commits])
    this.#etcd.forget(this)
  }

  pump(): void {
    if (this.isDead) this.#etcd.forget(this)
    else for (const watch of [...this.#watches]) watch.pump()
  }

  /** `check` refuses before anything is sent, or gives what the store is to do. */
  async #ask<T>(label: string, check: () => () => T): Promise<T> {
    if (this.#isClosed) throw closed()
    const effect = check()
    const { world } = this.#host
    return new Promise((resolve, reject) => {
      const expire = (): void => reject(new LemnisError('DEADLINE_EXCEEDED', { what: label }))
      const deadline = world.after(DEADLINE_US, 'etcd deadline', expire, this.#host)
      const answer = (settle: () => void): void => {
        const hear = (): void => {
          world.cancel(deadline)
          settle()
        }
        const latencyUs = this.#etcd.latencyUs()
        // The process that runs there by now is not the one that asked.
        if (!this.isDead) world.after(latencyUs, label, hear, this.#host)
      }
      world.after(this.#arrivalUs(), label, () => this.#arrive(effect, answer, resolve, reject))
    })
  }

  /** Requests of one process arrive in their order. */
  #arrivalUs(): number {
    const { faults, random, world } = this.#etcd
    const lateUs = random.chance(faults.lateChance) ? random.below(LATE_US_MAX) : 0
    const atUs = world.nowUs + this.#etcd.latencyUs() + lateUs
    this.#lastArrivalUs = Math.max(atUs, this.#lastArrivalUs)
    return this.#lastArrivalUs - world.nowUs
  }

  #arrive<T>(
    effect: () => T,
    answer: (settle: () => void) => void,
    resolve: (value: T) => void,
    reject: (error: LemnisError) => void,
  ): void {
    const { random, faults } = this.#etcd
    if (!this.#etcd.reaches(this.#host)) {
      const error = new LemnisError('DISCONNECTED', { what: 'etcd' })
      if (random.chance(REFUSAL_CHANCE)) answer(() => reject(error))
      return
    }
    if (random.chance(faults.lossChance)) return
    let settle: () => void
    try {
      const value = effect()
      settle = () => resolve(value)
    } catch (thrown) {
      const error = asLemnisError(thrown)
      settle = () => reject(error)
    }
    if (!random.chance(faults.lossChance)) answer(settle)
  }
}

class SimEtcdWatch {
  readonly #etcd: SimEtcd
  readonly #host: SimHost
  readonly #client: SimEtcdClient
  readonly #from: string
  readonly #to: string
  readonly #watcher: MetaWatcher
  /** Counts the streams: what was on its way on an earlier one is lost. */
  #stream = 0
  #isStreaming = false
  /** What the watcher was told up to; null before its start. */
  #told: number | null = null
  #sent = 0
  #lastUs = 0
  #isClosed = false

  constructor(
    etcd: SimEtcd,
    host: SimHost,
    client: SimEtcdClient,
    from: string,
    to: string,
    watcher: MetaWatcher,
  ) {
    this.#etcd = etcd
    this.#host = host
    this.#client = client
    this.#from = from
    this.#to = to
    this.#watcher = watcher
  }

  close(): void {
    this.#isClosed = true
  }

  /** Now and then until it streams, and again when the stream broke. */
  connect(): void {
    const stream = this.#stream
    this.#etcd.world.after(this.#etcd.latencyUs(), 'etcd watch', () => {
      if (this.#isClosed || this.#client.isDead || stream !== this.#stream) return
      if (this.#etcd.reaches(this.#host)) this.#begin()
      else this.#later()
    })
  }

  #later(): void {
    this.#etcd.world.after(RECONNECT_US, 'etcd watch', () => this.connect())
  }

  #begin(): void {
    this.#isStreaming = true
    if (this.#told === null || this.#told < this.#etcd.compactedTo) {
      const { revision } = this.#etcd.records
      this.#sent = revision
      this.#send(revision, () => this.#watcher.onStarted(revision))
    } else {
      this.#sent = this.#told
    }
    this.pump()
  }

  pump(): void {
    if (!this.#isStreaming || this.#isClosed) return
    if (!this.#etcd.reaches(this.#host)) {
      this.#isStreaming = false
      this.#stream++
      this.#later()
      return
    }
    for (const { revision, changes } of this.#etcd.since(this.#sent)) {
      this.#sent = revision
      const seen = metaChangesWithin(changes, this.#from, this.#to)
      if (seen.length > 0) this.#send(revision, () => this.#watcher.onChanges(seen, revision))
    }
  }

  #send(revision: number, tell: () => void): void {
    const { world, faults, random } = this.#etcd
    const lagUs = random.below(Math.round(faults.watchLagMaxMs * 1000) + 1)
    this.#lastUs = Math.max(this.#lastUs, world.nowUs + this.#etcd.latencyUs() + lagUs)
    const stream = this.#stream
    const hear = (): void => {
      if (this.#isClosed || stream !== this.#stream) return
      this.#told = revision
      tell()
    }
    world.after(this.#lastUs - world.nowUs, 'etcd watch', hear, this.#host)
  }
}

function closed(): LemnisError {
  return new LemnisError('CLOSED', { what: 'metadata store' })
}
