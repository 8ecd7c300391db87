import { describe, expect, it } from 'vitest'
import { GIB, MIB } from '../base/units.ts'
import { CHUNKSTORE_CONFIG, chunkStoreConfig } from '../chunkstore/config.ts'
import { raftLogConfig } from '../raftlog/config.ts'
import { checkReserve } from './config.ts'

describe('the reserve of a disk', () => {
  it('holds what the log and memory need, as it comes', () => {
    expect(CHUNKSTORE_CONFIG.reserveBytes.fallback).toBe(GIB)
    checkReserve(raftLogConfig(), chunkStoreConfig())
  })

  it('is refused when a full disk could not get out of that state', () => {
    // Eight segments, two spare ones and the next: 704 MiB, and 256 MiB in memory.
    const exact = chunkStoreConfig({ reserveBytes: 960 * MIB })
    checkReserve(raftLogConfig(), exact)
    const less = { ...exact, reserveBytes: 960 * MIB - 1 }
    expect(() => checkReserve(raftLogConfig(), less)).toThrow('reserveBytes')
    const larger = raftLogConfig({ segmentsPinned: 10 })
    expect(() => checkReserve(larger, chunkStoreConfig())).toThrow('at least 1.06 GiB')
  })
})
