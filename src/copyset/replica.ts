// Owns one replica of one group: its consensus core, its part of the log and its state machine, and the
// one place that orders their effects: log write started, messages out, committed entries applied,
// and what must wait for the log sent when the log says durable (the contract is in raft/node.ts).
// Invariant: a message that promises something leaves after the promise is durable, in order.
// Leaves links, timers and transfers to host.ts.

import type { ByteBudget } from '../base/budget.ts'
import { EMPTY } from '../base/bytes.ts'
import { asLemnisError, LemnisError } from '../base/errors.ts'
import type { Env } from '../env/env.ts'
import type { Counter, Timing } from '../observe/observe.ts'
import { membersOf } from '../raft/configuration.ts'
import { RaftNode, type RaftStatus } from '../raft/node.ts'
import type { SnapshotSink } from '../raft/snapshot.ts'
import type {
  ConfigChangeStep,
  Configuration,
  Entry,
  Message,
  ProposeRefusal,
  RaftBug,
  Ready,
  ReplicaId,
  Role,
  SnapshotMark,
  TransferRefusal,
} from '../raft/types.ts'
import type { GroupLog } from '../raftlog/group-log.ts'
import type { RaftLog } from '../raftlog/raftlog.ts'
import type { HostConfig } from './config.ts'
import { encodeMark } from './mark-codec.ts'
import { BIRTH, type GroupId } from './replica-id.ts'
import type { StateMachine } from './state-machine.ts'
import { type ProposeDone, type ReadDone, Waiters } from './waiters.ts'
import type { BatchedMessage } from './wire.ts'

/** Planted faults of the host, beside those of the core (raft/types.ts). */
export type HostBug =
  | RaftBug
  /** A replica that was loaded is not looked at before somebody speaks to it. */
  | 'no-turn-after-load'

/** What a replica asks of its host. */
export interface ReplicaHost {
  readonly env: Env
  readonly config: HostConfig
  readonly log: RaftLog
  readonly bugs: ReadonlySet<HostBug>
  /** Bytes proposed on this host and not answered. */
  readonly proposals: ByteBudget
  readonly commitSeconds: Timing
  readonly electionsWon: Counter
  send(replica: Replica, message: BatchedMessage): void
  sendSnapshot(replica: Replica, to: ReplicaId): void
  /** The replica has work for the next turn. */
  wake(replica: Replica): void
  checkpointDue(replica: Replica): void
  /** The replica can't go on; it answers nothing any more until it is rebuilt. */
  damaged(replica: Replica, error: LemnisError): void
}

type SnapshotMessage = Extract<Message, { kind: 'snapshot' }>

/** Readies handled for one group before the others get their turn. */
const READIES_PER_TURN = 4
/**
 * Founders leave it so many election timeouts to one of them to lead first: within a few heartbeats to
 * the MDS it and a quorum are made, or something is amiss.
 */
const FIRST_TIMEOUTS = 10

export class Replica {
  readonly group: GroupId
  readonly id: ReplicaId
  readonly createdEpoch: number
  readonly log: GroupLog
  readonly machine: StateMachine
  readonly waiters: Waiters
  readonly #host: ReplicaHost
  readonly #node: RaftNode
  /** Readies whose writes are under way, oldest first; a slot turns true when its write is durable. */
  readonly #persisting: { readonly ready: Ready; durable: boolean }[] = []
  /** Committed entries that came while a snapshot was being installed. */
  #held: Entry[] = []
  #installing = false
  #closed = false
  #hasLed = false
  #bytesSinceCheckpoint = 0
  #idleSinceMs: number
  /** Whether the configuration of that epoch has this replica is looked up once. */
  #checkedEpoch = 0
  #removed = false
  /** Of its founders, the one that is to lead first, while nobody has; 0 when that is over. */
  #first: ReplicaId | 0 = 0
  #firstUntilMs = 0
  asleep = false

  /** `base` is where the machine stands, by its newest checkpoint. */
  constructor(
    host: ReplicaHost,
    group: GroupId,
    log: GroupLog,
    machine: StateMachine,
    base: SnapshotMark,
  ) {
    this.#host = host
    this.group = group
    this.log = log
    this.machine = machine
    this.id = log.replica as ReplicaId
    this.#node = this.#makeNode(base)
    this.createdEpoch = log.createdEpoch
    this.waiters = new Waiters(host.proposals, host.env.clock, host.commitSeconds)
    this.#idleSinceMs = host.env.clock.monotonicMs()
  }

  #makeNode(base: SnapshotMark): RaftNode {
    const { config, env, bugs } = this.#host
    const { hardState } = this.log
    const nowMs = this.#nowMs()
    // A replica that knows no term but that of its birth has promised nobody anything; any other may
    // have promised a leader its lease just before it stopped.
    const mayVoteFromMs = hardState.term <= BIRTH.term ? nowMs : nowMs + config.electionTimeoutMs
    return new RaftNode({
      id: this.id,
      random: env.random.fork(`raft/${this.group}/${this.id}`),
      store: this.log,
      hardState: { ...hardState, commit: Math.max(hardState.commit, base.index) },
      config: base.config,
      appliedIndex: base.index,
      nowMs,
      mayVoteFromMs,
      electionTimeoutMs: config.electionTimeoutMs,
      heartbeatIntervalMs: config.heartbeatIntervalMs,
      clockDriftPermille: config.clockDriftPermille,
      appendBytesMax: config.appendBytesMax,
      inflightBytesMax: config.inflightBytesMax,
      inflightMessagesMax: config.inflightMessagesMax,
      uncommittedBytesMax: config.uncommittedBytesMax,
      committedBytesMax: config.committedBytesMax,
      snapshotMark: () => this.mark() ?? this.log.mark ?? base,
      bugs: bugs as ReadonlySet<RaftBug>,
    })
  }

  #nowMs(): number {
    return this.#host.env.clock.monotonicMs()
  }

  get closed(): boolean {
    return this.#closed
  }

  status(): RaftStatus {
    return this.#node.status()
  }

  get role(): Role {
    return this.#node.role
  }

  get isLeader(): boolean {
    return this.#node.role === 'leader'
  }

  get term(): number {
    return this.#node.term
  }

  get commit(): number {
    return this.#node.commit
  }

  /** The last entry that took effect here; the machine may be ahead of it right after a start. */
  get applied(): number {
    return this.#node.appliedIndex
  }

  get leader(): ReplicaId | 0 {
    return this.#node.leader
  }

  /** As applied here. */
  get membership(): Configuration {
    return this.#node.config
  }

  /** Of the configuration applied here; 0 before the first. */
  get epoch(): number {
    return this.#node.config.epoch
  }

  /** Whether `replica` is a member, by the configuration applied here. */
  knows(replica: ReplicaId): boolean {
    return membersOf(this.#node.config).includes(replica)
  }

  /** It has applied a configuration without itself: its group goes on without it. */
  get isRemoved(): boolean {
    const { epoch } = this
    if (epoch !== this.#checkedEpoch) {
      this.#checkedEpoch = epoch
      this.#removed = epoch > this.createdEpoch && !this.knows(this.id)
    }
    return this.#removed && !this.#closed
  }

  get idleSinceMs(): number {
    return this.#idleSinceMs
  }

  // --- inputs; each wakes the replica for the host's next turn

  step(message: Message): void {
    // A heartbeat of the term in which the group fell asleep tells nothing new: it is answered, no more.
    const quiet = message.kind === 'heartbeat' || message.kind === 'heartbeat-reply'
    if (!(quiet && this.asleep && message.term === this.#node.term)) this.#rouse(!quiet)
    this.#node.step(message, this.#nowMs())
    this.#host.wake(this)
  }

  tick(nowMs: number): void {
    if (this.#first !== 0) this.#awaitFirst(nowMs)
    if (this.#first !== 0 || nowMs < this.#node.nextDeadlineMs()) return
    this.#node.tick(nowMs)
    this.#host.wake(this)
  }

  /**
   * To a founder: `first` is to lead the group first. That one stands for election at once, and again
   * until enough of the others are made to elect it; they leave it some time for that.
   */
  letLeadFirst(first: ReplicaId): void {
    const nowMs = this.#nowMs()
    this.#first = first
    this.#firstUntilMs = nowMs + FIRST_TIMEOUTS * this.#host.config.electionTimeoutMs
    this.#awaitFirst(nowMs)
  }

  #awaitFirst(nowMs: number): void {
    if (this.leader !== 0 || this.term > BIRTH.term) this.#first = 0
    else if (nowMs >= this.#firstUntilMs) {
      this.#first = 0
      this.#node.wake(nowMs)
    } else if (this.#first === this.id && this.#node.campaign(nowMs)) this.#host.wake(this)
  }

  propose(data: Uint8Array, done: ProposeDone): void {
    this.#rouse(true)
    const nowMs = this.#nowMs()
    const bytes = data.byteLength
    if (!this.#host.proposals.tryClaim(bytes)) {
      done(new LemnisError('OVERLOADED', { reason: 'proposals in flight' }), EMPTY)
      return
    }
    const outcome = this.#node.propose(data, nowMs)
    if (typeof outcome === 'string') {
      this.#host.proposals.release(bytes)
      done(refusal(outcome), EMPTY)
      return
    }
    this.waiters.addProposal(outcome.index, { term: outcome.term, bytes, sinceMs: nowMs, done })
    this.#host.wake(this)
  }

  /** `done(null)` when the state machine may be read; the caller reads it before it returns. */
  read(done: ReadDone): void {
    if (this.waiters.readCount >= this.#host.config.waitingReadsMax) {
      done(new LemnisError('OVERLOADED', { reason: 'reads waiting' }))
      return
    }
    const nowMs = this.#nowMs()
    const index = this.#node.leaseRead(nowMs)
    if (index !== null) {
      this.waiters.addUnapplied(index, this.machine.appliedIndex, done)
      return
    }
    this.#rouse(true)
    const context = this.waiters.addUnconfirmed(done)
    if (this.#node.readIndex(context, nowMs) === 'pending') this.#host.wake(this)
    else this.waiters.readDropped(context)
  }

  proposeChange(steps: readonly ConfigChangeStep[]): ProposeRefusal | null {
    this.#rouse(true)
    const outcome = this.#node.proposeChange(steps, this.#nowMs())
    this.#host.wake(this)
    return typeof outcome === 'string' ? outcome : null
  }

  transferLeader(to: ReplicaId): TransferRefusal | null {
    this.#rouse(true)
    const outcome = this.#node.transferLeader(to, this.#nowMs())
    this.#host.wake(this)
    return outcome === 'started' ? null : outcome
  }

  unreachable(replica: ReplicaId): void {
    this.#node.unreachable(replica)
  }

  snapshotReported(to: ReplicaId, ok: boolean, index: number): void {
    if (this.#closed) return
    this.#node.snapshotReported(to, ok, index)
    this.#host.wake(this)
  }

  /** Timers run again, from now on. */
  rouse(): void {
    this.#rouse(false)
  }

  #rouse(activity: boolean): void {
    if (activity) this.#idleSinceMs = this.#nowMs()
    if (!this.asleep) return
    this.asleep = false
    this.#node.wake(this.#nowMs())
    this.#host.wake(this)
  }

  // --- the turn

  /** Handles what the core has ready; true when more is left for another turn. */
  turn(): boolean {
    for (let n = 0; n < READIES_PER_TURN; n++) {
      if (this.#closed || !this.#node.hasReady()) break
      this.#handle(this.#node.ready())
    }
    this.#noteLeading()
    if (!this.isLeader && this.waiters.count > 0) this.waiters.failAll('PROPOSAL_DROPPED')
    return !this.#closed && this.#node.hasReady()
  }

  #noteLeading(): void {
    if (this.isLeader && !this.#hasLed) this.#host.electionsWon.add(1)
    this.#hasLed = this.isLeader
  }

  #handle(ready: Ready): void {
    this.#persist(ready)
    for (const message of ready.messages) this.#send(message)
    for (const context of ready.readsDropped) this.waiters.readDropped(context)
    if (ready.committed.length > 0) this.#apply(ready.committed)
    for (const read of ready.readStates) {
      this.waiters.confirmed(read.context, read.index, this.machine.appliedIndex)
    }
    for (const fetch of ready.fetches) this.#fetch(fetch.replica, fetch.from, fetch.bytesMax)
  }

  #send(message: Message): void {
    if (message.kind === 'snapshot') this.#host.sendSnapshot(this, message.to)
    else this.#host.send(this, message)
  }

  #persist(ready: Ready): void {
    const { hardState, entries, snapshot } = ready
    const slot = { ready, durable: false }
    this.#persisting.push(slot)
    if (hardState === null && entries.length === 0 && snapshot === null) {
      slot.durable = true
      this.#releasePersisted()
      return
    }
    this.#host.log.append(
      {
        group: this.group,
        entries,
        ...(hardState === null ? {} : { hardState }),
        ...(snapshot === null ? {} : { mark: snapshot, restart: true }),
      },
      (error) => {
        // A failed write poisons the whole log, which its owner reports; nothing more is promised here.
        if (error !== null || this.#closed) return
        slot.durable = true
        this.#releasePersisted()
        this.#host.wake(this)
      },
    )
  }

  /** Promises leave in the order in which they were made, each after its write. */
  #releasePersisted(): void {
    for (let slot = this.#persisting[0]; slot?.durable === true; slot = this.#persisting[0]) {
      this.#persisting.shift()
      this.#node.persisted(slot.ready)
      for (const message of slot.ready.messagesAfterPersist) this.#send(message)
    }
  }

  #apply(entries: readonly Entry[]): void {
    if (this.#installing) {
      this.#held.push(...entries)
      return
    }
    for (const entry of entries) {
      // Entries up to the machine's checkpoint come again after a restart.
      if (entry.index > this.machine.appliedIndex) this.#applyOne(entry)
    }
    const last = entries.at(-1)
    if (last !== undefined) this.#node.applied(last.index)
    this.waiters.releaseReads(this.machine.appliedIndex)
    if (this.#bytesSinceCheckpoint >= this.#host.config.checkpointBytes) {
      this.#host.checkpointDue(this)
    }
  }

  #applyOne(entry: Entry): void {
    let result = EMPTY
    if (entry.kind === 'data') result = this.machine.apply(entry)
    else this.machine.skip(entry.index)
    this.#bytesSinceCheckpoint += entry.data.byteLength
    this.waiters.applied(entry.index, entry.term, result)
  }

  #fetch(replica: ReplicaId, from: number, bytesMax: number): void {
    const to = this.log.lastIndex() + 1
    this.#host.log.fetch(this.group, from, to, bytesMax).then(
      () => {
        if (this.#closed) return
        this.#node.fetched(replica)
        this.#host.wake(this)
      },
      (error: unknown) => {
        if (!this.#closed) this.#host.damaged(this, new LemnisError('CORRUPT', {}, error))
      },
    )
  }

  // --- checkpoints and snapshots

  /** The first entry that another replica has yet to get from here; Infinity without one. */
  neededFrom(): number {
    return this.#node.neededFrom(this.#nowMs() - this.#host.config.logHeldMs)
  }

  /** Where the machine stands; null while it is ahead of the core, as after a restart. */
  mark(): SnapshotMark | null {
    const { appliedIndex: applied, config } = this.#node
    const index = this.machine.appliedIndex
    const term = this.log.term(index)
    return index === applied && term !== undefined ? { index, term, config } : null
  }

  /** Makes the machine durable and lets the log go up to there. */
  async checkpoint(): Promise<void> {
    const mark = this.mark()
    if (mark === null || this.#installing || this.#closed) return
    this.#bytesSinceCheckpoint = 0
    await this.machine.checkpoint(encodeMark(mark))
    if (this.#closed || mark.index <= (this.log.mark?.index ?? 0)) return
    this.#host.log.append({ group: this.group, mark }, () => {})
  }

  /**
   * Replaces this replica's state by a received one; false when it is no news any more. Entries that
   * commit meanwhile are held back, so that the machine changes under nobody's feet.
   */
  async install(sink: SnapshotSink, message: SnapshotMessage): Promise<boolean> {
    const { index } = message.mark
    if (index <= this.commit && !this.installsOverNewer) return false
    this.#installing = true
    try {
      await sink.finish(encodeMark(message.mark))
    } catch (thrown) {
      const error = asLemnisError(thrown)
      if (error.code === 'DISK_FAILED') this.#host.damaged(this, error)
      this.#release()
      throw error
    }
    if (this.#closed) return false
    this.step(message)
    this.#release()
    return true
  }

  /** The machine may be changed again: by what was committed meanwhile, first of all. */
  #release(): void {
    this.#installing = false
    const held = this.#held
    this.#held = []
    if (held.length > 0 && !this.#closed) this.#apply(held)
  }

  /** A planted bug. */
  get installsOverNewer(): boolean {
    return this.#host.bugs.has('install-over-newer')
  }

  get installing(): boolean {
    return this.#installing
  }

  /** Stops; nothing is called or sent any more. The machine is closed by the host. */
  close(): void {
    this.#closed = true
    this.waiters.failAll('CLOSED')
  }
}

function refusal(outcome: ProposeRefusal): LemnisError {
  switch (outcome) {
    case 'not-leader':
    case 'transferring':
      return new LemnisError('NOT_LEADER', { reason: outcome })
    case 'too-much-uncommitted':
      return new LemnisError('OVERLOADED', { reason: outcome })
    case 'config-change-pending':
      return new LemnisError('MEMBERSHIP_BUSY')
    case 'invalid-change':
      return new LemnisError('INVALID_ARGUMENT', { reason: outcome })
  }
}
