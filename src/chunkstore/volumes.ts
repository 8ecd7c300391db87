// Owns what a replica remembers of volumes, whether it has chunks of them or not: the newest write
// epoch, the newest sequence number that a fence brought, and which volumes are gone for good. Part of
// the replicated state. What is gone is kept as ranges of ids, so that there are not many more of them
// than volumes that live between; ids are never given out twice.

import { viewOf } from '../base/bytes.ts'
import { LemnisError } from '../base/errors.ts'
import { readU53, writeU53 } from '../base/u53.ts'

export interface VolumeFence {
  readonly epoch: number
  /** Writes of older generations are refused, of chunks too that nobody has written yet. */
  readonly sn: number
}

const UNKNOWN: VolumeFence = { epoch: 0, sn: 0 }

/** Of a volume that is gone: above every writer's. */
export const GONE: VolumeFence = { epoch: Number.MAX_SAFE_INTEGER, sn: 0 }

interface GoneRange {
  readonly first: number
  readonly last: number
}

// volume u53 | epoch u53 | sn u53; with epoch 0 the volumes from `volume` to `sn` are gone
export const VOLUME_BYTES = 24

export class Volumes {
  readonly #fences = new Map<number, VolumeFence>()
  /** Ascending; never two that touch. */
  #gone: GoneRange[] = []
  /** Index of the last entry that changed anything here. */
  version = 0

  fenceOf(volume: number): VolumeFence {
    return this.#fences.get(volume) ?? (this.#isGone(volume) ? GONE : UNKNOWN)
  }

  raise(volume: number, epoch: number, sn: number, index: number): void {
    this.#fences.set(volume, { epoch, sn })
    this.version = index
  }

  forget(volume: number, index: number): void {
    if (this.#fences.delete(volume)) this.version = index
  }

  /** The volumes from `first` to `last` are gone, and none of them comes back. */
  end(first: number, last: number, index: number): void {
    let whole: GoneRange = { first, last }
    const apart: GoneRange[] = []
    for (const range of this.#gone) {
      if (range.first <= first && range.last >= last) return
      if (range.last < first - 1 || range.first > last + 1) apart.push(range)
      else {
        whole = {
          first: Math.min(whole.first, range.first),
          last: Math.max(whole.last, range.last),
        }
      }
    }
    this.#gone = [...apart, whole].sort((a, b) => a.first - b.first)
    for (const volume of this.#fences.keys()) {
      if (volume >= first && volume <= last) this.#fences.delete(volume)
    }
    this.version = index
  }

  #isGone(volume: number): boolean {
    let low = 0
    let high = this.#gone.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#gone[middle] as GoneRange).last < volume) low = middle + 1
      else high = middle
    }
    const range = this.#gone[low]
    return range !== undefined && range.first <= volume
  }

  /** In order of volume, so that equal states have equal bytes. */
  encode(): Uint8Array {
    const rows = [...this.#fences].map(([volume, { epoch, sn }]) => ({ volume, epoch, sn }))
    for (const { first, last } of this.#gone) rows.push({ volume: first, epoch: 0, sn: last })
    const out = new Uint8Array(rows.length * VOLUME_BYTES)
    const view = viewOf(out)
    let at = 0
    for (const { volume, epoch, sn } of rows.sort((a, b) => a.volume - b.volume)) {
      writeU53(view, at, volume)
      writeU53(view, at + 8, epoch)
      writeU53(view, at + 16, sn)
      at += VOLUME_BYTES
    }
    return out
  }

  /** The next range of those written down. */
  #readGone(first: number, last: number): void {
    const before = this.#gone.at(-1)
    const isApart = before === undefined || first > before.last + 1
    if (first > last || !isApart) throw new LemnisError('CORRUPT', { what: 'gone volumes', first })
    this.#gone.push({ first, last })
  }

  static decode(bytes: Uint8Array, version: number): Volumes {
    if (bytes.byteLength % VOLUME_BYTES !== 0) throw new LemnisError('CORRUPT', { what: 'volumes' })
    const volumes = new Volumes()
    const view = viewOf(bytes)
    for (let at = 0; at < bytes.byteLength; at += VOLUME_BYTES) {
      const volume = readU53(view, at)
      const [epoch, sn] = [readU53(view, at + 8), readU53(view, at + 16)]
      if (epoch > 0) volumes.#fences.set(volume, { epoch, sn })
      else volumes.#readGone(volume, sn)
    }
    volumes.version = version
    return volumes
  }
}
