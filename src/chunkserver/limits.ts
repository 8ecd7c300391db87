// Owns the limits of volumes (I/Os and bytes a second) as this chunkserver checks them: token buckets
// that refuse, with the time after which it fits. Clients keep the limits themselves and never come
// here; this holds against one that does not.

import type { Clock } from '../env/clock.ts'

export interface VolumeLimit {
  readonly volume: number
  /** 0 for no limit. */
  readonly iopsMax: number
  readonly bytesPerSecondMax: number
}

class Bucket {
  readonly perMs: number
  readonly #burstMs: number
  /** When everything taken so far has been paid for. */
  #paidUntilMs = Number.NEGATIVE_INFINITY

  constructor(perSecond: number, burstMs: number) {
    this.perMs = perSecond / 1000
    this.#burstMs = burstMs
  }

  /** 0 when there is room, else after how many milliseconds there will be. */
  waitMs(nowMs: number): number {
    return Math.max(0, this.#paidUntilMs - nowMs)
  }

  take(count: number, nowMs: number): void {
    const from = Math.max(this.#paidUntilMs, nowMs - this.#burstMs)
    this.#paidUntilMs = from + count / this.perMs
  }
}

interface Limited {
  readonly limit: VolumeLimit
  readonly ios: Bucket | null
  readonly bytes: Bucket | null
}

export class VolumeLimits {
  readonly #clock: Clock
  readonly #burstMs: number
  #volumes: ReadonlyMap<number, Limited> = new Map()

  constructor(clock: Clock, burstMs: number) {
    this.#clock = clock
    this.#burstMs = burstMs
  }

  /** All volumes that have limits; what is left out has none. Buckets of unchanged limits stay as full. */
  set(limits: readonly VolumeLimit[]): void {
    const volumes = new Map<number, Limited>()
    for (const limit of limits) {
      const known = this.#volumes.get(limit.volume)
      const same =
        known?.limit.iopsMax === limit.iopsMax &&
        known.limit.bytesPerSecondMax === limit.bytesPerSecondMax
      volumes.set(limit.volume, same && known !== undefined ? known : this.#limited(limit))
    }
    this.#volumes = volumes
  }

  #limited(limit: VolumeLimit): Limited {
    const bucket = (perSecond: number): Bucket | null =>
      perSecond > 0 ? new Bucket(perSecond, this.#burstMs) : null
    return { limit, ios: bucket(limit.iopsMax), bytes: bucket(limit.bytesPerSecondMax) }
  }

  /** Takes one I/O of so many bytes: 0, or after how many milliseconds to come back. */
  take(volume: number, bytes: number): number {
    if (this.#volumes.size === 0) return 0
    const limited = this.#volumes.get(volume)
    if (limited === undefined) return 0
    const nowMs = this.#clock.monotonicMs()
    const waitMs = Math.max(limited.ios?.waitMs(nowMs) ?? 0, limited.bytes?.waitMs(nowMs) ?? 0)
    if (waitMs > 0) return waitMs
    limited.ios?.take(1, nowMs)
    limited.bytes?.take(bytes, nowMs)
    return 0
  }
}
