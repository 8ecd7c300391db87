// Owns the bytes of one simulated file: what a reader sees now, and what a loss of power would
// leave. Invariant: the durable state is the live state with `#before` put back over it; `#pending`
// are the changes in between, in order, each of which a crash may lose, keep or tear at a sector.

import { assert } from '../base/assert.ts'
import type { Random } from '../env/random.ts'

export const SECTOR_BYTES = 512
export const PAGE_BYTES = 4096

/** What a crash does to what it may take: everything goes, everything stays, or chance decides. */
export type CrashChoice = Random | 'lose' | 'keep'

type Change =
  | { readonly kind: 'write'; readonly at: number; readonly data: Uint8Array }
  | { readonly kind: 'truncate'; readonly size: number }

export class SimInode {
  readonly id: number
  size = 0
  openCount = 0
  readonly #pages = new Map<number, Uint8Array>()
  /** Pages as a loss of power would leave them, where that differs from now; null is a hole. */
  readonly #before = new Map<number, Uint8Array | null>()
  #durableSize = 0
  #pending: Change[] = []

  constructor(id: number) {
    this.id = id
  }

  get pageCount(): number {
    return this.#pages.size
  }

  get pendingCount(): number {
    return this.#pending.length
  }

  /** Pages that a write of this range would add. */
  missingPages(at: number, bytes: number): number {
    let missing = 0
    for (let page = Math.floor(at / PAGE_BYTES); page * PAGE_BYTES < at + bytes; page++) {
      if (!this.#pages.has(page)) missing++
    }
    return missing
  }

  read(into: Uint8Array, at: number): number {
    const bytes = Math.max(0, Math.min(into.byteLength, this.size - at))
    forEachPage(at, bytes, (page, inPage, done, count) => {
      const from = this.#pages.get(page)
      if (from === undefined) into.fill(0, done, done + count)
      else into.set(from.subarray(inPage, inPage + count), done)
    })
    return bytes
  }

  write(at: number, data: Uint8Array, durable: boolean): void {
    if (durable) this.sync(this.#pending.length)
    else this.#remember(at, data.byteLength)
    this.#put(at, data)
    if (durable) this.#durableSize = Math.max(this.#durableSize, at + data.byteLength)
    else this.#pending.push({ kind: 'write', at, data: data.slice() })
  }

  truncate(size: number): void {
    if (size < this.size) this.#remember(size, this.size - size)
    this.#cut(size)
    this.#pending.push({ kind: 'truncate', size })
  }

  /** Makes the oldest `count` pending changes durable. */
  sync(count: number): void {
    const later = this.#pending.slice(count)
    const synced = this.#pending.slice(0, count)
    if (later.length > 0) {
      this.#restore()
      for (const change of synced) this.#redo(change)
    }
    this.#before.clear()
    this.#durableSize = this.size
    this.#pending = []
    for (const change of later) {
      if (change.kind === 'write') this.write(change.at, change.data, false)
      else this.truncate(change.size)
    }
  }

  /** A loss of power: back to what is durable, plus what `choice` keeps of the pending changes. */
  losePower(choice: CrashChoice): void {
    const pending = this.#pending
    this.#restore()
    for (const change of pending) {
      if (change.kind === 'write') {
        const { at, data } = change
        tear(at, data, choice, (place, piece) => this.#put(place, piece))
      } else if (choice === 'keep' || (choice !== 'lose' && choice.chance(0.5))) {
        this.#redo(change)
      }
    }
    this.#before.clear()
    this.#pending = []
    this.#durableSize = this.size
  }

  /** A write cut short: those sectors of `data` that `choice` keeps. */
  writePart(at: number, data: Uint8Array, durable: boolean, choice: CrashChoice): void {
    tear(at, data, choice, (place, piece) => this.write(place, piece, durable))
  }

  /** A write cut short: those sectors of `data`, counted from 0, for which `keeps` says so. */
  writeSectors(
    at: number,
    data: Uint8Array,
    durable: boolean,
    keeps: (sector: number) => boolean,
  ): void {
    tearSectors(at, data, keeps, (place, piece) => this.write(place, piece, durable))
  }

  /** Damage at rest: one bit changes for good, behind everybody's back. */
  flip(at: number, bit: number): void {
    const page = Math.floor(at / PAGE_BYTES)
    for (const bytes of [this.#pages.get(page), this.#before.get(page)]) {
      if (bytes) bytes[at % PAGE_BYTES] = (bytes[at % PAGE_BYTES] as number) ^ (1 << bit)
    }
  }

  #put(at: number, data: Uint8Array): void {
    // The hot loop of simulations, so without forEachPage().
    for (let done = 0; done < data.byteLength; ) {
      const inPage = (at + done) % PAGE_BYTES
      const count = Math.min(data.byteLength - done, PAGE_BYTES - inPage)
      const page = (at + done - inPage) / PAGE_BYTES
      const piece = count === data.byteLength ? data : data.subarray(done, done + count)
      const into = this.#pages.get(page)
      if (into !== undefined) {
        into.set(piece, inPage)
      } else if (count === PAGE_BYTES) {
        this.#pages.set(page, piece.slice())
      } else {
        const fresh = new Uint8Array(PAGE_BYTES)
        fresh.set(piece, inPage)
        this.#pages.set(page, fresh)
      }
      done += count
    }
    this.size = Math.max(this.size, at + data.byteLength)
  }

  #cut(size: number): void {
    if (size < this.size) {
      const first = Math.ceil(size / PAGE_BYTES)
      for (const page of [...this.#pages.keys()]) if (page >= first) this.#pages.delete(page)
      if (size % PAGE_BYTES !== 0) this.#pages.get(first - 1)?.fill(0, size % PAGE_BYTES)
    }
    this.size = size
  }

  #redo(change: Change): void {
    if (change.kind === 'write') this.#put(change.at, change.data)
    else this.#cut(change.size)
  }

  #remember(at: number, bytes: number): void {
    forEachPage(at, bytes, (page) => {
      if (!this.#before.has(page)) this.#before.set(page, this.#pages.get(page)?.slice() ?? null)
    })
  }

  #restore(): void {
    for (const [page, bytes] of this.#before) {
      if (bytes === null) this.#pages.delete(page)
      else this.#pages.set(page, bytes)
    }
    this.#before.clear()
    this.size = this.#durableSize
    this.#pending = []
  }
}

function forEachPage(
  at: number,
  bytes: number,
  visit: (page: number, inPage: number, done: number, count: number) => void,
): void {
  assert(at >= 0, 'offset in a simulated file')
  for (let done = 0; done < bytes; ) {
    const inPage = (at + done) % PAGE_BYTES
    const count = Math.min(bytes - done, PAGE_BYTES - inPage)
    visit((at + done - inPage) / PAGE_BYTES, inPage, done, count)
    done += count
  }
}

type Put = (at: number, piece: Uint8Array) => void

/** Puts all of `data`, nothing, or a random choice of its sectors. */
function tear(at: number, data: Uint8Array, choice: CrashChoice, put: Put): void {
  if (choice === 'lose') return
  if (choice === 'keep') {
    put(at, data)
    return
  }
  const fate = choice.below(3)
  if (fate === 0) put(at, data)
  else if (fate === 1) tearSectors(at, data, () => choice.chance(0.5), put)
}

function tearSectors(
  at: number,
  data: Uint8Array,
  keeps: (sector: number) => boolean,
  put: Put,
): void {
  let from = 0
  for (let sector = 0; from < data.byteLength; sector++) {
    const to = Math.min(data.byteLength, from + SECTOR_BYTES - ((at + from) % SECTOR_BYTES))
    if (keeps(sector)) put(at + from, data.subarray(from, to))
    from = to
  }
}
