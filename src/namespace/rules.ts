// Owns what a volume may be: sizes, stripes and the bounds of a request, each refusal with the numbers
// that a person needs to correct it.

import { LemnisError } from '../base/errors.ts'
import { formatBytes, KIB, MIB, TIB } from '../base/units.ts'
import { BLOCK_BYTES, SEGMENT_BYTES } from '../format/chunk-request.ts'

export const VOLUME_BYTES_MIN = MIB
/** 65,536 segments, whose records the MDS keeps in memory: some 40 MiB. */
export const VOLUME_BYTES_MAX = 64 * TIB
export const STRIPE_UNIT_BYTES_MIN = 4 * KIB
/** A longer unit spreads less than chunks do by themselves. */
export const STRIPE_UNIT_BYTES_MAX = 4 * MIB
export const STRIPE_COUNT_MAX = 64
/** In one call: their answer, of some 600 bytes each, must fit into one frame. */
export const SEGMENTS_PER_CALL_MAX = 1024

export function checkSize(sizeBytes: number): void {
  if (sizeBytes < VOLUME_BYTES_MIN || sizeBytes > VOLUME_BYTES_MAX) {
    throw new LemnisError('INVALID_ARGUMENT', {
      what: 'size',
      sizeBytes,
      expected: `from ${formatBytes(VOLUME_BYTES_MIN)} to ${formatBytes(VOLUME_BYTES_MAX)}`,
    })
  }
  if (sizeBytes % BLOCK_BYTES !== 0) {
    throw new LemnisError('INVALID_ARGUMENT', {
      what: 'size',
      sizeBytes,
      expected: `a multiple of ${BLOCK_BYTES} bytes`,
    })
  }
}

/** A stripe unit is a power of two, so that it divides the chunk. Any count is fine within a segment. */
export function checkStripe(stripeUnitBytes: number, stripeCount: number): void {
  if (stripeUnitBytes === 0 && stripeCount === 1) return
  const refuse = (expected: string): never => {
    throw new LemnisError('INVALID_ARGUMENT', {
      what: 'stripe',
      stripeUnitBytes,
      stripeCount,
      expected,
    })
  }
  if (stripeUnitBytes === 0 || stripeCount === 1) {
    refuse('a unit with a count of at least 2, or a unit of 0 with a count of 1')
  }
  if (!(stripeCount >= 1 && stripeCount <= STRIPE_COUNT_MAX)) {
    refuse(`a count from 2 to ${STRIPE_COUNT_MAX}`)
  }
  if (
    !isPowerOfTwo(stripeUnitBytes) ||
    stripeUnitBytes < STRIPE_UNIT_BYTES_MIN ||
    stripeUnitBytes > STRIPE_UNIT_BYTES_MAX
  ) {
    const least = formatBytes(STRIPE_UNIT_BYTES_MIN)
    refuse(`a unit that is a power of two from ${least} to ${formatBytes(STRIPE_UNIT_BYTES_MAX)}`)
  }
}

export function segmentCountOf(sizeBytes: number): number {
  return Math.ceil(sizeBytes / SEGMENT_BYTES)
}

/** The segments `from` to before `to`, where they lie within the size and are not too many. */
export function checkSegmentRange(from: number, to: number, sizeBytes: number): void {
  const segments = segmentCountOf(sizeBytes)
  if (from >= to || to > segments || to - from > SEGMENTS_PER_CALL_MAX) {
    throw new LemnisError('INVALID_ARGUMENT', {
      what: 'segments',
      from,
      to,
      expected: `at most ${SEGMENTS_PER_CALL_MAX} of the volume's ${segments}`,
    })
  }
}

function isPowerOfTwo(value: number): boolean {
  // Not by bits: those hold for 32-bit numbers only.
  let rest = value
  while (rest > 1 && rest % 2 === 0) rest /= 2
  return rest === 1
}
