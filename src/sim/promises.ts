// Owns the memory of what a host's log has promised: after each write that the log called durable, the
// term, vote and last entry of each of its groups. After a restart the log must hold at least that.
// A disk that lies (its newest writes damaged or gone astray) may take the newest batches back, and no
// log can know: such a loss is told apart from a broken promise by how deep it goes.

import type { GroupWrite } from '../raftlog/group-write.ts'
import type { RaftLog } from '../raftlog/raftlog.ts'
import { BrokenPromise, type Durable } from './checkers.ts'
import type { SimHost } from './host.ts'

interface GroupPromise {
  readonly replica: number
  readonly term: number
  readonly vote: number
  readonly lastIndex: number
  readonly lastTerm: number
}

type Promises = ReadonlyMap<number, GroupPromise>

const NOTHING: GroupPromise = { replica: 0, term: 0, vote: 0, lastIndex: 0, lastTerm: 0 }

/**
 * Batches that a lying disk may take back before it counts as a broken promise. That many damaged ones
 * in a row, and none after them, do not happen by chance.
 */
const DEPTH_MAX = 16

/** What the replicas of all hosts ever had on their disks: what votes and commits may be counted by. */
export class DurableMarks {
  readonly #marks = new Map<string, Durable>()

  of(group: number, replica: number): Durable {
    return this.#marks.get(`${group}/${replica}`) ?? { term: 0, lastIndex: 0 }
  }

  raise(group: number, { replica, term, lastIndex }: GroupPromise): void {
    const before = this.of(group, replica)
    this.#marks.set(`${group}/${replica}`, {
      term: Math.max(term, before.term),
      lastIndex: Math.max(lastIndex, before.lastIndex),
    })
  }
}

export class LogPromises {
  readonly #host: SimHost
  readonly #marks: DurableMarks
  /** After each of the last batches, the newest last. */
  #history: Promises[] = [new Map()]
  #batch = -1
  #diskCount: number

  constructor(host: SimHost, marks: DurableMarks) {
    this.#host = host
    this.#marks = marks
    this.#diskCount = host.diskCount
  }

  /**
   * The host's log was opened at a start. True when it has all that was promised, or knows that it
   * has not; it is followed from now on. False when the disk lied in a way that no log can notice: then
   * it must not be used. A loss for which the disk is not to blame is a BrokenPromise.
   */
  opened(log: RaftLog): boolean {
    const { name, diskLies, diskCount } = this.#host
    if (diskCount !== this.#diskCount) this.#history = [new Map()]
    this.#diskCount = diskCount
    if (log.condition === 'corrupt') {
      if (!diskLies) throw new BrokenPromise(`${name}: log damaged by nobody: ${log.damage}`)
      return true
    }
    const lack = lackOf(log, this.#history.at(-1) as Promises)
    if (lack === null) {
      this.#adopt(log)
      this.#follow(log)
      return true
    }
    if (!diskLies || lackOf(log, this.#history[0] as Promises) !== null) {
      throw new BrokenPromise(`${name}: the log has lost what it had promised: ${lack}`)
    }
    return false
  }

  /** What was on its way when the last process ended, and is there, is durable as well. */
  #adopt(log: RaftLog): void {
    const groups = new Map<number, GroupPromise>()
    for (const group of log.groupIds()) {
      const found = log.group(group)
      if (found.replica === 0 || found.destroyedEpoch !== null) continue
      const { term, vote } = found.hardState
      const lastIndex = found.lastIndex()
      const lastTerm = found.term(lastIndex) ?? 0
      const promise = { replica: found.replica, term, vote, lastIndex, lastTerm }
      this.#marks.raise(group, promise)
      groups.set(group, promise)
    }
    this.#history.push(groups)
    if (this.#history.length > DEPTH_MAX + 1) this.#history.shift()
  }

  #follow(log: RaftLog): void {
    const append = log.append.bind(log)
    log.append = (write, onDurable) =>
      append(write, (error) => {
        if (error === null) this.#note(write, this.#host.world.eventCount)
        onDurable(error)
      })
  }

  #note(write: GroupWrite, batch: number): void {
    const newest = this.#history.at(-1) as Promises
    const groups = new Map(newest)
    const { create, hardState, entries, mark, restart, destroy } = write
    let promise = create === undefined ? (groups.get(write.group) ?? NOTHING) : NOTHING
    if (create !== undefined) promise = { ...promise, replica: create.replica }
    if (hardState !== undefined) {
      promise = { ...promise, term: hardState.term, vote: hardState.vote }
    }
    if (restart === true && mark !== undefined) {
      promise = { ...promise, lastIndex: mark.index, lastTerm: mark.term }
    }
    const last = entries?.at(-1)
    if (last !== undefined) promise = { ...promise, lastIndex: last.index, lastTerm: last.term }
    this.#marks.raise(write.group, promise)
    if (destroy === undefined) groups.set(write.group, promise)
    else groups.delete(write.group)
    if (batch === this.#batch) this.#history.pop()
    this.#batch = batch
    this.#history.push(groups)
    if (this.#history.length > DEPTH_MAX + 1) this.#history.shift()
  }
}

/** What the log does not have of what was promised; null when it has all. */
function lackOf(log: RaftLog, promises: Promises): string | null {
  for (const [group, promise] of promises) {
    const lack = lackOfGroup(log, group, promise)
    if (lack !== null) return `group ${group}: ${lack}`
  }
  return null
}

function lackOfGroup(log: RaftLog, group: number, promise: GroupPromise): string | null {
  const { replica, hardState, destroyedEpoch } = log.group(group)
  // A newer replica, or a tombstone, was on its way to the disk.
  if (replica > promise.replica || destroyedEpoch !== null) return null
  if (replica < promise.replica) return `replica ${promise.replica} is not there`
  if (hardState.term < promise.term) return `term ${promise.term} is forgotten`
  const sameTerm = hardState.term === promise.term
  if (sameTerm && promise.vote !== 0 && hardState.vote !== promise.vote) {
    return `vote for ${promise.vote} in term ${promise.term} is forgotten`
  }
  const lastIndex = log.group(group).lastIndex()
  const lastTerm = log.group(group).term(lastIndex) ?? 0
  // Newer entries may have begun to replace the ones that were promised.
  if (lastTerm > promise.lastTerm || lastIndex >= promise.lastIndex) return null
  return `entry ${promise.lastIndex} is gone; the last one is ${lastIndex}`
}
