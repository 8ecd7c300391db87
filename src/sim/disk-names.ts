// Owns the names of a simulated disk: which path is which file, now and after a loss of power.
// Invariant: the durable names are the old ones plus a prefix, per directory, of the operations
// since; syncDirectory() moves that prefix to now. Knows nothing of bytes.

import { LemnisError } from '../base/errors.ts'
import type { CrashChoice, SimInode } from './disk-inode.ts'

type NameOperation =
  | { readonly kind: 'link'; readonly path: string; readonly inode: SimInode }
  | { readonly kind: 'unlink'; readonly path: string }
  | { readonly kind: 'rename'; readonly from: string; readonly to: string }
  | { readonly kind: 'directory'; readonly path: string }

interface Tree {
  readonly files: Map<string, SimInode>
  readonly directories: Set<string>
}

export class SimNames {
  #live: Tree = { files: new Map(), directories: new Set(['']) }
  #durable: Tree = { files: new Map(), directories: new Set(['']) }
  #pending: NameOperation[] = []

  get(path: string): SimInode | undefined {
    return this.#live.files.get(path)
  }

  /** All that a name has now, or may have after a loss of power. */
  inodes(): SimInode[] {
    const inodes = new Set([...this.#live.files.values(), ...this.#durable.files.values()])
    for (const operation of this.#pending) {
      if (operation.kind === 'link') inodes.add(operation.inode)
    }
    return [...inodes]
  }

  list(directory: string): string[] {
    const prefix = directory === '' ? '' : `${directory}/`
    const names: string[] = []
    for (const path of [...this.#live.files.keys(), ...this.#live.directories]) {
      if (path === '' || !path.startsWith(prefix)) continue
      const name = path.slice(prefix.length)
      if (!name.includes('/')) names.push(name)
    }
    return names.sort()
  }

  link(path: string, inode: SimInode): void {
    this.#requireParent(path)
    this.#do({ kind: 'link', path, inode })
  }

  unlink(path: string): void {
    if (this.#live.directories.has(path)) throw refusal('EISDIR', path)
    if (this.#live.files.has(path)) this.#do({ kind: 'unlink', path })
  }

  rename(from: string, to: string): void {
    if (!this.#live.files.has(from)) throw refusal('ENOENT', from)
    this.#requireParent(to)
    this.#do({ kind: 'rename', from, to })
  }

  makeDirectory(path: string): void {
    if (this.#live.files.has(path)) throw refusal('EEXIST', path)
    const missing: string[] = []
    for (let at = path; !this.#live.directories.has(at); at = parentOf(at)) missing.push(at)
    for (const directory of missing.reverse()) this.#do({ kind: 'directory', path: directory })
  }

  syncDirectory(path: string): void {
    if (!this.#live.directories.has(path)) throw refusal('ENOENT', path)
    // Operations of other directories that a wanted one depends on (a rename between two) go along.
    const wanted = new Set([path])
    const kept: NameOperation[] = []
    const synced: NameOperation[] = []
    for (const operation of this.#pending.toReversed()) {
      const touched = directoriesOf(operation)
      if (touched.some((directory) => wanted.has(directory))) {
        for (const directory of touched) wanted.add(directory)
        synced.push(operation)
      } else {
        kept.push(operation)
      }
    }
    for (const operation of synced.toReversed()) applyTo(this.#durable, operation)
    this.#pending = kept.toReversed()
  }

  losePower(choice: CrashChoice): void {
    const cut = new Set<string>()
    for (const operation of this.#pending) {
      const touched = directoriesOf(operation)
      const keeps = choice === 'keep' || (choice !== 'lose' && choice.chance(0.5))
      if (keeps && !touched.some((directory) => cut.has(directory))) {
        applyTo(this.#durable, operation)
      } else {
        for (const directory of touched) cut.add(directory)
      }
    }
    this.#pending = []
    dropOrphans(this.#durable)
    this.#live = {
      files: new Map(this.#durable.files),
      directories: new Set(this.#durable.directories),
    }
  }

  #do(operation: NameOperation): void {
    applyTo(this.#live, operation)
    this.#pending.push(operation)
  }

  #requireParent(path: string): void {
    if (!this.#live.directories.has(parentOf(path))) throw refusal('ENOENT', path)
    if (this.#live.directories.has(path)) throw refusal('EISDIR', path)
  }
}

function applyTo(tree: Tree, operation: NameOperation): void {
  switch (operation.kind) {
    case 'link':
      tree.files.set(operation.path, operation.inode)
      break
    case 'unlink':
      tree.files.delete(operation.path)
      break
    case 'rename': {
      const inode = tree.files.get(operation.from)
      tree.files.delete(operation.from)
      if (inode !== undefined) tree.files.set(operation.to, inode)
      break
    }
    case 'directory':
      tree.directories.add(operation.path)
      break
  }
}

/** A directory that was lost takes what was below it along. */
function dropOrphans(tree: Tree): void {
  for (const path of [...tree.directories].sort()) {
    if (path !== '' && !tree.directories.has(parentOf(path))) tree.directories.delete(path)
  }
  for (const path of [...tree.files.keys()]) {
    if (!tree.directories.has(parentOf(path))) tree.files.delete(path)
  }
}

function directoriesOf(operation: NameOperation): string[] {
  if (operation.kind !== 'rename') return [parentOf(operation.path)]
  return [parentOf(operation.from), parentOf(operation.to)]
}

/** `a//b/` and `/a/b` are both `a/b`; the root is the empty path. */
export function normalPath(path: string): string {
  return path
    .split('/')
    .filter((part) => part !== '' && part !== '.')
    .join('/')
}

function parentOf(path: string): string {
  const slash = path.lastIndexOf('/')
  return slash < 0 ? '' : path.slice(0, slash)
}

export function refusal(errno: string, path: string): LemnisError {
  return new LemnisError('INVALID_ARGUMENT', { errno, path })
}
