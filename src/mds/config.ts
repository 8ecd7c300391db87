// Owns the settings of the MDS, those of volumes among them, and the relations between them.

import {
  type ConfigOf,
  countSetting,
  durationSetting,
  makeConfig,
  type Relation,
} from '../base/config.ts'
import { VOLUME_CONFIG, VOLUME_RELATIONS } from './volumes-config.ts'

export const MDS_CONFIG = {
  ...VOLUME_CONFIG,
  heartbeatIntervalMs: durationSetting(5000, 'Gap between heartbeats that chunkservers are told.'),
  onlineMs: durationSetting(30_000, 'A chunkserver silent this long is unstable.'),
  offlineMs: durationSetting(
    600_000,
    'A chunkserver silent this long is offline, and its copysets are rebuilt elsewhere.',
  ),
  scheduleIntervalMs: durationSetting(5000, 'How often what has to move is looked for.'),
  movesMax: countSetting(64, 'Replicas rebuilt at once in the cluster.'),
  movesPerChunkserverMax: countSetting(
    2,
    'Replicas rebuilt at once that one chunkserver sends or receives.',
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
    'A rebuild not done after this time is given up and decided anew.',
  ),
  operatorRetryMs: durationSetting(
    60_000,
    'How long a copyset is left alone after a rebuild was given up.',
  ),
  fullPercent: countSetting(95, 'A disk used this far gets no new chunks and no replicas.'),
  orderTimeoutMs: durationSetting(
    3000,
    'An order not taken in this time waits for the next heartbeat.',
  ),
}

export type MdsConfig = ConfigOf<typeof MDS_CONFIG>

const RELATIONS: readonly Relation<MdsConfig>[] = [
  ...VOLUME_RELATIONS,
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
    holds: (c) => c.fullPercent > 0 && c.fullPercent <= 100,
    says: 'fullPercent must be from 1 to 100',
  },
]

export function mdsConfig(replaced: Partial<MdsConfig> = {}): MdsConfig {
  return makeConfig(MDS_CONFIG, replaced, RELATIONS)
}
