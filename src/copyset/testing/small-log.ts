// Owns the settings of a log so small that a short run meets full segments, purges and reading back.

import { KIB } from '../../base/units.ts'
import { type RaftLogBug, type RaftLogConfig, raftLogConfig } from '../../raftlog/config.ts'

export function smallLog(bugs?: ReadonlySet<RaftLogBug>): RaftLogConfig {
  const sizes = {
    segmentBytes: 64 * KIB,
    batchBytesMax: 32 * KIB,
    entryBytesMax: 16 * KIB,
    queuedBytesMax: 64 * KIB,
    cacheBytes: 16 * KIB,
    readBackBytes: 16 * KIB,
    segmentsPinned: 3,
    segmentsHeld: 2,
  }
  return raftLogConfig(sizes, bugs)
}
