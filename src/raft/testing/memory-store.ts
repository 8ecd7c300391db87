// Owns a log in memory for tests, with what a disk adds to it: writes are visible at once and
// durable later, a crash goes back to what was durable, old entries may have left memory.

import { assert } from '../../base/assert.ts'
import { entryBytes } from '../log.ts'
import type { Entry, HardState, LogStore, Ready } from '../types.ts'

export interface Base {
  readonly index: number
  readonly term: number
}

interface Image {
  hardState: HardState
  base: Base
  entries: Entry[]
}

type Write = Pick<Ready, 'hardState' | 'entries' | 'snapshot'>

export class MemoryStore implements LogStore {
  #visible: Image
  #durable: Image
  /** Entries before it have to be fetched. */
  memoryFrom = 0

  constructor(hardState: HardState, base: Base, entries: readonly Entry[]) {
    this.#visible = { hardState, base, entries: [...entries] }
    this.#durable = { hardState, base, entries: [...entries] }
  }

  get hardState(): HardState {
    return this.#visible.hardState
  }

  /** Whether the disk has the entry that is visible at `index`, not one that it is to replace. */
  hasDurably(index: number): boolean {
    const term = termIn(this.#durable, index)
    return term !== undefined && term === this.term(index)
  }

  firstIndex(): number {
    return this.#visible.base.index + 1
  }

  lastIndex(): number {
    return this.#visible.base.index + this.#visible.entries.length
  }

  term(index: number): number | undefined {
    return termIn(this.#visible, index)
  }

  entries(from: number, to: number, bytesMax: number): readonly Entry[] | 'not-in-memory' {
    const { base, entries } = this.#visible
    assert(from > base.index && to <= this.lastIndex() + 1, 'a range of the store')
    if (from < this.memoryFrom) return 'not-in-memory'
    const out: Entry[] = []
    let bytes = 0
    for (let index = from; index < to; index++) {
      const entry = entries[index - base.index - 1] as Entry
      bytes += entryBytes(entry)
      if (out.length > 0 && bytes > bytesMax) break
      out.push(entry)
    }
    return out
  }

  all(): readonly Entry[] {
    return this.#visible.entries
  }

  write(write: Write): void {
    put(this.#visible, write)
  }

  sync(write: Write): void {
    put(this.#durable, write)
  }

  /** Forgets entries up to `index`, which a checkpoint covers. */
  purge(index: number): void {
    purgeImage(this.#visible, index)
    purgeImage(this.#durable, index)
  }

  /** Power is lost: what was not durable is gone, as is what was in memory. */
  crash(): void {
    this.#visible = { ...this.#durable, entries: [...this.#durable.entries] }
  }
}

function termIn({ base, entries }: Image, index: number): number | undefined {
  return index === base.index ? base.term : entries[index - base.index - 1]?.term
}

function put(image: Image, { hardState, entries, snapshot }: Write): void {
  if (snapshot !== null) {
    image.base = { index: snapshot.index, term: snapshot.term }
    image.entries = []
  }
  if (hardState !== null) image.hardState = hardState
  const first = entries[0]
  if (first === undefined) return
  assert(first.index <= image.base.index + image.entries.length + 1, 'no gap in the log')
  image.entries.length = first.index - image.base.index - 1
  image.entries.push(...entries)
}

function purgeImage(image: Image, index: number): void {
  const count = index - image.base.index
  if (count <= 0) return
  const last = image.entries[count - 1]
  assert(last !== undefined, 'purged only what is there')
  image.base = { index, term: last.term }
  image.entries = image.entries.slice(count)
}
