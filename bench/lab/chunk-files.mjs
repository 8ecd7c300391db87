#!/usr/bin/env node
// Compares two ways to fill new chunk files: sparse ones, and ones that were filled with zeros first.
// 1 GiB in 64 files, 64 KiB a write in an order that jumps between the files, then a sync of each, as
// a checkpoint does it. The figures are in docs/adr/0010.
//   node bench/lab/chunk-files.mjs [directory] [rounds]
import fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const root = fs.mkdtempSync(join(process.argv[2] ?? tmpdir(), 'chunk-files-'))
const rounds = Number(process.argv[3] ?? 3)
const FILES = 64
const CHUNK_BYTES = 16 << 20
const PIECE_BYTES = 64 << 10
const PIECES = (FILES * CHUNK_BYTES) / PIECE_BYTES
const data = Buffer.alloc(PIECE_BYTES, 7)
const zeros = Buffer.alloc(1 << 20)

/** All pieces once, in an order without neighbours: 2654435761 is odd, PIECES a power of two. */
function* places() {
  for (let i = 0; i < PIECES; i++) {
    const piece = (Math.imul(i, 2654435761) >>> 0) % PIECES
    yield { file: piece % FILES, at: Math.floor(piece / FILES) * PIECE_BYTES }
  }
}

function timed(act) {
  const from = performance.now()
  act()
  return Math.round(performance.now() - from)
}

function run(zeroed) {
  const fds = Array.from({ length: FILES }, (_, i) => fs.openSync(join(root, `${i}`), 'w+'))
  const prepareMs = timed(() => {
    if (!zeroed) return
    for (const fd of fds) {
      for (let at = 0; at < CHUNK_BYTES; at += zeros.byteLength) {
        fs.writeSync(fd, zeros, 0, zeros.byteLength, at)
      }
      fs.fsyncSync(fd)
    }
  })
  const writeMs = timed(() => {
    for (const { file, at } of places()) fs.writeSync(fds[file], data, 0, PIECE_BYTES, at)
  })
  const syncMs = timed(() => {
    for (const fd of fds) fs.fdatasyncSync(fd)
  })
  for (const fd of fds) fs.closeSync(fd)
  for (let i = 0; i < FILES; i++) fs.unlinkSync(join(root, `${i}`))
  return { way: zeroed ? 'zeroed' : 'sparse', prepareMs, writeMs, syncMs }
}

const rows = []
for (let round = 0; round < rounds; round++) rows.push(run(false), run(true))
console.table(rows)
fs.rmSync(root, { recursive: true })
