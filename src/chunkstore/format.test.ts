// The bytes of chunk files: as the vectors of another program say, back and forth, and never taken
// for what they are not.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { vectorsOf } from '../../test/vectors.ts'
import { bytesOfHex, hexOf, viewOf } from '../base/bytes.ts'
import { crc32cPure } from '../base/crc32c.ts'
import { LemnisError } from '../base/errors.ts'
import { BLOCK_BYTES, CHUNK_BLOCKS } from '../format/chunk-request.ts'
import { BlockSet } from './block-set.ts'
import { Chunk, type LayerFile } from './chunk.ts'
import { ChunkFile } from './chunk-file.ts'
import {
  emptyPage,
  entryCrc,
  entryVersion,
  FILE_BYTES,
  isPage,
  PAGE_BLOCKS,
  PAGE_BYTES,
  PAGES,
  pageAt,
  pageOf,
  sealPage,
  setEntry,
} from './layout.ts'
import { decodeManifest, encodeManifest, type FileTable, pruneManifest } from './manifest.ts'
import { chunkOf } from './row-codec.ts'
import {
  type BlockRecord,
  candidatesOf,
  decodeHave,
  decodePiece,
  encodeHave,
  encodePiece,
} from './transfer-codec.ts'
import { Volumes } from './volumes.ts'

const VECTORS = 'chunk-store.txt'
const UNCOUNTED = { changed: () => {} }

function setOf(blocks: readonly number[]): BlockSet {
  const set = new BlockSet()
  for (const block of blocks) set.add(block)
  return set
}

function membersOf(set: BlockSet): number[] {
  const members: number[] = []
  for (let b = set.next(0); b < CHUNK_BLOCKS; b = set.next(b + 1)) members.push(b)
  return members
}

function encoded(set: BlockSet): Uint8Array {
  const out = new Uint8Array(set.encodedBytes())
  expect(set.encode(viewOf(out), 0)).toBe(out.byteLength)
  return out
}

/** Refused, whatever the reason. */
function expectRefused(act: () => unknown, what: string): void {
  try {
    act()
  } catch (error) {
    expect(error, what).toBeInstanceOf(LemnisError)
    return
  }
  expect.fail(`${what}: taken`)
}

describe('block sets', () => {
  it('are written and read as the vectors say', () => {
    const vectors = vectorsOf<{ name: string; ranges: [number, number, number][] }>(VECTORS, 'set')
    expect(vectors).toHaveLength(9)
    for (const { fields, bytes } of vectors) {
      const set = new BlockSet()
      for (const [from, to, step] of fields.ranges) {
        for (let block = from; block < to; block += step) set.add(block)
      }
      expect(hexOf(encoded(set)), fields.name).toBe(hexOf(bytes))
      const { set: read, end } = BlockSet.decode(bytes, 0)
      expect(end).toBe(bytes.byteLength)
      expect(read.equals(set), fields.name).toBe(true)
      for (let cut = 0; cut < bytes.byteLength; cut++) {
        expectRefused(() => BlockSet.decode(bytes.slice(0, cut), 0), `${fields.name} cut ${cut}`)
      }
    }
  })

  it('do what sets do', () => {
    const blocks = fc.uniqueArray(fc.integer({ min: 0, max: CHUNK_BLOCKS - 1 }), { maxLength: 300 })
    const range = fc.tuple(blocks, fc.integer({ min: 0, max: 4096 }), fc.boolean())
    fc.assert(
      fc.property(range, range, ([a, upTo, fills], [b, from, empties]) => {
        const one = fills ? BlockSet.full() : new BlockSet()
        const naive = new Set(fills ? Array.from({ length: CHUNK_BLOCKS }, (_, i) => i) : [])
        for (let block = 0; block < upTo; block++) {
          expect(one.add(block)).toBe(!naive.has(block))
          naive.add(block)
        }
        for (const block of a) {
          expect(one.delete(block)).toBe(naive.delete(block))
        }
        const other = setOf(b)
        const naiveOther = new Set(b)
        const merged = one.clone()
        merged.addAll(other)
        expect(membersOf(merged)).toEqual([...new Set([...naive, ...b])].sort((x, y) => x - y))
        const rest = one.clone()
        rest.deleteAll(other)
        expect(rest.count).toBe([...naive].filter((block) => !naiveOther.has(block)).length)
        const both = one.clone()
        both.keepOnly(other)
        expect(membersOf(both)).toEqual(b.filter((x) => naive.has(x)).sort((x, y) => x - y))
        if (empties) one.clear()
        const next = empties
          ? CHUNK_BLOCKS
          : Math.min(...[...naive].filter((x) => x >= from), CHUNK_BLOCKS)
        expect(one.next(from)).toBe(next)
        expect(BlockSet.decode(encoded(one), 0).set.equals(one)).toBe(true)
        expect(one.equals(other)).toBe(
          one.count === other.count && membersOf(one).every((x) => other.has(x)),
        )
      }),
      { numRuns: 60 },
    )
  })

  it('refuse what is no set', () => {
    for (const hex of [
      '04000000',
      '0200010005000400',
      '0200010000100010',
      '02000200050009000800 0900',
    ]) {
      expectRefused(() => BlockSet.decode(bytesOfHex(hex), 0), hex)
    }
  })
})

describe('pages of block tables', () => {
  it('are written and read as the vectors say', () => {
    interface Fields {
      readonly group: number
      readonly replica: number
      readonly file: number
      readonly page: number
      readonly generation: number
      readonly entries: [number, number, number][]
    }
    const [vector] = vectorsOf<Fields>(VECTORS, 'page')
    if (vector === undefined) throw new Error('no vector')
    const { fields, bytes } = vector
    const page = emptyPage()
    for (const [block, crc, version] of fields.entries) {
      expect(pageOf(block)).toBe(fields.page)
      setEntry(viewOf(page), block, crc, version)
    }
    const crc = sealPage(page, fields, fields.generation, crc32cPure)
    expect(hexOf(page)).toBe(hexOf(bytes))
    expect(isPage(bytes, fields, crc, crc32cPure)).toBe(true)
    for (const [block, entry, version] of fields.entries) {
      expect(entryCrc(viewOf(bytes), block)).toBe(entry)
      expect(entryVersion(viewOf(bytes), block)).toBe(version)
    }
    expect(entryVersion(viewOf(bytes), 400)).toBe(0)
    for (const other of [
      { ...fields, group: 8 },
      { ...fields, replica: 22 },
      { ...fields, file: 4 },
      { ...fields, page: 2 },
    ]) {
      expect(isPage(bytes, other, crc, crc32cPure)).toBe(false)
    }
    expect(isPage(bytes, fields, crc ^ 1, crc32cPure)).toBe(false)
    expect(isPage(bytes.slice(0, PAGE_BYTES - 1), fields, crc, crc32cPure)).toBe(false)
    for (let at = 0; at < PAGE_BYTES; at += 13) {
      const flipped = bytes.slice()
      flipped[at] = (flipped[at] as number) ^ 4
      expect(isPage(flipped, fields, crc, crc32cPure), `byte ${at}`).toBe(false)
    }
  })

  it('cover all blocks and lie apart from each other and from the data', () => {
    expect(pageOf(CHUNK_BLOCKS - 1)).toBe(PAGES - 1)
    expect(PAGE_BLOCKS * PAGES).toBeGreaterThanOrEqual(CHUNK_BLOCKS)
    const places = new Set<number>()
    for (let page = 0; page < PAGES; page++)
      for (const slot of [0, 1]) places.add(pageAt(page, slot))
    expect(places.size).toBe(2 * PAGES)
    expect(FILE_BYTES).toBe(2 * PAGES * PAGE_BYTES + CHUNK_BLOCKS * BLOCK_BYTES)
  })
})

interface RowFields {
  readonly id: number
  readonly birth: number
  readonly version: number
  readonly correctedSn: number
  readonly source: string
}

interface FileFields {
  readonly id: number
  readonly pages: { page: number; slot: number; crc: number }[]
  readonly data: number[]
}

interface ManifestFields {
  readonly group: number
  readonly replica: number
  readonly generation: number
  readonly appliedIndex: number
  readonly settledIndex: number
  readonly nextFile: number
  readonly volumesVersion: number
  readonly mark: string
  readonly volumes: [number, number, number][]
  /** Volumes that are gone, from and to. */
  readonly ended?: [number, number][]
  readonly gone: [number, number][]
  readonly chunks: (RowFields & {
    layers: { sn: number; zeros: number[]; files: FileFields[] }[]
  })[]
}

function fileOf(id: number): ChunkFile {
  return new ChunkFile(UNCOUNTED, { group: 7, replica: 21, id }, id, `file ${id}`, true)
}

function chunkFrom(
  row: RowFields & { layers: { sn: number; zeros: number[]; files: FileFields[] }[] },
  tables: Map<ChunkFile, FileTable>,
): Chunk {
  const layers = row.layers.map(({ sn, zeros, files }) => ({
    sn,
    zeros: setOf(zeros),
    files: files.map(({ id, pages, data }): LayerFile => {
      const file = fileOf(id)
      const crcs = new Uint32Array(PAGES)
      let present = 0
      let slots = 0
      for (const { page, slot, crc } of pages) {
        crcs[page] = crc
        present |= 1 << page
        slots |= slot << page
      }
      tables.set(file, { present, slots, crcs })
      return { file, data: setOf(data) }
    }),
  }))
  const source = row.source === '' ? null : new TextEncoder().encode(row.source)
  const chunk = new Chunk(row.id, row.birth, source, layers)
  chunk.version = row.version
  chunk.correctedSn = row.correctedSn
  return chunk
}

describe('manifests', () => {
  const vectors = vectorsOf<ManifestFields>(VECTORS, 'manifest')

  it('are written and read as the vectors say', () => {
    expect(vectors).toHaveLength(3)
    for (const { fields, bytes } of vectors) {
      const tables = new Map<ChunkFile, FileTable>()
      const chunks = fields.chunks.map((row) => chunkFrom(row, tables))
      const volumes = new Volumes()
      for (const [volume, epoch, sn] of [...fields.volumes].reverse()) {
        volumes.raise(volume, epoch, sn, fields.volumesVersion)
      }
      for (const [first, last] of fields.ended ?? []) {
        volumes.end(first, last, fields.volumesVersion)
      }
      const extras = {
        mark: bytesOfHex(fields.mark),
        volumes: volumes.encode(),
        gone: new Map(fields.gone),
      }
      const tableOf = (file: ChunkFile): FileTable => tables.get(file) as FileTable
      const written = encodeManifest(fields, extras, chunks, tableOf, crc32cPure)
      expect(hexOf(written)).toBe(hexOf(bytes))
      const read = decodeManifest(bytes, crc32cPure)
      const again = read.chunks.map((row) =>
        chunkOf(row, (stored) => {
          const file = fileOf(stored.id)
          tables.set(file, stored)
          return { file, data: stored.data }
        }),
      )
      expect(hexOf(encodeManifest(read, read, again, tableOf, crc32cPure))).toBe(hexOf(bytes))
      expect(hexOf(Volumes.decode(read.volumes, 1).encode())).toBe(hexOf(extras.volumes))
    }
  })

  it('are refused when cut or changed anywhere', () => {
    for (const { bytes } of vectors) {
      for (let cut = 0; cut < bytes.byteLength; cut++) {
        expectRefused(() => decodeManifest(bytes.slice(0, cut), crc32cPure), `cut ${cut}`)
      }
      for (let at = 0; at < bytes.byteLength; at++) {
        const flipped = bytes.slice()
        flipped[at] = (flipped[at] as number) ^ 1
        expectRefused(() => decodeManifest(flipped, crc32cPure), `byte ${at}`)
      }
    }
  })

  it('of impossible content are refused, whatever their checksum says', () => {
    const { bytes } = vectors[1] as (typeof vectors)[number]
    let refused = 0
    for (let at = 0; at < bytes.byteLength - 4; at++) {
      for (const value of [0, 0xff]) {
        const changed = bytes.slice()
        changed[at] = value
        const end = changed.byteLength - 4
        viewOf(changed).setUint32(end, crc32cPure(changed.subarray(0, end)), true)
        try {
          decodeManifest(changed, crc32cPure)
        } catch (error) {
          expect(error, `byte ${at}`).toBeInstanceOf(LemnisError)
          refused++
        }
      }
    }
    expect(refused).toBeGreaterThan(100)
  })

  it('lose the chunks that are gone, and keep everything else', () => {
    const { bytes } = vectors[1] as (typeof vectors)[number]
    const isFirst = (id: number, birth: number): number => (id === 1 && birth === 3 ? 130 : 0)
    const pruned = decodeManifest(pruneManifest(bytes, 77, isFirst, crc32cPure), crc32cPure)
    const old = decodeManifest(bytes, crc32cPure)
    expect(pruned).toEqual({
      ...old,
      generation: 77,
      settledIndex: 130,
      gone: new Map([...old.gone, [1, 130]]),
      chunks: old.chunks.slice(1),
    })
    const same = pruneManifest(bytes, old.generation, () => 0, crc32cPure)
    expect(hexOf(same)).toBe(hexOf(bytes))
  })
})

describe('transfers', () => {
  it('say what is held as the vectors say', () => {
    interface Fields {
      readonly birth: number
      readonly candidates: { sn: number; versions: [number, number][] }[]
    }
    for (const { fields, bytes } of vectorsOf<Fields>(VECTORS, 'have')) {
      const candidates = fields.candidates.map(({ sn, versions }) => {
        const byBlock = new Float64Array(CHUNK_BLOCKS)
        for (const [block, version] of versions) byBlock[block] = version
        return { sn, data: setOf(versions.map(([block]) => block)), versions: byBlock }
      })
      const have = { birth: fields.birth, candidates }
      expect(hexOf(encodeHave(have, 10_000))).toBe(hexOf(bytes))
      const read = decodeHave(bytes)
      expect(hexOf(encodeHave(read, 10_000))).toBe(hexOf(bytes))
      // What does not fit is left out, and not cut.
      expect(decodeHave(encodeHave(have, bytes.byteLength - 1)).candidates).toHaveLength(1)
      for (let cut = 1; cut < bytes.byteLength; cut++) {
        expectRefused(() => decodeHave(bytes.slice(0, cut)), `cut ${cut}`)
      }
    }
    expect(decodeHave(new Uint8Array(0))).toEqual({ birth: 0, candidates: [] })
  })

  it('have pieces as the vectors say', () => {
    interface Fields {
      readonly row:
        | (RowFields & { layers: { sn: number; zeros: number[]; data: number[] }[] })
        | null
      readonly goneBy: number
      readonly records: { layer: number; block: number; version: number; crc: number; fill: null }[]
    }
    const vectors = vectorsOf<Fields>(VECTORS, 'piece')
    expect(vectors).toHaveLength(2)
    for (const { fields, bytes } of vectors) {
      const { row, goneBy } = fields
      const withFiles =
        row === null
          ? null
          : {
              ...row,
              layers: row.layers.map(({ sn, zeros, data }) => ({
                sn,
                zeros,
                files: [{ id: 1, pages: [], data }],
              })),
            }
      const chunk = withFiles === null ? null : chunkFrom(withFiles, new Map())
      const records = fields.records.map(
        ({ fill, ...record }): BlockRecord => ({ ...record, bytes: fill }),
      )
      expect(hexOf(encodePiece(chunk, goneBy, records))).toBe(hexOf(bytes))
      const read = decodePiece(bytes)
      expect(read.goneBy).toBe(goneBy)
      expect(read.records).toEqual(records)
      expect(read.row?.layers.map(({ held }) => membersOf(held))).toEqual(
        row?.layers.map(({ data }) => data),
      )
      for (let cut = 0; cut < bytes.byteLength; cut++) {
        // Cut where a record ends it is a shorter piece.
        if (row !== null && cut === bytes.byteLength - 24) continue
        expectRefused(() => decodePiece(bytes.slice(0, cut)), `cut ${cut}`)
      }
    }
    const record = {
      layer: 0,
      block: 3,
      version: 9,
      crc: 5,
      bytes: new Uint8Array(BLOCK_BYTES).fill(7),
    }
    const bytes = encodePiece(null, 0, [record, { ...record, bytes: null }])
    expect(decodePiece(bytes)).toEqual({
      row: null,
      goneBy: 0,
      records: [record, { ...record, bytes: null }],
    })
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (noise) => {
        try {
          decodePiece(noise)
          decodeHave(noise)
        } catch (error) {
          expect(error).toBeInstanceOf(LemnisError)
        }
      }),
    )
  })

  it('find for each layer the ones that were merged into it', () => {
    const own = [7, 5, 4, 2].map((sn) => ({ sn }))
    expect(candidatesOf([6, 4], own).map((layers) => layers.map(({ sn }) => sn))).toEqual([
      [5],
      [4, 2],
    ])
    expect(candidatesOf([9], own).map((layers) => layers.length)).toEqual([4])
  })
})
