// Owns what a leader does before it stops on purpose: it hands each of its groups to the member that
// has most of the log, so that nobody waits for an election. It tries, for a short time only: a member
// that is not there, or stops too, must not hold up a stop.

import type { CopysetHost } from '../copyset/host.ts'
import type { Replica } from '../copyset/replica.ts'
import type { Clock } from '../env/clock.ts'
import type { ReplicaId } from '../raft/types.ts'

const LOOK_EVERY_MS = 10

/** Resolves when this host leads no group that has another voter, or `limitMs` have passed. */
export async function handOver(clock: Clock, host: CopysetHost, limitMs: number): Promise<void> {
  const deadlineMs = clock.monotonicMs() + limitMs
  const asked = [...host.replicas()].filter((replica) => {
    const successor = successorOf(replica)
    return successor !== null && replica.transferLeader(successor) === null
  })
  const leads = (replica: Replica): boolean => !replica.closed && replica.isLeader
  while (asked.some(leads) && clock.monotonicMs() < deadlineMs) {
    await new Promise<void>((resume) => clock.after(LOOK_EVERY_MS, resume))
  }
}

function successorOf(replica: Replica): ReplicaId | null {
  if (!replica.isLeader) return null
  const { voters } = replica.membership
  let best: { readonly replica: ReplicaId; readonly match: number } | null = null
  for (const follower of replica.status().progress) {
    if (!voters.includes(follower.replica)) continue
    if (best === null || follower.match > best.match) best = follower
  }
  return best?.replica ?? null
}
