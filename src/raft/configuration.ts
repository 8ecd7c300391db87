// Owns what a change does to a configuration, and the bytes of both. Every change is a joint phase
// (Ongaro's dissertation, 4.3): 'enter' makes the old voters the outgoing half, 'leave' drops them.
// Invariant: equal configurations and equal changes give equal results on every replica, with the
// ids sorted; `epoch` grows by one per applied change, so by two per change of membership.
// Leaves to membership.ts when a change may be proposed and when it takes effect.

import { viewOf } from '../base/bytes.ts'
import { LemnisError } from '../base/errors.ts'
import { readU53, writeU53 } from '../base/u53.ts'
import type { ConfigChange, ConfigChangeStep, Configuration, ReplicaId } from './types.ts'

/** More than any placement asks for; bounds what a decoder allocates. */
export const MEMBERS_MAX = 64

export const NO_CONFIGURATION: Configuration = {
  epoch: 0,
  voters: [],
  outgoing: [],
  learners: [],
  learnersNext: [],
}

/** A group's first configuration. */
export function initialConfiguration(voters: readonly ReplicaId[]): Configuration {
  return { ...NO_CONFIGURATION, epoch: 1, voters: sorted(voters) }
}

export function isJoint(config: Configuration): boolean {
  return config.outgoing.length > 0
}

/** Whether its vote counts, in either half. */
export function isVoter(config: Configuration, replica: ReplicaId): boolean {
  return config.voters.includes(replica) || config.outgoing.includes(replica)
}

/** Everybody who gets the log, sorted. */
export function membersOf(config: Configuration): ReplicaId[] {
  const { voters, outgoing, learners, learnersNext } = config
  return sorted([...new Set([...voters, ...outgoing, ...learners, ...learnersNext])])
}

/**
 * The joint configuration, or null when the change makes no sense: nothing to do, a replica named
 * twice or already where it should go, no voter left, too many members.
 */
export function enterJoint(
  config: Configuration,
  steps: readonly ConfigChangeStep[],
): Configuration | null {
  if (isJoint(config) || steps.length === 0 || steps.length > MEMBERS_MAX) return null
  const voters = new Set(config.voters)
  const learners = new Set(config.learners)
  const learnersNext = new Set<ReplicaId>()
  const named = new Set<ReplicaId>()
  for (const { action, replica } of steps) {
    if (!Number.isSafeInteger(replica) || replica <= 0 || named.has(replica)) return null
    named.add(replica)
    const wasVoter = voters.has(replica)
    const wasLearner = learners.has(replica)
    if (action === 'add-voter' ? wasVoter : action === 'add-learner' ? wasLearner : false)
      return null
    if (action === 'remove' && !wasVoter && !wasLearner) return null
    voters.delete(replica)
    learners.delete(replica)
    if (action === 'add-voter') voters.add(replica)
    // A voter goes on voting in the outgoing half, so it is a learner only after the joint phase.
    if (action === 'add-learner') (wasVoter ? learnersNext : learners).add(replica)
  }
  const next: Configuration = {
    epoch: config.epoch + 1,
    voters: sorted(voters),
    outgoing: config.voters,
    learners: sorted(learners),
    learnersNext: sorted(learnersNext),
  }
  return voters.size > 0 && membersOf(next).length <= MEMBERS_MAX ? next : null
}

/** The configuration after the joint phase, or null when there is none to leave. */
export function leaveJoint(config: Configuration): Configuration | null {
  if (!isJoint(config)) return null
  return {
    epoch: config.epoch + 1,
    voters: config.voters,
    outgoing: [],
    learners: sorted([...config.learners, ...config.learnersNext]),
    learnersNext: [],
  }
}

export function applyChange(config: Configuration, change: ConfigChange): Configuration | null {
  return change.phase === 'enter' ? enterJoint(config, change.steps) : leaveJoint(config)
}

function sorted(replicas: Iterable<ReplicaId>): ReplicaId[] {
  return [...replicas].sort((a, b) => a - b)
}

// ConfigChange, little endian: version u8 = 1 | phase u8 (1 enter, 2 leave) | step count u16
//   | per step: action u8 (1 add-voter, 2 add-learner, 3 remove), replica u53
const CHANGE_VERSION = 1
const CHANGE_HEAD_BYTES = 4
const STEP_BYTES = 9
const ACTIONS: readonly ConfigChangeStep['action'][] = ['add-voter', 'add-learner', 'remove']

export function encodeChange(change: ConfigChange): Uint8Array {
  const steps = change.phase === 'enter' ? change.steps : []
  const out = new Uint8Array(CHANGE_HEAD_BYTES + STEP_BYTES * steps.length)
  const view = viewOf(out)
  view.setUint8(0, CHANGE_VERSION)
  view.setUint8(1, change.phase === 'enter' ? 1 : 2)
  view.setUint16(2, steps.length, true)
  let at = CHANGE_HEAD_BYTES
  for (const step of steps) {
    view.setUint8(at, ACTIONS.indexOf(step.action) + 1)
    writeU53(view, at + 1, step.replica)
    at += STEP_BYTES
  }
  return out
}

export function decodeChange(bytes: Uint8Array): ConfigChange {
  if (bytes.byteLength < CHANGE_HEAD_BYTES) throw corrupt('config change', bytes.byteLength)
  const view = viewOf(bytes)
  const phase = view.getUint8(1)
  const count = view.getUint16(2, true)
  const fits = bytes.byteLength === CHANGE_HEAD_BYTES + STEP_BYTES * count
  if (view.getUint8(0) !== CHANGE_VERSION || !fits) throw corrupt('config change', 0)
  if (phase === 2 && count === 0) return { phase: 'leave' }
  if (phase !== 1 || count === 0 || count > MEMBERS_MAX) throw corrupt('config change', 1)
  const steps: ConfigChangeStep[] = []
  for (let at = CHANGE_HEAD_BYTES; at < bytes.byteLength; at += STEP_BYTES) {
    const action = ACTIONS[view.getUint8(at) - 1]
    if (action === undefined) throw corrupt('config change', at)
    steps.push({ action, replica: readReplica(view, at + 1) })
  }
  return { phase: 'enter', steps }
}

// Configuration, little endian: version u8 = 1 | counts of voters, outgoing, learners,
// learnersNext,
//   u8 each | epoch u53 | the ids in that order, u53 each, ascending within each list
const CONFIGURATION_VERSION = 1
const CONFIGURATION_HEAD_BYTES = 13
const ID_BYTES = 8

export function configurationBytes(config: Configuration): number {
  const { voters, outgoing, learners, learnersNext } = config
  const count = voters.length + outgoing.length + learners.length + learnersNext.length
  return CONFIGURATION_HEAD_BYTES + ID_BYTES * count
}

/** Writes configurationBytes(config) bytes and returns where they end. */
export function encodeConfiguration(config: Configuration, view: DataView, at: number): number {
  const lists = [config.voters, config.outgoing, config.learners, config.learnersNext]
  view.setUint8(at, CONFIGURATION_VERSION)
  lists.forEach((list, i) => {
    view.setUint8(at + 1 + i, list.length)
  })
  writeU53(view, at + 5, config.epoch)
  let end = at + CONFIGURATION_HEAD_BYTES
  for (const list of lists) {
    for (const replica of list) {
      writeU53(view, end, replica)
      end += ID_BYTES
    }
  }
  return end
}

/**
 * Reads what encodeConfiguration wrote at `at`; it may end before the view does. CORRUPT if
 * invalid.
 */
export function decodeConfiguration(
  view: DataView,
  at: number,
): { readonly config: Configuration; readonly end: number } {
  const room = view.byteLength - at
  if (room < CONFIGURATION_HEAD_BYTES) throw corrupt('configuration', at)
  if (view.getUint8(at) !== CONFIGURATION_VERSION) throw corrupt('configuration', at)
  let end = at + CONFIGURATION_HEAD_BYTES
  const lists: ReplicaId[][] = []
  for (let i = 0; i < 4; i++) {
    const count = view.getUint8(at + 1 + i)
    if (count > MEMBERS_MAX || end + ID_BYTES * count > view.byteLength) {
      throw corrupt('configuration', at + 1 + i)
    }
    const list: ReplicaId[] = []
    for (let n = 0; n < count; n++, end += ID_BYTES) {
      const replica = readReplica(view, end)
      if (n > 0 && replica <= (list[n - 1] as number)) throw corrupt('configuration', end)
      list.push(replica)
    }
    lists.push(list)
  }
  const [voters, outgoing, learners, learnersNext] = lists as [
    ReplicaId[],
    ReplicaId[],
    ReplicaId[],
    ReplicaId[],
  ]
  const epoch = readU53(view, at + 5)
  return { config: { epoch, voters, outgoing, learners, learnersNext }, end }
}

function readReplica(view: DataView, at: number): ReplicaId {
  const replica = readU53(view, at)
  if (replica === 0) throw corrupt('replica', at)
  return replica as ReplicaId
}

function corrupt(field: string, at: number): LemnisError {
  return new LemnisError('CORRUPT', { field, at })
}
