// Owns the copyset hosts that run now, one for each living process, and what the nemesis and the checkers
// want of their replicas: who leads, how each looks, and whether a log still has all that it promised.
// Invariant: nothing of an earlier life is shown; a view of a replica is made once.

import { must } from '../base/assert.ts'
import type { Prng } from '../base/prng.ts'
import type { CopysetHost } from '../copyset/host.ts'
import type { Replica } from '../copyset/replica.ts'
import type { GroupId } from '../copyset/replica-id.ts'
import { membersOf } from '../raft/configuration.ts'
import type { RaftLog } from '../raftlog/raftlog.ts'
import type { ObservedReplica } from './checkers.ts'
import type { SimHost } from './host.ts'
import { DurableMarks, LogPromises } from './promises.ts'
import { ReplicaView } from './replica-view.ts'

/** What runs on a host has a copyset host. */
export interface Server {
  readonly host: CopysetHost
}

export interface CopysetLivesOptions {
  /** On which such processes can run. */
  readonly hosts: readonly SimHost[]
  /** Of a state, to be compared at each entry; of all replicas at rest without. */
  readonly digest?: (replica: Replica) => Promise<number> | null
  /** Whether the checkers see it; all without. */
  readonly isInService?: (replica: Replica) => boolean
}

interface Life<S extends Server> {
  readonly generation: number
  readonly server: S
  readonly views: Map<Replica, ObservedReplica>
}

export interface Leader {
  readonly host: CopysetHost
  readonly replica: Replica
}

export class CopysetLives<S extends Server> {
  readonly #options: CopysetLivesOptions
  readonly #lives = new Map<SimHost, Life<S>>()
  readonly #marks = new DurableMarks()
  readonly #promises: ReadonlyMap<SimHost, LogPromises>

  constructor(options: CopysetLivesOptions) {
    this.#options = options
    const { hosts } = options
    this.#promises = new Map(hosts.map((host) => [host, new LogPromises(host, this.#marks)]))
  }

  /** False when the log, just opened, must not be used: its disk is to be replaced. */
  isFit(host: SimHost, log: RaftLog): boolean {
    return must(this.#promises.get(host), 'promises of each host').opened(log)
  }

  /** That life of the host has come so far that its replicas can be looked at. */
  began(host: SimHost, generation: number, server: S): void {
    this.#lives.set(host, { generation, server, views: new Map() })
  }

  // --- what runs now

  *alive(): Iterable<readonly [SimHost, S]> {
    for (const [host, { generation, server }] of this.#lives) {
      if (host.generation === generation) yield [host, server]
    }
  }

  *replicas(): Iterable<readonly [SimHost, Replica]> {
    for (const [host, server] of this.alive()) {
      for (const replica of server.host.replicas()) yield [host, replica]
    }
  }

  /** Hosts whose log can't be used any more. */
  *withBadLogs(): Iterable<SimHost> {
    for (const [host, server] of this.alive()) {
      if (server.host.log.condition !== 'sound') yield host
    }
  }

  /** Of several that say so, the one of the latest term. */
  leaderOf(group: GroupId): Leader | null {
    let best: Leader | null = null
    for (const [, { host }] of this.alive()) {
      const replica = host.replica(group)
      if (replica === undefined || !replica.isLeader) continue
      if (best === null || replica.term > best.replica.term) best = { host, replica }
    }
    return best
  }

  // --- what the checkers see

  *observe(name?: string): Iterable<ObservedReplica> {
    const { digest, isInService } = this.#options
    for (const [host, { generation, server, views }] of this.#lives) {
      if (host.generation !== generation || (name ?? host.name) !== host.name) continue
      for (const replica of server.host.replicas()) {
        if (isInService?.(replica) === false) continue
        let view = views.get(replica)
        if (view === undefined) {
          view = new ReplicaView(host.name, generation, replica, this.#marks, digest)
          views.set(replica, view)
        }
        yield view
      }
    }
  }

  // --- what the nemesis asks for

  transferLeader(group: GroupId, random: Prng): void {
    const leader = this.leaderOf(group)
    if (leader === null) return
    leader.replica.transferLeader(random.pick(leader.replica.membership.voters))
  }

  /** A state that its receiver may no longer need, or be past, by the time it is there. */
  sendSnapshot(group: GroupId, random: Prng): void {
    const leader = this.leaderOf(group)
    if (leader === null) return
    const { host, replica } = leader
    const others = membersOf(replica.membership).filter((id) => id !== replica.id)
    if (others.length > 0) host.sendSnapshot(replica, random.pick(others))
  }
}
