// A small, durable, ordered key-value store as the MDS sees it. The embedded one serves one MDS;
// etcd serves several. Keys are printable ASCII and ordered by it, values are any text; every key has
// the revision of its last change, from one counter over the whole store.
//
// What an implementation promises, and the simulator takes away as far as it is allowed:
// - Commits take effect one after the other, in the order in which commit() was called.
// - A resolved commit survives any crash; of those under way a crash takes none or the last ones.
// - get() and range() may show a commit that is under way: only a resolved one is sure to stay.
// - After a commit that rejected, every further one rejects: what is there is read after a new start.
// Errors: INVALID_ARGUMENT for what is never accepted, and changed nothing; DISK_FAILED; CLOSED.

import { LemnisError } from '../base/errors.ts'

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
  /** Keys from `from` to before `to`, ascending, at most `limit`. The two are any ASCII text. */
  range(from: string, to: string, limit: number): Promise<MetaItem[]>
  /**
   * All changes or none, durable when it resolves; the revision of the changes, or null when a
   * condition did not hold. When it rejects nobody knows which. No key is changed twice.
   */
  commit(
    conditions: readonly MetaCondition[],
    changes: readonly MetaChange[],
  ): Promise<number | null>
  /** Waits for the commits under way. */
  close(): Promise<void>
}

export const META_KEY_BYTES_MAX = 256
/** In characters. */
export const META_VALUE_LENGTH_MAX = 1024 * 1024
/** In one commit. */
export const META_CHANGES_MAX = 65_536

/** Refuses what no store accepts, before anything is done. */
export function checkCommit(
  conditions: readonly MetaCondition[],
  changes: readonly MetaChange[],
): void {
  for (const { key } of conditions) checkMetaKey(key)
  if (changes.length === 0 || changes.length > META_CHANGES_MAX) {
    throw new LemnisError('INVALID_ARGUMENT', { what: 'commit', changes: changes.length })
  }
  const keys = new Set<string>()
  for (const change of changes) {
    const { key } = change
    checkMetaKey(key)
    if (keys.has(key)) throw new LemnisError('INVALID_ARGUMENT', { what: 'key twice', key })
    keys.add(key)
    if (change.kind === 'put') checkMetaValue(key, change.value)
  }
}

export function checkMetaKey(key: string): void {
  if (key.length <= META_KEY_BYTES_MAX && /^[!-~]+$/.test(key)) return
  throw new LemnisError('INVALID_ARGUMENT', { what: 'key', key: key.slice(0, 64) })
}

function checkMetaValue(key: string, value: string): void {
  // Half a surrogate pair has no encoding, and would come back as something else.
  if (value.length <= META_VALUE_LENGTH_MAX && !/\p{Surrogate}/u.test(value)) return
  throw new LemnisError('INVALID_ARGUMENT', { what: 'value', key, length: value.length })
}
