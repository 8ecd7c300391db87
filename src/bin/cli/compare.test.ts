import { describe, expect, it } from 'vitest'
import { align, judge, type Sight, suspects } from './compare.ts'

function sight(
  chunkserver: number,
  appliedIndex: number,
  version: number,
  digest: number,
  badBlocks = 0,
): Sight {
  return {
    chunkserver,
    appliedIndex,
    chunk: { chunk: 7, version, digest, usedBytes: 4096, badBlocks },
  }
}
const missing = (chunkserver: number, appliedIndex: number): Sight => ({
  chunkserver,
  appliedIndex,
  chunk: null,
})

describe('judge', () => {
  it('takes equal versions with equal digests for equal, wherever the members are', () => {
    expect(judge([sight(1, 50, 40, 9), sight(2, 60, 40, 9), sight(3, 41, 40, 9)])).toBe('equal')
  })

  it('finds equal versions with other contents', () => {
    expect(judge([sight(1, 50, 40, 9), sight(2, 50, 40, 8), sight(3, 50, 40, 9)])).toBe('unequal')
  })

  it('finds bad blocks before unequal digests', () => {
    expect(judge([sight(1, 50, 40, 9), sight(2, 50, 40, 8, 1), sight(3, 50, 40, 9)])).toBe('bad')
  })

  it('waits for a member that has not applied the newest change', () => {
    expect(judge([sight(1, 50, 45, 9), sight(2, 44, 40, 8), sight(3, 50, 45, 9)])).toBe('changing')
  })

  it('finds a member that applied the newest change without its effect', () => {
    expect(judge([sight(1, 50, 45, 9), sight(2, 45, 40, 8), sight(3, 50, 45, 9)])).toBe('unequal')
  })

  it('tells a missing chunk from one deleted a moment ago', () => {
    expect(judge([sight(1, 50, 45, 9), missing(2, 49), sight(3, 50, 45, 9)])).toBe('unequal')
    expect(judge([sight(1, 50, 45, 9), missing(2, 51), sight(3, 50, 45, 9)])).toBe('changing')
    expect(judge([sight(1, 50, 45, 9), missing(2, 44), sight(3, 50, 45, 9)])).toBe('changing')
  })
})

describe('suspects', () => {
  it('are the members with bad blocks', () => {
    expect(suspects([sight(1, 50, 40, 9), sight(2, 50, 40, 8, 1), sight(3, 50, 40, 8)])).toEqual([
      2,
    ])
  })

  it('are else those that the majority outvotes, and nobody without a majority', () => {
    expect(suspects([sight(1, 50, 40, 9), sight(2, 50, 40, 8), sight(3, 50, 40, 9)])).toEqual([2])
    expect(suspects([sight(1, 50, 40, 9), missing(2, 50), sight(3, 50, 40, 9)])).toEqual([2])
    expect(suspects([sight(1, 50, 40, 1), sight(2, 50, 40, 2), sight(3, 50, 40, 3)])).toEqual([])
  })
})

describe('align', () => {
  it('puts the members beside each other, with nothing where one has nothing', () => {
    const listed = (chunk: number, version: number) => ({
      chunk,
      version,
      digest: 1,
      usedBytes: 0,
      badBlocks: 0,
    })
    const rows = align([
      {
        chunkserver: 1,
        pages: [
          { appliedIndex: 10, chunks: [listed(3, 5)], next: 4 },
          { appliedIndex: 12, chunks: [listed(9, 11)] },
        ],
      },
      { chunkserver: 2, pages: [{ appliedIndex: 11, chunks: [listed(9, 11)] }] },
    ])
    expect([...rows.keys()]).toEqual([3, 9])
    expect(rows.get(3)).toEqual([
      { chunkserver: 1, appliedIndex: 10, chunk: listed(3, 5) },
      { chunkserver: 2, appliedIndex: 11, chunk: null },
    ])
    expect(rows.get(9)?.map((one) => one.appliedIndex)).toEqual([12, 11])
  })
})
