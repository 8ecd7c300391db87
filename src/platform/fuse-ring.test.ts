import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { FUSE_REQUEST_BYTES_MAX } from '../attach/fuse-protocol.ts'
import { MIB } from '../base/units.ts'
import { makeRing, RingConsumer, RingProducer } from './fuse-ring.ts'

/** A request of so many bytes, all of them its number but the length at its head. */
function put(producer: RingProducer, bytes: number, number: number): boolean {
  const at = producer.claim()
  producer.bytes.fill(number & 0xff, at, at + bytes)
  new DataView(producer.bytes.buffer).setUint32(at, bytes, true)
  return producer.publish(bytes)
}

function take(consumer: RingConsumer): { bytes: number; number: number } | null {
  const request = consumer.next()
  if (request === null) return null
  const number = request[4] ?? -1
  const whole = request.subarray(4).every((byte) => byte === number)
  const taken = { bytes: request.byteLength, number: whole ? number : -1 }
  consumer.free(request)
  return taken
}

describe('the ring', () => {
  it('hands over every request whole and in order, round and round', () => {
    const size = fc.oneof(
      fc.integer({ min: 40, max: 5000 }),
      fc.integer({ min: MIB, max: FUSE_REQUEST_BYTES_MAX }),
    )
    fc.assert(
      fc.property(
        fc.array(size, { minLength: 1, maxLength: 40 }),
        fc.integer({ min: 1, max: 4 }),
        (sizes, lag) => {
          const memory = makeRing()
          const producer = new RingProducer(memory)
          const consumer = new RingConsumer(memory)
          let taken = 0
          const takeOne = (): void => {
            expect(take(consumer)).toEqual({ bytes: sizes[taken], number: taken & 0xff })
            taken++
          }
          sizes.forEach((bytes, i) => {
            put(producer, bytes, i)
            if (i - taken >= lag) takeOne()
          })
          while (taken < sizes.length) takeOne()
          expect(take(consumer)).toBeNull()
        },
      ),
      { numRuns: 40 },
    )
  })

  it('tells the server once until it has looked', () => {
    const memory = makeRing()
    const producer = new RingProducer(memory)
    const consumer = new RingConsumer(memory)
    expect(put(producer, 100, 1)).toBe(true)
    expect(put(producer, 100, 2)).toBe(false)
    consumer.listen()
    expect(take(consumer)?.number).toBe(1)
    expect(put(producer, 100, 3)).toBe(true)
    expect(take(consumer)?.number).toBe(2)
    expect(take(consumer)?.number).toBe(3)
  })

  it('goes on when its positions pass 2^32', () => {
    const memory = makeRing()
    const producer = new RingProducer(memory)
    const consumer = new RingConsumer(memory)
    // 2^32 units of 8 bytes are 32 GiB; the largest requests get there in 35,000 steps.
    const steps = Math.ceil((2 ** 32 * 8) / FUSE_REQUEST_BYTES_MAX) + 100
    const view = new DataView(memory.bytes)
    for (let i = 0; i < steps; i++) {
      const at = producer.claim()
      view.setUint32(at, FUSE_REQUEST_BYTES_MAX, true)
      view.setUint32(at + 4, i, true)
      producer.publish(FUSE_REQUEST_BYTES_MAX)
      const request = consumer.next() as Uint8Array
      if (view.getUint32(request.byteOffset + 4, true) !== i)
        throw new Error(`request ${i} is lost`)
      consumer.free(request)
    }
    expect(consumer.next()).toBeNull()
  })
})
