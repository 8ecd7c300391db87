// Owns a leader's books of its heartbeat rounds: which are under way, which reads wait for them, and until
// when a lease holds. Rounds are numbered within the term; one that a quorum has answered covers those
// before it. Invariant: a read that waits is answered once or dropped once. What a round sends and what
// it proves is in rounds.ts.

/** Rounds for reads that may be on their way at once; later reads share the next one. */
const READ_ROUNDS_MAX = 16
/**
 * Past this many unanswered rounds a heartbeat without reads is not remembered: check-quorum is
 * near.
 */
const ROUNDS_MAX = 64

interface Round {
  readonly round: number
  readonly sentMs: number
  readonly readIndex: number
  readonly contexts: readonly number[]
}

const NO_CONTEXTS: readonly number[] = []

export class Reads {
  #round = 0
  #outstanding: Round[] = []
  #waiting: number[] = []
  #pending = 0
  /** Reads may be served without a round before this time. */
  leaseUntilMs = Number.NEGATIVE_INFINITY
  /** A timeout-now of this term may still arrive, and its receiver's election ignores promises. */
  leaseOff = false

  /** Reads that wait for an answer. */
  get pending(): number {
    return this.#pending
  }

  get round(): number {
    return this.#round
  }

  /** Whether reads wait that could leave with a round now. */
  get wantsRound(): boolean {
    return this.#waiting.length > 0 && this.#outstanding.length < READ_ROUNDS_MAX
  }

  add(context: number): void {
    this.#waiting.push(context)
    this.#pending++
  }

  /** Opens a round; reads that wait go with it if an entry of the own term is committed. */
  open(sentMs: number, commit: number, canRead: boolean): number {
    this.#round++
    const contexts = canRead && this.#waiting.length > 0 ? this.#waiting : NO_CONTEXTS
    if (contexts.length > 0) this.#waiting = []
    if (contexts.length > 0 || this.#outstanding.length < ROUNDS_MAX) {
      this.#outstanding.push({ round: this.#round, sentMs, readIndex: commit, contexts })
    }
    return this.#round
  }

  /** A quorum has answered `round`, which covers those before it; returns them. */
  close(round: number): readonly Round[] {
    let count = 0
    while (count < this.#outstanding.length && (this.#outstanding[count] as Round).round <= round) {
      this.#pending -= (this.#outstanding[count] as Round).contexts.length
      count++
    }
    return count === 0 ? [] : this.#outstanding.splice(0, count)
  }

  /** Every context that has no answer, for when there will be none. */
  drop(): number[] {
    const contexts = this.#outstanding.flatMap((round) => round.contexts)
    contexts.push(...this.#waiting)
    this.#outstanding = []
    this.#waiting = []
    this.#pending = 0
    return contexts
  }
}
