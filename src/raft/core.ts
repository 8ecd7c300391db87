// Owns the state of one replica's consensus that every part of the core reads and changes: term,
// vote, role, configuration, timers, and the effects gathered for the next Ready.
// Invariant: `lead` is there exactly while the role is leader; a leadership's facts never outlive
// it. Leaves decisions to election.ts, replication.ts, rounds.ts and membership.ts; node.ts is the
// face.

import { assert } from '../base/assert.ts'
import type { Random } from '../env/random.ts'
import { isVoter } from './configuration.ts'
import { entryBytes, LogView } from './log.ts'
import type { Members } from './members.ts'
import { Reads } from './reads.ts'
import type {
  ConfigChange,
  Configuration,
  Entry,
  Fetch,
  HardState,
  LogStore,
  Message,
  RaftBug,
  ReadState,
  ReplicaId,
  Role,
  SnapshotMark,
} from './types.ts'

export interface RaftOptions {
  readonly id: ReplicaId
  readonly random: Random
  readonly store: LogStore
  /** As last persisted. */
  readonly hardState: HardState
  /** The configuration at appliedIndex. */
  readonly config: Configuration
  /** What the state machine has durably; never past the durable log. */
  readonly appliedIndex: number
  /** The time of construction, on the clock of all later inputs. */
  readonly nowMs: number
  /**
   * No vote is given before this time: a crash forgets whom this replica heard and so what its
   * voters' promise to a leader's lease was. nowMs + electionTimeoutMs after a start; nowMs for a
   * replica that was just created and can have promised nothing.
   */
  readonly mayVoteFromMs: number
  /**
   * Silence of the leader after which a follower may campaign; it does so after one to two of them.
   */
  readonly electionTimeoutMs: number
  readonly heartbeatIntervalMs: number
  /** How much the rates of two hosts' monotonic clocks may differ; shortens the lease. */
  readonly clockDriftPermille: number
  /** Bytes of entries in one append; a larger entry travels alone. */
  readonly appendBytesMax: number
  /** Bytes and appends on their way to one follower. */
  readonly inflightBytesMax: number
  readonly inflightMessagesMax: number
  /**
   * Bytes of entries proposed here and not yet committed; one entry larger than it is let through.
   */
  readonly uncommittedBytesMax: number
  /** Bytes of entries handed out to apply and not yet applied. */
  readonly committedBytesMax: number
  /**
   * The newest state that a follower could be given instead of the log: at or after what is purged.
   */
  readonly snapshotMark: () => SnapshotMark
  readonly bugs?: ReadonlySet<RaftBug>
}

/** What only a leader knows. A new one for each term led. */
export class Leadership {
  readonly members: Members
  readonly reads = new Reads()
  /** What was known to be committed when the term began: who has said nothing yet may be as far as that. */
  readonly startCommit: number
  /** The index of the entry that opened the term. */
  readonly termStartIndex: number
  /** No change is proposed before the entry here is applied: the log may hold one up to it. */
  pendingConfigIndex: number
  transferee: ReplicaId | 0 = 0
  transferDeadlineMs = Number.POSITIVE_INFINITY
  heartbeatDueMs: number
  uncommittedBytes = 0
  /** Appends may be due: ready() has to look at every follower. */
  replicationDue = true
  /** The first round since when nothing has changed; who answered it knows everything. */
  settledRound = Number.POSITIVE_INFINITY

  constructor(members: Members, lastIndex: number, commit: number, nowMs: number) {
    this.members = members
    this.startCommit = commit
    this.termStartIndex = lastIndex + 1
    this.pendingConfigIndex = lastIndex
    this.heartbeatDueMs = nowMs
  }

  /** Committed entries no longer count as uncommitted; those of older terms never did. */
  committedHandedOut(entries: readonly Entry[]): void {
    for (let i = entries.length - 1; i >= 0; i--) {
      const entry = entries[i] as Entry
      if (entry.index < this.termStartIndex) break
      this.uncommittedBytes -= entryBytes(entry)
    }
  }
}

/** Effects gathered for the next Ready. */
export class Outbox {
  messages: Message[] = []
  afterPersist: Message[] = []
  readStates: ReadState[] = []
  readsDropped: number[] = []
  fetches: Fetch[] = []
  snapshot: SnapshotMark | null = null

  get isEmpty(): boolean {
    return (
      this.messages.length === 0 &&
      this.afterPersist.length === 0 &&
      this.readStates.length === 0 &&
      this.readsDropped.length === 0 &&
      this.fetches.length === 0 &&
      this.snapshot === null
    )
  }
}

export interface PendingChange {
  readonly index: number
  readonly change: ConfigChange
}

export class Core {
  readonly options: RaftOptions
  readonly id: ReplicaId
  readonly log: LogView
  readonly out = new Outbox()
  term: number
  vote: ReplicaId | 0
  role: Role = 'follower'
  leader: ReplicaId | 0 = 0
  lead: Leadership | null = null
  config: Configuration
  /** Changes handed out to apply and not applied yet. */
  changes: PendingChange[] = []
  votes = new Map<ReplicaId, boolean>()
  /** What was last handed out to persist. */
  handedTerm: number
  handedVote: ReplicaId | 0
  /** The term that is known to be durable. */
  durableTerm: number
  /** The largest time of any input. */
  nowMs: number
  /** When a leader was last heard; the promise not to vote runs from here. */
  heardMs = Number.NEGATIVE_INFINITY
  electionDeadlineMs: number
  electionDelayMs: number
  /** Own entries to apply are being read from disk. */
  fetchingToApply = false

  constructor(options: RaftOptions) {
    this.options = options
    this.id = options.id
    this.log = new LogView(options.store, options.hardState.commit, options.appliedIndex)
    const { term, vote } = options.hardState
    // A mark that the log was restarted from may be of a term that no hard state was written in.
    this.term = Math.max(term, this.log.lastTerm)
    this.vote = this.term > term ? 0 : vote
    this.handedTerm = term
    this.handedVote = vote
    this.durableTerm = term
    this.config = options.config
    this.nowMs = options.nowMs
    this.electionDelayMs = this.#drawDelay()
    this.electionDeadlineMs = options.nowMs + this.electionDelayMs
  }

  hasBug(bug: RaftBug): boolean {
    return this.options.bugs?.has(bug) === true
  }

  advance(nowMs: number): void {
    if (nowMs > this.nowMs) this.nowMs = nowMs
  }

  /** Only a voter may campaign; its promise not to does not matter here. */
  get isElectable(): boolean {
    return isVoter(this.config, this.id)
  }

  /** Whether a vote now could break the lease of a leader that this replica has answered. */
  get isPromised(): boolean {
    if (this.role === 'leader') return true
    const { electionTimeoutMs, mayVoteFromMs } = this.options
    return this.nowMs < this.heardMs + electionTimeoutMs || this.nowMs < mayVoteFromMs
  }

  /** A message of the leader of this term came. */
  heard(leader: ReplicaId): void {
    if (this.role !== 'follower') this.becomeFollower(this.term, leader)
    assert(this.leader === 0 || this.leader === leader, 'one leader a term')
    this.leader = leader
    this.heardMs = this.nowMs
    this.electionDeadlineMs = this.nowMs + this.electionDelayMs
  }

  becomeFollower(term: number, leader: ReplicaId | 0): void {
    assert(this.role !== 'leader' || term > this.term || leader === 0, 'one leader a term')
    this.leaveRole(term)
    this.role = 'follower'
    this.leader = leader
  }

  /** Ends whatever this replica was; a higher term forgets the vote. */
  leaveRole(term: number): void {
    assert(term >= this.term, 'terms only grow')
    if (term > this.term) {
      this.term = term
      this.vote = 0
    }
    if (this.lead !== null) {
      for (const context of this.lead.reads.drop()) this.out.readsDropped.push(context)
      this.lead = null
    }
    this.leader = 0
    this.votes.clear()
    this.resetElectionDeadline()
  }

  resetElectionDeadline(): void {
    this.electionDelayMs = this.#drawDelay()
    this.electionDeadlineMs = this.nowMs + this.electionDelayMs
  }

  /** One to two election timeouts, so that candidates seldom meet. */
  #drawDelay(): number {
    const { electionTimeoutMs, random } = this.options
    return electionTimeoutMs + random.below(Math.ceil(electionTimeoutMs))
  }
}
