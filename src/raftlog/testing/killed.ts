// Owns what kill.test.ts and the process that it kills agree on.

import { KIB } from '../../base/units.ts'
import type { RaftLogSettings } from '../config.ts'

export const GROUP_COUNT = 5

/** Small segments, so that kills meet their making, reuse and removal. */
export const KILLED_CONFIG: Partial<RaftLogSettings> = {
  segmentBytes: 256 * KIB,
  batchBytesMax: 64 * KIB,
  entryBytesMax: 16 * KIB,
  queuedBytesMax: 512 * KIB,
  segmentsPinned: 3,
}

/** The index of a group that was reported durable. */
export interface Told {
  readonly group: number
  readonly index: number
}
