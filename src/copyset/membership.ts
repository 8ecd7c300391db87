// Owns how a group's members are exchanged: each new one is made empty, learns without a vote until it
// has nearly all of the log, and only then gets its vote, in the same joint change that removes the old
// ones. So the group never waits for a member that holds nothing.
// An old one goes only when the owner of what is replicated has nothing against it (`mayEnd`).
// nextStep() is the pure decision; Changes runs it on every tick of the host until it is done.

import { asLemnisError, LemnisError } from '../base/errors.ts'
import { isJoint, membersOf } from '../raft/configuration.ts'
import type { ConfigChangeStep, Configuration, ReplicaId } from '../raft/types.ts'
import type { Replica } from './replica.ts'
import { type GroupId, hostOf } from './replica-id.ts'

export interface MembershipGoal {
  readonly add: readonly ReplicaId[]
  readonly remove: readonly ReplicaId[]
}

export type MembershipStep =
  | { readonly kind: 'create'; readonly replica: ReplicaId }
  | { readonly kind: 'propose'; readonly steps: readonly ConfigChangeStep[] }
  | { readonly kind: 'wait'; readonly reason: 'joint phase' | 'catch-up' }
  | { readonly kind: 'done' }

/** What a decision needs to know of the leader's group. */
export interface MembershipView {
  readonly config: Configuration
  readonly lastIndex: number
  readonly progress: readonly { readonly replica: ReplicaId; readonly match: number }[]
}

/** `created` has the new members that are known to exist; `lagMax` is in entries. */
export function nextStep(
  goal: MembershipGoal,
  view: MembershipView,
  created: ReadonlySet<ReplicaId>,
  lagMax: number,
): MembershipStep {
  const { voters, learners } = view.config
  if (isJoint(view.config)) return { kind: 'wait', reason: 'joint phase' }
  const missing = goal.add.filter((replica) => !voters.includes(replica))
  const unknown = missing.filter((replica) => !learners.includes(replica))
  const unmade = unknown.find((replica) => !created.has(replica))
  if (unmade !== undefined) return { kind: 'create', replica: unmade }
  if (unknown.length > 0) {
    return {
      kind: 'propose',
      steps: unknown.map((replica) => ({ action: 'add-learner', replica })),
    }
  }
  for (const replica of missing) {
    const match = view.progress.find((follower) => follower.replica === replica)?.match ?? 0
    if (view.lastIndex - match > lagMax || match === 0) return { kind: 'wait', reason: 'catch-up' }
  }
  const members = membersOf(view.config)
  const leaving = goal.remove.filter((replica) => members.includes(replica))
  if (missing.length === 0 && leaving.length === 0) return { kind: 'done' }
  return {
    kind: 'propose',
    steps: [
      ...missing.map((replica): ConfigChangeStep => ({ action: 'add-voter', replica })),
      ...leaving.map((replica): ConfigChangeStep => ({ action: 'remove', replica })),
    ],
  }
}

/** A change under way, for people. */
export interface ChangeProgress {
  readonly group: GroupId
  readonly sinceMs: number
  readonly waitsFor: string
}

export type ChangeDone = (error: LemnisError | null) => void

interface Change {
  readonly replica: Replica
  readonly goal: MembershipGoal
  readonly created: Set<ReplicaId>
  readonly sinceMs: number
  readonly deadlineMs: number
  readonly done: ChangeDone
  /** Waits for an answer. */
  asking: boolean
  /** `mayEnd` has said yes. */
  mayEnd: boolean
  waitsFor: string
}

export interface ChangesOptions {
  readonly lagMax: number
  readonly timeoutMs: number
  /** Makes an empty replica on the host that its id names. */
  readonly create: (replica: Replica, member: ReplicaId) => Promise<void>
  /** Whether those that stay can do without `leaving`; asked again until it is so. */
  readonly mayEnd: (replica: Replica, leaving: readonly ReplicaId[]) => Promise<boolean>
}

export class Changes {
  readonly #options: ChangesOptions
  #changes: Change[] = []

  constructor(options: ChangesOptions) {
    this.#options = options
  }

  list(): ChangeProgress[] {
    return this.#changes.map(({ replica, sinceMs, waitsFor }) => ({
      group: replica.group,
      sinceMs,
      waitsFor,
    }))
  }

  /**
   * Begins once this replica has proved that it leads and has applied all that was committed before:
   * orders to make replicas carry its epoch, and one of a leader that time has passed by must look old.
   */
  start(replica: Replica, goal: MembershipGoal, nowMs: number, done: ChangeDone): void {
    replica.read((error) => {
      const refused = error ?? this.#refusal(replica, goal)
      if (refused !== null) done(refused)
      else this.#begin(replica, goal, nowMs, done)
    })
  }

  #refusal(replica: Replica, goal: MembershipGoal): LemnisError | null {
    if (this.#changes.some((change) => change.replica === replica)) {
      return new LemnisError('MEMBERSHIP_BUSY')
    }
    const stay = membersOf(replica.membership).filter((member) => !goal.remove.includes(member))
    if (goal.add.length === 0 && !stay.some((m) => replica.membership.voters.includes(m))) {
      return new LemnisError('INVALID_ARGUMENT', { reason: 'the change would leave no voter' })
    }
    const twice = goal.add.find((member) =>
      stay.some((other) => other !== member && hostOf(other) === hostOf(member)),
    )
    if (twice === undefined) return null
    const reason = 'another member stays on that host'
    return new LemnisError('INVALID_ARGUMENT', { replica: twice, reason })
  }

  #begin(replica: Replica, goal: MembershipGoal, nowMs: number, done: ChangeDone): void {
    this.#changes.push({
      replica,
      goal,
      created: new Set(),
      sinceMs: nowMs,
      deadlineMs: nowMs + this.#options.timeoutMs,
      done,
      asking: false,
      mayEnd: false,
      waitsFor: 'start',
    })
  }

  tick(nowMs: number): void {
    if (this.#changes.length === 0) return
    const ended = new Map<Change, LemnisError | null>()
    for (const change of this.#changes) {
      const outcome = this.#advance(change, nowMs)
      if (outcome !== 'going on') ended.set(change, outcome)
    }
    this.#changes = this.#changes.filter((change) => !ended.has(change))
    for (const [change, error] of ended) change.done(error)
  }

  #advance(change: Change, nowMs: number): LemnisError | null | 'going on' {
    const { replica, goal, created } = change
    if (replica.closed) return new LemnisError('CLOSED')
    if (!replica.isLeader) return new LemnisError('NOT_LEADER')
    if (nowMs >= change.deadlineMs) {
      return new LemnisError('DEADLINE_EXCEEDED', { waitsFor: change.waitsFor })
    }
    if (change.asking) return 'going on'
    const step = nextStep(goal, replica.status(), created, this.#options.lagMax)
    switch (step.kind) {
      case 'done':
        return null
      case 'wait':
        change.waitsFor = step.reason
        return 'going on'
      case 'create':
        this.#create(change, step.replica)
        return 'going on'
      case 'propose': {
        const leaving = step.steps.flatMap((one) => (one.action === 'remove' ? one.replica : []))
        if (leaving.length > 0 && !change.mayEnd) {
          this.#askWhetherEnd(change, leaving)
          return 'going on'
        }
        // Refusals pass with time (a change before this one, a transfer); invalid ones never do.
        const refused = replica.proposeChange(step.steps)
        change.waitsFor = refused ?? 'commit of the change'
        if (refused !== 'invalid-change') return 'going on'
        return new LemnisError('INVALID_ARGUMENT', {
          reason: 'not a possible change of this group',
        })
      }
    }
  }

  #askWhetherEnd(change: Change, leaving: readonly ReplicaId[]): void {
    change.asking = true
    change.waitsFor = 'repairs by the members that stay'
    void this.#options.mayEnd(change.replica, leaving).then((mayEnd) => {
      change.asking = false
      change.mayEnd = mayEnd
    })
  }

  #create(change: Change, member: ReplicaId): void {
    change.asking = true
    change.waitsFor = `replica ${member} being made`
    this.#options.create(change.replica, member).then(
      () => {
        change.asking = false
        change.created.add(member)
      },
      (error: unknown) => {
        // The host may come back: the next tick asks again, until the deadline.
        change.asking = false
        change.waitsFor = `replica ${member} being made: ${asLemnisError(error).message}`
      },
    )
  }
}
