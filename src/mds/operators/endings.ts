// Owns the verdict on an operator that is under way: whether it has begun, whether the reason for it still
// stands, and how it ends when it has taken too long or lost its sense. One that has begun is not given
// up for a better idea: its copyset has changed already. Changes nothing itself.

import type { CopysetRecord, OperatorRecord } from '../../format/records/topology.ts'
import { isGone } from '../../placement/view.ts'
import type { ClusterViews } from '../cluster-view.ts'
import type { Reports } from '../reports.ts'
import { chunkserverOf, type Topology } from '../topology/topology.ts'
import type { Deadlines } from './deadlines.ts'

/** How an operator ends that did not reach its end. */
export interface Ending {
  readonly state: 'failed' | 'cancelled'
  readonly reason: EndReason
}

export type EndReason =
  | 'timeout'
  | 'target-gone'
  | 'target-unfit'
  | 'source-back'
  | 'source-left'
  | 'not-wanted'
  | 'replaced'
  | 'guard'
  | 'maintenance'
  | 'asked'

export interface EndingsOptions {
  readonly topology: Topology
  readonly reports: Reports
  readonly views: ClusterViews
  readonly deadlines: Deadlines
}

export class Endings {
  readonly #options: EndingsOptions

  constructor(options: EndingsOptions) {
    this.#options = options
  }

  /** Its leader works on it, or the new replica is a member in some way. Unknown counts as yes. */
  hasBegun({ copyset: id, to, kind }: OperatorRecord): boolean {
    const { topology, reports } = this.#options
    const copyset = topology.copysets.get(id)
    const leader = copyset === undefined ? null : reports.leaderOf(copyset)
    if (leader === null) return true
    if (kind === 'lead') return false
    const { changing, voters, learners } = leader.report
    if (changing !== undefined) return true
    return to !== undefined && (voters.includes(to) || learners.includes(to))
  }

  /** Null while it goes on. `halt` gives up all that has not begun. */
  of(operator: OperatorRecord, halt: 'guard' | 'maintenance' | null): Ending | null {
    const { topology, views, deadlines } = this.#options
    if (deadlines.isOver(operator)) return failed('timeout')
    const { from, to, kind } = operator
    const copyset = topology.copysets.get(operator.copyset)
    const isMember = (replica: number | undefined): boolean =>
      replica === undefined || copyset?.voters.includes(replica) === true
    if (copyset === undefined || !isMember(from)) return cancelled('source-left')
    if (kind === 'lead' && !isMember(to)) return cancelled('not-wanted')
    const target = to === undefined ? null : views.chunkserver(chunkserverOf(to))
    if (target === undefined || (target !== null && isGone(target))) return failed('target-gone')
    if (this.hasBegun(operator)) return null
    if (kind === 'lead' && this.#isDamaged(copyset, to)) return cancelled('target-unfit')
    if (halt !== null) return cancelled(halt)
    if (operator.priority !== 'high' && this.#isHurt(copyset)) return cancelled('replaced')
    // A damaged replica is made anew where it is, whatever becomes of its chunkserver.
    if (operator.why === 'damaged') return null
    const isUnfit = target?.isDraining === true || target?.isSlow === true
    if (isUnfit) return cancelled('target-unfit')
    return this.isStillWanted(operator, copyset) ? null : cancelled(notWanted(operator))
  }

  /** It can't lead before it is made anew, which the operator would stand in the way of. */
  #isDamaged({ id }: CopysetRecord, replica: number | undefined): boolean {
    return replica !== undefined && this.#options.reports.isDamaged(id, replica)
  }

  /** It must be mended before anything else. */
  #isHurt(copyset: CopysetRecord): boolean {
    const { views } = this.#options
    return copyset.voters.some((voter) => {
      const chunkserver = views.chunkserver(chunkserverOf(voter))
      const isThere = chunkserver !== undefined && !isGone(chunkserver)
      return !isThere || this.#isDamaged(copyset, voter)
    })
  }

  /** The reason for an operator that has not begun still stands. */
  isStillWanted({ from, to, why, kind }: OperatorRecord, copyset: CopysetRecord): boolean {
    const { views, reports, topology } = this.#options
    if (kind === 'lead') {
      const leader = reports.leaderOf(copyset)?.report.replica
      if (leader !== from && leader !== to) return false
    }
    const source = from === undefined ? undefined : views.chunkserver(chunkserverOf(from))
    const replicas = topology.pools.get(copyset.pool)?.replicas
    switch (why) {
      case 'offline':
      case 'disk-lost':
        return source === undefined || source.presence !== 'online' || source.isLost
      case 'drain':
        return source?.isDraining === true
      case 'slow':
        return source?.isSlow === true || source?.isDraining === true
      case 'too-few':
        return replicas !== undefined && copyset.voters.length < replicas
      case 'too-many':
        return replicas !== undefined && copyset.voters.length > replicas
      default:
        return true
    }
  }
}

function failed(reason: EndReason): Ending {
  return { state: 'failed', reason }
}

export function cancelled(reason: EndReason): Ending {
  return { state: 'cancelled', reason }
}

function notWanted({ why }: OperatorRecord): EndReason {
  return why === 'offline' || why === 'disk-lost' ? 'source-back' : 'not-wanted'
}
