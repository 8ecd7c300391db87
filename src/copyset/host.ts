// Owns all replicas of one disk: loads them, takes their messages in, and runs one turn for all that
// have work, so that their log writes share one append and their messages one note a peer.
// Invariant: a group's state is touched only inside a turn or an input, never concurrently.
// Knows StateMachine, not what it holds; knows groups, not why they are where they are.

import { ByteBudget } from '../base/budget.ts'
import { EMPTY } from '../base/bytes.ts'
import { asLemnisError, LemnisError } from '../base/errors.ts'
import type { Timer } from '../env/clock.ts'
import type { Env } from '../env/env.ts'
import { METHODS } from '../format/methods.ts'
import type { Counter, Observer, Timing } from '../observe/observe.ts'
import { initialConfiguration, NO_CONFIGURATION } from '../raft/configuration.ts'
import type { ReplicaId, SnapshotMark } from '../raft/types.ts'
import type { RaftLog } from '../raftlog/raftlog.ts'
import type { RpcConfig } from '../rpc/config.ts'
import type { IncomingCall, RpcServer } from '../rpc/server.ts'
import { Checkpoints } from './checkpoints.ts'
import type { HostConfig } from './config.ts'
import { Hibernation } from './hibernation.ts'
import { loadReplica } from './load.ts'
import { type ChangeDone, type ChangeProgress, Changes, type MembershipGoal } from './membership.ts'
import { type HostDirectory, Peers } from './peers.ts'
import { Receptions } from './reception.ts'
import { Removal } from './removal.ts'
import type { HostBug, Replica, ReplicaHost } from './replica.ts'
import { BIRTH, type GroupId, type HostId, hostOf, incarnationOf } from './replica-id.ts'
import type { Machines } from './state-machine.ts'
import { type TransferProgress, Transfers } from './transfer.ts'
import { decodeCreate, encodeCreate, type ReplicaCreate } from './transfer-codec.ts'
import type { ProposeDone, ReadDone } from './waiters.ts'
import { type Wait, waitsOf } from './waits.ts'
import { type BatchedMessage, decodeBatch, type HostNote, type Packet } from './wire.ts'

export interface CopysetHostOptions {
  readonly env: Env
  readonly observer: Observer
  readonly host: HostId
  readonly config: HostConfig
  /** Owned by the caller, who closes it after the host. */
  readonly log: RaftLog
  readonly rpc: RpcConfig
  readonly server: RpcServer
  readonly directory: HostDirectory
  readonly machines: Machines
  /** Before members that leave a group are ended; rejects never. Without it they always may. */
  readonly mayEnd?: (replica: Replica, leaving: readonly ReplicaId[]) => Promise<boolean>
  /** Whether the disk has room for log that only others need; without it always. */
  readonly mayHoldLog?: () => boolean
  /** The disk failed and no replica serves any more: the process should report, end, and start anew. */
  readonly onFenced?: (error: LemnisError) => void
  /** Planted bugs; given by the simulator only. */
  readonly bugs?: ReadonlySet<HostBug>
}

export class CopysetHost implements ReplicaHost {
  readonly env: Env
  readonly config: HostConfig
  readonly log: RaftLog
  readonly bugs: ReadonlySet<HostBug>
  readonly proposals: ByteBudget
  readonly commitSeconds: Timing
  readonly electionsWon: Counter
  readonly id: HostId
  readonly #observer: Observer
  readonly #machines: Machines
  readonly #replicas = new Map<GroupId, Replica>()
  readonly #damaged = new Map<GroupId, LemnisError>()
  /** Since when; monotonic milliseconds. */
  readonly #loading = new Map<GroupId, number>()
  /** Groups that are being made or removed, so that two orders can't cross. */
  readonly #busy = new Set<GroupId>()
  readonly #peers: Peers
  readonly #transfers: Transfers
  readonly #receptions: Receptions
  readonly #changes: Changes
  readonly #checkpoints: Checkpoints
  readonly #hibernation: Hibernation
  readonly #removal: Removal
  readonly #onFenced: ((error: LemnisError) => void) | undefined
  #isFenced = false
  #ready = new Set<Replica>()
  #turnAsked = false
  #tickTimer: Timer | null = null
  #closed = false

  constructor(options: CopysetHostOptions) {
    const { env, observer, config, host: self } = options
    this.env = env
    this.config = config
    this.log = options.log
    this.bugs = options.bugs ?? new Set()
    this.proposals = new ByteBudget(config.proposalBytesMax)
    this.commitSeconds = observer.histogram('copyset_commit_seconds')
    this.electionsWon = observer.counter('copyset_elections_won_total')
    this.id = self
    this.#observer = observer
    this.#machines = options.machines
    this.#peers = new Peers({
      env,
      observer,
      rpc: options.rpc,
      self,
      directory: options.directory,
      onDown: (host) => this.#peerDown(host),
      onUndelivered: (packet) => this.#undelivered(packet),
    })
    this.#transfers = new Transfers(env, observer, config)
    this.#receptions = new Receptions(env.clock, config, (group) => this.#replicas.get(group))
    this.#changes = new Changes({
      lagMax: config.catchUpLagEntries,
      timeoutMs: config.changeTimeoutMs,
      create: (replica, member) => this.#createRemote(replica, member),
      mayEnd: options.mayEnd ?? (() => Promise.resolve(true)),
    })
    this.#checkpoints = new Checkpoints({
      clock: env.clock,
      atOnceMax: config.checkpointsAtOnceMax,
      retryMs: config.checkpointRetryMs,
      onFailed: (replica, error) => this.damaged(replica, error),
    })
    this.#hibernation = new Hibernation(config.hibernateAfterMs)
    this.#removal = new Removal(config.electionTimeoutMs)
    this.log.onPinned = (group) => this.#pinned(group as GroupId)
    this.log.holder = {
      mayHold: options.mayHoldLog ?? (() => true),
      neededFrom: (group) => {
        return this.#replicas.get(group as GroupId)?.neededFrom() ?? Number.POSITIVE_INFINITY
      },
    }
    this.#onFenced = options.onFenced
    this.log.onPoisoned = (error) => this.#fence(error)
    observer.gauge('copyset_replicas', () => this.#replicas.size)
    observer.gauge('copyset_leaders', () => {
      return [...this.#replicas.values()].filter((replica) => replica.isLeader).length
    })
    observer.gauge('copyset_proposal_bytes', () => this.proposals.claimedBytes)
    this.#serve(options.server)
    this.#tick()
  }

  /**
   * Loads every replica that the log knows, all at once; ticks and messages of those that are ready
   * go on meanwhile. One that can't be trusted is kept out and listed by damagedGroups().
   */
  async load(): Promise<void> {
    const groups = this.log.groupIds() as GroupId[]
    if (this.log.condition === 'corrupt') {
      for (const group of groups) this.#markDamaged(group, new LemnisError('CORRUPT', { group }))
      return
    }
    await Promise.all(groups.map((group) => this.#loadOne(group)))
    // It may have failed before this host was there to hear of it.
    const { failure } = this.log
    if (failure !== null) this.#fence(failure)
  }

  async #loadOne(group: GroupId): Promise<void> {
    const { destroyedEpoch, replica: id } = this.log.group(group)
    this.#loading.set(group, this.env.clock.monotonicMs())
    try {
      // A crash may have come between the tombstone and the removal.
      if (destroyedEpoch !== null) return await this.#machines.remove(group, id)
      const replica = await loadReplica(this, group, this.#machines)
      if (this.#closed) return await replica.machine.close()
      // The disk failed meanwhile: nobody is put into service after the others were taken out of it.
      const { failure } = this.log
      if (failure !== null) {
        await replica.machine.close()
        throw failure
      }
      this.#replicas.set(group, replica)
      // It may know of committed entries that no message will come to remind it of.
      if (!this.bugs.has('no-turn-after-load')) this.wake(replica)
    } catch (error) {
      this.#markDamaged(group, asLemnisError(error))
    } finally {
      this.#loading.delete(group)
    }
  }

  // --- what callers ask for

  replica(group: GroupId): Replica | undefined {
    return this.#replicas.get(group)
  }

  replicas(): IterableIterator<Replica> {
    return this.#replicas.values()
  }

  damagedGroups(): ReadonlyMap<GroupId, LemnisError> {
    return this.#damaged
  }

  changes(): readonly ChangeProgress[] {
    return this.#changes.list()
  }

  /** State that is being sent from here. */
  transfers(): readonly TransferProgress[] {
    return this.#transfers.list()
  }

  /** From now on, for all state that is sent, and for all that comes in. */
  limitTransfers(bytesPerSecond: number): void {
    this.#transfers.limit(bytesPerSecond)
    this.#receptions.limit(bytesPerSecond)
  }

  /** Bytes of state since the start. */
  transferBytes(): { sent: number; received: number } {
    return { sent: this.#transfers.sentBytes, received: this.#receptions.receivedBytes }
  }

  /** What has lasted for `afterMs` or longer, for people. */
  waits(afterMs: number): Wait[] {
    const lasting = {
      replicas: this.#replicas.values(),
      transfers: this.#transfers.list(),
      changes: this.#changes.list(),
      loading: this.#loading,
    }
    return waitsOf(lasting, this.env.clock.monotonicMs(), afterMs)
  }

  /** Appends `data` to the group's log; `done` has the state machine's result, or why not. */
  propose(group: GroupId, data: Uint8Array, done: ProposeDone): void {
    const replica = this.#replicas.get(group)
    const refusal = this.log.refusal()
    if (replica === undefined) done(this.#noSuch(group), EMPTY)
    else if (refusal !== null) done(refusal, EMPTY)
    else if (data.byteLength > this.config.entryBytesMax) {
      done(new LemnisError('INVALID_ARGUMENT', { bytes: data.byteLength }), EMPTY)
    } else replica.propose(data, done)
  }

  /** Asks for a linearizable read of the group's machine; see Replica.read. */
  read(group: GroupId, done: ReadDone): void {
    const replica = this.#replicas.get(group)
    if (replica === undefined) done(this.#noSuch(group))
    else replica.read(done)
  }

  /** Exchanges members, on the leader; one change a group at a time. Safe to ask again. */
  change(group: GroupId, goal: MembershipGoal, done: ChangeDone): void {
    const replica = this.#replicas.get(group)
    if (replica === undefined) done(this.#noSuch(group))
    else this.#changes.start(replica, goal, this.env.clock.monotonicMs(), done)
  }

  /**
   * Makes a founding replica: every one of `voters` is made so, with the same list, on its host. The
   * group is led first by the one that is given as `first`, unless that one is not made in time.
   */
  async found(
    group: GroupId,
    replica: ReplicaId,
    voters: readonly ReplicaId[],
    first?: ReplicaId,
  ): Promise<void> {
    const mark = { ...BIRTH, config: initialConfiguration(voters) }
    await this.#create({ group, replica, epoch: 0 }, mark)
    if (first !== undefined) this.#replicas.get(group)?.letLeadFirst(first)
  }

  /** Ends this replica and removes what it holds. For ever: its id does not come back. */
  async destroy(group: GroupId, epoch: number): Promise<void> {
    const id = this.log.group(group).replica
    if (id === 0 || this.#busy.has(group)) return
    this.#busy.add(group)
    try {
      const replica = this.#replicas.get(group)
      if (replica !== undefined) {
        this.#retire(replica)
        await replica.machine.close()
      }
      const hasTombstone = this.log.group(group).destroyedEpoch !== null
      if (!hasTombstone) await this.#append({ group, destroy: { epoch } })
      await this.#machines.remove(group, id)
      this.#damaged.delete(group)
      this.#observer.emit('copyset_replica_destroyed', { group, replica: id, epoch })
    } finally {
      this.#busy.delete(group)
    }
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#tickTimer?.cancel()
    const replicas = [...this.#replicas.values()]
    for (const replica of replicas) this.#retire(replica)
    await this.#peers.close()
    await Promise.all(replicas.map((replica) => replica.machine.close()))
  }

  // --- ReplicaHost

  wake(replica: Replica): void {
    this.#ready.add(replica)
    if (this.#turnAsked) return
    this.#turnAsked = true
    this.env.clock.soon(() => this.#turn())
  }

  send(replica: Replica, message: BatchedMessage): void {
    this.#peers.send(replica.group, message)
  }

  sendSnapshot(replica: Replica, to: ReplicaId): void {
    this.#transfers.start(replica, to, this.#peers.client(hostOf(to)))
  }

  checkpointDue(replica: Replica): void {
    this.#checkpoints.due(replica)
  }

  damaged(replica: Replica, error: LemnisError): void {
    if (replica.closed) return
    this.#retire(replica)
    this.#markDamaged(replica.group, error)
    // A close that fails has nobody to tell: the replica is out of service already, and says why.
    replica.machine.close().catch(() => {})
  }

  // --- turns and ticks

  #turn(): void {
    this.#turnAsked = false
    if (this.#closed) return
    const replicas = this.#ready
    this.#ready = new Set()
    for (const replica of replicas) {
      // A log that is full of waiting writes wakes a replica with each that ends, and so this turn again.
      if (this.log.refusal()?.code === 'OVERLOADED') this.#ready.add(replica)
      else if (replica.turn()) this.wake(replica)
    }
    // The disk first: it works by itself while this thread is busy with sending.
    this.log.flush()
    this.#peers.flush()
  }

  /** The disk failed: what is promised is on it or on the others, and nothing more is promised here. */
  #fence(error: LemnisError): void {
    if (this.#isFenced) return
    this.#isFenced = true
    for (const replica of [...this.#replicas.values()]) this.damaged(replica, error)
    this.#onFenced?.(error)
  }

  #tick(): void {
    if (this.#closed) return
    this.#tickTimer = this.env.clock.after(this.config.tickIntervalMs, () => this.#tick())
    const nowMs = this.env.clock.monotonicMs()
    for (const replica of this.#replicas.values()) {
      if (replica.asleep) continue
      replica.tick(nowMs)
      for (const note of this.#removal.ownQuestions(replica, nowMs)) this.send(replica, note)
      for (const note of this.#hibernation.questions(replica, nowMs)) this.send(replica, note)
    }
    this.#changes.tick(nowMs)
    this.#peers.flush()
  }

  #pinned(group: GroupId): void {
    const replica = this.#replicas.get(group)
    if (replica !== undefined) this.checkpointDue(replica)
  }

  // --- what peers say

  #serve(server: RpcServer): void {
    server.handleNotify(METHODS.RAFT_BATCH, (note) => {
      for (const packet of decodeBatch(note.body, note.payload)) this.#receive(packet)
    })
    const receptions = this.#receptions
    answerWith(server, METHODS.TRANSFER_BEGIN, (call) => receptions.begin(call.body, call.payload))
    answerWith(server, METHODS.TRANSFER_HAVE, (call) => receptions.have(call.body))
    answerWith(server, METHODS.TRANSFER_PIECE, (call) => receptions.piece(call.body, call.payload))
    answerWith(server, METHODS.TRANSFER_FINISH, (call) => receptions.finish(call.body))
    answerWith(server, METHODS.REPLICA_CREATE, async (call) => {
      await this.#create(decodeCreate(call.body), { index: 0, term: 0, config: NO_CONFIGURATION })
      return { body: EMPTY, payload: EMPTY }
    })
  }

  #receive({ group, message }: Packet): void {
    const replica = this.#replicas.get(group)
    if (this.#closed || replica === undefined || replica.id !== message.to) return
    switch (message.kind) {
      case 'not-member':
        if (this.#removal.mayEnd(replica, message)) {
          this.#background(group, this.destroy(group, message.epoch))
        }
        return
      case 'stranger':
        this.#answerStranger(replica, message.stranger)
        return
      case 'hibernate':
        this.send(replica, this.#hibernation.answer(replica, message))
        this.#flushSoon()
        return
      case 'hibernate-reply':
        this.#hibernation.answered(replica, message)
        return
      case 'append':
        // Dropped like a lost packet: the sender waits for an answer before it sends much more.
        if (this.log.refusal() === null) replica.step(message)
        return
      default:
        this.#noticeStranger(replica, message)
        replica.step(message)
    }
  }

  /**
   * A replica that was removed while it was cut off learns of it from the voters. A stranger may also
   * be a new member that this replica has not heard of yet, so Raft judges its message all the same.
   */
  #noticeStranger(replica: Replica, message: Exclude<BatchedMessage, HostNote>): void {
    if (message.kind !== 'vote' && message.kind !== 'pre-vote') return
    if (replica.epoch === 0 || replica.knows(message.from)) return
    for (const note of this.#removal.questions(replica, message.from)) this.send(replica, note)
    this.#answerStranger(replica, message.from)
  }

  #answerStranger(replica: Replica, stranger: ReplicaId): void {
    const note = this.#removal.answer(replica, stranger)
    if (note !== null) this.send(replica, note)
    this.#flushSoon()
  }

  #flushSoon(): void {
    if (this.#turnAsked) return
    this.#turnAsked = true
    this.env.clock.soon(() => this.#turn())
  }

  #peerDown(host: HostId): void {
    for (const replica of this.#replicas.values()) {
      const leader = replica.leader
      if (replica.asleep && leader !== 0 && hostOf(leader) === host) replica.rouse()
    }
  }

  #undelivered({ group, message }: Packet): void {
    if (message.kind === 'append') this.#replicas.get(group)?.unreachable(message.to)
  }

  // --- making and ending replicas

  async #createRemote(leader: Replica, member: ReplicaId): Promise<void> {
    const client = this.#peers.client(hostOf(member))
    if (client === undefined) throw new LemnisError('DISCONNECTED', { host: hostOf(member) })
    const { group, epoch } = leader
    const body = encodeCreate({ group, replica: member, epoch })
    await client.callAsync(METHODS.REPLICA_CREATE, body, null, this.config.transferTimeoutMs)
  }

  async #create(order: ReplicaCreate, mark: SnapshotMark): Promise<void> {
    const { group, replica, epoch } = order
    if (hostOf(replica) !== this.id) throw new LemnisError('INVALID_ARGUMENT', { replica })
    if (this.log.condition === 'corrupt') throw new LemnisError('CORRUPT', { group })
    if (this.#busy.has(group)) throw new LemnisError('MEMBERSHIP_BUSY', { group })
    const known = this.log.group(group).replica
    if (known === replica && this.#replicas.has(group)) return
    if (known !== 0 && incarnationOf(known) >= incarnationOf(replica)) {
      throw new LemnisError('INVALID_ARGUMENT', { replica, reason: 'this id has been here before' })
    }
    const old = this.#replicas.get(group)
    if (old !== undefined && !mayReplace(old, epoch)) {
      throw new LemnisError('INVALID_ARGUMENT', { replica, reason: 'this host has a newer one' })
    }
    await this.destroy(group, epoch)
    this.#busy.add(group)
    try {
      const hardState = { term: mark.term, vote: 0 as const, commit: mark.index }
      await this.#append({ group, create: { replica, epoch }, mark, restart: true, hardState })
      await this.#loadOne(group)
      this.#observer.emit('copyset_replica_made', { group, replica, epoch })
    } finally {
      this.#busy.delete(group)
    }
    const damage = this.#damaged.get(group)
    if (damage !== undefined) throw damage
  }

  #append(write: Parameters<RaftLog['append']>[0]): Promise<void> {
    return new Promise((resolve, reject) => {
      this.log.append(write, (error) => {
        if (error === null) resolve()
        else reject(error)
      })
    })
  }

  #retire(replica: Replica): void {
    replica.close()
    this.#replicas.delete(replica.group)
    this.#ready.delete(replica)
    this.#receptions.forget(replica.group)
    this.#hibernation.forget(replica)
    this.#removal.forget(replica)
  }

  #markDamaged(group: GroupId, error: LemnisError): void {
    this.#damaged.set(group, error)
    this.#observer.emit('copyset_replica_damaged', {
      group,
      code: error.code,
      error: error.message,
    })
  }

  /** Work that nobody waits for; its failure makes the group damaged, which everybody sees. */
  #background(group: GroupId, work: Promise<void>): void {
    work.catch((error: unknown) => this.#markDamaged(group, asLemnisError(error)))
  }

  #noSuch(group: GroupId): LemnisError {
    return this.#damaged.get(group) ?? new LemnisError('NO_SUCH_GROUP', { group })
  }
}

/**
 * Whether an order of that epoch may end a live replica to make another. One that has never applied a
 * configuration has no vote that counts, as members learn before they vote: a change that came to
 * nothing may have left it. Any other goes only for a configuration newer than all it knows.
 */
function mayReplace(old: Replica, epoch: number): boolean {
  return old.epoch === 0 ? epoch >= old.createdEpoch : epoch > Math.max(old.epoch, old.createdEpoch)
}

function answerWith(
  server: RpcServer,
  method: number,
  work: (call: IncomingCall) => Promise<{ body: Uint8Array; payload: Uint8Array }>,
): void {
  server.handle(method, (call) => {
    work(call).then(
      ({ body, payload }) => call.reply(body, payload),
      (error: unknown) => call.fail(asLemnisError(error)),
    )
  })
}
