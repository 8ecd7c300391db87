// Owns what a heartbeat says about the replicas of this disk: those in service as they stand, and those
// out of service with the reason.

import type { CopysetHost } from '../copyset/host.ts'
import type { Replica } from '../copyset/replica.ts'
import type { ReplicaReport, SendingReport } from '../format/control/chunkserver.ts'
import { chunksOf } from './chunk-machine.ts'

export function replicaReports(host: CopysetHost): ReplicaReport[] {
  const changing = new Map(host.changes().map(({ group, waitsFor }) => [group, waitsFor]))
  const sending = sendings(host)
  const reports = Array.from(host.replicas(), (replica) => ({
    ...inService(replica, changing.get(replica.group)),
    ...sending.get(replica.group),
  }))
  for (const [group, error] of host.damagedGroups()) {
    const log = host.log.group(group)
    // A replica that was never here, or is gone for good, is no concern of the MDS.
    if (log.replica === 0 || log.destroyedEpoch !== null || host.replica(group)) continue
    reports.push(outOfService(group, log.replica, log.createdEpoch, error.message))
  }
  return reports.sort((a, b) => a.group - b.group)
}

/** By group; none for most. */
function sendings(host: CopysetHost): Map<number, { sending: SendingReport[] }> {
  const found = new Map<number, { sending: SendingReport[] }>()
  const nowMs = host.env.clock.monotonicMs()
  for (const { group, to, sinceMs, bytesSent, bytesWanted } of host.transfers()) {
    const one = { to, bytesSent, bytesWanted, lastsMs: Math.floor(nowMs - sinceMs) }
    const known = found.get(group)
    if (known === undefined) found.set(group, { sending: [one] })
    else known.sending.push(one)
  }
  return found
}

function inService(replica: Replica, waitsFor: string | undefined): ReplicaReport {
  const { group, epoch, term, leader, membership, applied } = replica
  const { chunks, usedBytes } = chunksOf(replica).usage()
  return {
    group,
    replica: replica.id,
    epoch,
    term,
    leads: replica.isLeader,
    leader,
    voters: [...membership.voters],
    learners: [...membership.learners],
    appliedIndex: applied,
    chunks,
    usedBytes,
    ...(waitsFor === undefined ? {} : { changing: waitsFor }),
  }
}

function outOfService(
  group: number,
  replica: number,
  epoch: number,
  damage: string,
): ReplicaReport {
  return {
    group,
    replica,
    epoch,
    term: 0,
    leads: false,
    leader: 0,
    voters: [],
    learners: [],
    appliedIndex: 0,
    chunks: 0,
    usedBytes: 0,
    damage,
  }
}
