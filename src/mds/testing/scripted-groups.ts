// Owns the truth about the Raft groups of scripted chunkservers: who the members are, who leads,
// and how a change goes step by step through its epochs. Stands in for Raft, which the MDS sees
// only by reports: epochs are odd when settled, a change adds learners first, and nothing goes on
// without a quorum.

import { quorumOf } from '../../placement/view.ts'

export interface Group {
  readonly id: number
  epoch: number
  voters: number[]
  /** The outgoing half of a joint phase. */
  outgoing: number[]
  learners: number[]
  term: number
  /** Replica id; 0 for none. */
  leader: number
  /** What the change under way still has to do; null without one. */
  goal: number[] | null
  /** Steps after which the leader gives the change up. */
  patience: number
}

const PATIENCE_STEPS = 100

/** What a replica must be able to do for its group to go on. */
export interface Liveness {
  /** The replica is there and serves. */
  isLive(group: number, replica: number): boolean
  /** Makes an empty one; false while its chunkserver is away. */
  make(group: number, replica: number, epoch: number): boolean
}

export class ScriptedGroups {
  readonly all = new Map<number, Group>()
  /** What must never happen, and did. */
  readonly wrongs: string[] = []
  readonly #liveness: Liveness

  constructor(liveness: Liveness) {
    this.#liveness = liveness
  }

  found(id: number, voters: readonly number[]): void {
    if (this.all.has(id)) return
    const founded: Group = {
      id,
      epoch: 1,
      voters: [...voters],
      outgoing: [],
      learners: [],
      term: 1,
      leader: 0,
      goal: null,
      patience: 0,
    }
    this.all.set(id, founded)
  }

  /** An order to the leader; one that does not fit does nothing, as with a real chunkserver. */
  change(id: number, by: number, epoch: number, voters: readonly number[]): void {
    const group = this.all.get(id)
    const fits = group?.leader === by && group.epoch === epoch && group.goal === null
    if (group === undefined || !fits) return
    group.goal = [...voters]
    group.patience = PATIENCE_STEPS
  }

  /** An order to the leader, as change(). */
  lead(id: number, by: number, to: number): void {
    const group = this.all.get(id)
    if (group === undefined || group.leader !== by || !group.voters.includes(to)) return
    if (by === to || !this.#liveness.isLive(id, to)) return
    group.leader = to
    group.term++
    group.goal = null
  }

  /** A replica was destroyed by order. */
  ended(id: number, replica: number): void {
    const group = this.all.get(id)
    if (group === undefined) this.wrongs.push(`group ${id} is unknown, its replica was destroyed`)
    else if ([...group.voters, ...group.outgoing, ...group.learners].includes(replica)) {
      this.wrongs.push(`group ${id} lost its member ${replica} by order`)
    }
  }

  /** One step of every group. */
  step(): void {
    for (const group of this.all.values()) {
      this.#elect(group)
      if (group.leader !== 0) this.#advance(group)
    }
  }

  #hasQuorum(group: Group): boolean {
    const live = (of: readonly number[]): boolean => {
      const there = of.filter((replica) => this.#liveness.isLive(group.id, replica))
      return of.length === 0 || there.length >= quorumOf(of.length)
    }
    return live(group.voters) && live(group.outgoing)
  }

  #elect(group: Group): void {
    const isLive = (replica: number): boolean => this.#liveness.isLive(group.id, replica)
    if (!this.#hasQuorum(group)) {
      group.leader = 0
      return
    }
    if (group.leader !== 0 && group.voters.includes(group.leader) && isLive(group.leader)) return
    // A new leader knows nothing of a change that the old one had begun.
    group.goal = null
    const voters = group.voters.filter(isLive)
    group.leader = voters[group.id % Math.max(1, voters.length)] ?? 0
    group.term++
  }

  #advance(group: Group): void {
    if (group.outgoing.length > 0) {
      group.outgoing = []
      group.epoch++
      return
    }
    const { goal } = group
    if (goal === null) return
    if (--group.patience === 0) group.goal = null
    const unknown = goal.filter(
      (one) => !group.voters.includes(one) && !group.learners.includes(one),
    )
    if (unknown.length > 0) {
      const made = unknown.every((one) => this.#liveness.make(group.id, one, group.epoch))
      if (made) this.#enter(group, group.voters, [...group.learners, ...unknown])
      return
    }
    const isDone = isSame(goal, group.voters) && group.learners.length === 0
    if (isDone) group.goal = null
    else if (goal.every((one) => this.#liveness.isLive(group.id, one))) this.#enter(group, goal, [])
  }

  #enter(group: Group, voters: readonly number[], learners: readonly number[]): void {
    group.outgoing = group.voters
    group.voters = [...voters]
    group.learners = [...learners]
    group.epoch++
  }
}

function isSame(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((one) => b.includes(one))
}
