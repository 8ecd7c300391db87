// Owns the proof that one MDS leads at a time: nobody's right to answer overlaps another's, whoever is
// stopped, cut off or slow; and what landed in the store never comes from an earlier leader after a
// later one has written. Asked after each event.

import type { SimHost } from './host.ts'
import { Verdict } from './verdict.ts'

/** The right of one process to answer as leader. */
export interface Claim {
  readonly term: number
  /** By the clock of its host. */
  isValid(): boolean
}

interface Life {
  readonly host: SimHost
  readonly generation: number
  readonly claim: Claim
}

export class LeaderChecker {
  readonly #lives = new Map<string, Life>()
  #lastTerm = 0
  /** Found where it can't be thrown. */
  #breach: string | null = null

  /** The process that runs on `host` now was elected; its earlier claims are over. */
  elected(host: SimHost, claim: Claim): void {
    const before = this.#lives.get(host.name)
    if (before?.generation === host.generation && before.claim.isValid()) {
      throw new Verdict('leaders', `${host.name} was elected while it led`)
    }
    this.#lives.set(host.name, { host, generation: host.generation, claim })
  }

  /** What leads now: a stopped process counts, as it would answer when it goes on. */
  leaders(): SimHost[] {
    const leaders: SimHost[] = []
    for (const { host, generation, claim } of this.#lives.values()) {
      if (host.generation === generation && claim.isValid()) leaders.push(host)
    }
    return leaders
  }

  check(): void {
    if (this.#breach !== null) throw new Verdict('leaders', this.#breach)
    const leaders = this.leaders()
    if (leaders.length < 2) return
    throw new Verdict('leaders', `two lead: ${leaders.map(({ name }) => name).join(' and ')}`)
  }

  /** A write that was bound to that term has taken effect. */
  landed(term: number): void {
    if (term < this.#lastTerm) this.#breach ??= `term ${term} wrote after term ${this.#lastTerm}`
    this.#lastTerm = Math.max(this.#lastTerm, term)
  }
}
