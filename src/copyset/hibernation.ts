// Owns the agreement by which an idle group stops its timers: the leader asks every member, each says
// yes only if it holds all there is, and the leader sleeps when all have. Any message wakes a sleeper,
// and so does the loss of the host where its leader lives. A sleeping leader's lease runs out, so its
// next read asks the others first.

import type { ReplicaId } from '../raft/types.ts'
import type { Replica } from './replica.ts'
import type { HostNote } from './wire.ts'

interface Bedtime {
  readonly term: number
  readonly index: number
  readonly yes: Set<ReplicaId>
  readonly sinceMs: number
}

export class Hibernation {
  readonly #afterMs: number
  readonly #asking = new Map<Replica, Bedtime>()

  constructor(afterMs: number) {
    this.#afterMs = afterMs
  }

  /** Questions that a leader which has been idle long enough asks its members now. */
  questions(replica: Replica, nowMs: number): HostNote[] {
    if (this.#afterMs === 0 || !replica.isLeader) return []
    if (nowMs - replica.idleSinceMs < this.#afterMs) return []
    const asked = this.#asking.get(replica)
    if (asked !== undefined && nowMs - asked.sinceMs < this.#afterMs) return []
    const status = replica.status()
    if (!status.isQuiescent || replica.waiters.count > 0) return []
    const { term, lastIndex: index } = status
    this.#asking.set(replica, { term, index, yes: new Set(), sinceMs: nowMs })
    if (status.progress.length === 0) replica.asleep = true
    return status.progress.map(({ replica: to }) => ({
      kind: 'hibernate',
      from: replica.id,
      to,
      term,
      index,
    }))
  }

  /** A member's answer; it sleeps from here on if that is yes. */
  answer(replica: Replica, note: Extract<HostNote, { kind: 'hibernate' }>): HostNote {
    const { term, leader, commit, applied, lastIndex, role } = replica.status()
    const same = role === 'follower' && term === note.term && leader === note.from
    const whole = lastIndex === note.index && commit === note.index && applied === note.index
    replica.asleep = same && whole
    const { from, to, index } = note
    return {
      kind: 'hibernate-reply',
      from: to,
      to: from,
      term: note.term,
      index,
      asleep: replica.asleep,
    }
  }

  /** A member answered the leader `replica`, which sleeps when all have said yes and nothing came since. */
  answered(replica: Replica, note: Extract<HostNote, { kind: 'hibernate-reply' }>): void {
    const asked = this.#asking.get(replica)
    const status = replica.status()
    const current = asked?.term === note.term && asked.index === note.index
    if (asked === undefined || !current || status.term !== asked.term) return
    if (!note.asleep) {
      this.#asking.delete(replica)
      return
    }
    asked.yes.add(note.from)
    if (!status.progress.every((follower) => asked.yes.has(follower.replica))) return
    this.#asking.delete(replica)
    replica.asleep = status.isQuiescent && status.lastIndex === asked.index
  }

  forget(replica: Replica): void {
    this.#asking.delete(replica)
  }
}
