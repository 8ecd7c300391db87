// Owns what a chunkserver says about itself to people: whether it is well, and what waits in it for
// longer than a second, each with what would end the wait.

import type { LemnisError } from '../base/errors.ts'
import { formatBytes } from '../base/units.ts'
import type { ChunkUsage } from '../chunkstore/types.ts'
import type { CopysetHost } from '../copyset/host.ts'
import type { Wait } from '../copyset/waits.ts'

export interface Health {
  readonly ok: boolean
  /** Why it is not, or what a person should know anyway; one sentence each. */
  readonly reasons: readonly string[]
}

export interface Watched {
  /** What waits for less is not worth a line. */
  readonly afterMs: number
  readonly host: CopysetHost
  readonly usage: ChunkUsage
  /** How long the disk has been full; 0 when it is not. */
  readonly fullMs: number
  readonly failure: LemnisError | null
  /** Taken out of the cluster: nothing is expected of it any more. */
  readonly isRetired: boolean
  readonly mdsSilenceMs: number
  /** Longer than a heartbeat that is late. */
  readonly mdsSilenceMaxMs: number
}

export function healthOf(watched: Watched): Health {
  const { failure, usage, host, isRetired, mdsSilenceMs, mdsSilenceMaxMs } = watched
  const reasons: string[] = []
  if (isRetired) reasons.push('It was taken out of the cluster: its process can be stopped.')
  if (failure !== null) reasons.push(failure.message)
  if (usage.state === 'full') {
    reasons.push(`The disk is full (${formatBytes(usage.freeBytes)} free): it takes no new chunks.`)
  }
  const damaged = host.damagedGroups().size
  if (damaged > 0) reasons.push(`${damaged} replicas here can't be trusted and must be rebuilt.`)
  if (mdsSilenceMs > mdsSilenceMaxMs && !isRetired) {
    const seconds = Math.round(mdsSilenceMs / 1000)
    reasons.push(`No MDS has answered for ${seconds} s; volumes are served all the same.`)
  }
  return { ok: failure === null, reasons }
}

export function waitsOf(watched: Watched): Wait[] {
  const { afterMs, host, fullMs, isRetired, mdsSilenceMs, mdsSilenceMaxMs } = watched
  const waits: Wait[] = []
  if (mdsSilenceMs > mdsSilenceMaxMs && !isRetired) {
    waits.push({ what: 'heartbeat', waitsFor: 'an MDS that answers', lastsMs: mdsSilenceMs })
  }
  if (fullMs >= afterMs) {
    const waitsFor = 'chunks to be deleted or moved elsewhere'
    waits.push({ what: 'writes of new chunks to the full disk', waitsFor, lastsMs: fullMs })
  }
  return [...waits, ...host.waits(afterMs)]
}
