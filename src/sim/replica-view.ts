// Owns how a replica looks to the checkers: read through at each look, whatever runs on its host.

import type { Replica } from '../copyset/replica.ts'
import type { Configuration } from '../raft/types.ts'
import type { Durable, ObservedReplica } from './checkers.ts'
import type { DurableMarks } from './promises.ts'

/** A replica as the checkers look at it after every event: reads through, and makes nothing. */
export class ReplicaView implements ObservedReplica {
  readonly host: string
  readonly life: number
  readonly #replica: Replica
  readonly #marks: DurableMarks
  readonly #digest: (replica: Replica) => Promise<number> | null

  constructor(
    host: string,
    life: number,
    replica: Replica,
    marks: DurableMarks,
    digest: (replica: Replica) => Promise<number> | null = digestNow,
  ) {
    this.host = host
    this.life = life
    this.#replica = replica
    this.#marks = marks
    this.#digest = digest
  }

  get group(): number {
    return this.#replica.group
  }
  get replica(): number {
    return this.#replica.id
  }
  get role(): ObservedReplica['role'] {
    return this.#replica.role
  }
  get term(): number {
    return this.#replica.term
  }
  get commit(): number {
    return this.#replica.commit
  }
  get applied(): number {
    return this.#replica.applied
  }
  get firstIndex(): number {
    return this.#replica.log.firstIndex()
  }
  get lastIndex(): number {
    return this.#replica.log.lastIndex()
  }
  get config(): Configuration {
    return this.#replica.membership
  }
  termAt(index: number): number | undefined {
    return this.#replica.log.term(index)
  }
  durable(replica: number): Durable {
    return this.#marks.of(this.#replica.group, replica)
  }
  digest(): Promise<number> | null {
    return this.#digest(this.#replica)
  }
}

function digestNow({ machine, installing, applied }: Replica): Promise<number> | null {
  return installing || machine.appliedIndex !== applied ? null : machine.digest()
}
