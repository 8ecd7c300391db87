// Owns how the copysets of a new pool are laid over its chunkservers. Invariants: the members of a
// copyset are in different zones; each chunkserver gets its share of replicas by capacity, to the
// whole number, as far as its zone's limit of one replica a copyset allows. Beyond that the layout
// is random, and each member is chosen to have the fewest copysets in common with those chosen
// before it: so scatter widths are as wide and as even as the numbers allow, and the loss of one
// disk is repaired by many (copysets: Cidon and others, USENIX ATC 2013; laying them out by
// shuffling chunkservers inside zones is Curve's way, the choice by pairs is added to it).

import { assert, must } from '../base/assert.ts'
import { LemnisError } from '../base/errors.ts'
import type { Random } from '../env/random.ts'
import { Pairs } from './pairs.ts'
import { cappedShares, sharesOf, sumOf } from './shares.ts'

/** A chunkserver as far as creation minds. */
export interface Target {
  readonly id: number
  readonly zone: string
  /** The weight of its share. */
  readonly capacityBytes: number
}

const REPLICAS_PER_CHUNKSERVER_MIN = 12
const REPLICAS_PER_CHUNKSERVER_MAX = 100
const REPLICAS_PER_NEIGHBOUR = 4

/**
 * How many copysets a new pool gets when nobody says. Each chunkserver holds four replicas for
 * every chunkserver of the pool, so that its scatter width can reach all of them with some to
 * spare, but at least 12 (chunkservers that come later should find something to take over) and at
 * most 100 (each replica costs memory and timers; a disk that is rebuilt by 100 others is limited
 * by other things). 3 chunkservers have 12 copysets, 10 have 134, 100 have 3,334, with three
 * replicas.
 */
export function copysetCountFor(chunkservers: number, replicas: number): number {
  const wished = REPLICAS_PER_NEIGHBOUR * chunkservers
  const each = Math.min(
    REPLICAS_PER_CHUNKSERVER_MAX,
    Math.max(REPLICAS_PER_CHUNKSERVER_MIN, wished),
  )
  return Math.ceil((chunkservers * each) / replicas)
}

interface Zone {
  /** Positions of its chunkservers in the list of targets. */
  readonly members: readonly number[]
  /** Replicas still to be given to it. */
  left: number
}

/** Members of `count` copysets, by id; UNPLACEABLE with fewer zones than replicas. */
export function createCopysets(
  targets: readonly Target[],
  replicas: number,
  count: number,
  random: Random,
): number[][] {
  const names = [...new Set(targets.map((target) => target.zone))].sort()
  if (names.length < replicas) {
    const reason = 'each replica of a copyset needs a zone of its own'
    throw new LemnisError('UNPLACEABLE', {
      replicas,
      zones: names.length,
      chunkservers: targets.length,
      reason,
    })
  }
  const byZone = names.map((name) => positionsWhere(targets, (target) => target.zone === name))
  const weights = targets.map((target) => Math.max(1, target.capacityBytes))
  const { zoneLeft, left } = shares(byZone, weights, replicas, count, random)
  const zones = byZone.map((members, i): Zone => ({ members, left: zoneLeft[i] as number }))
  const pairs = new Pairs(targets.length)
  const made: number[][] = []
  for (let copysetsLeft = count; copysetsLeft > 0; copysetsLeft--) {
    const members: number[] = []
    for (const zone of drawZones(zones, replicas, copysetsLeft, random)) {
      const member = drawMember(zone, left, members, pairs, random)
      members.push(member)
      left[member] = (left[member] as number) - 1
      zone.left--
    }
    pairs.add(members)
    made.push(members.map((position) => (targets[position] as Target).id))
  }
  return made
}

function positionsWhere(
  targets: readonly Target[],
  matches: (target: Target) => boolean,
): number[] {
  const found: number[] = []
  targets.forEach((target, position) => {
    if (matches(target)) found.push(position)
  })
  return found
}

/** How many replicas each zone and each chunkserver gets. */
function shares(
  byZone: readonly (readonly number[])[],
  weights: readonly number[],
  replicas: number,
  count: number,
  random: Random,
): { zoneLeft: number[]; left: number[] } {
  const zoned = byZone.map((members) => members.map((member) => weights[member] as number))
  const zoneLeft = apportion(cappedShares(zoned.map(sumOf), replicas * count, count), random)
  const left = weights.map(() => 0)
  byZone.forEach((members, i) => {
    const exact = sharesOf(zoned[i] as number[], zoneLeft[i] as number)
    apportion(exact, random).forEach((share, k) => {
      left[members[k] as number] = share
    })
  })
  return { zoneLeft, left }
}

/**
 * Whole numbers with the same sum, each the exact share rounded down or up: the largest remainders
 * up.
 */
function apportion(exact: readonly number[], random: Random): number[] {
  const total = Math.round(sumOf(exact))
  const given = exact.map(Math.floor)
  const order = shuffled(
    exact.map((_, i) => i),
    random,
  )
  const remainder = (i: number): number => (exact[i] as number) - (given[i] as number)
  order.sort((a, b) => remainder(b) - remainder(a))
  const missing = total - sumOf(given)
  assert(missing >= 0 && missing <= given.length, 'remainders make up the sum')
  for (const i of order.slice(0, missing)) given[i] = (given[i] as number) + 1
  return given
}

/**
 * `replicas` different zones, each with a chance in proportion to what it still has to get; one
 * that must be in all remaining copysets is always among them (systematic sampling: a comb with
 * teeth `copysetsLeft` apart over the zones' shares laid end to end, none of which is longer than
 * that).
 */
function drawZones(
  zones: readonly Zone[],
  replicas: number,
  copysetsLeft: number,
  random: Random,
): Zone[] {
  const drawn: Zone[] = []
  let tooth = random.below(copysetsLeft)
  let end = 0
  for (const zone of shuffled(zones, random)) {
    end += zone.left
    if (tooth >= end) continue
    drawn.push(zone)
    tooth += copysetsLeft
  }
  assert(drawn.length === replicas, 'a zone for each replica')
  return drawn
}

/**
 * Of a zone the one that has least in common with `chosen`; among equals, the one with most to get.
 */
function drawMember(
  zone: Zone,
  left: readonly number[],
  chosen: readonly number[],
  pairs: Pairs,
  random: Random,
): number {
  const { members } = zone
  const start = random.below(members.length)
  let best = -1
  let bestShared = Number.POSITIVE_INFINITY
  let bestLeft = 0
  for (let i = 0; i < members.length; i++) {
    const member = members[(start + i) % members.length] as number
    const memberLeft = left[member] as number
    if (memberLeft === 0) continue
    let shared = 0
    for (const other of chosen) shared += pairs.shared(member, other)
    if (shared < bestShared || (shared === bestShared && memberLeft > bestLeft)) {
      best = member
      bestShared = shared
      bestLeft = memberLeft
    }
  }
  return must(best === -1 ? null : best, 'a zone that is drawn has something to give')
}

function shuffled<T>(items: readonly T[], random: Random): T[] {
  const out = [...items]
  for (let i = out.length - 1; i > 0; i--) {
    const k = random.below(i + 1)
    const item = out[i] as T
    out[i] = out[k] as T
    out[k] = item
  }
  return out
}
