// Owns the list of planted bugs and the weather in which each shows: kinds of faults that lead to it,
// struck more often than in ordinary runs, or a scenario where chance would take too long.
// Every one must be caught within a bounded number of seeds; one that is not means that a checker or a
// fault has gone blind.

import { KIB } from '../base/units.ts'
import type { HostConfig } from '../copyset/config.ts'
import type { BlockBug, BlockClusterOptions } from './block-cluster.ts'
import type { ClusterBug } from './cluster.ts'
import type { FaultKind } from './fault-plan.ts'

export interface Canary {
  readonly name: ClusterBug
  readonly kinds: readonly FaultKind[]
  /** Settings under which what the bug needs happens often. */
  readonly config?: Partial<HostConfig>
}

export const CANARIES: readonly Canary[] = [
  { name: 'vote-not-persisted', kinds: ['crash', 'power-loss', 'isolation', 'cut', 'delays'] },
  { name: 'ack-before-persist', kinds: ['power-loss-of-all', 'power-loss', 'crash', 'slow-disk'] },
  { name: 'ack-before-sync', kinds: ['power-loss-of-all', 'power-loss', 'slow-disk'] },
  { name: 'stale-read', kinds: ['pause'] },
  { name: 'commit-older-term', kinds: ['crash', 'isolation', 'one-way-cut', 'cut', 'slow-link'] },
  { name: 'no-joint-quorum', kinds: ['membership-change', 'isolation', 'cut', 'crash'] },
  {
    name: 'truncate-at-corruption',
    kinds: ['bit-flip', 'misdirected-write', 'crash', 'isolation'],
  },
  {
    name: 'no-turn-after-load',
    kinds: ['membership-change', 'power-loss-of-all', 'crash', 'wiped-disk', 'isolation'],
  },
  {
    name: 'install-over-newer',
    kinds: ['needless-snapshot', 'leader-transfer', 'pause', 'crash'],
    config: {
      checkpointBytes: 512,
      transferBytesPerSecond: 2 * KIB,
      transferPieceBytes: 64,
      transferPiecesInFlight: 1,
    },
  },
]

export interface BlockCanary extends Omit<BlockClusterOptions, 'bugs' | 'faultKinds'> {
  readonly name: BlockBug
  readonly kinds: readonly FaultKind[]
}

export const BLOCK_CANARIES: readonly BlockCanary[] = [
  { name: 'discard-not-replicated', kinds: ['leader-transfer'] },
  {
    name: 'unverified-read',
    kinds: ['bit-flip', 'bit-flip', 'leader-transfer'],
    mdsCount: 1,
    config: { store: { dirtyAgeMs: 20, dirtyBytesSoft: 16 * KIB } },
  },
  {
    name: 'write-back-forgets',
    kinds: ['disk-full'],
    mdsCount: 1,
    config: { store: { dirtyAgeMs: 20 } },
  },
  {
    name: 'manifest-before-sync',
    kinds: ['power-loss-of-all', 'power-loss'],
    config: { host: { checkpointBytes: 16 * KIB }, store: { dirtyAgeMs: 20 } },
  },
  { name: 'stale-lease', kinds: ['crash', 'pause', 'isolation'] },
  {
    name: 'allocation-before-commit',
    kinds: [],
    mdsCount: 1,
    scenario: 'mds-restarts',
    metaLatencyMaxMs: 400,
  },
  { name: 'epoch-before-propose-only', kinds: [], scenario: 'fence-not-applied' },
  { name: 'no-attempt-check', kinds: [], scenario: 'late-writes' },
  {
    name: 'unfenced-writes',
    kinds: ['crash', 'leader-transfer'],
    mdsCount: 3,
    etcdFaults: ['lost-answers', 'slow-store', 'pause', 'cut'],
    etcdGapMs: 1000,
    config: { mds: { leaderLeaseMs: 1000, scheduleIntervalMs: 100 } },
  },
  {
    name: 'operators-not-loaded',
    kinds: ['wiped-disk', 'crash', 'power-loss'],
    mdsCount: 3,
    etcdFaults: ['crash'],
    etcdGapMs: 1000,
    config: { mds: { leaderLeaseMs: 1000, offlineMs: 1500 } },
  },
  {
    name: 'operators-vanish',
    kinds: ['crash', 'power-loss', 'isolation'],
    mdsCount: 3,
    etcdFaults: [],
    config: { mds: { offlineMs: 1500, leadTimeoutMs: 500, balanceIntervalMs: 600 } },
  },
  {
    name: 'recovery-below-quorum',
    kinds: [],
    mdsCount: 3,
    etcdFaults: [],
    scenario: 'quorum-away',
    config: { mds: { offlineMs: 1500, awayPercentMax: 60 } },
  },
  {
    name: 'serves-past-deadline',
    kinds: [],
    mdsCount: 3,
    etcdFaults: ['pause'],
    etcdGapMs: 1000,
    config: { mds: { leaderLeaseMs: 1000 } },
  },
  {
    name: 'stale-mirror',
    kinds: ['crash', 'wiped-disk'],
    mdsCount: 3,
    etcdFaults: ['lagging-watches', 'crash'],
    etcdGapMs: 1000,
    config: { mds: { leaderLeaseMs: 1000, balanceIntervalMs: 600 } },
  },
  {
    name: 'guard-ignored',
    kinds: ['crash', 'power-loss'],
    mdsCount: 3,
    etcdFaults: [],
    config: { mds: { balanceIntervalMs: 600, leaderUpMinMs: 500, offlineMs: 1500 } },
  },
]

/** Every planted bug, with the system in which it is planted. */
export function allCanaries(): { readonly name: string; readonly system: 'kv' | 'block' }[] {
  return [
    ...CANARIES.map(({ name }) => ({ name, system: 'kv' as const })),
    ...BLOCK_CANARIES.map(({ name }) => ({ name, system: 'block' as const })),
  ]
}

export function canaryOf(name: string): Canary | undefined {
  return CANARIES.find((canary) => canary.name === name)
}

export function blockCanaryOf(name: string): BlockCanary | undefined {
  return BLOCK_CANARIES.find((canary) => canary.name === name)
}
