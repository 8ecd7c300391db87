import { describe, expect, it } from 'vitest'
import { BLOCK_BYTES, BlockLedger } from './block-ledger.ts'

describe('BlockLedger', () => {
  it('allows the acknowledged value only, once there is one', () => {
    const ledger = new BlockLedger(4)
    const old = ledger.begin(1, 2, false)
    ledger.acknowledge(1, 2, old)
    const value = ledger.begin(1, 2, false)
    ledger.acknowledge(1, 2, value)
    ledger.verify(1, ledger.bytesOf(1, 2, value))
    expect(() => ledger.verify(1, ledger.bytesOf(1, 2, old))).toThrow(/block 1 holds value 1/)
    expect(() => ledger.verify(1, new Uint8Array(BLOCK_BYTES))).toThrow(/holds value 0/)
  })

  it('allows the old or the new after a crash, and then what was seen first', () => {
    const ledger = new BlockLedger(2)
    const value = ledger.begin(0, 1, false)
    expect(ledger.isFree(0, 1)).toBe(false)
    ledger.abandon(0, 1)
    const written = ledger.bytesOf(0, 1, value)
    ledger.verify(0, written)
    expect(() => ledger.verify(0, new Uint8Array(BLOCK_BYTES))).toThrow(/acknowledged was 1/)
  })

  it('sees a mixed block and one of another place', () => {
    const ledger = new BlockLedger(8)
    const value = ledger.begin(0, 8, false)
    ledger.acknowledge(0, 8, value)
    const bytes = ledger.bytesOf(3, 1, value)
    expect(() => ledger.verify(4, bytes)).toThrow(/byte 0 of it/)
    bytes.fill(0, BLOCK_BYTES / 2)
    expect(() => ledger.verify(3, bytes)).toThrow(/byte 2048 of it/)
  })

  it('knows what is under way, and zeros', () => {
    const ledger = new BlockLedger(2)
    const value = ledger.begin(0, 1, false)
    expect(() => ledger.verify(0, new Uint8Array(BLOCK_BYTES))).toThrow(/under way/)
    ledger.acknowledge(0, 1, value)
    const zeros = ledger.begin(0, 1, true)
    expect(ledger.isFree(0, 2)).toBe(false)
    ledger.acknowledge(0, 1, zeros)
    ledger.verify(0, new Uint8Array(2 * BLOCK_BYTES))
    expect(() => ledger.verify(0, ledger.bytesOf(0, 1, value))).toThrow(/holds value 1/)
  })
})
