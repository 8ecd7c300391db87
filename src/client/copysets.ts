// Owns what a client knows about copysets: their members, and who leads in which term. A leader is
// learned from refusals, else by asking the members, else (who the members are) from the MDS.
// Invariant: terms never go back, so that an old member's memory can't displace what is newer. A term
// counts when somebody was elected in it: a candidate that dies may take its own with it, and the leader
// before goes on in a lower one. Nobody asks in a tight loop: between two rounds about one copyset lies
// a pause.

import type { Timer } from '../env/clock.ts'
import type { Env } from '../env/env.ts'
import { type CopysetLeader, decodeCopysetLeader, encodeGroup } from '../format/chunk-replies.ts'
import { LOCATE_COPYSETS } from '../format/control/mds.ts'
import { METHODS } from '../format/methods.ts'
import type { ClientConfig } from './config.ts'
import { type MdsCaller, orNull } from './mds-caller.ts'
import type { Server, Servers } from './servers.ts'

/** Who waits for a leader. */
export interface LeaderWaiter {
  leaderFound(): void
  /** A round has found none; false stops waiting. */
  leaderMissing(): boolean
}

/** Refusals that name another leader are followed so often; then the members are asked. */
const HOPS_MAX = 3

/** As many groups as one call may ask for. */
const LOCATED_AT_ONCE_MAX = 4096

export class Copyset {
  readonly group: number
  members: readonly Server[] = []
  leader: Server | null = null
  /** The newest in which anybody was said to lead. */
  term = 0
  /** Since a request to the leader failed, until one succeeds. */
  leaderMayChange = false
  /** Followed refusals since the last success. */
  hops = 0
  /** The leader that failed, and its term: believed again only when it says so itself. */
  failed: Server | null = null
  failedTerm = 0
  readonly waiters: LeaderWaiter[] = []
  isSearching = false
  timer: Timer | null = null
  askedMs = Number.NEGATIVE_INFINITY
  locatedMs = Number.NEGATIVE_INFINITY
  /** A member denied being one, or an unknown one is named. */
  hasMoved = false

  constructor(group: number) {
    this.group = group
  }
}

export class Copysets {
  readonly #env: Env
  readonly #config: ClientConfig
  readonly #mds: MdsCaller
  readonly #servers: Servers
  readonly #copysets = new Map<number, Copyset>()
  /** To be located in one call at the end of this turn. */
  #unlocated: Copyset[] = []

  constructor(env: Env, config: ClientConfig, mds: MdsCaller, servers: Servers) {
    this.#env = env
    this.#config = config
    this.#mds = mds
    this.#servers = servers
    servers.onUnstable = (server) => this.#distrust(server)
  }

  get(group: number): Copyset {
    let copyset = this.#copysets.get(group)
    if (copyset === undefined) {
      copyset = new Copyset(group)
      this.#copysets.set(group, copyset)
    }
    return copyset
  }

  /** Looks for a leader for `waiter`, who hears of it later. */
  find(copyset: Copyset, waiter: LeaderWaiter): void {
    copyset.waiters.push(waiter)
    if (copyset.isSearching) return
    copyset.isSearching = true
    this.#pause(copyset)
  }

  /** A request to the leader succeeded. */
  confirmed(copyset: Copyset): void {
    copyset.leaderMayChange = false
    copyset.hops = 0
    copyset.failed = null
  }

  /** `server` did not answer as the leader of `term`. */
  failed(copyset: Copyset, server: Server, term: number): void {
    copyset.leaderMayChange = true
    if (copyset.leader !== server || copyset.term !== term) return
    copyset.leader = null
    copyset.failed = server
    copyset.failedTerm = term
  }

  /** `server` said that it does not lead in `term`, and who does as far as it knows. */
  denied(copyset: Copyset, server: Server, term: number, leader: number, newTerm: number): void {
    if (copyset.leader === server && copyset.term === term) copyset.leader = null
    if (copyset.leader !== null) return
    if (++copyset.hops <= HOPS_MAX) this.#learn(copyset, server, leader, newTerm)
  }

  /** The members are others than those known here. */
  moved(copyset: Copyset): void {
    copyset.leader = null
    copyset.hasMoved = true
  }

  // --- the search

  /** Begins a round, not sooner after the last one than the configuration says. */
  #pause(copyset: Copyset): void {
    const leftMs = copyset.askedMs + this.#pollMs() - this.#env.clock.monotonicMs()
    if (leftMs > 0) this.#later(copyset, leftMs, () => this.#round(copyset))
    else this.#round(copyset)
  }

  /** One timer for each copyset: what was planned before is forgotten. */
  #later(copyset: Copyset, delayMs: number, work: () => void): void {
    copyset.timer?.cancel()
    copyset.timer = this.#env.clock.after(delayMs, work)
  }

  #pollMs(): number {
    const { leaderPollMinMs, leaderPollMaxMs } = this.#config
    return this.#env.random.between(leaderPollMinMs, leaderPollMaxMs)
  }

  /** Rounds follow each other whether all have answered or not: one that is dead answers late. */
  #round(copyset: Copyset): void {
    if (copyset.leader !== null) {
      this.#found(copyset)
      return
    }
    const nowMs = this.#env.clock.monotonicMs()
    const { relocateMs, retryPauseMs } = this.#config
    const believedMs = copyset.hasMoved ? retryPauseMs : relocateMs
    if (nowMs - copyset.locatedMs >= believedMs) this.#locate(copyset)
    this.#askMembers(copyset)
    this.#later(copyset, this.#pollMs(), () => this.#missed(copyset))
  }

  #askMembers(copyset: Copyset): void {
    copyset.askedMs = this.#env.clock.monotonicMs()
    const question = encodeGroup(copyset.group)
    for (const member of copyset.members) {
      const { leaderAskMs } = this.#config
      member.rpc.call(METHODS.COPYSET_LEADER, question, null, leaderAskMs, (error, reply) => {
        if (reply !== null) this.#answered(copyset, member, reply.body)
        else if (error?.code === 'NO_SUCH_GROUP') this.moved(copyset)
      })
    }
  }

  #answered(copyset: Copyset, member: Server, body: Uint8Array): void {
    this.#servers.answered(member)
    const answer = leaderIn(body)
    if (answer === null) return
    if (copyset.leader === null) this.#learn(copyset, member, answer.leader, answer.term)
    if (copyset.leader !== null && copyset.isSearching) this.#found(copyset)
  }

  /** Takes a leader that was named by `witness`, if it is one to try. */
  #learn(copyset: Copyset, witness: Server, leader: number, term: number): void {
    if (term < copyset.term || leader === 0) return
    copyset.term = term
    const server = copyset.members.find((member) => member.id === leader)
    if (server === undefined) {
      this.moved(copyset)
      return
    }
    if (server === copyset.failed && term === copyset.failedTerm) {
      // Others name a leader that is gone until they elect a new one: only its own word counts.
      if (witness !== server) return
      // It leads as before and is slow: repeating every second would make it slower.
      copyset.leaderMayChange = false
    } else if (server.isDown) return
    copyset.leader = server
  }

  #found(copyset: Copyset): void {
    copyset.isSearching = false
    copyset.timer?.cancel()
    for (const waiter of copyset.waiters.splice(0)) waiter.leaderFound()
  }

  #missed(copyset: Copyset): void {
    const waiters = copyset.waiters.splice(0)
    for (const waiter of waiters) if (waiter.leaderMissing()) copyset.waiters.push(waiter)
    if (copyset.waiters.length === 0) copyset.isSearching = false
    else this.#round(copyset)
  }

  #distrust(server: Server): void {
    for (const copyset of this.#copysets.values()) {
      if (copyset.leader === server) this.failed(copyset, server, copyset.term)
    }
  }

  // --- members, from the MDS

  /** With all others that are asked for in this turn. */
  #locate(copyset: Copyset): void {
    copyset.locatedMs = this.#env.clock.monotonicMs()
    this.#unlocated.push(copyset)
    if (this.#unlocated.length > 1) return
    this.#env.clock.soon(() => {
      const copysets = this.#unlocated
      this.#unlocated = []
      for (let at = 0; at < copysets.length; at += LOCATED_AT_ONCE_MAX) {
        void this.#locateAll(copysets.slice(at, at + LOCATED_AT_ONCE_MAX))
      }
    })
  }

  async #locateAll(copysets: readonly Copyset[]): Promise<void> {
    const groups = copysets.map((copyset) => copyset.group)
    const options = { isRepeatable: true, patienceMs: this.#config.relocateMs }
    const reply = await this.#mds.ask(LOCATE_COPYSETS, { groups }, options).catch(orNull)
    const located = new Map(reply?.copysets.map((copyset) => [copyset.group, copyset]))
    for (const copyset of copysets) {
      const members = located.get(copyset.group)?.members ?? []
      if (members.length === 0) continue
      const isFirst = copyset.members.length === 0
      copyset.hasMoved = false
      copyset.members = members.map((member) =>
        this.#servers.at(member.chunkserver, member.address),
      )
      if (isFirst && copyset.isSearching) this.#askMembers(copyset)
    }
  }
}

function leaderIn(body: Uint8Array): CopysetLeader | null {
  try {
    return decodeCopysetLeader(body)
  } catch (error) {
    return orNull(error)
  }
}
