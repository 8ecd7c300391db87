// Owns the names of those who may find a run wrong, and what they throw: a verdict says who found it,
// so that a planted bug can be told to have been caught by whom.

/** Who may find a run wrong: one of these, or an exception of the code that ran. */
export type Checker =
  | 'replication'
  | 'linearizability'
  | 'liveness'
  /** One writer of a volume at a time. */
  | 'one-writer'
  /** Members of copysets as the cluster chooses them. */
  | 'membership'
  /** What chunkservers hold: equal on all replicas, all of it good, nothing that was deleted. */
  | 'chunks'
  /** Clients hear of no error that heals. */
  | 'errors'
  /** One MDS leads at a time, and writes of earlier ones are refused. */
  | 'leaders'
  /** Operators end once and are not forgotten, and none begins where none may. */
  | 'operators'
  | 'assertion'
  | 'exception'

export class Verdict extends Error {
  override readonly name = 'Verdict'
  readonly checker: Checker

  constructor(checker: Checker, what: string) {
    super(what)
    this.checker = checker
  }
}
