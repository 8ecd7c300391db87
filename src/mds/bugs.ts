// Owns the switches that break the MDS on purpose, so that the simulator's checkers can be seen to find
// it. Only the simulator sets any.

export type MdsBug =
  /** Segments are answered before they are durable. */
  | 'allocation-before-commit'
  /** After a restart a second writer gets in without waiting and with the first one's epoch. */
  | 'stale-lease'
  /** Commits are not bound to the key that makes their MDS the leader. */
  | 'unfenced-writes'
  /** Who takes over does not read which operators are under way. */
  | 'operators-not-loaded'
  /** An operator that is given up is removed without a record of its end. */
  | 'operators-vanish'
  /** A copyset that has lost its quorum is mended like any other. */
  | 'recovery-below-quorum'
  /** An MDS that was stopped answers until its timers have run, whatever its clock says. */
  | 'serves-past-deadline'
  /** Who takes over believes its mirror without asking whether that is caught up. */
  | 'stale-mirror'
  /** Operators are planned although the guard forbids it. */
  | 'guard-ignored'

export type MdsBugs = ReadonlySet<MdsBug>

export const NO_MDS_BUGS: MdsBugs = new Set()
