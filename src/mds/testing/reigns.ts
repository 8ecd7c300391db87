// Owns the judgement of a probe that asks all MDS again and again who leads. Two answers as leader are
// wrong when one of an earlier term was given to a question that was asked after one of a later term
// had been heard: no order of events in which one leads at a time explains that.

export interface LeaderAnswer {
  readonly term: number
  readonly askedMs: number
  readonly heardMs: number
  readonly address: string
}

export class Reigns {
  /** By address and term. */
  readonly terms = new Map<number, string>()
  answers = 0
  /** For how long an earlier leader answered after a later one; 0 is right. */
  doubleMs = 0
  readonly wrongs: string[] = []
  #highestTerm = 0
  /** When the first answer of each term was heard. */
  readonly #firstHeardMs = new Map<number, number>()

  take(answer: LeaderAnswer): void {
    const { term, askedMs, heardMs, address } = answer
    this.answers++
    const known = this.terms.get(term)
    if (known !== undefined && known !== address) {
      this.wrongs.push(`term ${term} is of ${known} and of ${address}`)
    }
    this.terms.set(term, address)
    if (!this.#firstHeardMs.has(term)) this.#firstHeardMs.set(term, heardMs)
    for (const [later, firstMs] of this.#firstHeardMs) {
      if (later <= term || askedMs <= firstMs) continue
      this.doubleMs = Math.max(this.doubleMs, heardMs - firstMs)
      this.wrongs.push(`${address} of term ${term} answered after term ${later} had`)
    }
    this.#highestTerm = Math.max(this.#highestTerm, term)
  }

  get highestTerm(): number {
    return this.#highestTerm
  }
}
