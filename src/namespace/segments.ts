// Owns thin provisioning as plans: a segment is made when somebody first writes to it, and its chunks
// get ids that nothing had before; and the way back, when a volume is deleted for good: chunks ended
// up to a mark, then the segments' records dropped, then the volume's.

import { assert } from '../base/assert.ts'
import { SEGMENT_CHUNKS } from '../format/chunk-request.ts'
import type { Segment } from '../format/control/parts.ts'
import type { VolumeRecord } from '../format/records/volume.ts'
import type { Namespace, Planned } from './namespace.ts'

/** Copysets for `count` chunks, one each. */
export type ChooseGroups = (count: number) => readonly number[]

/** Those of the segments `from` to before `to` that are there, in order. */
export function segmentsBetween(
  space: Namespace,
  volume: number,
  from: number,
  to: number,
): Segment[] {
  const own = space.segmentsOf(volume)
  const found: Segment[] = []
  for (let index = from; index < to; index++) {
    const segment = own.get(index)
    if (segment !== undefined) found.push(segment)
  }
  return found
}

/** The segments `from` to before `to`, with those made that are missing. */
export function allocateSegments(
  space: Namespace,
  volume: VolumeRecord,
  from: number,
  to: number,
  choose: ChooseGroups,
): Planned<Segment[]> {
  const own = space.segmentsOf(volume.id)
  const missing: number[] = []
  for (let index = from; index < to; index++) if (!own.has(index)) missing.push(index)
  const there = segmentsBetween(space, volume.id, from, to)
  if (missing.length === 0) return { change: null, result: there }
  const groups = choose(missing.length * SEGMENT_CHUNKS)
  assert(groups.length === missing.length * SEGMENT_CHUNKS, 'a copyset for each chunk')
  const { serials } = space
  const made = missing.map((index, i) => ({
    index,
    firstChunk: (serials.segment + i) * SEGMENT_CHUNKS + 1,
    groups: groups.slice(i * SEGMENT_CHUNKS, (i + 1) * SEGMENT_CHUNKS),
  }))
  return {
    change: {
      serials: { ...serials, segment: serials.segment + missing.length },
      segments: { volume: volume.id, made },
    },
    result: [...there, ...made].sort((a, b) => a.index - b.index),
  }
}

/** All segments, by index. */
export function segmentsInOrder(space: Namespace, volume: number): Segment[] {
  return [...space.segmentsOf(volume).values()].sort((a, b) => a.index - b.index)
}

/** The chunks of the segments below `cleanedSegments` are ended. */
export function markCleaned(volume: VolumeRecord, cleanedSegments: number): Planned<void> {
  assert(volume.state === 'deleting', 'only what is deleted for good is cleaned')
  return { change: { volume: { ...volume, cleanedSegments } }, result: undefined }
}

/** Drops at most `countMax` segments, or, when none is left, the volume; the result says whether it did. */
export function dropSome(space: Namespace, volume: number, countMax: number): Planned<boolean> {
  const indexes = [...space.segmentsOf(volume).keys()].slice(0, countMax)
  if (indexes.length === 0) return { change: { droppedVolume: volume }, result: true }
  return { change: { droppedSegments: { volume, indexes } }, result: false }
}
