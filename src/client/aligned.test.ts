import { describe, expect, it } from 'vitest'
import { assert } from '../base/assert.ts'
import { LemnisError } from '../base/errors.ts'
import { Prng } from '../base/prng.ts'
import { AlignedIo, type BlockIo, type Done, type ReadDone } from './aligned.ts'

const BLOCK = 16
const BLOCKS = 24

/** Blocks in memory, carried out in an order that a seed chooses. */
class SlowBlocks implements BlockIo {
  readonly blockBytes = BLOCK
  readonly bytes = new Uint8Array(BLOCK * BLOCKS)
  readonly waiting: (() => void)[] = []
  /** Of what kind the next one fails. */
  fails: 'read' | 'write' | null = null

  readBlocks(offset: number, length: number, done: ReadDone): void {
    this.#later(offset, length, () => {
      if (this.#fail('read')) done(new LemnisError('FENCED'), new Uint8Array(0))
      else done(null, this.bytes.slice(offset, offset + length))
    })
  }
  writeBlocks(offset: number, bytes: Uint8Array, done: Done): void {
    this.#later(offset, bytes.byteLength, () => {
      const isFailure = this.#fail('write')
      if (!isFailure) this.bytes.set(bytes, offset)
      done(isFailure ? new LemnisError('FENCED') : null)
    })
  }
  zeroBlocks(offset: number, length: number, done: Done): void {
    this.#later(offset, length, () => {
      this.bytes.fill(0, offset, offset + length)
      done(null)
    })
  }

  #fail(kind: 'read' | 'write'): boolean {
    if (this.fails !== kind) return false
    this.fails = null
    return true
  }

  #later(offset: number, length: number, work: () => void): void {
    assert(offset % BLOCK === 0 && length % BLOCK === 0, 'whole blocks')
    assert(length > 0 && offset + length <= this.bytes.byteLength, 'in range')
    this.waiting.push(work)
  }

  /** Lets one thing happen, by chance any of those that wait; false when none does. */
  async step(random: Prng): Promise<boolean> {
    // Whatever hangs on promises gets to where it waits for blocks.
    for (let i = 0; i < 10; i++) await Promise.resolve()
    const [work] = this.waiting.splice(random.below(Math.max(1, this.waiting.length)), 1)
    work?.()
    return work !== undefined
  }
}

describe('byte addresses over blocks', () => {
  it('give what a plain array gives, in the order in which changes were asked for', async () => {
    for (let seed = 1; seed <= 300; seed++) {
      const random = new Prng(seed)
      const blocks = new SlowBlocks()
      const io = new AlignedIo(blocks)
      const model = new Uint8Array(blocks.bytes.byteLength)
      let left = 0
      for (let n = 0; n < 40; n++) {
        const offset = random.below(model.byteLength)
        const longest = Math.min(model.byteLength - offset, random.pick([3, BLOCK, 5 * BLOCK]))
        const length = random.between(1, longest)
        left++
        const done = (error: LemnisError | null): void => {
          expect(error).toBeNull()
          left--
        }
        if (random.chance(0.7)) {
          const bytes = Uint8Array.from({ length }, () => random.between(1, 255))
          model.set(bytes, offset)
          io.write(offset, bytes, done)
        } else {
          model.fill(0, offset, offset + length)
          io.zero(offset, length, done)
        }
        if (random.chance(0.5)) await blocks.step(random)
      }
      while (await blocks.step(random));
      expect(left, `seed ${seed}`).toBe(0)
      expect(io.waitingCount).toBe(0)
      expect(blocks.bytes, `seed ${seed}`).toEqual(model)
    }
  })

  it('read any range', async () => {
    const random = new Prng(7)
    const blocks = new SlowBlocks()
    blocks.bytes.forEach((_, i) => {
      blocks.bytes[i] = (i * 7) % 251
    })
    const io = new AlignedIo(blocks)
    for (let n = 0; n < 100; n++) {
      const offset = random.below(blocks.bytes.byteLength)
      const length = random.between(1, blocks.bytes.byteLength - offset)
      const got: Uint8Array[] = []
      io.read(offset, length, (_, bytes) => got.push(bytes))
      await blocks.step(random)
      expect(got).toEqual([blocks.bytes.slice(offset, offset + length)])
    }
  })

  it.each(['read', 'write'] as const)(
    'say an error of a %s in between and let the next change go on',
    async (fails) => {
      const random = new Prng(3)
      const blocks = new SlowBlocks()
      const io = new AlignedIo(blocks)
      const outcomes: (string | null)[] = []
      blocks.fails = fails
      io.write(5, new Uint8Array(3), (error) => outcomes.push(error?.code ?? null))
      io.zero(5, 3, (error) => outcomes.push(error?.code ?? null))
      while (await blocks.step(random));
      expect(outcomes).toEqual(['FENCED', null])
    },
  )
})
