// Owns what must hold over all replicas of a group at all times, checked as it happens: one leader
// a term, logs that match, one history applied by all, leaders that have all of it, reads that miss
// nothing, configurations that agree. Each check is the paper's property of that name (figure 3).

import { hexOf } from '../../base/bytes.ts'
import type { Configuration, Entry, Ready, ReplicaId } from '../types.ts'
import type { TestReplica } from './replica.ts'
import { showConfig } from './trace.ts'

export class Violation extends Error {
  override readonly name = 'Violation'
}

export class History {
  readonly #leaders = new Map<number, ReplicaId>()
  /** By term and index: what the entry holds and which term comes before it. */
  readonly #written = new Map<string, string>()
  /**
   * What replicas applied, by index. `byTerm` is a term in which it was committed at the latest.
   */
  readonly #applied: {
    readonly term: number
    readonly text: string
    readonly byTerm: number
  }[] = []
  readonly #configs = new Map<number, string>()
  /** The last index that any replica has applied. */
  appliedLast = 0

  constructor(born: Configuration) {
    this.#configs.set(born.epoch, showConfig(born))
  }

  /** True if that is news. */
  leads(replica: TestReplica, term: number): boolean {
    const known = this.#leaders.get(term)
    if (known !== undefined && known !== replica.id) {
      throw new Violation(`election safety: ${known} and ${replica.id} lead term ${term}`)
    }
    if (known !== undefined) return false
    this.#leaders.set(term, replica.id)
    const { store } = replica
    for (let index = store.firstIndex(); index <= this.appliedLast; index++) {
      const applied = this.#applied[index]
      // A late vote may still make somebody leader of an old term, who then commits nothing.
      if (applied === undefined || applied.byTerm >= term) continue
      if (store.term(index) !== applied.term) {
        throw new Violation(`leader completeness: ${replica.id} leads ${term} without ${index}`)
      }
    }
    return true
  }

  writes(replica: TestReplica, { entries }: Ready): void {
    for (const entry of entries) {
      const key = `${entry.index}/${entry.term}`
      const prevTerm = replica.store.term(entry.index - 1)
      const text = `${entry.kind} ${hexOf(entry.data)} after term ${prevTerm}`
      const known = this.#written.get(key)
      if (known === undefined) this.#written.set(key, text)
      else if (known !== text) throw new Violation(`log matching: ${key} is ${known} and ${text}`)
    }
  }

  applies(replica: TestReplica, entry: Entry): void {
    const text = `${entry.kind} ${hexOf(entry.data)}`
    const known = this.#applied[entry.index]
    if (known === undefined) {
      const byTerm = replica.node?.term ?? entry.term
      this.#applied[entry.index] = { term: entry.term, text, byTerm }
    } else if (known.term !== entry.term || known.text !== text) {
      throw new Violation(`state machine safety: ${replica.id} differs at ${entry.index}`)
    }
    this.appliedLast = Math.max(this.appliedLast, entry.index)
  }

  configured(replica: TestReplica, config: Configuration): void {
    const text = showConfig(config)
    const known = this.#configs.get(config.epoch)
    if (known === undefined) this.#configs.set(config.epoch, text)
    else if (known !== text) {
      throw new Violation(`configurations: ${replica.id} has ${text}, others ${known}`)
    }
  }

  /** A read that began when `appliedLast` was `atLeast` sees everything up to `index`. */
  reads(replica: TestReplica, index: number, atLeast: number): void {
    if (index < atLeast) {
      throw new Violation(`stale read: ${replica.id} reads at ${index}, ${atLeast} was applied`)
    }
  }
}
