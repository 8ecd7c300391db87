// Owns sets of the blocks of one chunk, as bits. Invariant: `count` is the number of members. A set
// that is empty or full has no memory of its own, which most sets of most chunks are.
// As bytes: kind u8 | zero u8 | count u16, then for kind 2 (first u16, last u16) for each run, for
// kind 3 the 512 bytes of bits. Equal sets have equal bytes.

import { viewOf } from '../base/bytes.ts'
import { LemnisError } from '../base/errors.ts'
import { CHUNK_BLOCKS } from '../format/chunk-request.ts'

const WORDS = CHUNK_BLOCKS / 32
const FULL = 0xffff_ffff

const KIND_EMPTY = 0
const KIND_FULL = 1
const KIND_RUNS = 2
const KIND_BITS = 3
const HEAD_BYTES = 4
const RUN_BYTES = 4
const BITS_BYTES = CHUNK_BLOCKS / 8

export class BlockSet {
  /** Null while the set is empty or full. */
  #words: Uint32Array | null = null
  #count = 0

  static full(): BlockSet {
    const set = new BlockSet()
    set.#count = CHUNK_BLOCKS
    return set
  }

  get count(): number {
    return this.#count
  }

  has(block: number): boolean {
    const words = this.#words
    if (words === null) return this.#count !== 0
    return ((words[block >>> 5]! >>> (block & 31)) & 1) === 1
  }

  /** False when it was there already. */
  add(block: number): boolean {
    if (this.#words === null && this.#count !== 0) return false
    const words = this.#own()
    const bit = 1 << (block & 31)
    const word = words[block >>> 5]!
    if ((word & bit) !== 0) return false
    words[block >>> 5] = word | bit
    this.#counted(this.#count + 1)
    return true
  }

  /** False when it was not there. */
  delete(block: number): boolean {
    if (this.#words === null && this.#count === 0) return false
    const words = this.#own()
    const bit = 1 << (block & 31)
    const word = words[block >>> 5]!
    if ((word & bit) === 0) return false
    words[block >>> 5] = word & ~bit
    this.#counted(this.#count - 1)
    return true
  }

  clear(): void {
    this.#words = null
    this.#count = 0
  }

  clone(): BlockSet {
    const copy = new BlockSet()
    copy.#words = this.#words === null ? null : this.#words.slice()
    copy.#count = this.#count
    return copy
  }

  addAll(other: BlockSet): void {
    this.#combine(other, (mine, theirs) => mine | theirs)
  }

  deleteAll(other: BlockSet): void {
    this.#combine(other, (mine, theirs) => mine & ~theirs)
  }

  keepOnly(other: BlockSet): void {
    this.#combine(other, (mine, theirs) => mine & theirs)
  }

  /** The first member from `block` on; CHUNK_BLOCKS when there is none. */
  next(block: number): number {
    if (block >= CHUNK_BLOCKS) return CHUNK_BLOCKS
    const words = this.#words
    if (words === null) return this.#count === 0 ? CHUNK_BLOCKS : block
    let at = block >>> 5
    let word = (words[at]! & (FULL << (block & 31))) >>> 0
    while (word === 0) {
      at++
      if (at === WORDS) return CHUNK_BLOCKS
      word = words[at]!
    }
    return 32 * at + 31 - Math.clz32(word & -word)
  }

  equals(other: BlockSet): boolean {
    if (this.#count !== other.#count) return false
    for (let i = 0; i < WORDS; i++) if (this.word(i) !== other.word(i)) return false
    return true
  }

  /** 32 blocks from `32 * i` on, the lowest bit first. */
  word(i: number): number {
    if (this.#words === null) return this.#count === 0 ? 0 : FULL
    return this.#words[i]!
  }

  #own(): Uint32Array {
    if (this.#words === null) {
      this.#words = new Uint32Array(WORDS)
      if (this.#count !== 0) this.#words.fill(FULL)
    }
    return this.#words
  }

  #counted(count: number): void {
    this.#count = count
    if (count === 0 || count === CHUNK_BLOCKS) this.#words = null
  }

  #combine(other: BlockSet, by: (mine: number, theirs: number) => number): void {
    const words = this.#own()
    let count = 0
    for (let i = 0; i < WORDS; i++) {
      const word = by(words[i]!, other.word(i)) >>> 0
      words[i] = word
      count += bitsOf(word)
    }
    this.#counted(count)
  }

  // --- as bytes

  encodedBytes(): number {
    if (this.#words === null) return HEAD_BYTES
    return HEAD_BYTES + Math.min(BITS_BYTES, RUN_BYTES * this.#runs())
  }

  /** Returns where it ends. */
  encode(view: DataView, at: number): number {
    const runs = this.#words === null ? 0 : this.#runs()
    let kind = KIND_RUNS
    if (this.#words === null) kind = this.#count === 0 ? KIND_EMPTY : KIND_FULL
    else if (RUN_BYTES * runs >= BITS_BYTES) kind = KIND_BITS
    view.setUint8(at, kind)
    view.setUint8(at + 1, 0)
    view.setUint16(at + 2, kind === KIND_RUNS ? runs : 0, true)
    let end = at + HEAD_BYTES
    if (kind === KIND_BITS) {
      for (let i = 0; i < WORDS; i++) view.setUint32(end + 4 * i, this.word(i), true)
      end += BITS_BYTES
    } else if (kind === KIND_RUNS) {
      for (let first = this.next(0); first < CHUNK_BLOCKS; end += RUN_BYTES) {
        const after = this.#nextMissing(first)
        view.setUint16(end, first, true)
        view.setUint16(end + 2, after - 1, true)
        first = this.next(after)
      }
    }
    return end
  }

  /** Reads a set at `at`; CORRUPT when there is none. */
  static decode(bytes: Uint8Array, at: number): { readonly set: BlockSet; readonly end: number } {
    const view = viewOf(bytes)
    if (at + HEAD_BYTES > bytes.byteLength) throw corrupt('length')
    const kind = view.getUint8(at)
    const runs = view.getUint16(at + 2, true)
    const set = new BlockSet()
    let end = at + HEAD_BYTES
    if (kind === KIND_FULL) set.#count = CHUNK_BLOCKS
    else if (kind === KIND_BITS) {
      if (end + BITS_BYTES > bytes.byteLength) throw corrupt('length')
      const words = set.#own()
      let count = 0
      for (let i = 0; i < WORDS; i++) {
        words[i] = view.getUint32(end + 4 * i, true)
        count += bitsOf(words[i]!)
      }
      set.#counted(count)
      end += BITS_BYTES
    } else if (kind === KIND_RUNS) {
      if (end + RUN_BYTES * runs > bytes.byteLength) throw corrupt('length')
      let after = 0
      for (let i = 0; i < runs; i++, end += RUN_BYTES) {
        const first = view.getUint16(end, true)
        const last = view.getUint16(end + 2, true)
        if (first < after || last < first || last >= CHUNK_BLOCKS) throw corrupt('run')
        for (let block = first; block <= last; block++) set.add(block)
        after = last + 1
      }
    } else if (kind !== KIND_EMPTY) throw corrupt('kind')
    return { set, end }
  }

  #runs(): number {
    let runs = 0
    for (let first = this.next(0); first < CHUNK_BLOCKS; runs++) {
      first = this.next(this.#nextMissing(first))
    }
    return runs
  }

  #nextMissing(block: number): number {
    let at = block
    while (at < CHUNK_BLOCKS && this.has(at)) at++
    return at
  }
}

/** How many bits of a 32-bit word are set (Warren, Hacker's Delight, 5-1). */
function bitsOf(word: number): number {
  let v = word - ((word >>> 1) & 0x5555_5555)
  v = (v & 0x3333_3333) + ((v >>> 2) & 0x3333_3333)
  return Math.imul((v + (v >>> 4)) & 0x0f0f_0f0f, 0x0101_0101) >>> 24
}

function corrupt(reason: string): LemnisError {
  return new LemnisError('CORRUPT', { what: 'block set', reason })
}
