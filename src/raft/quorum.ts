// Owns the arithmetic of majorities, plain and joint: what number a quorum has reached, and how a
// vote stands. Invariant: two quorums of one configuration, or of two that follow each other, share
// a member. Knows nothing of who the members are. An empty set of voters agrees with everything,
// which is how a configuration without an outgoing half is decided by its one half.

import type { ReplicaId } from './types.ts'

export type VoteResult = 'won' | 'lost' | 'pending'

/**
 * The largest value that a majority has reached. Sorts `values` in place: they are the caller's
 * scratch.
 */
export function majorityValue(values: number[]): number {
  const count = values.length
  if (count === 0) return Number.POSITIVE_INFINITY
  // Groups have three to seven members: insertion beats a sort with a comparison function.
  for (let i = 1; i < count; i++) {
    const value = values[i] as number
    let at = i
    while (at > 0 && (values[at - 1] as number) < value) {
      values[at] = values[at - 1] as number
      at--
    }
    values[at] = value
  }
  return values[count >>> 1] as number
}

export function majorityVotes(
  voters: readonly ReplicaId[],
  votes: ReadonlyMap<ReplicaId, boolean>,
): VoteResult {
  if (voters.length === 0) return 'won'
  let granted = 0
  let open = 0
  for (const voter of voters) {
    const vote = votes.get(voter)
    if (vote === undefined) open++
    else if (vote) granted++
  }
  const needed = (voters.length >>> 1) + 1
  if (granted >= needed) return 'won'
  return granted + open >= needed ? 'pending' : 'lost'
}

/** Both halves of a joint configuration must agree; one that is lost decides. */
export function jointVotes(
  voters: readonly ReplicaId[],
  outgoing: readonly ReplicaId[],
  votes: ReadonlyMap<ReplicaId, boolean>,
): VoteResult {
  const incomingResult = majorityVotes(voters, votes)
  const outgoingResult = majorityVotes(outgoing, votes)
  if (incomingResult === outgoingResult) return incomingResult
  if (incomingResult === 'lost' || outgoingResult === 'lost') return 'lost'
  return 'pending'
}
