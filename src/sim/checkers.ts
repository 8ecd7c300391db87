// Owns the promises of replication, checked while a run goes on: one leader a term, logs that agree up
// to commit, no committed entry lost, states that agree at equal applied index, nothing that goes
// back. Cheap: a replica is looked at only where it has moved, and each index is compared once a
// replica. What clients see is judged by linearizability.ts.

import { LemnisError } from '../base/errors.ts'
import type { Configuration, Role } from '../raft/types.ts'

/** The highest term and the last entry that a replica ever made durable. */
export interface Durable {
  readonly term: number
  readonly lastIndex: number
}

/** One living replica, as its host shows it; read anew at each look. */
export interface ObservedReplica {
  readonly host: string
  /** Counts the starts of its process: memory may go back between two of them. */
  readonly life: number
  readonly group: number
  readonly replica: number
  readonly role: Role
  readonly term: number
  readonly commit: number
  readonly applied: number
  readonly firstIndex: number
  readonly lastIndex: number
  /** As applied. */
  readonly config: Configuration
  /** Undefined for an index outside of what the log knows. */
  termAt(index: number): number | undefined
  /** What any replica of the group has ever had on its disk, dead ones too. */
  durable(replica: number): Durable
  /** Of the state machine at `applied`; null while the machine is busy with a snapshot. */
  digest(): Promise<number> | null
}

/** A broken promise of the system under test. */
export class BrokenPromise extends Error {
  override readonly name = 'BrokenPromise'
}

/** What a replica had when it was last looked at. */
interface Seen {
  life: number
  replica: number
  role: Role
  term: number
  commit: number
  applied: number
  config: Configuration
  /** Its log was compared with what is committed up to here. */
  compared: number
}

/** What is kept of the states at past indexes; older ones have been passed by everybody who matters. */
const DIGESTS_MAX = 4096

class GroupChecker {
  readonly #group: number
  /** The one leader of each term. */
  readonly #leaders = new Map<number, number>()
  /** The term of each committed index; what was never seen is a hole. */
  readonly #committed: number[] = []
  readonly #digests = new Map<number, { readonly digest: number; readonly who: string }>()
  readonly #seen = new Map<string, Seen>()
  #commit = 0
  /** The term of the replica that was first seen to know of #commit: no older than who committed it. */
  #commitTerm = 0
  #breach: BrokenPromise | null = null

  constructor(group: number) {
    this.#group = group
  }

  get commit(): number {
    return this.#commit
  }

  look(now: ObservedReplica): void {
    const seen = this.#seen.get(now.host)
    if (seen === undefined || seen.life !== now.life || seen.replica !== now.replica) {
      this.#meet(now)
      return
    }
    const { role, term, commit, applied } = now
    const stayed = seen.role === role && seen.term === term
    if (stayed && seen.commit === commit && seen.applied === applied) return
    if (term < seen.term) this.#broken(now, `term went back from ${seen.term}`)
    if (commit < seen.commit) this.#broken(now, `commit went back from ${seen.commit}`)
    if (applied < seen.applied) this.#broken(now, `applied went back from ${seen.applied}`)
    this.#update(now, seen)
  }

  #meet(now: ObservedReplica): void {
    const seen: Seen = {
      life: now.life,
      replica: now.replica,
      role: 'follower',
      term: now.term,
      commit: 0,
      applied: 0,
      config: now.config,
      compared: 0,
    }
    this.#seen.set(now.host, seen)
    // After a start it may know less than before, but never something else.
    this.#update(now, seen)
  }

  #update(now: ObservedReplica, seen: Seen): void {
    if (now.applied > now.commit) this.#broken(now, 'applied past commit')
    if (now.commit > this.#commit && seen.role === 'leader') this.#commitsFirst(now, seen)
    if (now.commit > seen.compared) this.#compareLogs(now, seen)
    if (now.role === 'leader' && (seen.role !== 'leader' || seen.term !== now.term))
      this.#lead(now, seen)
    if (now.applied !== seen.applied) this.#compareStates(now)
    seen.role = now.role
    seen.term = now.term
    seen.commit = now.commit
    seen.applied = now.applied
    seen.config = now.config
  }

  #lead(now: ObservedReplica, seen: Seen): void {
    const other = this.#leaders.get(now.term)
    if (other !== undefined && other !== now.replica) {
      this.#broken(now, `leads term ${now.term}, as replica ${other} does`)
    }
    this.#leaders.set(now.term, now.replica)
    // Where the configuration changed just now, it may have been elected by the one before.
    if (now.config.epoch === seen.config.epoch) {
      const lack = lacksMajority(now, now.config, (durable) => durable.term >= now.term)
      if (lack !== null) this.#broken(now, `leads by votes that are durable only on ${lack}`)
    }
    // Leader completeness: by log matching, the last committed entry stands for all before it. It binds
    // later terms only: the votes for an older one may come late, and its leader can commit nothing.
    const expected = this.#committed[this.#commit]
    if (expected === undefined || this.#commit < now.firstIndex) return
    if (now.term <= this.#commitTerm) return
    if (now.termAt(this.#commit) !== expected) {
      this.#broken(now, `leads without committed entry ${this.#commit} of term ${expected}`)
    }
  }

  /**
   * By counting, a leader commits only what its own term has added (Raft paper, 5.4.2), and only what
   * each majority has that its configuration asks for.
   */
  #commitsFirst(now: ObservedReplica, seen: Seen): void {
    if (now.role !== 'leader' || now.term !== seen.term) return
    const term = now.termAt(now.commit)
    if (term !== undefined && term !== now.term) {
      this.#broken(now, `commits entry ${now.commit} of the older term ${term} as the first`)
    }
    // Who had applied all that was committed counted the next entry by the configuration it had then.
    if (seen.applied === seen.commit) this.#requireDurable(now, seen.config, seen.commit + 1)
    if (now.config.epoch === seen.config.epoch) this.#requireDurable(now, now.config, now.commit)
  }

  #requireDurable(now: ObservedReplica, config: Configuration, index: number): void {
    const lack = lacksMajority(now, config, (durable) => durable.lastIndex >= index)
    if (lack !== null) this.#broken(now, `commits entry ${index}, durable only on ${lack}`)
  }

  /** As far as its log shows it: entries that came with their commit may not be handed over yet. */
  #compareLogs(now: ObservedReplica, seen: Seen): void {
    const from = Math.max(seen.compared + 1, now.firstIndex)
    const to = Math.min(now.commit, now.lastIndex)
    for (let index = from; index <= to; index++) {
      const term = now.termAt(index)
      if (term === undefined) this.#broken(now, `commits entry ${index} without having it`)
      const known = this.#committed[index]
      if (known === undefined) this.#committed[index] = term
      else if (known !== term) {
        this.#broken(now, `commits entry ${index} of term ${term}, which is of term ${known}`)
      }
    }
    seen.compared = Math.max(seen.compared, to)
    if (now.commit <= this.#commit) return
    this.#commit = now.commit
    this.#commitTerm = now.term
  }

  /** The machine says what it had at this moment when it has looked at all of it. */
  #compareStates(now: ObservedReplica): void {
    const digesting = now.digest()
    if (digesting === null) return
    const { applied, host, replica } = now
    digesting.then(
      (digest) => this.#compareDigests(digest, applied, `replica ${replica} on ${host}`),
      (error: unknown) => {
        // What a bad disk does not show can't be compared.
        if (!(error instanceof LemnisError)) throw error
      },
    )
  }

  #compareDigests(digest: number, applied: number, who: string): void {
    const known = this.#digests.get(applied)
    if (known !== undefined) {
      if (known.digest === digest) return
      const what = `has another state at entry ${applied} than ${known.who}`
      this.#breach ??= new BrokenPromise(`group ${this.#group}, ${who} ${what}`)
      return
    }
    this.#digests.set(applied, { digest, who })
    if (this.#digests.size > DIGESTS_MAX) {
      for (const oldest of this.#digests.keys()) {
        this.#digests.delete(oldest)
        break
      }
    }
  }

  /** Throws what the comparison of states has found since the last look. */
  throwBreach(): void {
    if (this.#breach !== null) throw this.#breach
  }

  #broken(now: ObservedReplica, what: string): never {
    const { host, replica, life, term, role, commit, applied, firstIndex, lastIndex } = now
    throw new BrokenPromise(
      `group ${this.#group}, replica ${replica} on ${host} (life ${life}, ${role} of term ${term}, ` +
        `log ${firstIndex} to ${lastIndex}, commit ${commit}, applied ${applied}) ${what}`,
    )
  }
}

/**
 * Of the members whose majority a configuration asks for, those who have something durably, when they
 * are too few; null when all is well.
 */
function lacksMajority(
  leader: ObservedReplica,
  { voters, outgoing }: Configuration,
  has: (durable: Durable) => boolean,
): string | null {
  for (const members of [voters, outgoing]) {
    const having = members.filter((member) => has(leader.durable(member)))
    if (members.length === 0 || having.length * 2 > members.length) continue
    return `${having.join(' ')} of ${members.join(' ')}`
  }
  return null
}

export class ReplicationChecker {
  readonly #groups = new Map<number, GroupChecker>()

  /** Call after each event, with every living replica. Throws a BrokenPromise. */
  look(replicas: Iterable<ObservedReplica>): void {
    this.#throwBreaches()
    for (const replica of replicas) this.#groupOf(replica.group).look(replica)
  }

  #throwBreaches(): void {
    for (const group of this.#groups.values()) group.throwBreach()
  }

  /** The highest index that any replica of the group was ever seen to commit. */
  commitOf(group: number): number {
    return this.#groupOf(group).commit
  }

  /** At the end, when everything is healed and still: all members have everything. */
  settled(replicas: Iterable<ObservedReplica>): void {
    this.#throwBreaches()
    for (const replica of replicas) {
      const commit = this.commitOf(replica.group)
      if (replica.applied >= commit) continue
      throw new BrokenPromise(
        `group ${replica.group}: replica ${replica.replica} on ${replica.host} has applied ` +
          `${replica.applied} long after all was healed; entry ${commit} is committed`,
      )
    }
  }

  #groupOf(group: number): GroupChecker {
    let checker = this.#groups.get(group)
    if (checker === undefined) {
      checker = new GroupChecker(group)
      this.#groups.set(group, checker)
    }
    return checker
  }
}
