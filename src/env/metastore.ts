// A small, durable, ordered key-value store as the MDS sees it. The embedded one serves one MDS;
// etcd serves several. Keys and values are text; every key has the revision of its last change.

export interface MetaItem {
  readonly key: string
  readonly value: string
  /** Of the last change; grows over the whole store, so an older one never comes back. */
  readonly revision: number
}

/** What must hold for a transaction to take effect. */
export type MetaCondition =
  | { readonly kind: 'absent'; readonly key: string }
  /** The key's last change was this one: nobody has written it since. */
  | { readonly kind: 'revision'; readonly key: string; readonly revision: number }

export type MetaChange =
  | { readonly kind: 'put'; readonly key: string; readonly value: string }
  | { readonly kind: 'remove'; readonly key: string }

export interface MetaStore {
  get(key: string): Promise<MetaItem | null>
  /** Keys from `from` to before `to`, ascending, at most `limit`. */
  range(from: string, to: string, limit: number): Promise<MetaItem[]>
  /**
   * All changes or none, durable when it resolves; the revision of the changes, or null when a
   * condition did not hold. When it rejects nobody knows which.
   */
  commit(
    conditions: readonly MetaCondition[],
    changes: readonly MetaChange[],
  ): Promise<number | null>
  close(): Promise<void>
}
