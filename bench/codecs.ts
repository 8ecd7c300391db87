// Measures what every frame and record pays: a 64-bit number read and written, a frame header encoded
// and decoded.

import { viewOf } from '../src/base/bytes.ts'
import { readU53, writeU53 } from '../src/base/u53.ts'
import {
  blankHeader,
  decodeFrameHeader,
  encodeFrameHeader,
  FRAME_HEADER_BYTES,
} from '../src/format/frame.ts'
import { nanosecondsEach } from './measure.ts'
import type { BenchOptions, BenchRow } from './table.ts'

/** Numbers of all sizes, so that no branch is always the same. */
const SLOTS = 1024
const NUMBERS = Float64Array.from({ length: SLOTS }, (_, i) => 2 ** (i % 53))

const bytes = new Uint8Array(SLOTS * FRAME_HEADER_BYTES)
const view = viewOf(bytes)
const header = { ...blankHeader(), kind: 'request' as const, method: 7, bodyBytes: 24 }

function writeNumbers(count: number): number {
  for (let i = 0; i < count; i++) writeU53(view, 8 * (i % SLOTS), NUMBERS[i % SLOTS]!)
  return count
}

function readNumbers(count: number): number {
  let sum = 0
  for (let i = 0; i < count; i++) sum += readU53(view, 8 * (i % SLOTS))
  return sum
}

function readBigInts(count: number): number {
  let sum = 0
  for (let i = 0; i < count; i++) sum += Number(view.getBigUint64(8 * (i % SLOTS), true))
  return sum
}

function encodeHeaders(count: number): number {
  for (let i = 0; i < count; i++) {
    header.callId = i
    encodeFrameHeader(header, bytes, view, FRAME_HEADER_BYTES * (i % SLOTS))
  }
  return count
}

function decodeHeaders(count: number): number {
  const out = blankHeader()
  let sum = 0
  for (let i = 0; i < count; i++) {
    const fault = decodeFrameHeader(bytes, view, FRAME_HEADER_BYTES * (i % SLOTS), out)
    if (fault !== null) throw new Error(`a header of our own is ${fault}`)
    sum += out.callId
  }
  return sum
}

export async function run({ seconds }: BenchOptions): Promise<BenchRow[]> {
  // In this order: what is read has been written before.
  const cases: readonly (readonly [string, (count: number) => number])[] = [
    ['u53 write', writeNumbers],
    ['u53 read', readNumbers],
    ['u64 read by BigInt', readBigInts],
    ['frame header encode', (count) => encodeHeaders(Math.max(count, SLOTS))],
    ['frame header decode', decodeHeaders],
  ]
  const share = seconds / cases.length
  return cases.map(([name, repeat]) => ({
    bench: 'codecs',
    name,
    metric: 'time',
    value: nanosecondsEach(share, repeat),
    unit: 'ns',
  }))
}
