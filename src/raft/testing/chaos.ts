// Owns a random schedule over a group in memory: messages lost, doubled, late and out of order,
// slow disks and machines, crashes that lose what is not durable, clocks of different rates,
// partitions, changes of membership, transfers, reads, checkpoints. One seed is one run, always the
// same. Afterwards everything heals and the group must get on: that is checked as well.

import { Prng } from '../../base/prng.ts'
import { initialConfiguration, membersOf } from '../configuration.ts'
import type {
  ConfigChangeStep,
  Configuration,
  Entry,
  Fetch,
  Message,
  RaftBug,
  Ready,
  ReplicaId,
  SnapshotMark,
} from '../types.ts'
import { History, Violation } from './history.ts'
import { founder, NEWCOMER, type ReplicaEvents, TestReplica, type Tuning } from './replica.ts'

const STEPS = 1500
const HEAL_MS = 60_000
/** Rates from 0.95 to 1.05 differ by less than this. */
const CLOCK_DRIFT_PERMILLE = 110

/** Without appendBytesMax, which each run chooses: small ones keep entries apart. */
const TUNING: Omit<Tuning, 'appendBytesMax'> = {
  electionTimeoutMs: 300,
  heartbeatIntervalMs: 50,
  clockDriftPermille: CLOCK_DRIFT_PERMILLE,
  inflightBytesMax: 600,
  inflightMessagesMax: 4,
  uncommittedBytesMax: 1000,
  committedBytesMax: 200,
}

interface Flight {
  readonly message: Message
  readonly dueMs: number
}

/** How often what goes wrong in this run; each seed has its own mixture. */
interface Plan {
  readonly loss: number
  readonly doubled: number
  readonly late: number
  readonly crash: number
  readonly partition: number
  readonly change: number
  readonly transfer: number
  readonly purge: number
  readonly slowDisk: number
  readonly pause: number
  /** A new leader crashes soon, with its first entries on few others (the paper's figure 8). */
  readonly shortReign: number
}

export class Chaos implements ReplicaEvents {
  readonly history: History
  readonly #random: Prng
  readonly #plan: Plan
  readonly #tuning: Tuning
  readonly #replicas: TestReplica[] = []
  readonly #rates = new Map<ReplicaId, number>()
  readonly #crashAtMs = new Map<ReplicaId, number>()
  readonly #downUntilMs = new Map<ReplicaId, number>()
  /** Stopped as by SIGSTOP: its messages come late and its ticks, too. */
  readonly #pausedUntilMs = new Map<ReplicaId, number>()
  /** What a read that is under way has to see, by context. */
  readonly #reads = new Map<number, number>()
  #flights: Flight[] = []
  #side = new Map<ReplicaId, number>()
  #nowMs = 0
  #proposals = 0
  #healed = false
  #config: Configuration

  constructor(seed: number, bugs: ReadonlySet<RaftBug> = new Set()) {
    this.#random = new Prng(seed)
    const random = this.#random
    const often = (most: number): number =>
      random.chance(0.5) ? (most * random.below(100)) / 100 : 0
    this.#plan = {
      loss: often(0.2),
      doubled: often(0.1),
      late: often(0.1),
      crash: often(0.04),
      partition: often(0.03),
      change: often(0.05),
      transfer: often(0.04),
      purge: often(0.1),
      slowDisk: often(0.6),
      pause: often(0.04),
      shortReign: often(0.8),
    }
    const count = random.between(3, 5)
    const founders = Array.from({ length: count }, (_, i) => (i + 1) as ReplicaId)
    const config = initialConfiguration(founders)
    this.#tuning = { ...TUNING, appendBytesMax: random.pick([40, 150, 600]) }
    this.#config = config
    this.history = new History(config)
    for (const id of founders) this.#add(id, true, bugs)
    for (let i = 1; i <= 2; i++) this.#add((count + i) as ReplicaId, false, bugs)
  }

  #add(id: ReplicaId, isFounder: boolean, bugs: ReadonlySet<RaftBug>): void {
    const birth = isFounder ? founder(this.#config) : NEWCOMER
    const replica = new TestReplica(
      id,
      birth,
      this.#tuning,
      this.#random.fork(`r${id}`),
      this,
      bugs,
    )
    this.#rates.set(id, (950 + this.#random.below(101)) / 1000)
    this.#replicas.push(replica)
    replica.start(this.#localMs(replica))
  }

  #localMs(replica: TestReplica): number {
    return this.#nowMs * (this.#rates.get(replica.id) ?? 1)
  }

  /** Throws a Violation, or an InvariantError of the core, where something is wrong. */
  run(): void {
    for (let step = 0; step < STEPS; step++) {
      this.#nowMs += this.#random.below(12)
      this.#tickAll()
      this.#deliverDue()
      this.#input()
      this.#trouble()
    }
    this.#heal()
  }

  #settle(replica: TestReplica): void {
    replica.pump()
    const { node } = replica
    if (node?.role !== 'leader') return
    if (this.history.leads(replica, node.term) && this.#random.chance(this.#plan.shortReign)) {
      this.#crashAtMs.set(replica.id, this.#nowMs + this.#random.below(80))
    }
  }

  #isPaused(id: ReplicaId): boolean {
    return (this.#pausedUntilMs.get(id) ?? 0) > this.#nowMs
  }

  #tickAll(): void {
    for (const replica of this.#replicas) {
      const { node } = replica
      // Inputs may come before a tick that is due, above all after a pause.
      if (this.#isPaused(replica.id) || (!this.#healed && this.#random.chance(0.3))) continue
      if (node === null) {
        if ((this.#downUntilMs.get(replica.id) ?? 0) > this.#nowMs) continue
        replica.start(this.#localMs(replica))
        this.#settle(replica)
        continue
      }
      if (node.nextDeadlineMs() <= this.#localMs(replica)) {
        node.tick(this.#localMs(replica))
        this.#settle(replica)
      }
      const isSlow = !this.#healed && this.#random.chance(this.#plan.slowDisk)
      if (!isSlow) {
        replica.persist(this.#healed ? Number.POSITIVE_INFINITY : 1 + this.#random.below(3))
        replica.apply(this.#healed ? Number.POSITIVE_INFINITY : 1 + this.#random.below(8))
        replica.answerFetches()
        this.#settle(replica)
      }
    }
  }

  #deliverDue(): void {
    const due = this.#flights.filter((flight) => flight.dueMs <= this.#nowMs)
    if (due.length === 0) return
    this.#flights = this.#flights.filter((flight) => flight.dueMs > this.#nowMs)
    for (const { message } of due.sort((a, b) => a.dueMs - b.dueMs)) this.#deliver(message)
  }

  #deliver(message: Message): void {
    const replica = this.#replica(message.to)
    if (this.#isPaused(message.to)) {
      const dueMs = (this.#pausedUntilMs.get(message.to) ?? 0) + this.#random.below(10)
      this.#flights.push({ message, dueMs })
      return
    }
    const isCut = this.#side.get(message.from) !== this.#side.get(message.to)
    const isLost = replica.node === null || (!this.#healed && isCut)
    if (!isLost) {
      replica.node?.step(message, this.#localMs(replica))
      this.#settle(replica)
    }
    if (message.kind === 'snapshot') {
      const sender = this.#replica(message.from)
      sender.node?.snapshotReported(message.to, !isLost, message.mark.index)
      this.#settle(sender)
    }
  }

  #replica(id: ReplicaId): TestReplica {
    return this.#replicas[id - 1] as TestReplica
  }

  /** What clients and operators do. */
  #input(): void {
    const random = this.#random
    const replica = random.pick(this.#replicas)
    const { node } = replica
    if (node === null || this.#isPaused(replica.id)) return
    const nowMs = this.#localMs(replica)
    if (random.chance(0.6)) node.propose(this.#data(), nowMs)
    if (random.chance(0.5)) {
      const index = node.leaseRead(nowMs)
      if (index !== null) this.history.reads(replica, index, this.history.appliedLast)
    }
    if (random.chance(0.3)) {
      const context = this.#reads.size + 1
      this.#reads.set(context, this.history.appliedLast)
      node.readIndex(context, nowMs)
    }
    if (random.chance(this.#plan.transfer)) {
      node.transferLeader(random.pick(this.#replicas).id, nowMs)
    }
    if (random.chance(this.#plan.change)) node.proposeChange(this.#steps(node.config), nowMs)
    if (random.chance(0.01)) node.campaign(nowMs)
    if (random.chance(0.01)) node.unreachable(random.pick(this.#replicas).id)
    if (random.chance(this.#plan.purge) && replica.takeCheckpoint()) {
      if (random.chance(0.5)) replica.store.purge(replica.checkpoint.index)
      replica.store.memoryFrom = random.below(replica.checkpoint.index + 1)
    }
    this.#settle(replica)
  }

  #data(): Uint8Array {
    const data = new Uint8Array(4 + this.#random.below(60))
    new DataView(data.buffer).setUint32(0, ++this.#proposals)
    return data
  }

  /** From `config` to any other, even one that shares no voter with it. */
  #steps(config: Configuration): ConfigChangeStep[] {
    const random = this.#random
    const steps: ConfigChangeStep[] = []
    for (const { id: replica } of this.#replicas) {
      const action = random.pick(['add-voter', 'add-voter', 'add-learner', 'remove'] as const)
      const isVoter = config.voters.includes(replica)
      const isLearner = config.learners.includes(replica)
      if (action === 'add-voter' ? isVoter : action === 'add-learner' ? isLearner : false) continue
      if (action === 'remove' && !isVoter && !isLearner) continue
      if (random.chance(0.8)) steps.push({ action, replica })
    }
    return steps
  }

  #trouble(): void {
    const random = this.#random
    if (random.chance(this.#plan.crash)) {
      const all = random.chance(0.1)
      for (const replica of all ? this.#replicas : [this.#victim()]) this.#crash(replica)
    }
    for (const [id, atMs] of this.#crashAtMs) {
      if (atMs <= this.#nowMs) this.#crash(this.#replica(id))
    }
    if (random.chance(this.#plan.pause)) {
      this.#pausedUntilMs.set(this.#victim().id, this.#nowMs + random.below(1200))
    }
    if (!random.chance(this.#plan.partition)) return
    this.#side = new Map()
    if (random.chance(0.4)) return
    for (const { id } of this.#replicas) this.#side.set(id, random.below(2))
  }

  #crash(replica: TestReplica): void {
    const isTorn = this.#random.chance(0.5)
    replica.crash(isTorn ? this.#random.below(4) : null)
    this.#crashAtMs.delete(replica.id)
    this.#downUntilMs.set(replica.id, this.#nowMs + this.#random.below(400))
  }

  /** Leaders more often than others. */
  #victim(): TestReplica {
    const leader = this.#replicas.find((replica) => replica.node?.role === 'leader')
    const any = this.#random.pick(this.#replicas)
    return leader !== undefined && this.#random.chance(0.4) ? leader : any
  }

  /** No more trouble: a leader, progress, and everybody of the group at the same place. */
  #heal(): void {
    this.#healed = true
    this.#downUntilMs.clear()
    this.#pausedUntilMs.clear()
    const untilMs = this.#nowMs + HEAL_MS
    const before = this.history.appliedLast
    while (this.#nowMs < untilMs) {
      this.#nowMs += 5
      this.#tickAll()
      this.#deliverDue()
      const leader = this.#replicas.find((replica) => replica.node?.role === 'leader')
      if (leader === undefined || leader.node === null) continue
      if (this.history.appliedLast <= before + 1 && this.#random.chance(0.1)) {
        leader.node.propose(this.#data(), this.#localMs(leader))
        this.#settle(leader)
      }
      if (this.history.appliedLast > before + 1 && this.#agrees(leader)) return
    }
    throw new Violation('liveness: no progress after everything has healed')
  }

  #agrees(leader: TestReplica): boolean {
    const status = leader.node?.status()
    if (status?.isQuiescent !== true) return false
    const members = membersOf(status.config).map((id) => this.#replica(id))
    return members.every((replica) => replica.node?.status().applied === status.applied)
  }

  // --- events of replicas

  sent(message: Message): void {
    const random = this.#random
    const copies = this.#healed || !random.chance(this.#plan.doubled) ? 1 : 2
    for (let i = 0; i < copies; i++) {
      // A host always hears how the transfer of a state ended, so that one is lost on arrival only.
      const mayBeLost = !this.#healed && message.kind !== 'snapshot'
      if (mayBeLost && random.chance(this.#plan.loss)) continue
      const isLate = !this.#healed && random.chance(this.#plan.late)
      const delayMs = 1 + random.below(isLate ? 1500 : 15)
      this.#flights.push({ message, dueMs: this.#nowMs + delayMs })
    }
  }

  writes(replica: TestReplica, ready: Ready): void {
    replica.autoPersist = false
    replica.autoApply = false
    replica.autoFetch = false
    this.history.writes(replica, ready)
  }

  applied(replica: TestReplica, entry: Entry): void {
    this.history.applies(replica, entry)
  }

  installed(replica: TestReplica, mark: SnapshotMark): void {
    if (mark.index < replica.machineIndex) {
      throw new Violation(`install: ${replica.id} goes back to ${mark.index}`)
    }
    this.history.configured(replica, mark.config)
  }

  configured(replica: TestReplica, config: Configuration): void {
    this.history.configured(replica, config)
  }

  read(replica: TestReplica, context: number, index: number): void {
    this.history.reads(replica, index, this.#reads.get(context) ?? 0)
  }

  readDropped(): void {}

  fetchWanted(_: TestReplica, fetch: Fetch): void {
    if (fetch.bytesMax <= 0) throw new Violation('a fetch of nothing')
  }
}
