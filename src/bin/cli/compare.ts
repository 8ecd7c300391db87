// Owns the comparison of a copyset's replicas: every block of every chunk is read from disk and verified
// by each member, and what they say must be equal.
// Members answer at different moments. A chunk is compared only when that can be decided: equal versions
// must have equal digests, and a member that has applied the entry which made a version must have it.
// Else something was being written, and the chunk is asked for again.

import type { ReplyOf } from '../../format/control/call.ts'
import type { LIST_CHUNKS } from '../../format/control/chunkserver.ts'

export type ChunkPage = ReplyOf<typeof LIST_CHUNKS>
type Listed = ChunkPage['chunks'][number]

/** What one member says of a chunk; null: it has none of that id. */
export interface Sight {
  readonly chunkserver: number
  readonly appliedIndex: number
  readonly chunk: Listed | null
}

/**
 * 'changing': can't be told yet. 'bad': blocks that fail their checksum; reads are served by the others.
 * 'unequal': all checksums are right, and the contents differ all the same.
 */
export type Verdict = 'equal' | 'changing' | 'bad' | 'unequal'

export function judge(sights: readonly Sight[]): Verdict {
  const versions = sights.map(({ chunk }) => chunk?.version ?? 0)
  const newest = Math.max(...versions)
  const behind = sights.filter((_, i) => versions[i] !== newest)
  if (behind.length > 0) {
    const ahead = sights.filter((_, i) => versions[i] === newest)
    const seenByAhead = Math.max(...ahead.map(({ appliedIndex }) => appliedIndex))
    // One that has applied the entry but not its effect differs. A chunk that is missing may have been
    // deleted by an entry that the others have not applied yet.
    const differs = behind.some(
      ({ appliedIndex, chunk }) =>
        appliedIndex >= newest && (chunk !== null || appliedIndex <= seenByAhead),
    )
    return differs ? 'unequal' : 'changing'
  }
  if (sights.some(({ chunk }) => (chunk?.badBlocks ?? 0) > 0)) return 'bad'
  return new Set(sights.map(({ chunk }) => chunk?.digest)).size === 1 ? 'equal' : 'unequal'
}

/** Who is to repair it: members with bad blocks, else those that do not agree with the majority. */
export function suspects(sights: readonly Sight[]): number[] {
  const bad = sights.filter(({ chunk }) => (chunk?.badBlocks ?? 0) > 0)
  if (bad.length > 0) return bad.map(({ chunkserver }) => chunkserver)
  const key = ({ chunk }: Sight): string => `${chunk?.version} ${chunk?.digest}`
  const votes = new Map<string, number>()
  for (const sight of sights) votes.set(key(sight), (votes.get(key(sight)) ?? 0) + 1)
  const [winner] = [...votes].find(([, count]) => 2 * count > sights.length) ?? []
  if (winner === undefined) return []
  return sights.filter((sight) => key(sight) !== winner).map(({ chunkserver }) => chunkserver)
}

/** Everything that members listed, chunk by chunk; a member that did not list a chunk has none. */
export function align(
  lists: readonly { readonly chunkserver: number; readonly pages: readonly ChunkPage[] }[],
): Map<number, Sight[]> {
  const out = new Map<number, Sight[]>()
  const ids = new Set(
    lists.flatMap(({ pages }) => pages.flatMap(({ chunks }) => chunks.map((c) => c.chunk))),
  )
  const byMember = lists.map(({ chunkserver, pages }) => {
    const seen = new Map<number, Sight>()
    for (const { appliedIndex, chunks } of pages) {
      for (const chunk of chunks) seen.set(chunk.chunk, { chunkserver, appliedIndex, chunk })
    }
    const appliedIndex = Math.min(...pages.map((page) => page.appliedIndex))
    return { chunkserver, appliedIndex, seen }
  })
  for (const id of [...ids].toSorted((a, b) => a - b)) {
    const sights = byMember.map(
      ({ chunkserver, appliedIndex, seen }) =>
        seen.get(id) ?? { chunkserver, appliedIndex, chunk: null },
    )
    out.set(id, sights)
  }
  return out
}
