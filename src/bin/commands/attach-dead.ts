// Owns the closing of a volume in the name of a process that held it and died, when its device is removed.

import { asLemnisError } from '../../base/errors.ts'
import { CLOSE_VOLUME } from '../../format/control/mds.ts'
import type { Detached } from '../../platform/loop-attachments.ts'
import type { Io } from '../cli/io.ts'
import { Session } from '../cli/session.ts'

const CLOSE_BUDGET_MS = 2000

/** Else the next one who opens it waits for the lease to end, as it does when no MDS answers here. */
export async function closeForDead(
  io: Io,
  { mds, writer }: Pick<Detached, 'mds' | 'writer'>,
): Promise<void> {
  if (writer === null) return
  const { volumeId, ...holder } = writer
  const session = new Session(io, mds)
  for (const address of mds) {
    const request = { volume: volumeId, ...holder }
    const asked = session.askAt(address, CLOSE_VOLUME, request, CLOSE_BUDGET_MS)
    if (await asked.then(() => true, isAway)) break
  }
  await session.close()
}

function isAway(error: unknown): false {
  asLemnisError(error)
  return false
}
