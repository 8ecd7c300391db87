// Owns the settings of a copyset host and the relations between them.

import {
  bytesSetting,
  type ConfigOf,
  countSetting,
  durationSetting,
  makeConfig,
  type Relation,
} from '../base/config.ts'
import { KIB, MIB } from '../base/units.ts'

export const HOST_CONFIG = {
  electionTimeoutMs: durationSetting(
    1000,
    'A follower that hears nothing this long may stand for election.',
  ),
  heartbeatIntervalMs: durationSetting(200, 'Gap between heartbeats of a leader.'),
  tickIntervalMs: durationSetting(
    50,
    'How often the groups that are awake look at their deadlines.',
  ),
  clockDriftPermille: countSetting(
    50,
    'Bound on how far two hosts’ clock rates differ, for leases.',
  ),
  hibernateAfterMs: durationSetting(
    4000,
    'A group idle this long stops its heartbeats; 0us never.',
  ),
  appendBytesMax: bytesSetting(512 * KIB, 'Entry bytes in one append message.'),
  inflightBytesMax: bytesSetting(8 * MIB, 'Entry bytes sent to one follower and not yet answered.'),
  inflightMessagesMax: countSetting(
    256,
    'Append messages sent to one follower and not yet answered.',
  ),
  uncommittedBytesMax: bytesSetting(
    16 * MIB,
    'Entry bytes of one group proposed and not committed.',
  ),
  committedBytesMax: bytesSetting(4 * MIB, 'Entry bytes of one group applied in one turn.'),
  waitingReadsMax: countSetting(4096, 'Reads of one group that wait for leadership or an index.'),
  proposalBytesMax: bytesSetting(
    64 * MIB,
    'Entry bytes of all groups proposed here and not answered.',
  ),
  entryBytesMax: bytesSetting(4 * MIB, 'Bytes of one entry.'),
  checkpointBytes: bytesSetting(64 * MIB, 'Log bytes of one group after which it checkpoints.'),
  checkpointsAtOnceMax: countSetting(2, 'Checkpoints that run at once on this disk.'),
  checkpointRetryMs: durationSetting(1000, 'Gap between tries to checkpoint on a full disk.'),
  logHeldMs: durationSetting(
    30_000,
    'The log is kept for a replica that is behind, unless it was silent for longer.',
  ),
  transferBytesPerSecond: bytesSetting(
    128 * MIB,
    'Rate of all Raft snapshots sent from this host.',
  ),
  transfersAtOnceMax: countSetting(4, 'Raft snapshots that this host sends at once.'),
  transferPieceBytes: bytesSetting(
    256 * KIB,
    'Bytes of one piece of a Raft snapshot, at a high rate.',
  ),
  transferPiecesInFlight: countSetting(4, 'Pieces of one Raft snapshot sent and not yet answered.'),
  transferTimeoutMs: durationSetting(5000, 'A piece not answered in this time ends its transfer.'),
  catchUpLagEntries: countSetting(1000, 'A learner this close to the leader’s log may get a vote.'),
  changeTimeoutMs: durationSetting(600_000, 'A membership change gives up after this time.'),
}

export type HostConfig = ConfigOf<typeof HOST_CONFIG>

const RELATIONS: readonly Relation<HostConfig>[] = [
  {
    holds: (c) => c.electionTimeoutMs >= 3 * c.heartbeatIntervalMs,
    says: 'electionTimeoutMs must be at least three heartbeatIntervalMs, or one lost heartbeat elects',
  },
  {
    holds: (c) => c.tickIntervalMs <= c.heartbeatIntervalMs,
    says: 'tickIntervalMs must not exceed heartbeatIntervalMs, or heartbeats come late',
  },
  {
    holds: (c) => c.hibernateAfterMs === 0 || c.hibernateAfterMs >= 2 * c.electionTimeoutMs,
    says: 'hibernateAfterMs must be 0us or at least two electionTimeoutMs',
  },
  {
    holds: (c) => c.inflightBytesMax >= c.appendBytesMax && c.appendBytesMax <= 4 * MIB,
    says: 'inflightBytesMax must hold one appendBytesMax, which must not exceed 4 MiB',
  },
  {
    holds: (c) => c.entryBytesMax <= c.uncommittedBytesMax && c.entryBytesMax <= c.proposalBytesMax,
    says: 'entryBytesMax must fit uncommittedBytesMax and proposalBytesMax',
  },
  {
    holds: (c) => c.clockDriftPermille < 500,
    says: 'clockDriftPermille must be below 500, or no lease lasts',
  },
]

export function hostConfig(replaced: Partial<HostConfig> = {}): HostConfig {
  return makeConfig(HOST_CONFIG, replaced, RELATIONS)
}
