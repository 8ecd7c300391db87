// Owns how chunkservers are shown to people.

import type { Chunkserver } from '../../format/control/parts.ts'
import type { Io } from '../cli/io.ts'
import { ago, size } from '../cli/words.ts'

/** The most important thing about it in one or two words. */
export function stateText(io: Io, { state, disk, slow, draining }: Chunkserver): string {
  if (state === 'retired') return state
  if (disk.state === 'failed') return io.paint('red', 'disk failed')
  if (state !== 'online') return io.paint(state === 'unstable' ? 'yellow' : 'red', state)
  if (disk.state === 'full') return io.paint('yellow', 'full')
  if (draining !== undefined) return io.paint('yellow', 'draining')
  return slow === undefined ? state : io.paint('yellow', 'slow')
}

export function chunkserverTable(
  io: Io,
  chunkservers: readonly Chunkserver[],
  nowMs: number,
): string {
  if (chunkservers.length === 0) return 'No chunkserver has registered yet.'
  return io.table(
    ['ID', 'STATE', 'ZONE', 'SERVER', 'ADDRESS', 'USED', 'OF', 'COPYSETS', 'LEADS', 'HEARD'],
    chunkservers.map((one) => [
      String(one.id),
      stateText(io, one),
      one.zone,
      one.server,
      one.address,
      size(one.disk.usedBytes),
      size(one.disk.capacityBytes),
      String(one.copysets),
      String(one.leaders),
      ago(one.lastHeartbeatMs, nowMs),
    ]),
  )
}
