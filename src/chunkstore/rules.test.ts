// Every rule of writes, reads, snapshots and clones by its number, as a table: first for the pure
// decisions, then for what a replica makes of them.

import { describe, expect, it } from 'vitest'
import {
  type ChunkRow,
  correctedBy,
  layersKept,
  ruleOfCreateClone,
  ruleOfDelete,
  ruleOfDeleteSnapshot,
  ruleOfPaste,
  ruleOfWrite,
  SOURCE_BYTES_MAX,
} from './rules.ts'

const SOURCE = new TextEncoder().encode('volume-a:4096')

function row(sn: number, correctedSn = 0, source: Uint8Array | null = null): ChunkRow {
  return { sn, correctedSn, source }
}

describe('writes', () => {
  const cases: [string, ChunkRow | null, number, string][] = [
    ['sn 0 is no generation', row(1), 0, 'INVALID_ARGUMENT'],
    ['sn 0 makes no chunk', null, 0, 'INVALID_ARGUMENT'],
    ['the first write makes the chunk', null, 3, 'create'],
    ['older than the chunk', row(3), 2, 'STALE_SEQUENCE'],
    ['older than the corrected number', row(3, 5), 4, 'STALE_SEQUENCE'],
    [
      'older than a corrected number below the chunk is older than the chunk',
      row(5, 3),
      4,
      'STALE_SEQUENCE',
    ],
    ['of the same generation', row(3), 3, 'same'],
    ['of the same generation, corrected before', row(3, 2), 3, 'same'],
    ['newer: the present becomes a snapshot', row(3), 4, 'layer'],
    ['newer than both', row(3, 5), 6, 'layer'],
    ['newer, but its snapshots are gone', row(3, 5), 5, 'advance'],
    ['newer than a chunk corrected below it', row(5, 3), 6, 'layer'],
    ['over a clone', row(3, 0, SOURCE), 3, 'same'],
    ['no snapshot of a clone', row(3, 0, SOURCE), 4, 'CONFLICT'],
    ['older than a clone', row(3, 0, SOURCE), 2, 'STALE_SEQUENCE'],
  ]
  for (const [what, chunk, sn, rule] of cases) {
    it(what, () => expect(ruleOfWrite(chunk, sn)).toBe(rule))
  }
})

describe('deletion', () => {
  it('older than the chunk', () => expect(ruleOfDelete(row(3), 2)).toBe('STALE_SEQUENCE'))
  it('of a missing chunk', () => expect(ruleOfDelete(null, 0)).toBe(null))
  it('of the same generation', () => expect(ruleOfDelete(row(3, 9), 3)).toBe(null))
})

describe('deletion of snapshots', () => {
  const cases: [string, ChunkRow | null, number, string][] = [
    ['sn 0 is no generation', row(3), 0, 'INVALID_ARGUMENT'],
    ['of a missing chunk', null, 4, 'same'],
    ['of a clone', row(3, 0, SOURCE), 4, 'CONFLICT'],
    ['older than a deletion before', row(3, 5), 4, 'STALE_SEQUENCE'],
    ['the usual case: one above the snapshot', row(3), 4, 'drop'],
    ['of an older one of several', row(5), 2, 'drop'],
  ]
  for (const [what, chunk, sn, rule] of cases) {
    it(what, () => expect(ruleOfDeleteSnapshot(chunk, sn)).toBe(rule))
  }

  it('corrects the number where it is ahead of the chunk', () => {
    expect(correctedBy(row(3), 4)).toBe(4)
    expect(correctedBy(row(3, 5), 5)).toBe(5)
    expect(correctedBy(row(3, 4), 6)).toBe(6)
    expect(correctedBy(row(5), 4)).toBe(0)
    expect(correctedBy(row(5, 2), 5)).toBe(2)
  })

  it('keeps what generation `sn` and newer ones need', () => {
    const cases: [number[], number, number][] = [
      [[5], 6, 1],
      [[5], 3, 1],
      [[5, 3], 6, 1],
      [[5, 3], 5, 1],
      [[5, 3], 4, 2],
      [[5, 3, 1], 3, 2],
      [[5, 3, 1], 4, 2],
      [[5, 3, 1], 2, 3],
      [[5, 3, 1], 5, 1],
      [[7, 5, 3, 1], 6, 2],
    ]
    for (const [sns, sn, kept] of cases)
      expect(layersKept(sns, sn), `${sns.join(' ')} ${sn}`).toBe(kept)
  })
})

describe('clones', () => {
  const other = new TextEncoder().encode('volume-a:8192')
  const cases: [string, ChunkRow | null, number, Uint8Array, string][] = [
    ['sn 0 is no generation', null, 0, SOURCE, 'INVALID_ARGUMENT'],
    ['without a source', null, 1, new Uint8Array(0), 'INVALID_ARGUMENT'],
    ['with a source too long', null, 1, new Uint8Array(SOURCE_BYTES_MAX + 1), 'INVALID_ARGUMENT'],
    ['where no chunk is', null, 1, SOURCE, 'create'],
    ['once more the same', row(1, 0, SOURCE), 1, SOURCE.slice(), 'same'],
    ['of another source', row(1, 0, SOURCE), 1, other, 'CONFLICT'],
    ['of another generation', row(1, 0, SOURCE), 2, SOURCE, 'CONFLICT'],
    ['over a chunk that is none', row(1), 1, SOURCE, 'CONFLICT'],
  ]
  for (const [what, chunk, sn, source, rule] of cases) {
    it(what, () => expect(ruleOfCreateClone(chunk, sn, source)).toBe(rule))
  }

  it('pastes into clones only', () => {
    expect(ruleOfPaste(null)).toBe('NOT_FOUND')
    expect(ruleOfPaste(row(1))).toBe('same')
    expect(ruleOfPaste(row(1, 0, SOURCE))).toBe('paste')
  })
})
