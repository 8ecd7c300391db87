// Owns what a decision of placement looks like: one operator for one copyset, and a plan of several.
// A copyset has one operator at a time. How operators are kept, carried out and given up is the
// MDS's.

/** 'high' mends what has lost redundancy or is about to; 'low' is what only looks nicer. */
export type Priority = 'low' | 'normal' | 'high'

export type OperatorReason =
  | 'offline'
  | 'disk-lost'
  | 'damaged'
  | 'too-few'
  | 'too-many'
  | 'drain'
  | 'balance'
  | 'slow'
  | 'leader-balance'
  | 'asked'

interface Common {
  readonly copyset: number
  readonly why: OperatorReason
  readonly priority: Priority
}

/** A replica goes from one chunkserver to another; where both are one, it is made anew in place. */
export interface MoveOperator extends Common {
  readonly kind: 'move'
  readonly from: number
  readonly to: number
}

export interface AddOperator extends Common {
  readonly kind: 'add'
  readonly to: number
}

export interface RemoveOperator extends Common {
  readonly kind: 'remove'
  readonly from: number
}

/** Leadership goes from one chunkserver to another. */
export interface LeadOperator extends Common {
  readonly kind: 'lead'
  readonly from: number
  readonly to: number
}

export type PlannedOperator = MoveOperator | AddOperator | RemoveOperator | LeadOperator

/** Why something that is wrong is not being mended now. */
export type Obstacle = 'host-away' | 'no-quorum' | 'no-place' | 'limit'

export interface Plan {
  /** To begin now, most urgent first. */
  readonly operators: readonly PlannedOperator[]
  /** How many copysets wait, by reason. */
  readonly waiting: ReadonlyMap<Obstacle, number>
}
