// Owns the settings of a chunk store and the relations between them.

import {
  bytesSetting,
  type ConfigOf,
  countSetting,
  durationSetting,
  makeConfig,
  type Relation,
} from '../base/config.ts'
import { GIB, MIB } from '../base/units.ts'

export const CHUNKSTORE_CONFIG = {
  capacityBytes: bytesSetting(0, 'Bytes that chunks may take; 0B for all of the file system.'),
  reserveBytes: bytesSetting(
    1 * GIB,
    'Bytes left free on the file system, for the log and checkpoints.',
  ),
  dirtyBytesSoft: bytesSetting(
    64 * MIB,
    'Blocks not yet in their files from which writing back begins.',
  ),
  dirtyBytesMax: bytesSetting(
    256 * MIB,
    'Blocks not yet in their files from which writes are refused.',
  ),
  dirtyAgeMs: durationSetting(2000, 'A block is written back when it has waited this long.'),
  writeBackBytes: bytesSetting(2 * MIB, 'Blocks handed to the disk at once.'),
  openFilesMax: countSetting(512, 'Chunk files kept open.'),
  tableCacheBytes: bytesSetting(64 * MIB, 'Memory for pages of block tables.'),
  poolFilesMax: countSetting(4, 'Files of deleted chunks kept for new ones.'),
  dropAfterMs: durationSetting(
    5000,
    'Files of deleted chunks go after this time, if no checkpoint came first.',
  ),
  trashAfterMs: durationSetting(600_000, 'Files of a removed replica are kept this long.'),
  mergeBytesPerSecond: bytesSetting(
    32 * MIB,
    'Rate at which blocks are moved together after snapshots went.',
  ),
  spaceRetryMs: durationSetting(1000, 'Gap between tries to write back on a full disk.'),
}

export type ChunkStoreSettings = ConfigOf<typeof CHUNKSTORE_CONFIG>

/** Switches that break the store on purpose, so that the simulator's checkers can be seen to find it. */
export type ChunkStoreBug =
  /** What was read is believed without its checksum. */
  | 'unverified-read'
  /** Blocks that could not be written are taken for written. */
  | 'write-back-forgets'
  /** The manifest is published before the files that it names are synced. */
  | 'manifest-before-sync'

export interface ChunkStoreConfig extends ChunkStoreSettings {
  readonly bugs?: ReadonlySet<ChunkStoreBug>
}

export const CHUNKSTORE_RELATIONS: readonly Relation<ChunkStoreSettings>[] = [
  {
    holds: (c) => c.dirtyBytesSoft <= c.dirtyBytesMax / 2,
    says: 'dirtyBytesSoft must be at most half of dirtyBytesMax, or writes stop before the disk works',
  },
  {
    holds: (c) => c.writeBackBytes >= 4096 && c.writeBackBytes <= c.dirtyBytesMax,
    says: 'writeBackBytes must be at least 4 KiB and at most dirtyBytesMax',
  },
  { holds: (c) => c.mergeBytesPerSecond > 0, says: 'mergeBytesPerSecond must be above 0B' },
  { holds: (c) => c.openFilesMax >= 8, says: 'openFilesMax must be at least 8' },
]

export function chunkStoreConfig(
  replaced: Partial<ChunkStoreSettings> = {},
  bugs?: ReadonlySet<ChunkStoreBug>,
): ChunkStoreConfig {
  const settings = makeConfig(CHUNKSTORE_CONFIG, replaced, CHUNKSTORE_RELATIONS)
  return bugs === undefined ? settings : { ...settings, bugs }
}
