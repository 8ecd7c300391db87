// Owns the reading of whole lists: the MDS answers them page by page, each of which names the next.

import type { ControlCall, ReplyOf, RequestOf } from '../../format/control/call.ts'
import { LIST_CHUNKSERVERS, LIST_COPYSETS, LIST_VOLUMES } from '../../format/control/mds.ts'
import { LIST_OPERATORS, type Operator } from '../../format/control/operators.ts'
import type { Chunkserver, Copyset, Volume } from '../../format/control/parts.ts'
import type { Session } from './session.ts'

/** What `itemsOf` finds in every page, in the order of the pages. */
export async function allPages<C extends ControlCall, T>(
  session: Session,
  call: C,
  request: RequestOf<C>,
  itemsOf: (reply: ReplyOf<C>) => readonly T[],
): Promise<T[]> {
  const all: T[] = []
  let asked = request
  for (;;) {
    const reply = await session.ask(call, asked)
    all.push(...itemsOf(reply))
    const { next } = reply as { readonly next?: unknown }
    if (next === undefined) return all
    asked = { ...(request as object), from: next }
  }
}

export function allChunkservers(session: Session): Promise<Chunkserver[]> {
  return allPages(session, LIST_CHUNKSERVERS, {}, (page) => page.chunkservers)
}

/** Those of `ids`, or all without any. */
export function allCopysets(session: Session, ids: readonly number[]): Promise<Copyset[]> {
  return allPages(session, LIST_COPYSETS, { ids: [...ids] }, (page) => page.copysets)
}

/** Those in use, or those in the recycle bin. */
export function allVolumes(session: Session, deleted: boolean): Promise<Volume[]> {
  return allPages(session, LIST_VOLUMES, { deleted }, (page) => page.volumes)
}

export function allOperators(
  session: Session,
  state: 'active' | 'ended' | 'all',
): Promise<Operator[]> {
  return allPages(session, LIST_OPERATORS, { state }, (page) => page.operators)
}
