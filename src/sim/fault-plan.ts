// Owns what can go wrong in a run, and the plan of what does, drawn from the seed. Swarm testing (Groce et
// al., 2012): each seed has a random subset of the fault kinds, each with an intensity of its own, because
// a run with everything at once hides what a few kinds find. Invariant: faults that destroy acknowledged
// data have victims, a minority of any group, because no system survives more.

import type { Prng } from '../base/prng.ts'

/** Each strikes a host, a wire or the system's members once, and perhaps ends after a while. */
const STRIKE_KINDS = [
  'crash',
  'pause',
  'power-loss',
  'power-loss-of-all',
  'cut',
  'one-way-cut',
  'isolation',
  'slow-link',
  'clock-jump',
  'clock-drift',
  'slow-disk',
  'disk-stall',
  'disk-full',
  'membership-change',
  'leader-transfer',
  'needless-snapshot',
] as const
/** What befalls all links for a while. */
const WEATHER_KINDS = [
  'packet-loss',
  'lost-writes',
  'doubled-writes',
  'reordered-writes',
  'delays',
  'resets',
  'refusals',
] as const
/** Destroy what a disk had promised to keep. */
const DESTRUCTIVE_KINDS = ['disk-error', 'bit-flip', 'misdirected-write', 'wiped-disk'] as const

export type StrikeKind = (typeof STRIKE_KINDS)[number]
export type WeatherKind = (typeof WEATHER_KINDS)[number]
export type DestructiveKind = (typeof DESTRUCTIVE_KINDS)[number]
export type FaultKind = StrikeKind | WeatherKind | DestructiveKind

/** All kinds, in the order in which plans draw them: a new one goes to the end, or every seed changes. */
export const FAULT_KINDS: readonly FaultKind[] = [
  ...STRIKE_KINDS,
  ...WEATHER_KINDS,
  ...DESTRUCTIVE_KINDS,
]

const WEATHERS: ReadonlySet<FaultKind> = new Set(WEATHER_KINDS)
const DESTROYERS: ReadonlySet<FaultKind> = new Set(DESTRUCTIVE_KINDS)

export function isWeather(kind: FaultKind): kind is WeatherKind {
  return WEATHERS.has(kind)
}

export function isDestructive(kind: FaultKind): kind is DestructiveKind {
  return DESTROYERS.has(kind)
}

export interface PlannedFault {
  readonly kind: FaultKind
  /** The mean time between two of them. */
  readonly gapUs: number
}

export interface FaultPlan {
  readonly faults: readonly PlannedFault[]
  /** Hosts whose disks may lose what they had acknowledged. */
  readonly victims: ReadonlySet<string>
}

const SECOND_US = 1_000_000
const GAP_US = { min: SECOND_US / 2, max: 8 * SECOND_US }

const STORM_GAP_US_MAX = 3 * SECOND_US

/** The share of fault kinds that a seed has. */
const SHARE = 0.35

export function makePlan(
  random: Prng,
  kinds: readonly FaultKind[],
  hosts: readonly string[],
  victimCountMax: number,
  storm: boolean,
): FaultPlan {
  const faults: PlannedFault[] = []
  for (const kind of kinds) {
    const chosen = storm || random.chance(SHARE)
    const gapUs = random.between(GAP_US.min, storm ? STORM_GAP_US_MAX : GAP_US.max)
    if (chosen) faults.push({ kind, gapUs })
  }
  const victims = new Set<string>()
  while (victims.size < victimCountMax) victims.add(random.pick(hosts))
  return { faults, victims }
}

export function describePlan(plan: FaultPlan): string {
  const faults = plan.faults.map(
    ({ kind, gapUs }) => `${kind} every ${(gapUs / SECOND_US).toFixed(1)} s`,
  )
  const names = faults.length === 0 ? 'no faults' : faults.join(', ')
  return `${names}; victims: ${[...plan.victims].join(' ')}`
}
