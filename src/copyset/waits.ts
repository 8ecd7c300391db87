// Owns the words for what lasts long on a host: what it is, what would end it, and for how long it has
// gone on. For people who ask why something is slow; nothing is decided by it.

import type { ChangeProgress } from './membership.ts'
import type { Replica } from './replica.ts'
import type { GroupId } from './replica-id.ts'
import type { TransferProgress } from './transfer.ts'

export interface Wait {
  readonly what: string
  /** What would end it. */
  readonly waitsFor: string
  readonly lastsMs: number
}

/** All that may last on one host. */
export interface Lasting {
  readonly replicas: Iterable<Replica>
  readonly transfers: readonly TransferProgress[]
  readonly changes: readonly ChangeProgress[]
  /** Groups that are being loaded, since when. */
  readonly loading: ReadonlyMap<GroupId, number>
}

/** What has lasted for `afterMs` or longer at `nowMs`, the longest first. */
export function waitsOf(lasting: Lasting, nowMs: number, afterMs: number): Wait[] {
  const waits: Wait[] = []
  const add = (sinceMs: number, what: string, waitsFor: () => string): void => {
    const lastsMs = nowMs - sinceMs
    if (lastsMs >= afterMs) waits.push({ what, waitsFor: waitsFor(), lastsMs })
  }
  for (const replica of lasting.replicas) {
    const { waiters, group } = replica
    add(waiters.oldestSinceMs(), `writes to group ${group}`, () => quorumMissing(replica))
  }
  for (const { group, to, sinceMs, ...sent } of lasting.transfers) {
    const { itemsSent, itemsWanted, bytesSent, bytesWanted } = sent
    add(sinceMs, `state of group ${group} for replica ${to}`, () => {
      return `the rest: ${itemsSent} of ${itemsWanted} items sent, ${bytesSent} of at most ${bytesWanted} bytes`
    })
  }
  for (const { group, sinceMs, waitsFor } of lasting.changes) {
    add(sinceMs, `change of members of group ${group}`, () => waitsFor)
  }
  for (const [group, sinceMs] of lasting.loading) {
    add(sinceMs, `loading of group ${group}`, () => 'the disk')
  }
  return waits.sort((a, b) => b.lastsMs - a.lastsMs)
}

/** Whom a leader that gets nothing decided is waiting for. */
function quorumMissing(replica: Replica): string {
  const { progress, config, commit, applied } = replica.status()
  if (applied < commit) return `entries ${applied + 1} to ${commit} to be applied`
  const voters = new Set([...config.voters, ...config.outgoing])
  const silent = progress.filter((peer) => voters.has(peer.replica) && !peer.isActive)
  const who = silent.map((peer) => peer.replica).join(' ')
  const majority = `a majority to have entry ${commit + 1}`
  return silent.length === 0 ? majority : `${majority}; not heard of: ${who}`
}
