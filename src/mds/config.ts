// Owns the settings of the MDS, those of volumes among them, and the relations between them.

import {
  type ConfigOf,
  countSetting,
  durationSetting,
  makeConfig,
  type Relation,
} from '../base/config.ts'
import { ELECTION_CONFIG, ELECTION_RELATIONS } from './leading/election-config.ts'
import { VOLUME_CONFIG, VOLUME_RELATIONS } from './volumes/config.ts'

export const MDS_CONFIG = {
  ...VOLUME_CONFIG,
  ...ELECTION_CONFIG,
  heartbeatIntervalMs: durationSetting(5000, 'Gap between heartbeats that chunkservers are told.'),
  onlineMs: durationSetting(30_000, 'A chunkserver silent this long is unstable.'),
  offlineMs: durationSetting(
    600_000,
    'A chunkserver silent this long is offline, and its copysets are rebuilt elsewhere.',
  ),
  scheduleIntervalMs: durationSetting(5000, 'How often what has to move is looked for.'),
  balanceIntervalMs: durationSetting(
    30_000,
    'How often it is looked whether copysets and leaders are spread evenly.',
  ),
  movesMax: countSetting(64, 'Replicas rebuilt at once in the cluster.'),
  movesPerChunkserverMax: countSetting(
    2,
    'Replicas rebuilt at once that one chunkserver sends or receives.',
  ),
  handoversMax: countSetting(64, 'Leaderships that change hands at once in the cluster.'),
  handoversPerChunkserverMax: countSetting(
    4,
    'Leaderships that one chunkserver gives and takes at once.',
  ),
  balancePercent: countSetting(
    5,
    'Copysets are evened out when chunkservers differ by more than this share of what is due to them.',
  ),
  leaderUpMinMs: durationSetting(
    300_000,
    'A chunkserver gets leaders by balancing when it has been online this long in a row.',
  ),
  awayPercentMax: countSetting(
    20,
    'While more than this share of the chunkservers (and two at least) is silent, nothing moves.',
  ),
  serverSilentMax: countSetting(
    3,
    'A server with this many silent chunkservers is left alone: its host fails, not its disks.',
  ),
  zoneGuardServersMin: countSetting(
    2,
    'While a zone of at least this many servers is away as a whole, nothing is rebuilt.',
  ),
  operatorTimeoutMs: durationSetting(
    1_800_000,
    'A rebuild that gets no further for this time is given up and decided anew.',
  ),
  removeTimeoutMs: durationSetting(
    300_000,
    'A removal of a replica too many that is not done after this time is given up.',
  ),
  leadTimeoutMs: durationSetting(
    60_000,
    'A leadership that was not handed over after this time is given up.',
  ),
  operatorRetryMs: durationSetting(
    60_000,
    'How long a copyset is left alone after a rebuild was given up.',
  ),
  fullPercent: countSetting(95, 'A disk used this far gets no new chunks and no replicas.'),
  nearPercent: countSetting(75, 'A pool whose fullest disk is used this far is warned of.'),
  nearlyPercent: countSetting(85, 'A pool whose fullest disk is used this far is warned of again.'),
  slowFactor: countSetting(
    4,
    'A disk is slow when its writes take this many times as long as its peers’.',
  ),
  slowFloorMs: durationSetting(20, 'A disk that writes faster on average is never slow.'),
  slowSeconds: countSetting(5, 'Seconds that stand out before a disk counts as slow.'),
  slowRecoverMs: durationSetting(300_000, 'A slow disk that is sound for so long is slow no more.'),
  slowDrainMs: durationSetting(900_000, 'A disk slow for so long is emptied.'),
  slowDrainPercentMax: countSetting(
    20,
    'At most this share of the chunkservers of a pool (and one at least) is emptied for slowness.',
  ),
  diskErrorsMax: countSetting(8, 'Errors and bad blocks of a disk after which it counts as sick.'),
  diskErrorsForgetMs: durationSetting(
    3_600_000,
    'Errors are forgotten when none came for so long.',
  ),
  lagEntriesMax: countSetting(
    10_000,
    'A replica that is this many entries behind its leader does not count until it caught up.',
  ),
  orderTimeoutMs: durationSetting(
    3000,
    'An order not taken in this time waits for the next heartbeat.',
  ),
}

export type MdsConfig = ConfigOf<typeof MDS_CONFIG>

const RELATIONS: readonly Relation<MdsConfig>[] = [
  ...VOLUME_RELATIONS,
  ...ELECTION_RELATIONS,
  {
    holds: (c) => c.heartbeatIntervalMs > 0 && c.onlineMs >= 3 * c.heartbeatIntervalMs,
    says: 'onlineMs must be at least three heartbeatIntervalMs, or one lost heartbeat alarms',
  },
  {
    holds: (c) => c.offlineMs > c.onlineMs,
    says: 'offlineMs must exceed onlineMs',
  },
  {
    holds: (c) => c.scheduleIntervalMs > 0 && c.scheduleIntervalMs <= c.offlineMs,
    says: 'scheduleIntervalMs must be above 0 and not above offlineMs',
  },
  {
    holds: (c) => c.operatorTimeoutMs > c.onlineMs,
    says: 'operatorTimeoutMs must exceed onlineMs, or no rebuild lives to see its leader again',
  },
  {
    holds: (c) => c.movesMax >= c.movesPerChunkserverMax && c.movesPerChunkserverMax > 0,
    says: 'movesMax must be at least movesPerChunkserverMax, which must be above 0',
  },
  {
    holds: (c) =>
      c.handoversMax >= c.handoversPerChunkserverMax && c.handoversPerChunkserverMax > 0,
    says: 'handoversMax must be at least handoversPerChunkserverMax, which must be above 0',
  },
  {
    holds: (c) => c.balancePercent > 0 && c.awayPercentMax <= 100,
    says: 'balancePercent must be above 0, and awayPercentMax not above 100',
  },
  {
    holds: (c) => c.fullPercent > 0 && c.fullPercent <= 100,
    says: 'fullPercent must be from 1 to 100',
  },
  {
    holds: (c) => c.nearPercent > 0 && c.nearPercent <= c.nearlyPercent && c.nearlyPercent <= 100,
    says: 'nearPercent must be above 0 and not above nearlyPercent, which must not exceed 100',
  },
  {
    holds: (c) => c.slowFactor >= 2 && c.slowSeconds >= 1 && c.diskErrorsMax >= 1,
    says: 'slowFactor must be at least 2, slowSeconds and diskErrorsMax at least 1',
  },
]

export function mdsConfig(replaced: Partial<MdsConfig> = {}): MdsConfig {
  return makeConfig(MDS_CONFIG, replaced, RELATIONS)
}
