// Owns heartbeat rounds and what they prove. A round is one heartbeat to every follower, numbered
// within the term; an answer to round r from a quorum proves that at the time r was sent nobody
// with a higher term had been elected (ReadIndex), and that nobody will be until the promise of
// each of that quorum, not to vote for an election timeout, has run out (the lease). Invariant: the
// lease ends before the first of those promises can, for any two clocks whose rates differ by at
// most the configured drift. Sending is timed by the last input before it, never after.

import type { Core, Leadership } from './core.ts'

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
