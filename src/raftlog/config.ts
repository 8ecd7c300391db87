// Owns the settings of the log with their relations, and the planted bugs that the simulator may
// switch on to prove that its checkers see them.

import {
  bytesSetting,
  type ConfigOf,
  countSetting,
  durationSetting,
  makeConfig,
  type Relation,
} from '../base/config.ts'
import { GIB, KIB, MIB } from '../base/units.ts'
import { DISK_BLOCK_BYTES } from '../env/disk.ts'

/**
 * 'ack-before-sync' answers before the write ends; 'truncate-at-corruption' takes damage for a torn
 * tail.
 */
export type RaftLogBug = 'ack-before-sync' | 'truncate-at-corruption'

export const RAFTLOG_CONFIG = {
  segmentBytes: bytesSetting(64 * MIB, 'Size of one log segment file.'),
  batchBytesMax: bytesSetting(8 * MIB, 'Most that one write to the log takes.'),
  entryBytesMax: bytesSetting(4 * MIB, 'Largest entry.'),
  queuedBytesMax: bytesSetting(
    64 * MIB,
    'Most that waits for earlier writes; past it, OVERLOADED.',
  ),
  cacheBytes: bytesSetting(32 * MIB, 'Memory for the newest entries of all groups.'),
  readBackBytes: bytesSetting(16 * MIB, 'Memory for older entries read back for slow followers.'),
  segmentsPinned: countSetting(
    8,
    'Segments in use past which groups that hold the oldest are asked to checkpoint.',
  ),
  segmentsHeld: countSetting(
    32,
    'Segments kept, where there is room, for replicas elsewhere that are behind.',
  ),
  segmentsSpare: countSetting(2, 'Empty segments kept for reuse; further ones are removed.'),
  spaceRetryMs: durationSetting(1000, 'Gap between tries to make a segment on a full disk.'),
}

export type RaftLogSettings = ConfigOf<typeof RAFTLOG_CONFIG>

export interface RaftLogConfig extends RaftLogSettings {
  readonly bugs?: ReadonlySet<RaftLogBug>
}

/** A record and its batch have less overhead than this. */
const OVERHEAD_BYTES = DISK_BLOCK_BYTES

export const RAFTLOG_RELATIONS: readonly Relation<RaftLogSettings>[] = [
  {
    holds: (c) => c.entryBytesMax + OVERHEAD_BYTES <= c.batchBytesMax,
    says: 'batchBytesMax must exceed entryBytesMax by 4 KiB',
  },
  {
    holds: (c) => c.batchBytesMax + DISK_BLOCK_BYTES <= c.segmentBytes,
    says: 'segmentBytes must exceed batchBytesMax by 4 KiB',
  },
  {
    holds: (c) =>
      c.segmentBytes % DISK_BLOCK_BYTES === 0 && c.batchBytesMax % DISK_BLOCK_BYTES === 0,
    says: 'segmentBytes and batchBytesMax must be multiples of 4 KiB',
  },
  { holds: (c) => c.segmentBytes <= 2 * GIB, says: 'segmentBytes must be at most 2 GiB' },
  { holds: (c) => c.batchBytesMax >= 8 * KIB, says: 'batchBytesMax must be at least 8 KiB' },
  { holds: (c) => c.queuedBytesMax >= c.batchBytesMax, says: 'queuedBytesMax must hold a batch' },
  { holds: (c) => c.segmentsPinned >= 2, says: 'segmentsPinned must be at least 2' },
]

export function raftLogConfig(
  replaced: Partial<RaftLogSettings> = {},
  bugs?: ReadonlySet<RaftLogBug>,
): RaftLogConfig {
  const settings = makeConfig(RAFTLOG_CONFIG, replaced, RAFTLOG_RELATIONS)
  return bugs === undefined ? settings : { ...settings, bugs }
}
