import { describe, expect, it } from 'vitest'
import { BatchWriter } from './batch-writer.ts'

/** Counts the claims on a file that nobody writes to. */
class Target {
  readonly path = 'f'
  claims = 0

  claim(): number {
    this.claims++
    return -1
  }

  release(): void {
    this.claims--
  }
}

const PIECE_BYTES = 100_000

describe('BatchWriter', () => {
  it('answers all that waits when its thread ends, and takes nothing more', async () => {
    const writer = new BatchWriter(`
      require('node:worker_threads').parentPort.on('message', () => { throw new Error('a bug') })`)
    const target = new Target()
    const pieces = Array.from({ length: 200 }, (_, i) => ({
      target,
      at: i * PIECE_BYTES,
      from: new Uint8Array(PIECE_BYTES),
    }))
    // The first fills all slots, the second waits.
    const outcomes = await Promise.allSettled([writer.write(pieces), writer.write(pieces)])
    for (const outcome of outcomes) {
      expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'INTERNAL' } })
    }
    expect(outcomes[0]).toMatchObject({ reason: { cause: { message: 'a bug' } } })
    expect(target.claims).toBe(0)
    await expect(writer.write(pieces)).rejects.toMatchObject({ code: 'INTERNAL' })
    await writer.close()
  })

  it('names the file and the error of a piece that can not be written', async () => {
    const writer = new BatchWriter()
    const target = new Target()
    const piece = { target, at: 0, from: new Uint8Array(10) }
    // Not a descriptor: Node refuses it before the kernel could.
    await expect(writer.write([piece])).rejects.toMatchObject({
      code: 'DISK_FAILED',
      detail: { errno: 'ERR_OUT_OF_RANGE', path: 'f', operation: 'write' },
    })
    expect(target.claims).toBe(0)
    await writer.close()
  })
})
