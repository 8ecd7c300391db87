// Owns the opening of a volume whose holder was killed on this host: a role that was started again waits
// for the rest of its predecessor's lease, instead of refusing the clients that come back with it.
// It takes nothing over: were the holder alive after all, its renewals would keep the volume its own.

import { setTimeout as pause } from 'node:timers/promises'
import { LemnisError } from '../../base/errors.ts'
import { deadPidOfHolder } from './holder.ts'

/** An MDS that starts meanwhile gives every holder a whole lease anew. */
const WAITS_MAX = 3
/** Beyond the end of the lease, for what the way of the answer took. */
const MARGIN_MS = 50

export async function openAfterPredecessor<T>(open: () => Promise<T>): Promise<T> {
  for (let waits = 0; ; waits++) {
    try {
      return await open()
    } catch (error) {
      const leftMs = leftOfDeadMs(error)
      if (leftMs === null || waits === WAITS_MAX) throw error
      await pause(leftMs + MARGIN_MS)
    }
  }
}

/** How long a dead holder still keeps the volume that can't be opened; null when it is not that. */
function leftOfDeadMs(error: unknown): number | null {
  if (!(error instanceof LemnisError) || error.code !== 'IN_USE') return null
  const { address, leaseEndsInMs } = error.detail
  if (typeof address !== 'string' || typeof leaseEndsInMs !== 'number') return null
  return deadPidOfHolder(address) === null ? null : leaseEndsInMs
}
