// Owns heartbeat rounds and what they prove. A round is one heartbeat to every follower, numbered
// within the term; an answer to round r from a quorum proves that at the time r was sent nobody
// with a higher term had been elected (ReadIndex), and that nobody will be until the promise of
// each of that quorum, not to vote for an election timeout, has run out (the lease). Invariant: the
// lease ends before the first of those promises can, for any two clocks whose rates differ by at
// most the configured drift. Sending is timed by the last input before it, never after.

import type { Core, Leadership } from './core.ts'

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

/**
 * An entry of the own term is committed, so the commit index is no older than any other leader's.
 */
export function canRead(core: Core, lead: Leadership): boolean {
  return core.log.commit >= lead.termStartIndex
}

/** Sends one heartbeat to every follower. */
export function startRound(core: Core, lead: Leadership): void {
  const { log } = core
  const round = lead.reads.open(core.nowMs, log.commit, canRead(core, lead))
  lead.heartbeatDueMs = core.nowMs + core.options.heartbeatIntervalMs
  let settled = log.commit === log.lastIndex
  for (const peer of lead.members.peers) {
    if (peer.match < log.lastIndex) settled = false
    core.out.messages.push({
      kind: 'heartbeat',
      from: core.id,
      to: peer.replica,
      term: core.term,
      // No further than it surely has the same log.
      commit: Math.min(peer.match, log.commit),
      round,
    })
  }
  if (!settled) lead.settledRound = Number.POSITIVE_INFINITY
  else if (lead.settledRound === Number.POSITIVE_INFINITY) lead.settledRound = round
  closeRounds(core, lead)
}

/** Answers the reads and renews the lease for every round that a quorum has answered. */
export function closeRounds(core: Core, lead: Leadership): void {
  const closed = lead.reads.close(lead.members.quorumRound())
  for (const round of closed) {
    for (const context of round.contexts) {
      core.out.readStates.push({ context, index: round.readIndex })
    }
  }
  const last = closed.at(-1)
  if (last === undefined) return
  const { electionTimeoutMs, clockDriftPermille } = core.options
  const until = last.sentMs + electionTimeoutMs * (1 - clockDriftPermille / 1000)
  if (until > lead.reads.leaseUntilMs) lead.reads.leaseUntilMs = until
}

/** The index to read at right now, or null when only a round can tell. */
export function leaseRead(core: Core, lead: Leadership): number | null {
  if (!canRead(core, lead)) return null
  if (core.hasBug('stale-read')) return core.log.commit
  if (lead.members.isSelfEnough) return core.log.commit
  if (lead.reads.leaseOff || core.nowMs >= lead.reads.leaseUntilMs) return null
  return core.log.commit
}
