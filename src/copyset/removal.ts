// Owns how a removed replica comes to its end. It may go only when a majority of the voters of a
// configuration without it have applied that configuration: until then they may still need its vote
// to leave the joint phase. So whoever hears a stranger asks all voters, each that has applied such a
// configuration tells the stranger so, and the stranger counts.

import type { ReplicaId } from '../raft/types.ts'
import type { Replica } from './replica.ts'
import type { HostNote } from './wire.ts'

type NotMember = Extract<HostNote, { kind: 'not-member' }>

interface Tally {
  epoch: number
  readonly voters: Set<ReplicaId>
}

export class Removal {
  readonly #askEveryMs: number
  readonly #tallies = new Map<Replica, Tally>()
  readonly #askedMs = new Map<Replica, number>()

  /** A replica that knows of its removal asks this often whether it may end. */
  constructor(askEveryMs: number) {
    this.#askEveryMs = askEveryMs
  }

  /** What `replica` asks the voters about `stranger`, by the configuration applied here. */
  questions(replica: Replica, stranger: ReplicaId): HostNote[] {
    const { id: from, term } = replica
    const others = replica.membership.voters.filter((voter) => voter !== from)
    return others.map((to) => ({ kind: 'stranger', from, to, term, stranger }))
  }

  /** Questions of a replica that has applied its own removal, when it is time to ask. */
  ownQuestions(replica: Replica, nowMs: number): HostNote[] {
    if (!replica.isRemoved) return []
    if (nowMs - (this.#askedMs.get(replica) ?? Number.NEGATIVE_INFINITY) < this.#askEveryMs)
      return []
    this.#askedMs.set(replica, nowMs)
    return this.questions(replica, replica.id)
  }

  /** A voter's word to the stranger; null while its own configuration is joint or has the stranger. */
  answer(replica: Replica, stranger: ReplicaId): HostNote | null {
    const { epoch, voters, outgoing } = replica.membership
    if (epoch === 0 || outgoing.length > 0 || replica.knows(stranger)) return null
    if (!voters.includes(replica.id)) return null
    const { id: from, term } = replica
    return { kind: 'not-member', from, to: stranger, term, epoch, voterCount: voters.length }
  }

  /** Counts a voter's word; true when the replica may end. */
  mayEnd(replica: Replica, note: NotMember): boolean {
    const { epoch, voterCount, from } = note
    const isNews = epoch > replica.epoch || (epoch === replica.epoch && replica.isRemoved)
    if (!isNews || epoch <= replica.createdEpoch) return false
    let tally = this.#tallies.get(replica)
    if (tally === undefined || tally.epoch < epoch) {
      tally = { epoch, voters: new Set() }
      this.#tallies.set(replica, tally)
    }
    if (epoch === tally.epoch) tally.voters.add(from)
    return tally.voters.size > voterCount / 2
  }

  forget(replica: Replica): void {
    this.#tallies.delete(replica)
    this.#askedMs.delete(replica)
  }
}
