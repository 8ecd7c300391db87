// Owns the settings of volumes, leases and the recycle bin, and the relations between them.

import {
  type ConfigOf,
  countSetting,
  durationSetting,
  makeConfig,
  type Relation,
} from '../../base/config.ts'

export const VOLUME_CONFIG = {
  leaseMs: durationSetting(
    5000,
    "A writer's lease: it counts it from the sending of its last answered renewal.",
  ),
  leaseMarginMs: durationSetting(
    1000,
    'By how much longer the MDS holds a lease: for the drift of clocks and slow turns.',
  ),
  trashExpiryMs: durationSetting(
    7 * 86_400_000,
    'How long a deleted volume stays in the recycle bin.',
  ),
  cleanIntervalMs: durationSetting(5000, 'How often the recycle bin is looked through.'),
  cleanChunksPerSecond: countSetting(
    500,
    'At most this many chunks of volumes deleted for good are ended in a second.',
  ),
  chunkCallTimeoutMs: durationSetting(
    5000,
    'A chunkserver that has not answered a change of a chunk by then is asked again.',
  ),
}

export type VolumeConfig = ConfigOf<typeof VOLUME_CONFIG>

export const VOLUME_RELATIONS: readonly Relation<VolumeConfig>[] = [
  {
    holds: (c) => c.leaseMs >= 100 && c.leaseMarginMs * 10 >= c.leaseMs,
    says: 'leaseMarginMs must be at least a tenth of leaseMs, which is at least 100ms',
  },
  {
    holds: (c) => c.cleanIntervalMs > 0 && c.cleanChunksPerSecond > 0 && c.chunkCallTimeoutMs > 0,
    says: 'cleanIntervalMs, cleanChunksPerSecond and chunkCallTimeoutMs must be above 0',
  },
]

export function volumeConfig(replaced: Partial<VolumeConfig> = {}): VolumeConfig {
  return makeConfig(VOLUME_CONFIG, replaced, VOLUME_RELATIONS)
}
