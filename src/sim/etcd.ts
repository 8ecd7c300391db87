// Owns the simulated metadata store of several hosts, with what etcd does to its clients: a linearizable
// store that outlives everybody, reached over links that are cut one host at a time, with answers that
// are lost, requests that arrive late, times in which it is down as a whole, leases that end by its own
// clock and begin anew with each of its leaders, and watches that lag, break and find their past
// compacted away. What a client may rely on is env/metastore.ts and no more.

import { LemnisError } from '../base/errors.ts'
import type { Prng } from '../base/prng.ts'
import type { MetaChange, MetaChanged, MetaCondition, MetaLease } from '../env/metastore.ts'
import type { SimEvent } from './event-queue.ts'
import type { SimHost } from './host.ts'
import { MetaRecords } from './meta-records.ts'
import type { World } from './world.ts'

export interface EtcdFaults {
  /** One way. */
  latencyMinMs: number
  latencyMaxMs: number
  /** That a request, or its answer, is lost. */
  lossChance: number
  /** That a request waits somewhere and takes effect after its caller has given up. */
  lateChance: number
  /** By how much a watch lags at most. */
  watchLagMaxMs: number
}

export interface PastChange {
  readonly revision: number
  readonly changes: readonly MetaChanged[]
}

/** A process's view of it (etcd-client.ts). */
export interface EtcdView {
  /** The store, or the way to it, has changed. */
  pump(): void
}

/** How often etcd looks for leases that have run out (server/lease/lessor.go). */
const LEASE_LOOK_MS = 500
/** A new leader gives every lease its time anew, and this more (its Promote()). */
const LEASE_EXTENSION_MS = 1000
const MILLION = 1_000_000

export class SimEtcd {
  readonly world: World
  readonly random: Prng
  readonly records = new MetaRecords()
  readonly faults: EtcdFaults = {
    latencyMinMs: 0.2,
    latencyMaxMs: 4,
    lossChance: 0,
    lateChance: 0,
    watchLagMaxMs: 5,
  }
  /** Called when a commit that a host had asked for has taken effect; may not throw. */
  onCommitted: ((by: SimHost) => void) | null = null
  readonly #cut = new Set<string>()
  readonly #views = new Set<EtcdView>()
  readonly #leases = new Map<string, { readonly lease: MetaLease; end: SimEvent | null }>()
  #past: PastChange[] = []
  #compactedTo = 0
  #isUp = true
  #driftPpm = 0

  constructor(world: World) {
    this.world = world
    this.random = world.random.fork('etcd')
    this.records.listen((changes, revision) => {
      this.#past.push({ revision, changes })
      for (const view of [...this.#views]) view.pump()
    })
  }

  /** Tells it of changes until it is forgotten. */
  know(view: EtcdView): void {
    this.#views.add(view)
  }

  forget(view: EtcdView): void {
    this.#views.delete(view)
  }

  // --- faults

  cut(host: SimHost): void {
    this.world.note('etcd', 'cut', host.name)
    this.#cut.add(host.name)
    this.#break()
  }

  mend(host: SimHost): void {
    this.#cut.delete(host.name)
  }

  /** All members, or a quorum of them: nothing is answered, and no lease ends. */
  stop(): void {
    if (!this.#isUp) return
    this.world.note('etcd', 'stop')
    this.#isUp = false
    for (const held of this.#leases.values()) {
      if (held.end !== null) this.world.cancel(held.end)
      held.end = null
    }
    this.#break()
  }

  /** There is a leader again, which gives every lease its time anew. */
  start(): void {
    if (this.#isUp) return
    this.world.note('etcd', 'start')
    this.#isUp = true
    for (const { lease } of this.#leases.values()) this.#plan(lease, LEASE_EXTENSION_MS)
  }

  /** Breaks its promise: the oldest lease ends, however lately it was renewed (etcd issue 15247). */
  endOldestLease(): void {
    for (const { lease } of [...this.#leases.values()].slice(0, 1)) this.endLease(lease)
  }

  /** Forgets all changes so far: a watch that lags behind has to begin anew. */
  compact(): void {
    this.#compactedTo = this.records.revision
    this.#past = []
  }

  /** Parts per million by which its clock runs fast. */
  setDrift(ppm: number): void {
    this.#driftPpm = ppm
  }

  heal(): void {
    this.#cut.clear()
    Object.assign(this.faults, { lossChance: 0, lateChance: 0, watchLagMaxMs: 5, latencyMaxMs: 4 })
    this.start()
  }

  #break(): void {
    for (const view of [...this.#views]) view.pump()
  }

  // --- for clients

  reaches(host: SimHost): boolean {
    return this.#isUp && !this.#cut.has(host.name)
  }

  latencyUs(): number {
    const { latencyMinMs, latencyMaxMs } = this.faults
    return Math.round(this.random.between(latencyMinMs * 1000, latencyMaxMs * 1000))
  }

  get compactedTo(): number {
    return this.#compactedTo
  }

  /** What was changed after `revision`, which is not compacted away. */
  since(revision: number): readonly PastChange[] {
    return this.#past.filter((one) => one.revision > revision)
  }

  land(
    by: SimHost,
    conditions: readonly MetaCondition[],
    changes: readonly MetaChange[],
  ): number | null {
    const revision = this.records.land(conditions, changes)
    if (revision !== null) this.onCommitted?.(by)
    return revision
  }

  grantLease(ttlMs: number): MetaLease {
    const lease = this.records.grant(ttlMs)
    this.#leases.set(lease.id, { lease, end: null })
    this.#plan(lease, 0)
    return lease
  }

  keepLease(lease: MetaLease): void {
    if (!this.records.has(lease)) throw new LemnisError('NOT_FOUND', { what: 'lease' })
    this.#plan(lease, 0)
  }

  endLease(lease: MetaLease): void {
    const held = this.#leases.get(lease.id)
    if (held?.end) this.world.cancel(held.end)
    this.#leases.delete(lease.id)
    this.records.end(lease)
  }

  /** Never earlier than its time by this clock, and later by up to one look. */
  #plan(lease: MetaLease, extensionMs: number): void {
    const held = this.#leases.get(lease.id)
    if (held === undefined) return
    if (held.end !== null) this.world.cancel(held.end)
    const ownUs = (lease.ttlMs + extensionMs + this.random.below(LEASE_LOOK_MS)) * 1000
    const delayUs = Math.ceil((ownUs * MILLION) / (MILLION + this.#driftPpm))
    held.end = this.world.after(delayUs, `etcd lease ${lease.id} ends`, () => this.endLease(lease))
  }
}
