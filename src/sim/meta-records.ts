// Owns what a simulated metadata store keeps: items, the revision of each, and which keys are under which
// lease. Invariant: a commit changes all or nothing, and is told once, when it has taken effect.
// Does not know time: when a lease ends is the matter of the store around it.

import { LemnisError } from '../base/errors.ts'
import {
  type MetaChange,
  type MetaChanged,
  type MetaCondition,
  type MetaItem,
  type MetaLease,
  metaConditionHolds,
} from '../env/metastore.ts'

export class MetaRecords {
  readonly #items = new Map<string, MetaItem>()
  /** Keys by lease. */
  readonly #leases = new Map<string, Set<string>>()
  readonly #listeners = new Set<(changes: readonly MetaChanged[], revision: number) => void>()
  #sortedKeys: string[] | null = null
  #revision = 0
  #leaseCount = 0

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

  /** Throws when a change is under a lease that has ended; nothing is changed then. */
  land(conditions: readonly MetaCondition[], changes: readonly MetaChange[]): number | null {
    if (!conditions.every((one) => metaConditionHolds(one, this.get(one.key)))) return null
    for (const change of changes) {
      if (change.kind === 'put' && change.lease !== undefined) this.#keysOf(change.lease)
    }
    const revision = ++this.#revision
    const changed = changes.flatMap((change) => this.#change(change, revision))
    this.#sortedKeys = null
    if (changed.length > 0) this.#tell(changed, revision)
    return revision
  }

  grant(ttlMs: number): MetaLease {
    const lease = { id: String(++this.#leaseCount), ttlMs }
    this.#leases.set(lease.id, new Set())
    return lease
  }

  has({ id }: MetaLease): boolean {
    return this.#leases.has(id)
  }

  /** Ends a lease, and its keys go; one that has ended is no error. */
  end(lease: MetaLease): void {
    const keys = this.#leases.get(lease.id)
    this.#leases.delete(lease.id)
    if (keys === undefined || keys.size === 0) return
    this.land(
      [],
      [...keys].map((key) => ({ kind: 'remove', key })),
    )
  }

  /** Calls `listener` after each commit that changed something, until the function given back is called. */
  listen(listener: (changes: readonly MetaChanged[], revision: number) => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  #keysOf({ id }: MetaLease): Set<string> {
    const keys = this.#leases.get(id)
    if (keys === undefined) throw new LemnisError('NOT_FOUND', { what: 'lease', id })
    return keys
  }

  #change(change: MetaChange, revision: number): MetaChanged[] {
    const { key } = change
    const before = this.#items.get(key)
    if (change.kind === 'remove' && before === undefined) return []
    for (const keys of this.#leases.values()) keys.delete(key)
    if (change.kind === 'remove') {
      this.#items.delete(key)
      return [{ kind: 'remove', key, revision }]
    }
    const { value, lease } = change
    const item = { key, value, revision, createdRevision: before?.createdRevision ?? revision }
    this.#items.set(key, item)
    if (lease !== undefined) this.#keysOf(lease).add(key)
    return [{ kind: 'put', item }]
  }

  #tell(changed: readonly MetaChanged[], revision: number): void {
    for (const listener of [...this.#listeners]) listener(changed, revision)
  }
}
