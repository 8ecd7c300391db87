// The words of the consensus core: entries, configurations, messages, and what goes in and out of a
// RaftNode. Values only; nothing here has behaviour.

/**
 * A replica of a group, never 0. Unique in its group for ever: one that comes back has a new id.
 */
export type ReplicaId = number & { readonly brand: 'ReplicaId' }

/**
 * 'noop' opens a leader's term; 'data' is the state machine's; 'config' holds an encoded
 * ConfigChange.
 */
export type EntryKind = 'noop' | 'data' | 'config'

export interface Entry {
  readonly term: number
  readonly index: number
  readonly kind: EntryKind
  /** Shared by everybody who holds the entry; never written to. */
  readonly data: Uint8Array
}

/** What must be durable before a promise based on it may leave. */
export interface HardState {
  readonly term: number
  /** Whom this replica voted for in `term`; 0 for nobody. */
  readonly vote: ReplicaId | 0
  /**
   * Known to be committed; may lag and saves work after a restart. One case is more than a hint: it
   * comes with every 'config' entry, and a log that holds the entry without it could elect by a
   * configuration that is two steps old. So it is written before the entries of its Ready, or with
   * them. It comes again when such an entry is to be applied: a replica that took effect of a
   * change must know so after a restart, because the members before the change may be gone by then.
   */
  readonly commit: number
}

/**
 * Who is in the group. While `outgoing` is not empty the configuration is joint: decisions need a
 * majority of `voters` and one of `outgoing`. `learnersNext` are voters of `outgoing` that become
 * learners when the joint phase ends. `epoch` counts applied changes.
 */
export interface Configuration {
  readonly epoch: number
  readonly voters: readonly ReplicaId[]
  readonly outgoing: readonly ReplicaId[]
  readonly learners: readonly ReplicaId[]
  readonly learnersNext: readonly ReplicaId[]
}

export interface ConfigChangeStep {
  readonly action: 'add-voter' | 'add-learner' | 'remove'
  readonly replica: ReplicaId
}

/**
 * 'enter' starts a joint phase with these steps; 'leave' ends it and is proposed by the leader
 * itself.
 */
export type ConfigChange =
  | { readonly phase: 'enter'; readonly steps: readonly ConfigChangeStep[] }
  | { readonly phase: 'leave' }

/** Where a state machine's state stands that replaces the log up to `index`. */
export interface SnapshotMark {
  readonly index: number
  readonly term: number
  readonly config: Configuration
}

interface Envelope {
  readonly from: ReplicaId
  readonly to: ReplicaId
  readonly term: number
}

export type Message =
  | (Envelope & {
      readonly kind: 'vote' | 'pre-vote'
      readonly lastIndex: number
      readonly lastTerm: number
      /** Part of a leadership transfer: the receiver's lease promise does not hold it back. */
      readonly transfer: boolean
    })
  | (Envelope & {
      readonly kind: 'vote-reply' | 'pre-vote-reply'
      readonly granted: boolean
      /** What the voter knows to be committed, for a candidate that may know less. */
      readonly commit: number
      readonly commitTerm: number
    })
  | (Envelope & {
      readonly kind: 'append'
      readonly prevIndex: number
      readonly prevTerm: number
      readonly commit: number
      readonly entries: readonly Entry[]
    })
  | (Envelope & {
      readonly kind: 'append-reply'
      /** Accepted: the last index that matches. Rejected: the prevIndex that did not match. */
      readonly index: number
      readonly rejected: boolean
      /** Rejected: where the leader may go on probing, and the term found there. */
      readonly hintIndex: number
      readonly hintTerm: number
    })
  | (Envelope & {
      readonly kind: 'heartbeat'
      readonly commit: number
      /** The leader's round; the reply returns it. Proves lease and read index. */
      readonly round: number
    })
  | (Envelope & { readonly kind: 'heartbeat-reply'; readonly round: number })
  /**
   * The log the follower needs is gone; the host moves the state, then the follower steps this
   * message.
   */
  | (Envelope & { readonly kind: 'snapshot'; readonly mark: SnapshotMark })
  | (Envelope & { readonly kind: 'timeout-now' })

/** Why a proposal was not taken; it had no effect. */
export type ProposeRefusal =
  | 'not-leader'
  | 'too-much-uncommitted'
  | 'transferring'
  | 'config-change-pending'
  | 'invalid-change'

/** Where a proposal went; another entry may still come to be committed there, of another term. */
export interface Proposed {
  readonly index: number
  readonly term: number
}

/** Why a transfer of leadership did not begin. */
export type TransferRefusal = 'not-leader' | 'not-a-voter' | 'already-leader' | 'transferring'

/**
 * Planted faults, each at one named place, that the simulator's checkers must find. Never set
 * outside of tests and the simulator.
 */
export type RaftBug =
  /** A vote is answered before it is durable, and never becomes so. */
  | 'vote-not-persisted'
  /** An append is acknowledged before it is durable. */
  | 'ack-before-persist'
  /** A leader serves reads without holding a lease. */
  | 'stale-read'
  /** Entries of older terms are committed by counting replicas (the paper's figure 8). */
  | 'commit-older-term'
  /** In a joint phase only the new voters decide. */
  | 'no-joint-quorum'
  /** A snapshot replaces a state that is newer. */
  | 'install-over-newer'

export interface ReadState {
  /** What the caller of readIndex gave. */
  readonly context: number
  /** Reads at or after this applied index are linearizable. */
  readonly index: number
}

export type Role = 'follower' | 'pre-candidate' | 'candidate' | 'leader'

/** The effects of the inputs since the last Ready, in the order that node.ts documents. */
export interface Ready {
  /** To persist, when it changed; before or together with `entries`. */
  readonly hardState: HardState | null
  /** To persist, replacing whatever the log holds from the first one's index on. */
  readonly entries: readonly Entry[]
  /** To install before anything of this Ready is persisted: the log restarts after the mark. */
  readonly snapshot: SnapshotMark | null
  /** May leave at once. */
  readonly messages: readonly Message[]
  /** May leave only when this Ready and all earlier ones are durable. */
  readonly messagesAfterPersist: readonly Message[]
  /** To apply, in order; never delivered twice. */
  readonly committed: readonly Entry[]
  readonly readStates: readonly ReadState[]
  /** Contexts of reads that can't be answered here any more (leadership lost). */
  readonly readsDropped: readonly number[]
  /** Entries that the log could not give from memory; the own id asks for entries to apply. */
  readonly fetches: readonly Fetch[]
}

export interface Fetch {
  readonly replica: ReplicaId
  readonly from: number
  readonly bytesMax: number
}

/**
 * The durable log as the core reads it; raftlog/ implements it. Everything answers from memory.
 * Indexes run from firstIndex to lastIndex; firstIndex - 1 is the last purged one, whose term is
 * known.
 */
export interface LogStore {
  firstIndex(): number
  lastIndex(): number
  /** The term at `index`, from firstIndex - 1 to lastIndex; undefined outside of it. */
  term(index: number): number | undefined
  /**
   * Entries from `from` to before `to`, at least one, then as many as fit `bytesMax`;
   * 'not-in-memory' when the first one must be read from disk.
   */
  entries(from: number, to: number, bytesMax: number): readonly Entry[] | 'not-in-memory'
}
