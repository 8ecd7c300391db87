// Owns what every Disk must do, run on the real and on the simulated one alike. What a crash takes
// is tested with the simulator (src/sim/disk.test.ts) and by kill -9 (src/raftlog/kill.test.ts).

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { bytesEqual } from '../../src/base/bytes.ts'
import { LemnisError } from '../../src/base/errors.ts'
import { DISK_BLOCK_BYTES, type Disk, type DiskFile } from '../../src/env/disk.ts'

export interface DiskUnderTest {
  readonly disk: Disk
  readonly end: () => Promise<void>
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise
  } catch (error) {
    if (error instanceof LemnisError) return `${error.code} ${error.detail['errno'] ?? ''}`.trim()
    throw error
  }
  return 'no error'
}

const text = (value: string): Uint8Array => new TextEncoder().encode(value)

export function describeDisk(name: string, make: () => Promise<DiskUnderTest>): void {
  describe(`disk contract: ${name}`, () => {
    let disk: Disk
    let end: () => Promise<void>

    beforeEach(async () => {
      const made = await make()
      disk = made.disk
      end = made.end
      await disk.makeDirectory('d')
    })
    afterEach(() => end())

    const block = (fill: number, blocks = 1): Uint8Array =>
      disk.allocate(blocks * DISK_BLOCK_BYTES).fill(fill)

    it('reads back what was written, at any offset, and zeros in holes', async () => {
      const file = await disk.open('d/f', { create: true })
      await file.write(text('hello'), 10_000)
      await file.write(text('J'), 10_000)
      const into = new Uint8Array(10).fill(9)
      expect(await file.read(into, 9_998)).toBe(7)
      expect(into).toEqual(new Uint8Array([0, 0, 0x4a, 0x65, 0x6c, 0x6c, 0x6f, 9, 9, 9]))
      expect(await file.sizeBytes()).toBe(10_005)
      expect(await file.read(into, 20_000)).toBe(0)
      await file.sync()
      await file.close()
    })

    it('durable files take whole blocks from allocate() and read them back', async () => {
      const file = await disk.open('d/f', { create: true, durable: true })
      await file.write(block(1, 3), 0)
      await file.write(block(2), DISK_BLOCK_BYTES)
      const into = block(0, 4)
      expect(await file.read(into, 0)).toBe(3 * DISK_BLOCK_BYTES)
      expect([into[0], into[4095], into[4096], into[8191], into[8192], into[12_288]]).toEqual([
        1, 1, 2, 2, 1, 0,
      ])
      await file.close()
      const plain = await disk.open('d/f')
      const head = new Uint8Array(2)
      await plain.read(head, 4095)
      expect([...head]).toEqual([1, 2])
      await plain.close()
    })

    it('durable files refuse odd offsets, odd lengths and other memory', async () => {
      const file = await disk.open('d/f', { create: true, durable: true })
      expect(await codeOf(file.write(block(1), 512))).toBe('INVALID_ARGUMENT EINVAL')
      expect(await codeOf(file.write(block(1).subarray(0, 100), 0))).toBe('INVALID_ARGUMENT EINVAL')
      expect(await codeOf(file.write(block(1, 2).subarray(512, 4608), 0))).toBe(
        'INVALID_ARGUMENT EINVAL',
      )
      expect(await codeOf(file.write(new Uint8Array(4096), 0))).toBe('INVALID_ARGUMENT EINVAL')
      expect(await codeOf(file.read(new Uint8Array(4096), 0))).toBe('INVALID_ARGUMENT EINVAL')
      await file.close()
    })

    it('allocates zeroed memory in whole blocks, each its own', () => {
      const one = disk.allocate(1)
      const two = disk.allocate(5000)
      const big = disk.allocate(3_000_000)
      expect([one.byteLength, two.byteLength]).toEqual([4096, 8192])
      expect(big.byteLength % DISK_BLOCK_BYTES).toBe(0)
      expect([one.byteOffset, two.byteOffset, big.byteOffset].map((at) => at % 4096)).toEqual([
        0, 0, 0,
      ])
      one.fill(7)
      expect(two.every((byte) => byte === 0)).toBe(true)
      expect(big.every((byte) => byte === 0)).toBe(true)
    })

    it('many writes at once all land', async () => {
      const file = await disk.open('d/f', { create: true, durable: true })
      await Promise.all(
        Array.from({ length: 40 }, (_, i) => file.write(block(i), i * DISK_BLOCK_BYTES)),
      )
      const into = block(0, 40)
      await file.read(into, 0)
      for (let i = 0; i < 40; i++) expect(into[i * DISK_BLOCK_BYTES + 17]).toBe(i)
      await file.close()
    })

    it('opens: missing, create, exclusive, closed', async () => {
      expect(await codeOf(disk.open('d/none'))).toBe('INVALID_ARGUMENT ENOENT')
      expect(await codeOf(disk.open('none/f', { create: true }))).toBe('INVALID_ARGUMENT ENOENT')
      for (const durable of [false, true]) {
        const path = `d/${durable}`
        const file = await disk.open(path, { create: true, exclusive: true, durable })
        expect(await codeOf(disk.open(path, { create: true, exclusive: true, durable }))).toBe(
          'INVALID_ARGUMENT EEXIST',
        )
        await file.close()
        expect(await codeOf(file.sync())).toBe('INVALID_ARGUMENT EBADF')
        expect(await codeOf(file.close())).toBe('INVALID_ARGUMENT EBADF')
      }
    })

    it('truncates to less and to more; new bytes are zeros', async () => {
      const file = await disk.open('d/f', { create: true })
      await file.write(new Uint8Array(10_000).fill(5), 0)
      await file.truncate(4_100)
      await file.truncate(9_000)
      const into = new Uint8Array(10_000).fill(1)
      expect(await file.read(into, 0)).toBe(9_000)
      expect([into[4_099], into[4_100], into[8_999]]).toEqual([5, 0, 0])
      await file.close()
    })

    it('lists, renames over, removes', async () => {
      for (const name of ['b', 'a']) await (await disk.open(`d/${name}`, { create: true })).close()
      await disk.makeDirectory('d/sub/deep')
      await disk.makeDirectory('d/sub')
      expect(await disk.list('d')).toEqual(['a', 'b', 'sub'])
      expect(await disk.list('nowhere')).toEqual([])
      const file = await disk.open('d/a')
      await file.write(text('A'), 0)
      await file.close()
      await disk.rename('d/a', 'd/b')
      expect(await disk.list('d')).toEqual(['b', 'sub'])
      const moved = await disk.open('d/b')
      expect(await moved.sizeBytes()).toBe(1)
      await moved.close()
      expect(await codeOf(disk.rename('d/a', 'd/c'))).toBe('INVALID_ARGUMENT ENOENT')
      await disk.remove('d/b')
      await disk.remove('d/b')
      await disk.syncDirectory('d')
      expect(await disk.list('d')).toEqual(['sub'])
      expect(await codeOf(disk.syncDirectory('d/none'))).toBe('INVALID_ARGUMENT ENOENT')
    })

    it('writes pieces of many files at once, in order, and takes the bytes at once', async () => {
      const one = await disk.open('d/one', { create: true })
      const two = await disk.open('d/two', { create: true })
      const reused = text('abc')
      const pieces = [
        { file: one, at: 4096, from: text('first') },
        { file: two, at: 0, from: reused },
        { file: one, at: 4101, from: text('next') },
        { file: one, at: 4098, from: text('RS') },
        { file: two, at: 3, from: new Uint8Array(0) },
        { file: two, at: 3, from: text('d') },
      ]
      const written = disk.writeAll(pieces)
      reused.fill(0)
      await written
      expect(await one.sizeBytes()).toBe(4105)
      expect(await two.sizeBytes()).toBe(4)
      const into = new Uint8Array(9)
      await one.read(into, 4096)
      expect(new TextDecoder().decode(into)).toBe('fiRStnext')
      const other = new Uint8Array(4)
      await two.read(other, 0)
      expect(new TextDecoder().decode(other)).toBe('abcd')
      await disk.writeAll([])
      for (const file of [one, two]) {
        await file.sync()
        await file.close()
      }
    })

    it('writes large batches, and many at once', async () => {
      const names = ['a', 'b', 'c', 'd']
      const files = await Promise.all(names.map((name) => disk.open(`d/${name}`, { create: true })))
      const large = (fill: number): Uint8Array => new Uint8Array(3_000_000).fill(fill)
      const batchOf = (file: DiskFile, fill: number): Promise<void> =>
        disk.writeAll([
          { file, at: 1000, from: large(fill) },
          { file, at: 2000, from: large(fill + 1) },
          { file, at: 3, from: new Uint8Array([fill]) },
        ])
      await Promise.all(files.map(batchOf))
      for (const [fill, file] of files.entries()) {
        const expected = new Uint8Array(3_002_000)
        expected.set(large(fill), 1000)
        expected.set(large(fill + 1), 2000)
        expected[3] = fill
        const into = new Uint8Array(3_002_000)
        expect(await file.read(into, 0)).toBe(3_002_000)
        expect(bytesEqual(into, expected)).toBe(true)
        await file.close()
      }
    })

    it('refuses pieces of closed and of durable files before anything is written', async () => {
      const file = await disk.open('d/f', { create: true })
      const durable = await disk.open('d/durable', { create: true, durable: true })
      const closed = await disk.open('d/closed', { create: true })
      await closed.close()
      const good = { file, at: 0, from: text('x') }
      const withClosed = [good, { file: closed, at: 0, from: text('x') }]
      expect(await codeOf(disk.writeAll(withClosed))).toBe('INVALID_ARGUMENT EBADF')
      const withDurable = [good, { file: durable, at: 0, from: block(1) }]
      expect(await codeOf(disk.writeAll(withDurable))).toBe('INVALID_ARGUMENT EINVAL')
      expect(await file.sizeBytes()).toBe(0)
      await file.close()
      await durable.close()
    })

    it('closes a file only after the batches that use it', async () => {
      for (let round = 0; round < 20; round++) {
        const file = await disk.open('d/f', { create: true })
        const pieces = Array.from({ length: 100 }, (_, i) => ({
          file,
          at: i * 8192,
          from: new Uint8Array(4096).fill(round + 1),
        }))
        const written = disk.writeAll(pieces)
        const closed = file.close()
        // It may get the number of the descriptor that was closed.
        const other = await disk.open('d/other', { create: true })
        await Promise.all([written, closed])
        expect(await other.sizeBytes()).toBe(0)
        await other.close()
        const again = await disk.open('d/f')
        const into = new Uint8Array(1)
        await again.read(into, 99 * 8192 + 4095)
        expect(into[0]).toBe(round + 1)
        await again.close()
      }
    })

    it('tells the free bytes', async () => {
      expect(await disk.freeBytes()).toBeGreaterThan(0)
    })
  })
}
