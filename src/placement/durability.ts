// Owns how likely data is to be lost, computed from few numbers: how often disks die, how long a
// rebuild takes, how many copysets there are. First-order: disks fail independently and at a
// constant rate, a rebuild takes its mean time, and probabilities so small are added up (never less
// than the true ones). The chain is the one of Chen and others, RAID: High-Performance, Reliable
// Secondary Storage (1994), for each copyset; simultaneous failures are counted as Cidon and others
// do, Copysets: Reducing the Frequency of Data Loss in Cloud Storage (USENIX ATC 2013).

import { assert } from '../base/assert.ts'
import { quorumOf } from './view.ts'

export interface DurabilityFacts {
  readonly replicas: number
  readonly copysets: number
  /** Mean time between failures of one disk that lose what is on it. */
  readonly mtbfHours: number
  /** From a failure until all that was on the disk is there again, its detection included. */
  readonly rebuildHours: number
  /**
   * The same where a copyset has lost its quorum: nothing is rebuilt by itself then, as no change
   * could be committed, and people have to save the replica that is left.
   */
  readonly rescueHours: number
}

export interface Durability {
  /** Chance that within a year some copyset loses its quorum for good, and needs people. */
  readonly quorumLossPerYear: number
  /** Chance that within a year some copyset loses all its replicas. */
  readonly lossPerYear: number
}

const HOURS_PER_YEAR = 24 * 365

export function durability(facts: DurabilityFacts): Durability {
  const { replicas, copysets, mtbfHours, rebuildHours, rescueHours } = facts
  assert(replicas >= 1 && mtbfHours > 0, 'replicas on disks')
  const quorum = quorumOf(replicas)
  // How often in an hour a copyset has lost so many replicas.
  let perHour = replicas / mtbfHours
  let quorumLoss = replicas - 1 < quorum ? perHour : 0
  for (let left = replicas - 1; left > 0; left--) {
    const window = left < quorum ? rescueHours : rebuildHours
    perHour *= (left * window) / mtbfHours
    if (left === quorum) quorumLoss = perHour
  }
  const perYear = copysets * HOURS_PER_YEAR
  return {
    quorumLossPerYear: Math.min(1, perYear * quorumLoss),
    lossPerYear: Math.min(1, perYear * perHour),
  }
}

/**
 * Chance that some copyset is lost when so many of all chunkservers are lost at the same moment,
 * whichever they are: a power failure that some disks don't survive.
 */
export function lossAtOnce(
  chunkservers: number,
  lost: number,
  replicas: number,
  copysets: number,
): number {
  let allOfOne = 1
  for (let i = 0; i < replicas; i++) allOfOne *= Math.max(0, lost - i) / (chunkservers - i)
  let none = 1
  let power = 1 - allOfOne
  for (let bits = copysets; bits > 0; bits = Math.floor(bits / 2)) {
    if (bits % 2 === 1) none *= power
    power *= power
  }
  return 1 - none
}
