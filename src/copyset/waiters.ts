// Owns the callers that wait on one replica: proposals until their index is applied, reads until the
// state they may see is. Every waiter is answered exactly once, and none waits without a bound: losing
// leadership ends them all.

import type { ByteBudget } from '../base/budget.ts'
import { EMPTY } from '../base/bytes.ts'
import { LemnisError } from '../base/errors.ts'
import type { Clock } from '../env/clock.ts'
import type { Timing } from '../observe/observe.ts'

export type ProposeDone = (error: LemnisError | null, result: Uint8Array) => void
export type ReadDone = (error: LemnisError | null) => void

interface Proposal {
  readonly term: number
  readonly bytes: number
  readonly sinceMs: number
  readonly done: ProposeDone
}

interface Read {
  readonly index: number
  readonly done: ReadDone
}

export class Waiters {
  readonly #proposals = new Map<number, Proposal>()
  readonly #unconfirmed = new Map<number, ReadDone>()
  #unapplied: Read[] = []
  readonly #budget: ByteBudget
  readonly #clock: Pick<Clock, 'monotonicMs'>
  readonly #commitSeconds: Timing
  #nextContext = 1

  /** Each proposal's bytes have been claimed from `budget`, and are released when it is answered. */
  constructor(budget: ByteBudget, clock: Pick<Clock, 'monotonicMs'>, commitSeconds: Timing) {
    this.#budget = budget
    this.#clock = clock
    this.#commitSeconds = commitSeconds
  }

  get readCount(): number {
    return this.#unconfirmed.size + this.#unapplied.length
  }

  get count(): number {
    return this.#proposals.size + this.readCount
  }

  /** Since when the oldest proposal waits; Infinity when none does. */
  oldestSinceMs(): number {
    for (const proposal of this.#proposals.values()) return proposal.sinceMs
    return Number.POSITIVE_INFINITY
  }

  addProposal(index: number, proposal: Proposal): void {
    this.#proposals.set(index, proposal)
  }

  /** The entry at `index` was applied; only the proposal that made this very entry gets the result. */
  applied(index: number, term: number, result: Uint8Array): void {
    const proposal = this.#proposals.get(index)
    if (proposal === undefined) return
    this.#proposals.delete(index)
    this.#budget.release(proposal.bytes)
    if (proposal.term === term) {
      this.#commitSeconds.record((this.#clock.monotonicMs() - proposal.sinceMs) / 1000)
      proposal.done(null, result)
    } else proposal.done(new LemnisError('PROPOSAL_DROPPED', { index }), EMPTY)
  }

  /** A read that waits for proof of leadership; the context comes back in a Ready. */
  addUnconfirmed(done: ReadDone): number {
    const context = this.#nextContext++
    this.#unconfirmed.set(context, done)
    return context
  }

  confirmed(context: number, index: number, appliedIndex: number): void {
    const done = this.#unconfirmed.get(context)
    if (done === undefined) return
    this.#unconfirmed.delete(context)
    this.addUnapplied(index, appliedIndex, done)
  }

  addUnapplied(index: number, appliedIndex: number, done: ReadDone): void {
    if (index <= appliedIndex) done(null)
    else this.#unapplied.push({ index, done })
  }

  readDropped(context: number): void {
    const done = this.#unconfirmed.get(context)
    this.#unconfirmed.delete(context)
    done?.(new LemnisError('NOT_LEADER'))
  }

  /** State up to `appliedIndex` is visible now. */
  releaseReads(appliedIndex: number): void {
    if (this.#unapplied.length === 0) return
    const waiting = this.#unapplied
    this.#unapplied = waiting.filter((read) => read.index > appliedIndex)
    for (const read of waiting) if (read.index <= appliedIndex) read.done(null)
  }

  /** Ends every waiter: this replica leads no more, or goes away. Proposals may yet take effect. */
  failAll(code: 'PROPOSAL_DROPPED' | 'CLOSED'): void {
    const proposals = [...this.#proposals.values()]
    const reads = [...this.#unconfirmed.values(), ...this.#unapplied.map((read) => read.done)]
    this.#proposals.clear()
    this.#unconfirmed.clear()
    this.#unapplied = []
    for (const proposal of proposals) {
      this.#budget.release(proposal.bytes)
      proposal.done(new LemnisError(code), EMPTY)
    }
    const readCode = code === 'CLOSED' ? 'CLOSED' : 'NOT_LEADER'
    for (const done of reads) done(new LemnisError(readCode))
  }
}
