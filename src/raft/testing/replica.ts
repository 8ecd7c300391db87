// Owns a host of one replica for tests: a driver that follows the contract in node.ts, with a disk
// that can be slow, a state machine that can be slow, and crashes. Invariant: it never does in an
// order what the contract forbids, so whatever goes wrong above it is the core's fault.

import type { Random } from '../../env/random.ts'
import { NO_CONFIGURATION } from '../configuration.ts'
import type { RaftOptions } from '../core.ts'
import { RaftNode } from '../node.ts'
import type {
  Configuration,
  Entry,
  Fetch,
  HardState,
  Message,
  RaftBug,
  Ready,
  ReplicaId,
  SnapshotMark,
} from '../types.ts'
import { MemoryStore } from './memory-store.ts'

export interface ReplicaEvents {
  sent(message: Message): void
  /** Something about to be made durable. */
  writes(replica: TestReplica, ready: Ready): void
  applied(replica: TestReplica, entry: Entry): void
  installed(replica: TestReplica, mark: SnapshotMark): void
  configured(replica: TestReplica, config: Configuration): void
  read(replica: TestReplica, context: number, index: number): void
  readDropped(replica: TestReplica, context: number): void
  fetchWanted(replica: TestReplica, fetch: Fetch): void
}

export type Tuning = Pick<
  RaftOptions,
  | 'electionTimeoutMs'
  | 'heartbeatIntervalMs'
  | 'clockDriftPermille'
  | 'appendBytesMax'
  | 'inflightBytesMax'
  | 'inflightMessagesMax'
  | 'uncommittedBytesMax'
  | 'committedBytesMax'
>

export interface Birth {
  readonly hardState: HardState
  readonly entries: readonly Entry[]
  /** What the machine starts with; the log may hold entries from its index on. */
  readonly mark: SnapshotMark
}

/** A replica that joins a group it knows nothing of. */
export const NEWCOMER: Birth = {
  hardState: { term: 0, vote: 0, commit: 0 },
  entries: [],
  mark: { index: 0, term: 0, config: NO_CONFIGURATION },
}

export function founder(config: Configuration): Birth {
  return {
    hardState: { term: 1, vote: 0, commit: 1 },
    entries: [],
    mark: { index: 1, term: 1, config },
  }
}

export class TestReplica {
  readonly id: ReplicaId
  readonly store: MemoryStore
  node: RaftNode | null = null
  autoPersist = true
  autoApply = true
  autoFetch = true
  /** The machine's durable state. */
  checkpoint: SnapshotMark
  /** The machine's state holds everything up to here. */
  machineIndex: number
  readonly #events: ReplicaEvents
  readonly #tuning: Tuning
  readonly #random: Random
  readonly #bugs: ReadonlySet<RaftBug>
  #starts = 0
  #writes: Ready[] = []
  #toApply: Entry[] = []
  fetches: ReplicaId[] = []

  constructor(
    id: ReplicaId,
    birth: Birth,
    tuning: Tuning,
    random: Random,
    events: ReplicaEvents,
    bugs: ReadonlySet<RaftBug> = new Set(),
  ) {
    this.id = id
    this.checkpoint = birth.mark
    this.machineIndex = birth.mark.index
    this.store = new MemoryStore(birth.hardState, birth.mark, birth.entries)
    this.#events = events
    this.#tuning = tuning
    this.#random = random
    this.#bugs = bugs
  }

  get writesPending(): number {
    return this.#writes.length
  }

  start(nowMs: number): void {
    const isFresh = this.#starts++ === 0
    this.machineIndex = this.checkpoint.index
    this.node = new RaftNode({
      ...this.#tuning,
      id: this.id,
      random: this.#random.fork(`start ${this.#starts}`),
      store: this.store,
      hardState: this.store.hardState,
      config: this.checkpoint.config,
      appliedIndex: this.checkpoint.index,
      nowMs,
      mayVoteFromMs: isFresh ? nowMs : nowMs + this.#tuning.electionTimeoutMs,
      snapshotMark: () => this.checkpoint,
      bugs: this.#bugs,
    })
  }

  /** `tornEntries` of the oldest write, after all that it has besides, became durable just so. */
  crash(tornEntries: number | null = null): void {
    const torn = this.#writes[0]
    if (tornEntries !== null && torn !== undefined && torn.snapshot === null) {
      this.store.sync({ ...torn, entries: torn.entries.slice(0, tornEntries) })
    }
    this.node = null
    this.#writes = []
    this.#toApply = []
    this.fetches = []
    this.store.crash()
  }

  /** Handles every Ready, as far as disk and machine are not held up. */
  pump(): void {
    while (this.node?.hasReady() === true) this.#handle(this.node, this.node.ready())
  }

  #handle(node: RaftNode, ready: Ready): void {
    for (const message of ready.messages) this.#events.sent(message)
    if (ready.snapshot !== null) {
      this.#toApply = []
      this.#events.installed(this, ready.snapshot)
      this.machineIndex = ready.snapshot.index
    }
    this.store.write(ready)
    this.#events.writes(this, ready)
    this.#writes.push(ready)
    if (this.autoPersist) this.persist(Number.POSITIVE_INFINITY)
    this.#toApply.push(...ready.committed)
    if (this.autoApply) this.apply(Number.POSITIVE_INFINITY)
    for (const { context, index } of ready.readStates) this.#events.read(this, context, index)
    for (const context of ready.readsDropped) this.#events.readDropped(this, context)
    for (const fetch of ready.fetches) {
      this.#events.fetchWanted(this, fetch)
      if (this.autoFetch) this.store.memoryFrom = Math.min(this.store.memoryFrom, fetch.from)
      if (this.autoFetch) node.fetched(fetch.replica)
      else this.fetches.push(fetch.replica)
    }
  }

  /** The oldest `count` writes become durable. */
  persist(count: number): void {
    for (let i = 0; i < count; i++) {
      const ready = this.#writes.shift()
      if (ready === undefined || this.node === null) return
      this.store.sync(ready)
      if (ready.snapshot !== null) this.checkpoint = ready.snapshot
      for (const message of ready.messagesAfterPersist) this.#events.sent(message)
      this.node.persisted(ready)
    }
  }

  apply(count: number): void {
    for (let i = 0; i < count; i++) {
      const entry = this.#toApply.shift()
      if (entry === undefined || this.node === null) return
      this.#events.applied(this, entry)
      this.machineIndex = entry.index
      const { config } = this.node
      this.node.applied(entry.index)
      if (this.node.config !== config) this.#events.configured(this, this.node.config)
    }
  }

  /** Makes the machine durable, if the log under it is; true if it is now. */
  takeCheckpoint(): boolean {
    if (this.node === null) return false
    const { applied, config } = this.node.status()
    const term = this.store.term(applied)
    if (term === undefined || !this.store.hasDurably(applied)) return false
    if (applied < this.checkpoint.index || this.#writes.some((ready) => ready.snapshot !== null)) {
      return false
    }
    this.checkpoint = { index: applied, term, config }
    return true
  }

  /** Everything asked for has been read from the disk. */
  answerFetches(): void {
    this.store.memoryFrom = 0
    for (const replica of this.fetches.splice(0)) this.node?.fetched(replica)
  }
}
