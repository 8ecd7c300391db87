// Owns the limits of volumes (I/Os and bytes a second) as this chunkserver checks them: rates with a
// burst that refuse, with the time after which it fits. Clients keep the limits themselves and never come
// here; this holds against one that does not.

import { RateLimit } from '../base/rate.ts'
import type { Clock } from '../env/clock.ts'

export interface VolumeLimit {
  readonly volume: number
  /** 0 for no limit. */
  readonly iopsMax: number
  readonly bytesPerSecondMax: number
}

interface Limited {
  readonly limit: VolumeLimit
  readonly ios: RateLimit | null
  readonly bytes: RateLimit | null
}

export class VolumeLimits {
  readonly #clock: Clock
  readonly #burstMs: number
  #volumes: ReadonlyMap<number, Limited> = new Map()

  constructor(clock: Clock, burstMs: number) {
    this.#clock = clock
    this.#burstMs = burstMs
  }

  /** All volumes that have limits; what is left out has none. What was saved up of unchanged limits stays. */
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
    const rate = (perSecond: number): RateLimit | null =>
      perSecond > 0 ? new RateLimit(perSecond, this.#burstMs) : null
    return { limit, ios: rate(limit.iopsMax), bytes: rate(limit.bytesPerSecondMax) }
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
