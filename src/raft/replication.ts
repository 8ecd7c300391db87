// Owns how entries get from a leader to its followers and become committed, both sides of it.
// Invariant: a leader commits by counting only entries of its own term (the paper, 5.4.2), and its
// own copy counts only when its disk has it, like anybody else's.
// Appends are not sent where an input comes in but once per Ready, so that the proposals of one
// turn travel together. The commit index travels with appends and heartbeats; only the commit of a
// change of configuration is told at once.

import type { Core, Leadership } from './core.ts'
import { entriesBytes, entryBytes } from './log.ts'
import type { Progress } from './progress.ts'
import type { Entry, EntryKind, Message, ReplicaId, SnapshotMark } from './types.ts'

type MessageOf<Kind extends Message['kind']> = Extract<Message, { readonly kind: Kind }>

const NO_ENTRIES: readonly Entry[] = []

/** Appends one entry of the leader's own; where it went is the log's last index. */
export function appendOwn(core: Core, lead: Leadership, kind: EntryKind, data: Uint8Array): number {
  const entry: Entry = { term: core.term, index: core.log.lastIndex + 1, kind, data }
  core.log.push(entry)
  lead.uncommittedBytes += entryBytes(entry)
  lead.replicationDue = true
  lead.settledRound = Number.POSITIVE_INFINITY
  return entry.index
}

/** Sends every append that is due and that the windows have room for. */
export function replicate(core: Core, lead: Leadership): void {
  lead.replicationDue = false
  for (const peer of lead.members.peers) {
    while (replicateOnce(core, peer));
  }
}

/** Sends at most one message; true if there may be more to send. */
function replicateOnce(core: Core, peer: Progress): boolean {
  if (peer.state === 'snapshot' || peer.fetching || peer.probing) return false
  const { log, options } = core
  const isOpen = peer.state === 'probe' || !peer.inflight.full
  const hasMore = isOpen && peer.next <= log.lastIndex
  if (!hasMore && !peer.mustSend) return false
  const prevIndex = peer.next - 1
  const prevTerm = log.term(prevIndex)
  if (prevTerm === undefined) {
    sendSnapshot(core, peer)
    return false
  }
  let entries = NO_ENTRIES
  if (hasMore) {
    const read = log.entries(peer.next, log.lastIndex + 1, options.appendBytesMax)
    if (read === 'not-in-memory') {
      peer.fetching = true
      core.out.fetches.push({
        replica: peer.replica,
        from: peer.next,
        bytesMax: options.appendBytesMax,
      })
      return false
    }
    entries = read
  }
  core.out.messages.push({
    kind: 'append',
    from: core.id,
    to: peer.replica,
    term: core.term,
    prevIndex,
    prevTerm,
    commit: log.commit,
    entries,
  })
  peer.sent(prevIndex + entries.length, entriesBytes(entries), core.nowMs)
  return true
}

function sendSnapshot(core: Core, peer: Progress): void {
  const mark: SnapshotMark = core.options.snapshotMark()
  peer.needsSnapshot(mark.index)
  core.out.messages.push({
    kind: 'snapshot',
    from: core.id,
    to: peer.replica,
    term: core.term,
    mark,
  })
}

/** A follower takes in a leader's entries. */
export function onAppend(core: Core, message: MessageOf<'append'>): void {
  const { log } = core
  if (!isWellFormed(message)) return
  core.heard(message.from)
  if (message.prevIndex < log.commit) {
    // Everything up to the commit index matches every leader's log.
    acceptAppend(core, message.from, log.commit)
    return
  }
  if (log.term(message.prevIndex) !== message.prevTerm) {
    const from = Math.min(message.prevIndex, log.lastIndex)
    const hintIndex = log.lastIndexUpToTerm(from, message.prevTerm)
    rejectAppend(core, message.from, message.prevIndex, hintIndex, log.term(hintIndex) ?? 0)
    return
  }
  log.merge(message.entries)
  const last = message.prevIndex + message.entries.length
  log.commitTo(Math.min(message.commit, last))
  acceptAppend(core, message.from, last)
}

/** Indexes follow each other and terms do not fall: bytes from outside may say anything. */
function isWellFormed({ prevIndex, prevTerm, entries, term }: MessageOf<'append'>): boolean {
  let last = prevTerm
  for (let i = 0; i < entries.length; i++) {
    const entry = entries[i] as Entry
    if (entry.index !== prevIndex + 1 + i || entry.term < last || entry.term > term) return false
    last = entry.term
  }
  return true
}

function acceptAppend(core: Core, to: ReplicaId, index: number): void {
  const reply: Message = {
    kind: 'append-reply',
    from: core.id,
    to,
    term: core.term,
    index,
    rejected: false,
    hintIndex: 0,
    hintTerm: 0,
  }
  if (core.hasBug('ack-before-persist')) core.out.messages.push(reply)
  else core.out.afterPersist.push(reply)
}

/** Promises nothing, so it leaves at once. */
export function rejectAppend(
  core: Core,
  to: ReplicaId,
  index: number,
  hintIndex: number,
  hintTerm: number,
): void {
  core.out.messages.push({
    kind: 'append-reply',
    from: core.id,
    to,
    term: core.term,
    index,
    rejected: true,
    hintIndex,
    hintTerm,
  })
}

export function onHeartbeat(core: Core, message: MessageOf<'heartbeat'>): void {
  core.heard(message.from)
  core.log.commitTo(Math.min(message.commit, core.log.lastIndex))
  // The answer promises not to vote for a while. A replica that has never persisted a term counts
  // as one that has promised nothing, so its first answer in a term waits for the term.
  const { messages, afterPersist } = core.out
  const queue = core.durableTerm === core.term ? messages : afterPersist
  queue.push({
    kind: 'heartbeat-reply',
    from: core.id,
    to: message.from,
    term: core.term,
    round: message.round,
  })
}

/**
 * The host has moved a state here; takes it in unless this replica is past it already. True if the
 * state is to be installed. The mark's configuration need not hold this replica: it may have been
 * added after the mark, and learns that from the log.
 */
export function onSnapshot(core: Core, { from, mark }: MessageOf<'snapshot'>): boolean {
  const { log } = core
  core.heard(from)
  const isOld = mark.index <= log.commit && !core.hasBug('install-over-newer')
  if (isOld) {
    acceptAppend(core, from, log.commit)
    return false
  }
  if (mark.index > log.commit && log.term(mark.index) === mark.term) {
    log.commitTo(mark.index)
    acceptAppend(core, from, mark.index)
    return false
  }
  log.restart(mark)
  core.config = mark.config
  core.changes = []
  core.fetchingToApply = false
  core.out.snapshot = mark
  acceptAppend(core, from, mark.index)
  return true
}

/** A leader learns how far a follower's log matches, or where it does not. */
export function onAppendReply(
  core: Core,
  lead: Leadership,
  message: MessageOf<'append-reply'>,
): void {
  const { log } = core
  const peer = lead.members.get(message.from)
  if (peer === undefined || message.index > log.lastIndex) return
  peer.activeMs = core.nowMs
  if (message.rejected) {
    const { index, hintIndex, hintTerm } = message
    const from = Math.min(hintIndex, index)
    // Skips whole terms that the follower cannot have.
    const probe = hintTerm > 0 ? log.lastIndexUpToTerm(from, hintTerm) : from
    if (peer.rejected(index, probe)) lead.replicationDue = true
    return
  }
  if (!peer.accepted(message.index, log.firstIndex, core.nowMs)) return
  lead.replicationDue = true
  commitByQuorum(core, lead)
  finishTransfer(core, lead, peer)
}

/** A transfer's target has the whole log: it may campaign without waiting. */
export function finishTransfer(core: Core, lead: Leadership, peer: Progress): void {
  if (peer.replica !== lead.transferee || peer.match !== core.log.lastIndex) return
  // From here on an election may come that no promise holds back, as late as the network likes.
  lead.reads.leaseOff = true
  core.out.messages.push({
    kind: 'timeout-now',
    from: core.id,
    to: peer.replica,
    term: core.term,
  })
}

/** Moves the commit index to what a quorum has durably. */
export function commitByQuorum(core: Core, lead: Leadership): void {
  const { log } = core
  const index = lead.members.quorumMatch()
  if (index <= log.commit) return
  if (log.term(index) !== core.term && !core.hasBug('commit-older-term')) return
  const mayHoldChange = log.commit < lead.pendingConfigIndex && index >= lead.pendingConfigIndex
  log.commitTo(index)
  if (mayHoldChange) tellCommit(lead)
}

/** The next Ready brings the commit index to everybody whose log is known to match. */
export function tellCommit(lead: Leadership): void {
  lead.replicationDue = true
  for (const peer of lead.members.peers) peer.mustSend = true
}
