// Owns one group of replicas under a script's control: virtual time, a network whose messages wait
// until the script delivers or loses them, and the trace of what happened. Every event is one line.

import { must } from '../../base/assert.ts'
import { Prng } from '../../base/prng.ts'
import type {
  Configuration,
  Entry,
  Message,
  RaftBug,
  Ready,
  ReplicaId,
  SnapshotMark,
} from '../types.ts'
import {
  type Birth,
  founder,
  NEWCOMER,
  type ReplicaEvents,
  TestReplica,
  type Tuning,
} from './replica.ts'
import { showConfig, showEntry, showMessage, showWrite } from './trace.ts'

/** A livelock in a script ends here instead of running for ever. */
const DELIVERIES_MAX = 10_000

export type MessageFilter = (message: Message) => boolean

export class ScriptGroup implements ReplicaEvents {
  readonly replicas = new Map<ReplicaId, TestReplica>()
  readonly #random = new Prng(1)
  readonly #roles = new Map<ReplicaId, string>()
  tuning: Tuning = {
    electionTimeoutMs: 1000,
    heartbeatIntervalMs: 100,
    clockDriftPermille: 100,
    appendBytesMax: 1000,
    inflightBytesMax: 4000,
    inflightMessagesMax: 8,
    uncommittedBytesMax: 100_000,
    committedBytesMax: 100_000,
  }
  /** Planted in replicas added from then on. */
  bugs: readonly RaftBug[] = []
  nowMs = 0
  queue: Message[] = []
  /** Pairs, as 'from>to', between which nothing arrives. */
  readonly #cut = new Set<string>()
  lines: string[] = []
  /** Leaves out messages and writes. */
  isBrief = false
  /** Leaves out messages of these kinds. */
  hidden: readonly string[] = []

  add(id: ReplicaId, birth: Birth): TestReplica {
    const random = this.#random.fork(`replica ${id}`)
    const replica = new TestReplica(id, birth, this.tuning, random, this, new Set(this.bugs))
    this.replicas.set(id, replica)
    replica.start(this.nowMs)
    this.#noteRole(replica)
    return replica
  }

  addFounder(id: ReplicaId, config: Configuration): void {
    this.add(id, founder(config))
  }

  addNewcomer(id: ReplicaId): void {
    this.add(id, NEWCOMER)
  }

  replica(id: ReplicaId): TestReplica {
    return must(this.replicas.get(id), `replica ${id}`)
  }

  /** Lets what an input caused take its course, up to the network. */
  settle(replica: TestReplica): void {
    this.#noteRole(replica)
    replica.pump()
    this.#noteRole(replica)
  }

  #noteRole(replica: TestReplica): void {
    const { node, id } = replica
    if (node === null) return
    const leader = node.role !== 'follower' ? '' : node.leader === 0 ? '' : ` of ${node.leader}`
    const role = `${node.role}${leader} t${node.term}`
    if (this.#roles.get(id) === role) return
    if (this.#roles.has(id)) this.note(`${id} is ${role}`)
    this.#roles.set(id, role)
  }

  note(line: string): void {
    this.lines.push(line)
  }

  detail(line: string): void {
    if (!this.isBrief) this.lines.push(line)
  }

  /** Hands over waiting messages that match, and those they cause, oldest first. */
  deliver(matches: MessageFilter, countMax: number): void {
    let count = 0
    for (let at = this.queue.findIndex(matches); at >= 0; at = this.queue.findIndex(matches)) {
      if (count === countMax) return
      if (++count > DELIVERIES_MAX) throw new Error('the messages never end')
      const [message] = this.queue.splice(at, 1) as [Message]
      this.#deliverOne(message)
    }
  }

  #deliverOne(message: Message): void {
    const replica = this.replicas.get(message.to)
    const isCut = this.#cut.has(`${message.from}>${message.to}`)
    if (isCut || replica === undefined || replica.node === null) {
      this.#detailOf(message, ' -- lost')
      return
    }
    this.#detailOf(message, '')
    replica.node.step(message, this.nowMs)
    this.settle(replica)
  }

  drop(matches: MessageFilter): void {
    for (const message of this.queue.filter(matches)) this.#detailOf(message, ' -- lost')
    this.queue = this.queue.filter((message) => !matches(message))
  }

  #detailOf(message: Message, fate: string): void {
    if (!this.hidden.includes(message.kind)) this.detail(showMessage(message) + fate)
  }

  cut(from: ReplicaId, to: ReplicaId): void {
    this.#cut.add(`${from}>${to}`)
  }

  heal(): void {
    this.#cut.clear()
  }

  /** Passes time, with every deadline on the way; `delivers` empties the network at each. */
  pass(durationMs: number, delivers: boolean): void {
    const endMs = this.nowMs + durationMs
    if (delivers) this.deliver(() => true, Number.POSITIVE_INFINITY)
    for (;;) {
      let nextMs = endMs
      for (const { node } of this.replicas.values()) {
        if (node !== null) nextMs = Math.min(nextMs, node.nextDeadlineMs())
      }
      this.nowMs = Math.max(this.nowMs, nextMs)
      let ticked = false
      for (const replica of this.replicas.values()) {
        if (replica.node === null || replica.node.nextDeadlineMs() > this.nowMs) continue
        ticked = true
        replica.node.tick(this.nowMs)
        this.settle(replica)
      }
      if (delivers) this.deliver(() => true, Number.POSITIVE_INFINITY)
      if (!ticked && this.nowMs >= endMs) return
    }
  }

  // --- events of replicas

  sent(message: Message): void {
    this.queue.push(message)
  }

  writes(replica: TestReplica, ready: Ready): void {
    const written = showWrite(ready)
    if (written !== null) this.detail(`${replica.id} writes ${written}`)
  }

  applied(replica: TestReplica, entry: Entry): void {
    this.note(`${replica.id} applies ${showEntry(entry)}`)
  }

  installed(replica: TestReplica, mark: SnapshotMark): void {
    this.note(`${replica.id} installs the state at ${mark.index}, ${showConfig(mark.config)}`)
  }

  configured(replica: TestReplica, config: Configuration): void {
    this.note(`${replica.id} has ${showConfig(config)}`)
  }

  read(replica: TestReplica, context: number, index: number): void {
    this.note(`${replica.id} may read ${context} at ${index}`)
  }

  readDropped(replica: TestReplica, context: number): void {
    this.note(`${replica.id} cannot answer read ${context}`)
  }

  fetchWanted(replica: TestReplica, fetch: { replica: ReplicaId; from: number }): void {
    this.note(`${replica.id} fetches from ${fetch.from} for ${fetch.replica}`)
  }
}
