// Owns what takes chunkservers out of service and puts them back, one by one, by the server or by
// the zone.

import type { ReplyOf, RequestOf } from '../../format/control/call.ts'
import { CLEAR_SLOW, DRAIN, REMOVE_CHUNKSERVER } from '../../format/control/topology.ts'
import { allChunkservers } from '../cli/pages.ts'
import { watchProgress } from '../cli/progress.ts'
import type { Session } from '../cli/session.ts'
import { counted } from '../cli/words.ts'

const POLL_MS = 1000

type Drained = ReplyOf<typeof DRAIN>

/** Replicas that those still hold; null when all have retired. */
async function replicasLeft(session: Session, ids: ReadonlySet<number>): Promise<number | null> {
  await new Promise<void>((resume) => session.env.clock.after(POLL_MS, resume))
  const left = (await allChunkservers(session)).filter(
    ({ id, state }) => ids.has(id) && state !== 'retired',
  )
  return left.length === 0 ? null : left.reduce((sum, { copysets }) => sum + copysets, 0)
}

export async function drain(
  session: Session,
  request: RequestOf<typeof DRAIN>,
  name: string,
  wait: boolean,
): Promise<void> {
  const { io } = session
  const reply: Drained = await session.ask(DRAIN, request)
  const { chunkservers, copysets, warning } = reply
  if (warning !== undefined) io.note(`${io.paint('yellow', 'warning:')} ${warning}`)
  if (wait && chunkservers.length > 0) {
    const ids = new Set(chunkservers)
    await watchProgress(io, 'replicas moved', copysets, () => replicasLeft(session, ids))
    io.result({ ...reply, retired: true }, () => `${name} is empty and has retired.`)
    return
  }
  const what = `${counted(copysets, 'replica')} on ${counted(chunkservers.length, 'chunkserver')}`
  io.result(reply, () =>
    request.on
      ? `${name} empties itself: ${what}; \`lemnis operator list\` shows what moves.`
      : `${name} stays in service, with ${what}.`,
  )
}

export function drainChunkserver(
  session: Session,
  chunkserver: number,
  on: boolean,
  wait: boolean,
): Promise<void> {
  const request = { what: 'chunkserver', chunkserver, on } as const
  return drain(session, request, `Chunkserver ${chunkserver}`, wait)
}

export async function removeChunkserver(session: Session, chunkserver: number): Promise<void> {
  await session.ask(REMOVE_CHUNKSERVER, { chunkserver })
  session.io.result({ chunkserver }, () => `Chunkserver ${chunkserver} has retired.`)
}

export async function clearSlow(session: Session, chunkserver: number): Promise<void> {
  const reply = await session.ask(CLEAR_SLOW, { chunkserver })
  session.io.result(reply, () =>
    reply.wasSlow
      ? `Chunkserver ${chunkserver} counts as sound again; it is watched as before.`
      : `Chunkserver ${chunkserver} was not slow; nothing was changed.`,
  )
}
