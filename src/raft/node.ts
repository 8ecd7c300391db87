// Owns the face of the consensus core: one replica of one group. Inputs change state at once and
// gather effects; ready() hands the effects out. No I/O, no promises, no clock: every input carries
// the host's monotonic time, in milliseconds that may have fractions and never go back.
//
// Contract for the driver. While hasReady(), take ready(), and for each Ready in the order taken:
//   1. `messages` may leave at once, even before anything of this Ready is durable. This is the one
//      permitted overlap: a leader's appends travel while its own disk writes.
//   2. `snapshot`: install the state that was moved here; the log restarts after the mark. Then
//      write `hardState` and `entries`, in that order; a crash may leave any prefix. Entries
//      replace whatever the store holds from the first one's index on. The LogStore may show them
//      at once.
//   3. When this and every earlier Ready is durable: send `messagesAfterPersist`, and call
//      persisted(ready), for every Ready and in order. Several may be on their way to the disk.
//   4. Apply `committed` in order, after 2's install; it need not wait for the local disk, as a
//      quorum has the entries. Then call applied(index): a change of configuration takes effect
//      there. A checkpoint must not become durable before the log entries that it covers.
//   5. A read state is answered when its index is applied; `readsDropped` get an error.
//   6. A 'snapshot' message means: move the state to that replica, and step the message there once
//      it has it. However that ends, snapshotReported() is called here; until then nothing else is
//      sent to that replica.
//   7. `fetches`: read the entries into the store's memory, then call fetched(replica). The own id
//      asks for entries to apply.
// Messages to one peer leave in order if they can; lost, doubled and reordered ones do no harm.
// tick() is called when nextDeadlineMs() has come; a host that lets a quiescent group sleep just
// stops calling it, on all replicas, and calls wake() to go on.
//
// A group is born with a log that starts after a mark at index 1 of term 1 with its configuration,
// the same on each founder. A replica that joins later starts empty, with NO_CONFIGURATION: its log
// matches nowhere, so it gets a state and with that the configuration, before any entry.
// A removed replica may be destroyed once a quorum of the new voters has applied the change: before
// that they may need its answer to an election to learn that the change is committed.

import { assert, must } from '../base/assert.ts'
import { enterJoint, isJoint, isVoter } from './configuration.ts'
import { Core, type Leadership, type RaftOptions } from './core.ts'
import {
  admit,
  campaign,
  learnCommit,
  onTimeoutNow,
  onVoteReply,
  onVoteRequest,
  recordVote,
  tickLeader,
} from './election.ts'
import { entriesBytes } from './log.ts'
import { appendChange, changeHandedOut, changesApplied } from './membership.ts'
import type { Progress, ProgressState } from './progress.ts'
import {
  appendOwn,
  commitByQuorum,
  finishTransfer,
  onAppend,
  onAppendReply,
  onHeartbeat,
  onSnapshot,
  replicate,
} from './replication.ts'
import { canRead, closeRounds, leaseRead, startRound } from './rounds.ts'
import type {
  ConfigChangeStep,
  Configuration,
  Entry,
  Fetch,
  HardState,
  Message,
  Proposed,
  ProposeRefusal,
  ReadState,
  Ready,
  ReplicaId,
  Role,
  TransferRefusal,
} from './types.ts'

export interface ProgressStatus {
  readonly replica: ReplicaId
  readonly match: number
  readonly next: number
  readonly state: ProgressState
  readonly inflightMessages: number
  readonly inflightBytes: number
  /** Heard of within an election timeout. */
  readonly isActive: boolean
}

export interface RaftStatus {
  readonly id: ReplicaId
  readonly role: Role
  readonly term: number
  readonly vote: ReplicaId | 0
  /** 0 while none is known. */
  readonly leader: ReplicaId | 0
  readonly commit: number
  readonly applied: number
  readonly firstIndex: number
  readonly lastIndex: number
  readonly config: Configuration
  /** On a leader, everybody but itself. */
  readonly progress: readonly ProgressStatus[]
  readonly isQuiescent: boolean
}

interface PersistRecord {
  readonly ready: Ready
  readonly lastIndex: number
  readonly cuts: number
  readonly term: number
  readonly vote: ReplicaId | 0
}

/** One Ready's entries to apply, until applied() has passed them. */
interface ApplyRecord {
  readonly lastIndex: number
  readonly bytes: number
}

// Shared by all Readys that have none; arrays that were handed out are never written to.
const NO_ENTRIES: readonly Entry[] = []
const NO_MESSAGES: readonly Message[] = []
const NO_READ_STATES: readonly ReadState[] = []
const NO_READS: readonly number[] = []
const NO_FETCHES: readonly Fetch[] = []

export class RaftNode {
  readonly #core: Core
  readonly #persisting: PersistRecord[] = []
  #applying: ApplyRecord[] = []
  #applyingBytes = 0
  /** A change is to be applied: that it is committed gets durable. */
  #commitDue = false

  constructor(options: RaftOptions) {
    assert(options.id > 0, 'a replica id is not 0')
    assert(options.heartbeatIntervalMs > 0, 'heartbeats take time')
    assert(options.electionTimeoutMs >= 2 * options.heartbeatIntervalMs, 'two heartbeats a timeout')
    const drift = options.clockDriftPermille
    assert(drift >= 0 && drift < 1000, 'clocks drift by less than their rate')
    this.#core = new Core(options)
  }

  get role(): Role {
    return this.#core.role
  }

  get term(): number {
    return this.#core.term
  }

  /** Who leads the term; 0 while that is not known. */
  get leader(): ReplicaId | 0 {
    return this.#core.leader
  }

  /** As of the last change applied. */
  get config(): Configuration {
    return this.#core.config
  }

  get commit(): number {
    return this.#core.log.commit
  }

  /** As far as applied() was called. */
  get appliedIndex(): number {
    return this.#core.log.applied
  }

  /** Takes in a message; what makes no sense is dropped. */
  step(message: Message, nowMs: number): void {
    const core = this.#core
    core.advance(nowMs)
    if (message.to !== core.id || message.from === core.id) return
    if (message.kind === 'vote-reply' || message.kind === 'pre-vote-reply') {
      learnCommit(core, message)
    }
    if (!admit(core, message)) return
    switch (message.kind) {
      case 'append':
        return onAppend(core, message)
      case 'append-reply':
        if (core.lead !== null) onAppendReply(core, core.lead, message)
        return
      case 'heartbeat':
        return onHeartbeat(core, message)
      case 'heartbeat-reply':
        if (core.lead !== null) this.#onHeartbeatReply(core.lead, message.from, message.round)
        return
      case 'vote':
      case 'pre-vote':
        return onVoteRequest(core, message)
      case 'vote-reply':
      case 'pre-vote-reply':
        return onVoteReply(core, message)
      case 'snapshot':
        if (onSnapshot(core, message)) this.#forgetApplying()
        return
      case 'timeout-now':
        return onTimeoutNow(core)
    }
  }

  /** Acts on whatever deadline has passed. */
  tick(nowMs: number): void {
    const core = this.#core
    core.advance(nowMs)
    if (core.role === 'leader') tickLeader(core)
    else if (core.isElectable && core.nowMs >= core.electionDeadlineMs) campaign(core)
  }

  /** When tick() has something to do; Infinity for never. */
  nextDeadlineMs(): number {
    const { lead, isElectable, electionDeadlineMs } = this.#core
    if (lead !== null) return Math.min(lead.heartbeatDueMs, lead.transferDeadlineMs)
    return isElectable ? electionDeadlineMs : Number.POSITIVE_INFINITY
  }

  /** Leader only. The data is kept, not copied. */
  propose(data: Uint8Array, nowMs: number): Proposed | ProposeRefusal {
    const core = this.#core
    core.advance(nowMs)
    const refusal = this.#refusal()
    if (refusal !== null) return refusal
    return { index: appendOwn(core, must(core.lead, 'leader'), 'data', data), term: core.term }
  }

  /**
   * Leader only. Begins a joint phase; the leader ends it by itself. Whether a new voter has caught
   * up as a learner before is the host's to see to.
   */
  proposeChange(steps: readonly ConfigChangeStep[], nowMs: number): Proposed | ProposeRefusal {
    const core = this.#core
    core.advance(nowMs)
    const refusal = this.#refusal()
    if (refusal !== null) return refusal
    const lead = must(core.lead, 'leader')
    const isPending = core.log.applied < lead.pendingConfigIndex || isJoint(core.config)
    if (isPending) return 'config-change-pending'
    if (enterJoint(core.config, steps) === null) return 'invalid-change'
    return { index: appendChange(core, lead, { phase: 'enter', steps }), term: core.term }
  }

  #refusal(): ProposeRefusal | null {
    const { lead, options } = this.#core
    if (lead === null) return 'not-leader'
    if (lead.transferee !== 0) return 'transferring'
    return lead.uncommittedBytes >= options.uncommittedBytesMax ? 'too-much-uncommitted' : null
  }

  /**
   * Asks for an index to read at; the answer comes by Ready.readStates or readsDropped. The host
   * bounds how many it has open.
   */
  readIndex(context: number, nowMs: number): 'not-leader' | 'pending' {
    const core = this.#core
    core.advance(nowMs)
    if (core.lead === null) return 'not-leader'
    core.lead.reads.add(context)
    return 'pending'
  }

  /**
   * The index to read at, if the lease holds now; null means to use readIndex. Linearizable once
   * that index is applied, provided that nowMs was taken after the read came in.
   */
  leaseRead(nowMs: number): number | null {
    const core = this.#core
    core.advance(nowMs)
    return core.lead === null ? null : leaseRead(core, core.lead)
  }

  /** Lets `to` take over once it has the whole log; given up after an election timeout. */
  transferLeader(to: ReplicaId, nowMs: number): 'started' | TransferRefusal {
    const core = this.#core
    core.advance(nowMs)
    const { lead } = core
    if (lead === null) return 'not-leader'
    if (to === core.id) return 'already-leader'
    const peer = lead.members.get(to)
    if (peer === undefined || !isVoter(core.config, to)) return 'not-a-voter'
    if (lead.transferee !== 0) return 'transferring'
    lead.transferee = to
    lead.transferDeadlineMs = core.nowMs + core.options.electionTimeoutMs
    lead.replicationDue = true
    finishTransfer(core, lead, peer)
    return 'started'
  }

  /**
   * Campaigns now instead of at the deadline; false where a promise or the configuration forbids
   * it.
   */
  campaign(nowMs: number): boolean {
    this.#core.advance(nowMs)
    return campaign(this.#core)
  }

  /** Goes on after a time without tick(): nobody's silence counts against them. */
  wake(nowMs: number): void {
    const core = this.#core
    core.advance(nowMs)
    if (core.lead === null) {
      core.resetElectionDeadline()
      return
    }
    core.lead.heartbeatDueMs = core.nowMs
    for (const peer of core.lead.members.peers) peer.activeMs = core.nowMs
  }

  hasReady(): boolean {
    const { out, log, lead } = this.#core
    if (!out.isEmpty || log.hasUnpersisted || this.#hardStateChanged || this.#canApply) return true
    if (lead === null) return false
    return lead.replicationDue || (lead.reads.wantsRound && canRead(this.#core, lead))
  }

  /** The effects gathered so far. What it returns is never changed afterwards. */
  ready(): Ready {
    const core = this.#core
    const { lead, out, log } = core
    if (lead !== null) {
      if (lead.reads.wantsRound && canRead(core, lead)) startRound(core, lead)
      if (lead.replicationDue) replicate(core, lead)
    }
    const committed = this.#canApply ? this.#takeCommitted() : NO_ENTRIES
    const hardState = this.#takeHardState()
    const entries = log.takeUnpersisted()
    // A promise about entries leaves with the last of them.
    const mayPromise = out.afterPersist.length > 0 && !log.hasUnpersisted
    const ready: Ready = {
      hardState,
      entries,
      snapshot: out.snapshot,
      messages: out.messages.length === 0 ? NO_MESSAGES : out.messages,
      messagesAfterPersist: mayPromise ? out.afterPersist : NO_MESSAGES,
      committed,
      readStates: out.readStates.length === 0 ? NO_READ_STATES : out.readStates,
      readsDropped: out.readsDropped.length === 0 ? NO_READS : out.readsDropped,
      fetches: out.fetches.length === 0 ? NO_FETCHES : out.fetches,
    }
    if (out.messages.length > 0) out.messages = []
    if (mayPromise) out.afterPersist = []
    if (out.readStates.length > 0) out.readStates = []
    if (out.readsDropped.length > 0) out.readsDropped = []
    if (out.fetches.length > 0) out.fetches = []
    out.snapshot = null
    const { term, vote } = core
    this.#persisting.push({ ready, lastIndex: log.persistLast, cuts: log.cuts, term, vote })
    return ready
  }

  get #hardStateChanged(): boolean {
    const { term, vote, handedTerm, handedVote } = this.#core
    return term !== handedTerm || vote !== handedVote
  }

  #takeHardState(): HardState | null {
    const core = this.#core
    const { log, out, term, vote } = core
    // The commit index alone is not worth a write; with these two it must be there (types.ts).
    const needsCommit = log.configWaits || this.#commitDue || out.snapshot !== null
    if (!needsCommit && !this.#hardStateChanged) return null
    this.#commitDue = false
    core.handedTerm = term
    core.handedVote = vote
    return { term, vote, commit: log.commitToPersist }
  }

  get #canApply(): boolean {
    const { log, fetchingToApply, options } = this.#core
    if (log.handed >= log.commit || fetchingToApply) return false
    return this.#applyingBytes < options.committedBytesMax
  }

  #takeCommitted(): readonly Entry[] {
    const core = this.#core
    const { log, lead, options, out, id } = core
    const bytesMax = options.committedBytesMax - this.#applyingBytes
    const entries = log.takeCommitted(bytesMax)
    if (entries === 'not-in-memory') {
      core.fetchingToApply = true
      out.fetches.push({ replica: id, from: log.handed + 1, bytesMax })
      return NO_ENTRIES
    }
    const bytes = entriesBytes(entries)
    for (let i = 0; i < entries.length; i++) {
      const entry = entries[i] as Entry
      if (entry.kind !== 'config') continue
      changeHandedOut(core, entry)
      this.#commitDue = true
    }
    if (lead !== null) lead.committedHandedOut(entries)
    this.#applying.push({ lastIndex: log.handed, bytes })
    this.#applyingBytes += bytes
    return entries
  }

  /** This Ready's hard state, entries and snapshot are durable. For every Ready, in order. */
  persisted(ready: Ready): void {
    const core = this.#core
    const record = must(this.#persisting.shift(), 'a Ready to persist')
    assert(record.ready === ready, 'Readys become durable in order')
    core.log.persisted(record.lastIndex, record.cuts)
    core.durableTerm = record.term
    if (core.lead !== null) {
      core.lead.members.self.match = core.log.stable
      commitByQuorum(core, core.lead)
    } else if (core.role === 'candidate' && record.term === core.term) {
      if (record.vote === core.id) recordVote(core, core.id, true)
    }
  }

  /** The state machine has applied every entry up to `index`. */
  applied(index: number): void {
    const core = this.#core
    if (index <= core.log.applied) return
    core.log.appliedTo(index)
    let count = 0
    for (const record of this.#applying) {
      if (record.lastIndex > index) break
      this.#applyingBytes -= record.bytes
      count++
    }
    if (count > 0) this.#applying.splice(0, count)
    changesApplied(core, index)
  }

  #forgetApplying(): void {
    this.#applying = []
    this.#applyingBytes = 0
  }

  /** What Ready.fetches asked for this replica can be read now, or is gone from the log. */
  fetched(replica: ReplicaId): void {
    const core = this.#core
    if (replica === core.id) {
      core.fetchingToApply = false
      return
    }
    const peer = core.lead?.members.get(replica)
    if (core.lead === null || peer === undefined) return
    peer.fetching = false
    core.lead.replicationDue = true
  }

  /**
   * The transfer of a state to a follower ended. `index` is where the follower's state stands then,
   * by default where the one that was sent did.
   */
  snapshotReported(replica: ReplicaId, ok: boolean, index?: number): void {
    const { lead } = this.#core
    const peer = lead?.members.get(replica)
    if (lead === null || peer === undefined) return
    peer.snapshotEnded(ok ? (index ?? peer.snapshotIndex) : null)
    lead.replicationDue = true
  }

  /** The network lost messages to a replica: its place is probed instead of streamed to. */
  unreachable(replica: ReplicaId): void {
    this.#core.lead?.members.get(replica)?.unreachable()
  }

  /** On a leader: the first entry that a follower heard of since then has yet to get; Infinity without one. */
  neededFrom(sinceMs: number): number {
    const { lead } = this.#core
    if (lead === null) return Number.POSITIVE_INFINITY
    let from = Number.POSITIVE_INFINITY
    for (const peer of lead.members.peers) {
      if (peer.activeMs < sinceMs) continue
      const isUnheard = peer.state === 'probe' && peer.match === 0
      const first = isUnheard ? Math.min(peer.neededFrom, lead.startCommit + 1) : peer.neededFrom
      from = Math.min(from, first)
    }
    return from
  }

  /**
   * On a leader: everybody was just heard of, has the whole log and knows that it is committed, and
   * nothing is under way. Such a group may sleep.
   */
  isQuiescent(): boolean {
    const { lead, log } = this.#core
    if (lead === null || log.applied !== log.lastIndex || this.hasReady()) return false
    if (lead.transferee !== 0 || lead.reads.pending > 0 || log.stable !== log.lastIndex)
      return false
    for (const peer of lead.members.peers) {
      if (peer.ackedRound < lead.settledRound || peer.match !== log.lastIndex) return false
      if (!this.#isActive(peer)) return false
    }
    return lead.settledRound !== Number.POSITIVE_INFINITY
  }

  #isActive(peer: Progress): boolean {
    const { nowMs, options } = this.#core
    return nowMs - peer.activeMs < options.electionTimeoutMs
  }

  /** For metrics and for the host's decisions; builds new objects. */
  status(): RaftStatus {
    const core = this.#core
    const { log } = core
    const progress = (core.lead?.members.peers ?? []).map((peer) => ({
      replica: peer.replica,
      match: peer.match,
      next: peer.next,
      state: peer.state,
      inflightMessages: peer.inflight.count,
      inflightBytes: peer.inflight.bytes,
      isActive: this.#isActive(peer),
    }))
    return {
      id: core.id,
      role: core.role,
      term: core.term,
      vote: core.vote,
      leader: core.leader,
      commit: log.commit,
      applied: log.applied,
      firstIndex: log.firstIndex,
      lastIndex: log.lastIndex,
      config: core.config,
      progress,
      isQuiescent: this.isQuiescent(),
    }
  }

  /** A follower has heard the leader: the round is proof, and lost appends show. */
  #onHeartbeatReply(lead: Leadership, from: ReplicaId, round: number): void {
    const core = this.#core
    const peer = lead.members.get(from)
    if (peer === undefined || round > lead.reads.round) return
    const { heartbeatIntervalMs } = core.options
    if (peer.heardOf(core.log.lastIndex, heartbeatIntervalMs, core.nowMs))
      lead.replicationDue = true
    if (round <= peer.ackedRound) return
    peer.ackedRound = round
    closeRounds(core, lead)
  }
}
