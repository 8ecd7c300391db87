// Owns the judgement over one chunk that several replicas describe: whether they agree, differ, or can
// not be compared yet because writes moved between the looks. Pure.

export interface ChunkView {
  /** 0 where the replica has no such chunk. */
  readonly version: number
  readonly digest: number
  /** What the replica had applied when it looked, or less. */
  readonly appliedIndex: number
}

export type Verdict =
  | { readonly kind: 'same' }
  /** A look was taken before a write that another one shows. */
  | { readonly kind: 'again' }
  /** `odd` are those that differ from what a majority of all voters has; null when there is none. */
  | {
      readonly kind: 'differ'
      readonly odd: readonly number[] | null
      readonly version: number
      readonly digest: number
    }

/** The views are those of some of `voterCount` voters; `odd` are places in `views`. */
export function judgeViews(views: readonly ChunkView[], voterCount: number): Verdict {
  const [first] = views
  if (first === undefined) return { kind: 'same' }
  if (views.every((view) => isSame(view, first))) return { kind: 'same' }
  if (!views.every((a) => views.every((b) => isComparable(a, b)))) return { kind: 'again' }
  const most = views.find((view) => {
    const agreeing = views.filter((other) => isSame(view, other)).length
    return agreeing > voterCount / 2
  })
  if (most === undefined) return { kind: 'differ', odd: null, version: 0, digest: 0 }
  const odd = [...views.keys()].filter((i) => !isSame(views[i] as ChunkView, most))
  return { kind: 'differ', odd, version: most.version, digest: most.digest }
}

function isSame(a: ChunkView, b: ChunkView): boolean {
  return a.version === b.version && a.digest === b.digest
}

/** Each has applied what last changed the chunk at the other: what they show is not a matter of time. */
function isComparable(a: ChunkView, b: ChunkView): boolean {
  return a.version === b.version || (a.version <= b.appliedIndex && b.version <= a.appliedIndex)
}
