// Owns the listing of all volumes, page by page.

import { LIST_VOLUMES } from '../../format/control/mds.ts'
import type { Volume } from '../../format/control/parts.ts'
import type { Session } from '../cli/session.ts'

/** Those in use, or those in the recycle bin. */
export async function allVolumes(session: Session, deleted: boolean): Promise<Volume[]> {
  const all: Volume[] = []
  let from: number | undefined
  do {
    const request = from === undefined ? { deleted } : { deleted, from }
    const page = await session.ask(LIST_VOLUMES, request)
    all.push(...page.volumes)
    from = page.next
  } while (from !== undefined)
  return all
}
