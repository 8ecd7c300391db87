// A small, durable, ordered key-value store as the MDS sees it. The embedded one serves one MDS;
// etcd serves several. Keys are printable ASCII and ordered by it, values are any text; every key has
// the revision of its last change, from one counter over the whole store.
//
// What an implementation promises, and the simulator takes away as far as it is allowed:
// - Commits take effect one after the other, in the order in which commit() was called.
// - A resolved commit survives any crash; of those under way a crash takes none or the last ones.
// - get() and range() see every commit that had resolved, of whichever process, when they were
//   called. They may show one that is under way: only a resolved one is sure to stay.
// - When a commit rejects, those that were asked for before that and are not done reject too.
// - Every call ends within the store's own deadline, whatever happens to the store.
// Errors: INVALID_ARGUMENT, NO_SPACE and NOT_FOUND (a lease that has ended) changed nothing.
// DEADLINE_EXCEEDED and DISCONNECTED: nobody knows, and a commit may take effect even later; only a
// condition keeps it from that. DISK_FAILED, CLOSED: as before, and this store takes no more calls.

import { LemnisError } from '../base/errors.ts'

export interface MetaItem {
  readonly key: string
  readonly value: string
  /** Of the last change; grows over the whole store, so an older one never comes back. */
  readonly revision: number
  /** Of the commit that made the key: removed and made again, it is another one. */
  readonly createdRevision: number
}

/** What must hold for a transaction to take effect. */
export type MetaCondition =
  | { readonly kind: 'absent'; readonly key: string }
  /** The key's last change was this one: nobody has written it since. */
  | { readonly kind: 'revision'; readonly key: string; readonly revision: number }
  /** The key is there and is the one that this commit made, whatever its value is by now. */
  | { readonly kind: 'created'; readonly key: string; readonly revision: number }

/** Keys under a lease live as long as it does: until it was not renewed for its time, or revoked. */
export interface MetaLease {
  readonly id: string
  /** As the store has granted it: at least what was asked for. */
  readonly ttlMs: number
}

export type MetaChange =
  /** Without a lease the key stays, also when it had one before. */
  | {
      readonly kind: 'put'
      readonly key: string
      readonly value: string
      readonly lease?: MetaLease
    }
  | { readonly kind: 'remove'; readonly key: string }

export type MetaChanged =
  | { readonly kind: 'put'; readonly item: MetaItem }
  | { readonly kind: 'remove'; readonly key: string; readonly revision: number }

export interface MetaWatcher {
  /**
   * From here on every change after `revision` is told; everything up to it can be read. Called again
   * whenever changes may have been missed: then everything must be read anew.
   */
  onStarted(revision: number): void
  /** All changes of one commit at once, commits in order, none twice. */
  onChanges(changes: readonly MetaChanged[], revision: number): void
}

export interface MetaWatch {
  /** Nothing is told afterwards. */
  close(): void
}

export interface MetaStore {
  get(key: string): Promise<MetaItem | null>
  /** Keys from `from` to before `to`, ascending, at most `limit`. The two are any ASCII text. */
  range(from: string, to: string, limit: number): Promise<MetaItem[]>
  /**
   * All changes or none, durable when it resolves; the revision of the changes, or null when a
   * condition did not hold. No key is changed twice. Each commit that takes effect has a revision of
   * its own, also one that removes only what is not there.
   */
  commit(
    conditions: readonly MetaCondition[],
    changes: readonly MetaChange[],
  ): Promise<number | null>
  /** A lease that ends when it was not renewed for `ttlMs`, or later if the store can not do that. */
  grantLease(ttlMs: number): Promise<MetaLease>
  /**
   * Renews; resolves when the store has done so. The lease then lasts for its time from the moment of
   * this call at least, and no caller may count from a later one. NOT_FOUND when it has ended.
   */
  keepLease(lease: MetaLease): Promise<void>
  /** Ends it: its keys are removed when this resolves. One that has ended is no error. */
  revokeLease(lease: MetaLease): Promise<void>
  /**
   * Tells what changes from `from` to before `to`, which is a larger key, until it is closed: it goes
   * on by itself after any failure of the store. The first onStarted comes after this returns.
   */
  watch(from: string, to: string, watcher: MetaWatcher): MetaWatch
  /** Waits for the commits under way. Watches are told nothing more. */
  close(): Promise<void>
}

export const META_KEY_BYTES_MAX = 256
/** In characters. */
export const META_VALUE_LENGTH_MAX = 1024 * 1024
/** In one commit. etcd is told to take 65,536 operations in one, of which the store has its own. */
export const META_CHANGES_MAX = 65_000
export const META_LEASE_MS_MAX = 24 * 60 * 60 * 1000

/** Whether a condition holds, `item` being what the store has under its key. */
export function metaConditionHolds(condition: MetaCondition, item: MetaItem | null): boolean {
  switch (condition.kind) {
    case 'absent':
      return item === null
    case 'revision':
      return item?.revision === condition.revision
    case 'created':
      return item?.createdRevision === condition.revision
  }
}

/** Those of a commit's changes that a watch of `from` to `to` is told. */
export function metaChangesWithin(
  changes: readonly MetaChanged[],
  from: string,
  to: string,
): MetaChanged[] {
  return changes.filter((change) => {
    const key = change.kind === 'put' ? change.item.key : change.key
    return key >= from && key < to
  })
}

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

export function checkMetaWatch(from: string, to: string): void {
  if (from < to) return
  throw new LemnisError('INVALID_ARGUMENT', { what: 'watch', from, to })
}

export function checkMetaLeaseMs(ttlMs: number): void {
  if (ttlMs > 0 && ttlMs <= META_LEASE_MS_MAX) return
  throw new LemnisError('INVALID_ARGUMENT', { what: 'lease', ttlMs })
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
