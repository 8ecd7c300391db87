// Owns the namespace in memory: volumes, the names of those in use, and their segments. Records are
// immutable; what changes is which record a key has.
// Invariants: ready volumes have different names; ids and chunk ids are never given out twice.
// It is changed by apply() alone, with what a plan (volumes.ts, segments.ts) gave and somebody made durable.

import { assert, must } from '../base/assert.ts'
import type { Segment } from '../format/control/parts.ts'
import type { SerialsRecord, VolumeRecord } from '../format/records/volume.ts'

/** What a plan wants different. Everything in it becomes durable together. */
export interface NamespaceChange {
  readonly serials?: SerialsRecord
  readonly volume?: VolumeRecord
  readonly segments?: { readonly volume: number; readonly made: readonly Segment[] }
  readonly droppedSegments?: { readonly volume: number; readonly indexes: readonly number[] }
  readonly droppedVolume?: number
}

/** What a plan answers, and the change that must be durable before anybody hears it. */
export interface Planned<T> {
  readonly change: NamespaceChange | null
  readonly result: T
}

const FIRST_SERIALS: SerialsRecord = { volume: 1, segment: 0 }
const NO_SEGMENTS: ReadonlyMap<number, Segment> = new Map()

export class Namespace {
  #serials: SerialsRecord = FIRST_SERIALS
  readonly #volumes = new Map<number, VolumeRecord>()
  readonly #readyByName = new Map<string, number>()
  readonly #segments = new Map<number, Map<number, Segment>>()

  get serials(): SerialsRecord {
    return this.#serials
  }

  volume(id: number): VolumeRecord | null {
    return this.#volumes.get(id) ?? null
  }

  /** The volume in use under that name. */
  readyNamed(name: string): VolumeRecord | null {
    const id = this.#readyByName.get(name)
    return id === undefined ? null : must(this.volume(id), 'a name has its volume')
  }

  /** Those of one state, by name and then by age. */
  list(state: VolumeRecord['state']): VolumeRecord[] {
    const found: VolumeRecord[] = []
    for (const volume of this.#volumes.values()) if (volume.state === state) found.push(volume)
    return found.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.id - b.id))
  }

  count(state: VolumeRecord['state']): number {
    let count = 0
    for (const volume of this.#volumes.values()) if (volume.state === state) count++
    return count
  }

  volumes(): IterableIterator<VolumeRecord> {
    return this.#volumes.values()
  }

  /** By index. */
  segmentsOf(volume: number): ReadonlyMap<number, Segment> {
    return this.#segments.get(volume) ?? NO_SEGMENTS
  }

  apply(change: NamespaceChange): void {
    const { serials, volume, segments, droppedSegments, droppedVolume } = change
    if (serials !== undefined) this.#serials = serials
    if (volume !== undefined) this.#put(volume)
    if (segments !== undefined) {
      const own = this.#segments.get(segments.volume) ?? new Map<number, Segment>()
      this.#segments.set(segments.volume, own)
      for (const segment of segments.made) {
        assert(!own.has(segment.index), 'a segment is made once')
        own.set(segment.index, segment)
      }
    }
    if (droppedSegments !== undefined) {
      const own = this.#segments.get(droppedSegments.volume)
      for (const index of droppedSegments.indexes) own?.delete(index)
    }
    if (droppedVolume !== undefined) {
      assert(this.#volumes.get(droppedVolume)?.state === 'deleting', 'only a deleted volume goes')
      assert(this.segmentsOf(droppedVolume).size === 0, 'the segments go before their volume')
      this.#volumes.delete(droppedVolume)
      this.#segments.delete(droppedVolume)
    }
  }

  #put(volume: VolumeRecord): void {
    const before = this.#volumes.get(volume.id)
    if (before?.state === 'ready') this.#readyByName.delete(before.name)
    if (volume.state === 'ready') {
      assert(!this.#readyByName.has(volume.name), 'ready volumes have different names')
      this.#readyByName.set(volume.name, volume.id)
    }
    this.#volumes.set(volume.id, volume)
  }
}
