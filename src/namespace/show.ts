// Owns what people and clients are told of a volume: its record with what is only counted, and the
// holder only while its lease lasts.

import { assert } from '../base/assert.ts'
import { without } from '../base/without.ts'
import type { Volume } from '../format/control/parts.ts'
import type { VolumeRecord } from '../format/records/volume.ts'

export function volumeToShow(
  volume: VolumeRecord,
  segmentsAllocated: number,
  isHeld: boolean,
): Volume {
  const { holder, state, ...rest } = without(volume, 'cleanedSegments')
  assert(state !== 'deleting', 'what is deleted for good is shown to nobody')
  const shown: Volume = { ...rest, state, segmentsAllocated }
  return holder !== undefined && isHeld ? { ...shown, holder } : shown
}
