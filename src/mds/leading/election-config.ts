// Owns the settings of the election among metadata servers and the relations between them.

import { type ConfigOf, durationSetting, type Relation } from '../../base/config.ts'

export const ELECTION_CONFIG = {
  leaderLeaseMs: durationSetting(
    5000,
    'A leader that the metadata store does not hear of this long is followed by another one.',
  ),
  leaderMarginMs: durationSetting(
    500,
    'By how much earlier the leader itself gives up: for the drift of clocks.',
  ),
  leaderKeepAliveMs: durationSetting(
    1000,
    'How often an MDS renews its lease in the metadata store.',
  ),
}

export type ElectionConfig = ConfigOf<typeof ELECTION_CONFIG>

/** Clocks run apart by up to 1 % each (raft/lease.ts counts on the same). */
const DRIFT_SHARE = 0.02

export const ELECTION_RELATIONS: readonly Relation<ElectionConfig>[] = [
  {
    holds: (c) => c.leaderMarginMs >= c.leaderLeaseMs * DRIFT_SHARE,
    says: 'leaderMarginMs must be at least a fiftieth of leaderLeaseMs, or two may lead at once',
  },
  {
    holds: (c) =>
      c.leaderKeepAliveMs > 0 && c.leaderLeaseMs >= 3 * c.leaderKeepAliveMs + c.leaderMarginMs,
    says: 'leaderLeaseMs must be at least three leaderKeepAliveMs and leaderMarginMs',
  },
]
