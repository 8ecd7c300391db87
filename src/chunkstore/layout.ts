// Owns where things are in a chunk file, and the bytes of its block table (docs/formats/chunk.md).
// The file is two slots for each page of the table, then the blocks. A page says of each of its blocks
// which entry of the log wrote it and the CRC32C of its bytes; whether a block has data at all, and
// which slot of a page counts, says the manifest.

import { viewOf } from '../base/bytes.ts'
import type { Crc32c } from '../base/crc32c.ts'
import { readU53, writeU53 } from '../base/u53.ts'
import { BLOCK_BYTES, CHUNK_BLOCKS, CHUNK_BYTES } from '../format/chunk-request.ts'

// Page: magic u32 | version u16 | page u16 | crc u32 of all that follows | zero u32 | group u53 |
//   replica u53 | file u53 | generation u53 | zeros up to 256 | entries: crc u32, version u48
export const PAGE_BYTES = BLOCK_BYTES
const MAGIC = 0x5442_434c // "LCBT"
const VERSION = 1
const CRC_FROM = 12
const HEADER_BYTES = 256
const ENTRY_BYTES = 10
export const PAGE_BLOCKS = (PAGE_BYTES - HEADER_BYTES) / ENTRY_BYTES
export const PAGES = Math.ceil(CHUNK_BLOCKS / PAGE_BLOCKS)

const DATA_AT = 2 * PAGES * PAGE_BYTES
export const FILE_BYTES = DATA_AT + CHUNK_BYTES
/** Counted for each file beside its blocks: its table. */
export const FILE_OVERHEAD_BYTES = DATA_AT

export function blockAt(block: number): number {
  return DATA_AT + block * BLOCK_BYTES
}

export function pageAt(page: number, slot: number): number {
  return (slot * PAGES + page) * PAGE_BYTES
}

export function pageOf(block: number): number {
  return (block / PAGE_BLOCKS) | 0
}

/** Whose page it is; checked, so that a misdirected write is not taken for it. */
export interface PageIdentity {
  readonly group: number
  readonly replica: number
  readonly file: number
  readonly page: number
}

/** A page whose entries are all unknown. */
export function emptyPage(): Uint8Array {
  return new Uint8Array(PAGE_BYTES)
}

/** Fills in the header; returns the page's CRC, by which the manifest knows it. */
export function sealPage(
  bytes: Uint8Array,
  identity: PageIdentity,
  generation: number,
  crc32c: Crc32c,
): number {
  const view = viewOf(bytes)
  bytes.fill(0, 0, HEADER_BYTES)
  view.setUint32(0, MAGIC, true)
  view.setUint16(4, VERSION, true)
  view.setUint16(6, identity.page, true)
  writeU53(view, 16, identity.group)
  writeU53(view, 24, identity.replica)
  writeU53(view, 32, identity.file)
  writeU53(view, 40, generation)
  const crc = crc32c(bytes.subarray(CRC_FROM))
  view.setUint32(8, crc, true)
  return crc
}

/** Whether `bytes` are the page of that identity with that CRC. */
export function isPage(
  bytes: Uint8Array,
  identity: PageIdentity,
  crc: number,
  crc32c: Crc32c,
): boolean {
  const view = viewOf(bytes)
  return (
    bytes.byteLength === PAGE_BYTES &&
    view.getUint32(0, true) === MAGIC &&
    view.getUint16(4, true) === VERSION &&
    view.getUint16(6, true) === identity.page &&
    view.getUint32(8, true) === crc &&
    crc32c(bytes.subarray(CRC_FROM)) === crc &&
    readU53(view, 16) === identity.group &&
    readU53(view, 24) === identity.replica &&
    readU53(view, 32) === identity.file
  )
}

function entryAt(block: number): number {
  return HEADER_BYTES + (block % PAGE_BLOCKS) * ENTRY_BYTES
}

export function entryCrc(page: DataView, block: number): number {
  return page.getUint32(entryAt(block), true)
}

/** 0 when the page does not know the block. */
export function entryVersion(page: DataView, block: number): number {
  const at = entryAt(block)
  return page.getUint16(at + 8, true) * 0x1_0000_0000 + page.getUint32(at + 4, true)
}

export function setEntry(page: DataView, block: number, crc: number, version: number): void {
  const at = entryAt(block)
  page.setUint32(at, crc, true)
  page.setUint32(at + 4, version >>> 0, true)
  page.setUint16(at + 8, version / 0x1_0000_0000, true)
}
