// Owns a leader's table of followers and what quorums of them have reached: the match that commits,
// the heartbeat round that proves leadership, the time since when a quorum was silent.
// Invariant: every member of the configuration but the leader itself has one Progress.

import { isVoter, membersOf } from './configuration.ts'
import { Inflight, Progress } from './progress.ts'
import { majorityValue } from './quorum.ts'
import { type Configuration, type ReplicaId } from './types.ts'

export interface MembersLimits {
  readonly inflightMessagesMax: number
  readonly inflightBytesMax: number
  /** The canary 'no-joint-quorum'. */
  readonly ignoreOutgoing: boolean
}

type Measure = 'match' | 'ackedRound' | 'activeMs'

export class Members {
  /** The leader's own: `match` is what its disk has; it always hears itself. */
  readonly self: Progress
  /** Everybody else, by ascending id. */
  peers: readonly Progress[] = []
  readonly #limits: MembersLimits
  readonly #byId = new Map<ReplicaId, Progress>()
  #voters: Progress[] = []
  #outgoing: Progress[] = []
  #isSelfEnough = false
  readonly #scratch: number[] = []

  constructor(self: ReplicaId, limits: MembersLimits) {
    this.#limits = limits
    this.self = new Progress(self, new Inflight(1, 1), 0, Number.POSITIVE_INFINITY)
    this.self.ackedRound = Number.POSITIVE_INFINITY
  }

  get(replica: ReplicaId): Progress | undefined {
    return this.#byId.get(replica)
  }

  /** Whether the leader is a quorum by itself. */
  get isSelfEnough(): boolean {
    return this.#isSelfEnough
  }

  /** Keeps what is known of those who stay; newcomers are probed from the end of the log. */
  configure(config: Configuration, lastIndex: number, nowMs: number): void {
    const ids = membersOf(config)
    for (const replica of this.#byId.keys()) {
      if (!ids.includes(replica)) this.#byId.delete(replica)
    }
    const peers: Progress[] = []
    for (const replica of ids) {
      if (replica === this.self.replica) continue
      let progress = this.#byId.get(replica)
      if (progress === undefined) {
        const { inflightMessagesMax, inflightBytesMax } = this.#limits
        const inflight = new Inflight(inflightMessagesMax, inflightBytesMax)
        progress = new Progress(replica, inflight, lastIndex + 1, nowMs)
        this.#byId.set(replica, progress)
      }
      peers.push(progress)
    }
    this.peers = peers
    this.#voters = this.#progressOf(config.voters)
    this.#outgoing = this.#progressOf(this.#limits.ignoreOutgoing ? [] : config.outgoing)
    const others = peers.some((peer) => isVoter(config, peer.replica))
    this.#isSelfEnough = !others && isVoter(config, this.self.replica)
  }

  #progressOf(replicas: readonly ReplicaId[]): Progress[] {
    return replicas.map((replica) =>
      replica === this.self.replica ? this.self : (this.#byId.get(replica) as Progress),
    )
  }

  /** The largest index that a quorum has durably. */
  quorumMatch(): number {
    return this.#quorum('match')
  }

  /**
   * The last heartbeat round that a quorum answered; Infinity if the leader is a quorum by itself.
   */
  quorumRound(): number {
    return this.#quorum('ackedRound')
  }

  /** Since when less than a quorum has been heard of. */
  quorumActiveMs(): number {
    return this.#quorum('activeMs')
  }

  #quorum(measure: Measure): number {
    const incoming = this.#majority(this.#voters, measure)
    if (this.#outgoing.length === 0) return incoming
    return Math.min(incoming, this.#majority(this.#outgoing, measure))
  }

  #majority(half: readonly Progress[], measure: Measure): number {
    const scratch = this.#scratch
    scratch.length = half.length
    for (let i = 0; i < half.length; i++) scratch[i] = (half[i] as Progress)[measure]
    return majorityValue(scratch)
  }
}
