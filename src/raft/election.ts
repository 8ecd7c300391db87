// Owns who becomes leader: terms, pre-votes, votes, and what a replica promised not to do.
// Invariant: a vote leaves only when it is durable, and a replica that heard a leader within an
// election timeout, or that may have before it crashed, gives none but for that leader's own
// transfer; so a lease outlasts no leader. A request for a vote waits for durability as well: after
// a crash a candidate might otherwise count old votes, given to a longer log, for a shorter one.
// Pre-votes (dissertation, 9.6) and check-quorum keep a partitioned replica from disturbing others.

import { assert, must } from '../base/assert.ts'
import { EMPTY } from '../base/bytes.ts'
import { isVoter, membersOf } from './configuration.ts'
import { type Core, Leadership } from './core.ts'
import { Members } from './members.ts'
import { jointVotes, type VoteResult } from './quorum.ts'
import { appendOwn, rejectAppend } from './replication.ts'
import { startRound } from './rounds.ts'
import type { Entry, Message, ReplicaId } from './types.ts'

type VoteRequest = Extract<Message, { readonly kind: 'vote' | 'pre-vote' }>
type VoteReply = Extract<Message, { readonly kind: 'vote-reply' | 'pre-vote-reply' }>

/** Settles the term of a message before it is handled; false if it must not be. */
export function admit(core: Core, message: Message): boolean {
  if (message.term < core.term) {
    answerOldTerm(core, message)
    return false
  }
  const isRequest = message.kind === 'vote' || message.kind === 'pre-vote'
  if (isRequest && !message.transfer && core.isPromised) return false
  if (message.term === core.term) return true
  // A pre-vote speaks of a term that nobody is in yet.
  if (message.kind === 'pre-vote') return true
  if (message.kind === 'pre-vote-reply' && message.granted) return true
  core.becomeFollower(message.term, 0)
  return true
}

/**
 * Whoever leads or asks in an old term hears of the newer one. Without it a replica that came back
 * with a higher term would be deaf to the leader, and a candidate with a lower one deaf to the
 * rest.
 */
function answerOldTerm(core: Core, message: Message): void {
  const { from, kind } = message
  if (kind === 'append') rejectAppend(core, from, message.prevIndex, 0, 0)
  else if (kind === 'snapshot') rejectAppend(core, from, message.mark.index, 0, 0)
  else if (kind === 'heartbeat') {
    core.out.messages.push({
      kind: 'heartbeat-reply',
      from: core.id,
      to: from,
      term: core.term,
      round: 0,
    })
  } else if (kind === 'pre-vote') replyVote(core, message, core.term, false)
}

/** Begins an election if this replica may be elected now. */
export function campaign(core: Core): boolean {
  core.resetElectionDeadline()
  if (core.isPromised || !mayCampaign(core)) return false
  core.leaveRole(core.term)
  core.role = 'pre-candidate'
  requestVotes(core, 'pre-vote', false)
  recordVote(core, core.id, true)
  return true
}

/** A leader asks this replica to take over: no pre-vote, and nobody's promise stands in the way. */
export function onTimeoutNow(core: Core): void {
  if (core.role !== 'leader' && mayCampaign(core)) stand(core, true)
}

/** A committed change that is not applied yet could mean that this is no voter any more. */
function mayCampaign(core: Core): boolean {
  if (!core.isElectable || core.role === 'leader' || core.changes.length > 0) return false
  const { log } = core
  for (let from = log.handed + 1; from <= log.commit; ) {
    const entries = log.entries(from, log.commit + 1, core.options.appendBytesMax)
    if (entries === 'not-in-memory') return false
    if (entries.some((entry: Entry) => entry.kind === 'config')) return false
    from += entries.length
  }
  return true
}

/** Becomes a candidate of the next term. The own vote counts when it is durable. */
function stand(core: Core, isTransfer: boolean): void {
  core.leaveRole(core.term + 1)
  core.role = 'candidate'
  core.vote = core.id
  requestVotes(core, 'vote', isTransfer)
}

function requestVotes(core: Core, kind: 'vote' | 'pre-vote', transfer: boolean): void {
  const queue = kind === 'vote' ? core.out.afterPersist : core.out.messages
  for (const to of membersOf(core.config)) {
    if (to === core.id || !isVoter(core.config, to)) continue
    queue.push({
      kind,
      from: core.id,
      to,
      term: kind === 'vote' ? core.term : core.term + 1,
      lastIndex: core.log.lastIndex,
      lastTerm: core.log.lastTerm,
      transfer,
    })
  }
}

/** Judges a candidate by term, vote and log; a leader's promise was looked at before. */
export function onVoteRequest(core: Core, message: VoteRequest): void {
  const { log } = core
  const isFree = core.vote === 0 && core.leader === 0
  const isAhead = message.kind === 'pre-vote' && message.term > core.term
  const mayVote = core.vote === message.from || isFree || isAhead
  const isUpToDate =
    message.lastTerm > log.lastTerm ||
    (message.lastTerm === log.lastTerm && message.lastIndex >= log.lastIndex)
  const granted = mayVote && isUpToDate
  if (granted && message.kind === 'vote') {
    core.vote = message.from
    core.resetElectionDeadline()
  }
  // A pre-vote is granted for the term that it asks for and refused with the term that is.
  replyVote(core, message, granted ? message.term : core.term, granted)
}

function replyVote(core: Core, request: VoteRequest, term: number, granted: boolean): void {
  const reply: Message = {
    kind: request.kind === 'vote' ? 'vote-reply' : 'pre-vote-reply',
    from: core.id,
    to: request.from,
    term,
    granted,
    commit: core.log.commit,
    commitTerm: must(core.log.term(core.log.commit), 'the term of the commit index'),
  }
  const isUnpersisted = request.kind === 'vote' && core.hasBug('vote-not-persisted')
  if (isUnpersisted) forgetToPersist(core)
  if (request.kind === 'pre-vote' || isUnpersisted) core.out.messages.push(reply)
  else core.out.afterPersist.push(reply)
}

/** The canary 'vote-not-persisted'. */
function forgetToPersist(core: Core): void {
  core.handedTerm = core.term
  core.handedVote = core.vote
}

/**
 * A voter knows of more that is committed, of whatever term its answer is. Without this a change of
 * members can leave a group stuck: those who know that it is committed and are out of the group
 * have the longer log and refuse; those who remain do not know and need them.
 */
export function learnCommit(core: Core, { commit, commitTerm }: VoteReply): void {
  const { log, role } = core
  if (commit <= log.commit || log.term(commit) !== commitTerm) return
  log.commitTo(commit)
  const isStanding = role === 'candidate' || role === 'pre-candidate'
  if (isStanding && !mayCampaign(core)) core.becomeFollower(core.term, 0)
}

export function onVoteReply(core: Core, message: VoteReply): void {
  const isPre = message.kind === 'pre-vote-reply'
  if (core.role !== (isPre ? 'pre-candidate' : 'candidate')) return
  const asked = isPre && message.granted ? core.term + 1 : core.term
  if (message.term === asked) recordVote(core, message.from, message.granted)
}

/** Counts one vote, and acts when the election is decided. */
export function recordVote(core: Core, from: ReplicaId, granted: boolean): void {
  if (!core.votes.has(from)) core.votes.set(from, granted)
  const result = voteResult(core)
  if (result === 'lost') core.becomeFollower(core.term, 0)
  if (result !== 'won') return
  if (core.role === 'candidate') becomeLeader(core)
  else if (mayCampaign(core)) stand(core, false)
  else core.becomeFollower(core.term, 0)
}

function voteResult(core: Core): VoteResult {
  const outgoing = core.hasBug('no-joint-quorum') ? [] : core.config.outgoing
  return jointVotes(core.config.voters, outgoing, core.votes)
}

function becomeLeader(core: Core): void {
  assert(core.role === 'candidate' && core.vote === core.id, 'only a candidate is elected')
  const { log, options } = core
  core.leaveRole(core.term)
  core.role = 'leader'
  core.leader = core.id
  const members = new Members(core.id, {
    inflightMessagesMax: options.inflightMessagesMax,
    inflightBytesMax: options.inflightBytesMax,
    ignoreOutgoing: core.hasBug('no-joint-quorum'),
  })
  members.configure(core.config, log.lastIndex, core.nowMs)
  members.self.match = log.stable
  core.lead = new Leadership(members, log.lastIndex, log.commit, core.nowMs)
  appendOwn(core, core.lead, 'noop', EMPTY)
  startRound(core, core.lead)
}

/** What is due for a leader: heartbeats, the end of a transfer, and giving up without a quorum. */
export function tickLeader(core: Core): void {
  const lead = must(core.lead, 'a leader leads')
  if (core.nowMs >= lead.transferDeadlineMs) {
    lead.transferee = 0
    lead.transferDeadlineMs = Number.POSITIVE_INFINITY
  }
  if (core.nowMs < lead.heartbeatDueMs) return
  const silentMs = core.nowMs - lead.members.quorumActiveMs()
  if (silentMs >= core.options.electionTimeoutMs) core.becomeFollower(core.term, 0)
  else startRound(core, lead)
}
