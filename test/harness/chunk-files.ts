// Owns a look at a chunkserver's disk from outside: which chunk lies in which file, where its blocks and
// the pages of its block table are, and the damage that tests do there.

import {
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { blockAt, PAGE_BYTES, PAGES, pageAt } from '../../src/chunkstore/layout.ts'
import { decodeManifest } from '../../src/chunkstore/manifest.ts'
import { BLOCK_BYTES, CHUNK_BLOCKS } from '../../src/format/chunk-request.ts'
import { nodeEnv } from '../../src/platform/env.ts'

const { crc32c } = nodeEnv('/')

export interface ChunkOnDisk {
  readonly group: number
  readonly chunk: number
  readonly version: number
  readonly path: string
  /** Blocks of the present generation that the file holds. */
  readonly blocks: readonly number[]
  /** Where the pages of the table lie that count. */
  readonly pagesAt: readonly number[]
}

/** What the newest manifests on that disk name: what a start would find. */
export function chunksOn(data: string): ChunkOnDisk[] {
  const store = join(data, 'chunks')
  const found: ChunkOnDisk[] = []
  for (const bytes of readNewest(join(store, 'manifests'))) {
    const manifest = decodeManifest(new Uint8Array(bytes), crc32c)
    for (const { id, version, layers } of manifest.chunks) {
      for (const file of layers[0]?.held ?? []) {
        const path = join(store, 'chunks', `${manifest.group}-${manifest.replica}-${file.id}.chunk`)
        const all = Array.from({ length: CHUNK_BLOCKS }, (_, block) => block)
        const pages = Array.from({ length: PAGES }, (_, page) => page)
        found.push({
          group: manifest.group,
          chunk: id,
          version,
          path,
          blocks: all.filter((block) => file.data.has(block)),
          pagesAt: pages
            .filter((page) => ((file.present >>> page) & 1) === 1)
            .map((page) => pageAt(page, (file.slots >>> page) & 1)),
        })
      }
    }
  }
  return found
}

/** All of one moment: where the chunkserver replaces one just then, they are listed anew. */
function readNewest(directory: string): Buffer[] {
  for (;;) {
    try {
      return newestManifests(directory).map((name) => readFileSync(join(directory, name)))
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code !== 'ENOENT') throw thrown
    }
  }
}

export function newestManifests(directory: string): string[] {
  const newest = new Map<string, number>()
  if (!existsSync(directory)) return []
  for (const name of readdirSync(directory)) {
    const [, replica = '', generation] = /^(\d+-\d+)\.(\d+)$/.exec(name) ?? []
    if (generation === undefined) continue
    newest.set(replica, Math.max(newest.get(replica) ?? 0, Number(generation)))
  }
  return [...newest].map(([replica, generation]) => `${replica}.${generation}`)
}

/** Nothing when the file is not there. */
export function readBlock(path: string, block: number): Uint8Array {
  if (!existsSync(path)) return new Uint8Array(0)
  return readAt(path, blockAt(block), BLOCK_BYTES)
}

export function flipBlock(path: string, block: number): void {
  flipAt(path, blockAt(block) + 1234)
}

export function flipPage(path: string, at: number): void {
  flipAt(path, at + PAGE_BYTES / 2)
}

/** Changes one byte. */
function flipAt(path: string, at: number): void {
  const [byte = 0] = readAt(path, at, 1)
  const file = openSync(path, 'r+')
  writeSync(file, Uint8Array.of(byte ^ 0x5a), 0, 1, at)
  closeSync(file)
}

function readAt(path: string, at: number, length: number): Uint8Array {
  const file = openSync(path, 'r')
  const bytes = new Uint8Array(length)
  readSync(file, bytes, 0, length, at)
  closeSync(file)
  return bytes
}
