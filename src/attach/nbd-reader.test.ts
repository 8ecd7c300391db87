import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { concat, EMPTY, hexOf } from '../base/bytes.ts'
import type { NbdRequest } from './nbd-protocol.ts'
import { type Admission, type NbdFault, NbdReader, type NbdSink } from './nbd-reader.ts'
import { clientBytes, requestBytes } from './testing/nbd-world.ts'

/** Writes down what it is told; begins transmission after option 7. */
class Notes implements NbdSink {
  readonly lines: string[] = []
  readonly reader: NbdReader = new NbdReader(this)
  /** Says 'wait' so often before each request. */
  waits = 0
  #waited = 0

  clientFlags(flags: number): void {
    this.lines.push(`flags ${flags}`)
  }
  option(option: number, data: Uint8Array): void {
    this.lines.push(`option ${option} ${hexOf(data)}`)
    if (option === 7) this.reader.startTransmission()
  }
  admit(request: NbdRequest): Admission {
    if (this.#waited < this.waits) {
      this.#waited++
      return 'wait'
    }
    this.#waited = 0
    return request.offset === 13 ? 'skip' : 'take'
  }
  request(request: NbdRequest, payload: Uint8Array): void {
    this.lines.push(`${JSON.stringify(request)} ${hexOf(payload)}`)
  }
  skipped(request: NbdRequest): void {
    this.lines.push(`skipped ${JSON.stringify(request)}`)
  }

  /** Pushes all pieces, what is left of one again with the next; releases the reader when held. */
  read(pieces: readonly Uint8Array[]): NbdFault | null {
    let rest = EMPTY
    for (const piece of pieces) {
      let bytes = concat([rest, piece])
      for (;;) {
        const taken = this.reader.push(bytes)
        bytes = bytes.slice(taken)
        if (!this.reader.isHeld) break
        this.reader.release()
      }
      rest = bytes
      if (this.reader.fault !== null) return this.reader.fault
    }
    return null
  }
}

const STREAM = concat([
  clientBytes('flags', 'structured', 'info', 'set-context', 'go', 'write', 'read', 'flush'),
  requestBytes({ command: 1, offset: 13, length: 40, payload: new Uint8Array(40).fill(9) }),
  requestBytes({ command: 1, offset: 0, length: 0 }),
  requestBytes({ command: 0, offset: 13, length: 40 }),
  clientBytes('trim', 'disconnect'),
])

function linesOf(pieces: readonly Uint8Array[], waits = 0): string[] {
  const notes = new Notes()
  notes.waits = waits
  expect(notes.read(pieces)).toBeNull()
  return notes.lines
}

describe('the stream of a client', () => {
  it('is options, then requests with their payload, the refused ones skipped', () => {
    const lines = linesOf([STREAM])
    expect(lines.slice(0, 2)).toEqual(['flags 3', 'option 8 '])
    expect(lines.filter((line) => line.startsWith('skipped'))).toHaveLength(2)
    const { cookieHigh, cookieLow } = { cookieHigh: 0x11223344, cookieLow: 0x55667788 }
    const write = { flags: 1, command: 1, cookieHigh, cookieLow, offset: 4096, length: 5 }
    expect(lines).toContain(`${JSON.stringify(write)} 68656c6c6f`)
    expect(lines).toHaveLength(13)
  })

  it('means the same however it is cut, also when the reader is held before each request', () => {
    const whole = linesOf([STREAM])
    const bytewise = Array.from(STREAM, (byte) => Uint8Array.of(byte))
    expect(linesOf(bytewise)).toEqual(whole)
    expect(linesOf(bytewise, 2)).toEqual(whole)
    const cuts = fc.array(fc.nat(STREAM.byteLength), { maxLength: 12 })
    fc.assert(
      fc.property(cuts, fc.nat(2), (at, waits) => {
        const ends = [...at, STREAM.byteLength].toSorted((a, b) => a - b)
        const pieces = ends.map((end, i) => STREAM.subarray(ends[i - 1] ?? 0, end))
        expect(linesOf(pieces, waits)).toEqual(whole)
      }),
    )
  })

  it('is not read past a held request: push says how far it came', () => {
    const notes = new Notes()
    notes.waits = 1
    notes.read([clientBytes('flags', 'go')])
    const stream = concat([clientBytes('read'), clientBytes('flush')])
    expect(notes.reader.push(stream)).toBe(28)
    expect(notes.reader.push(stream.subarray(28))).toBe(0)
    expect(notes.lines).toHaveLength(2)
  })

  it('ends at bytes that are none of the protocol', () => {
    expect(new Notes().read([clientBytes('flags'), new Uint8Array(16)])).toBe('bad-option-magic')
    const large = clientBytes('list')
    large.set([0, 1, 0, 1], 12)
    expect(new Notes().read([clientBytes('flags'), large])).toBe('option-too-large')
    const garbage = new Uint8Array(28).fill(7)
    expect(new Notes().read([clientBytes('flags', 'go'), garbage])).toBe('bad-request-magic')
  })

  it('does no harm with any byte changed', () => {
    fc.assert(
      fc.property(fc.nat(STREAM.byteLength - 1), fc.integer({ min: 0, max: 255 }), (at, byte) => {
        const copy = STREAM.slice()
        copy[at] = byte
        new Notes().read([copy])
      }),
      { numRuns: 500 },
    )
  })
})
