// Owns the asking of a copyset's members for what they hold: all chunks, or one again and again while it
// is being written.

import { LIST_CHUNKS } from '../../format/control/chunkserver.ts'
import type { Copyset, Member } from '../../format/control/parts.ts'
import { type ChunkPage, judge, type Sight, type Verdict } from '../cli/compare.ts'
import type { Session } from '../cli/session.ts'

/** Up to 128 MiB are read and verified for one answer. */
const PAGE_CHUNKS = 8
export const PAGE_BUDGET_MS = 60_000
/** A chunk under constant writes is looked at this often, five seconds in all, before it is let be. */
const LOOKS_MAX = 20
const LOOK_AGAIN_MS = 250

export async function pagesOf(
  session: Session,
  group: number,
  member: Member,
): Promise<ChunkPage[]> {
  const pages: ChunkPage[] = []
  let from: number | undefined = 0
  while (from !== undefined) {
    const request = { group, from, count: PAGE_CHUNKS, verify: true }
    const page: ChunkPage = await session.askAt(
      member.address,
      LIST_CHUNKS,
      request,
      PAGE_BUDGET_MS,
    )
    pages.push(page)
    from = page.next
  }
  return pages
}

export async function look(session: Session, copyset: Copyset, chunk: number): Promise<Sight[]> {
  const request = { group: copyset.id, from: chunk, count: 1, verify: true }
  return Promise.all(
    copyset.members.map(async ({ chunkserver, address }) => {
      const page = await session.askAt(address, LIST_CHUNKS, request, PAGE_BUDGET_MS)
      const found = page.chunks.find((one) => one.chunk === chunk)
      return { chunkserver, appliedIndex: page.appliedIndex, chunk: found ?? null }
    }),
  )
}

/** The verdict on one chunk, looked at again while it changes. */
export async function settle(
  session: Session,
  copyset: Copyset,
  chunk: number,
  first: Sight[],
): Promise<{ verdict: Verdict; sights: Sight[] }> {
  let sights = first
  let verdict = judge(sights)
  for (let looks = 1; verdict === 'changing' && looks < LOOKS_MAX; looks++) {
    await new Promise<void>((resume) => session.env.clock.after(LOOK_AGAIN_MS, resume))
    sights = await look(session, copyset, chunk)
    verdict = judge(sights)
  }
  return { verdict, sights }
}
