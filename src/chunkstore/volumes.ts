// Owns what a replica remembers of volumes, whether it has chunks of them or not: the newest write
// epoch, and the newest sequence number that a fence brought. Part of the replicated state.

import { viewOf } from '../base/bytes.ts'
import { LemnisError } from '../base/errors.ts'
import { readU53, writeU53 } from '../base/u53.ts'

export interface VolumeFence {
  readonly epoch: number
  /** Writes of older generations are refused, of chunks too that nobody has written yet. */
  readonly sn: number
}

const UNKNOWN: VolumeFence = { epoch: 0, sn: 0 }

// volume u53 | epoch u53 | sn u53
export const VOLUME_BYTES = 24

export class Volumes {
  readonly #fences = new Map<number, VolumeFence>()
  /** Index of the last entry that changed anything here. */
  version = 0

  fenceOf(volume: number): VolumeFence {
    return this.#fences.get(volume) ?? UNKNOWN
  }

  raise(volume: number, epoch: number, sn: number, index: number): void {
    this.#fences.set(volume, { epoch, sn })
    this.version = index
  }

  forget(volume: number, index: number): void {
    if (this.#fences.delete(volume)) this.version = index
  }

  /** In order of volume, so that equal states have equal bytes. */
  encode(): Uint8Array {
    const out = new Uint8Array(this.#fences.size * VOLUME_BYTES)
    const view = viewOf(out)
    let at = 0
    for (const volume of [...this.#fences.keys()].sort((a, b) => a - b)) {
      const { epoch, sn } = this.fenceOf(volume)
      writeU53(view, at, volume)
      writeU53(view, at + 8, epoch)
      writeU53(view, at + 16, sn)
      at += VOLUME_BYTES
    }
    return out
  }

  static decode(bytes: Uint8Array, version: number): Volumes {
    if (bytes.byteLength % VOLUME_BYTES !== 0) throw new LemnisError('CORRUPT', { what: 'volumes' })
    const volumes = new Volumes()
    const view = viewOf(bytes)
    for (let at = 0; at < bytes.byteLength; at += VOLUME_BYTES) {
      const fence = { epoch: readU53(view, at + 8), sn: readU53(view, at + 16) }
      volumes.#fences.set(readU53(view, at), fence)
    }
    volumes.version = version
    return volumes
  }
}
