// Owns when a change of configuration is proposed and when it takes effect: on each replica when it
// applies the entry. Invariant: a leader proposes no change before every earlier one in its log is
// applied, so configurations in use at one time are neighbours, and the quorums of neighbours meet.
// (That and no campaign with a committed change unapplied is what applying, not appending, needs.)

import { must } from '../base/assert.ts'
import { applyChange, decodeChange, encodeChange, isJoint, isVoter } from './configuration.ts'
import type { Core, Leadership } from './core.ts'
import { appendOwn, commitByQuorum } from './replication.ts'
import type { ConfigChange, Entry } from './types.ts'

/** Appends a change; the caller has checked that it fits the configuration. */
export function appendChange(core: Core, lead: Leadership, change: ConfigChange): number {
  lead.pendingConfigIndex = appendOwn(core, lead, 'config', encodeChange(change))
  return lead.pendingConfigIndex
}

/** Remembers a change that is on its way to the state machine. */
export function changeHandedOut(core: Core, entry: Entry): void {
  core.changes.push({ index: entry.index, change: decodeChange(entry.data) })
}

/** The state machine has applied up to `index`: changes up to there take effect. */
export function changesApplied(core: Core, index: number): void {
  let count = 0
  for (const { index: at, change } of core.changes) {
    if (at > index) break
    core.config = must(applyChange(core.config, change), 'a committed change fits')
    count++
  }
  if (count > 0) {
    core.changes.splice(0, count)
    reconfigured(core)
  }
  if (core.lead !== null) leaveWhenJoint(core, core.lead)
}

/** Acts on a configuration that has just taken effect. */
function reconfigured(core: Core): void {
  const { lead, config, log } = core
  if (lead === null) {
    // Whoever became a voter waits its turn from now on; whoever ceased to be one is no candidate.
    if (core.role === 'follower') core.resetElectionDeadline()
    else core.becomeFollower(core.term, 0)
    return
  }
  if (!isVoter(config, core.id)) {
    core.becomeFollower(core.term, 0)
    return
  }
  lead.members.configure(config, log.lastIndex, core.nowMs)
  // It was granted by the quorum of an older configuration; the next round renews it.
  lead.reads.leaseUntilMs = Number.NEGATIVE_INFINITY
  lead.settledRound = Number.POSITIVE_INFINITY
  lead.replicationDue = true
  if (lead.transferee !== 0 && !isVoter(config, lead.transferee)) {
    lead.transferee = 0
    lead.transferDeadlineMs = Number.POSITIVE_INFINITY
  }
  commitByQuorum(core, lead)
}

/** Whoever leads ends a joint phase, also one that a leader before it began. */
function leaveWhenJoint(core: Core, lead: Leadership): void {
  const isSettled = core.log.applied >= lead.pendingConfigIndex
  if (isJoint(core.config) && isSettled) appendChange(core, lead, { phase: 'leave' })
}
