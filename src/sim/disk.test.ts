import { describe, expect, it } from 'vitest'
import { describeDisk } from '../../test/contract/disk.ts'
import { Prng } from '../base/prng.ts'
import type { DiskFile } from '../env/disk.ts'
import { SimDisk } from './disk.ts'
import { InstantClock } from './disk-clock.ts'

function makeDisk(seed = 1): SimDisk {
  return new SimDisk(new InstantClock(), new Prng(seed))
}

describeDisk('sim', async () => ({ disk: makeDisk(), end: async () => {} }))

describeDisk('sim with latencies', async () => {
  const disk = makeDisk(2)
  disk.faults.latencyMaxMs = 5
  return { disk, end: async () => {} }
})

async function content(disk: SimDisk, path: string): Promise<number[]> {
  const file = await disk.open(path)
  const into = new Uint8Array(await file.sizeBytes())
  await file.read(into, 0)
  await file.close()
  return [...into]
}

async function makeFile(disk: SimDisk, path: string, durable = false): Promise<DiskFile> {
  const file = await disk.open(path, { create: true, durable })
  await disk.syncDirectory('')
  return file
}

const never = (promise: Promise<unknown>): Promise<boolean> =>
  Promise.race([
    promise.then(() => false),
    new Promise<boolean>((resolve) => setTimeout(resolve, 5, true)),
  ])

describe('SimDisk crashes', () => {
  it('a loss of power takes what was not synced, a killed process does not', async () => {
    const disk = makeDisk()
    const file = await makeFile(disk, 'f')
    await file.write(new Uint8Array([1, 1]), 0)
    await file.sync()
    await file.write(new Uint8Array([2, 2, 2]), 0)
    disk.crash('process')
    expect(await content(disk, 'f')).toEqual([2, 2, 2])
    disk.crash('power', 'lose')
    expect(await content(disk, 'f')).toEqual([1, 1])
  })

  it('a truncation that was not synced comes back, content and all', async () => {
    const disk = makeDisk()
    const file = await makeFile(disk, 'f')
    await file.write(new Uint8Array(9000).fill(3), 0)
    await file.sync()
    await file.truncate(10)
    await file.write(new Uint8Array([4]), 20)
    disk.crash('power', 'lose')
    expect(await content(disk, 'f')).toEqual(new Array(9000).fill(3))
  })

  it('sync covers the writes that had ended when it was called, no later one', async () => {
    const disk = makeDisk()
    const file = await makeFile(disk, 'f')
    await file.write(new Uint8Array([1, 1]), 0)
    disk.stall()
    const syncing = file.sync()
    disk.resume()
    disk.faults.latencyMaxMs = 100
    const later = file.write(new Uint8Array([2]), 0)
    await Promise.all([syncing, later])
    disk.crash('power', 'lose')
    expect(await content(disk, 'f')).toEqual([1, 1])
  })

  it('a removal that was not synced may come undone after another directory was synced', async () => {
    let undone = 0
    for (let seed = 0; seed < 20; seed++) {
      const disk = makeDisk(seed)
      await disk.makeDirectory('a')
      await disk.makeDirectory('b')
      await disk.syncDirectory('')
      const file = await disk.open('a/f', { create: true })
      await file.close()
      await disk.remove('a/f')
      await disk.syncDirectory('b')
      disk.crash('power')
      if ((await disk.list('a')).length === 0) continue
      undone++
      const found = await disk.open('a/f')
      await found.truncate(0)
      await found.close()
    }
    expect(undone).toBeGreaterThan(0)
  })

  it('tears un-synced writes at sectors, and only there', async () => {
    const seen = new Set<string>()
    for (let seed = 0; seed < 60; seed++) {
      const disk = makeDisk(seed)
      const file = await makeFile(disk, 'f')
      await file.write(new Uint8Array(2048).fill(1), 0)
      await file.sync()
      await file.write(new Uint8Array(1536).fill(2), 256)
      disk.crash('power')
      const bytes = await content(disk, 'f')
      const pieces = [
        [0, 256],
        [256, 512],
        [512, 1024],
        [1024, 1536],
        [1536, 1792],
        [1792, 2048],
      ]
      const values = pieces.map(([from, to]) => new Set(bytes.slice(from, to)))
      expect(values.every((set) => set.size === 1)).toBe(true)
      const shape = values.map((set) => [...set][0]).join('')
      expect(shape).toMatch(/^1[12]{4}1$/)
      seen.add(shape)
    }
    expect(seen).toContain('111111')
    expect(seen).toContain('122221')
    expect(seen.size).toBeGreaterThan(6)
  })

  it('durable writes stay; one in flight is lost, kept or torn; handles die', async () => {
    const seen = new Set<string>()
    for (let seed = 0; seed < 60; seed++) {
      const disk = makeDisk(seed)
      const file = await makeFile(disk, 'f', true)
      await file.write(disk.allocate(4096).fill(1), 0)
      disk.stall()
      const writing = file.write(disk.allocate(4096).fill(2), 0)
      disk.crash(seed % 2 === 0 ? 'power' : 'process')
      expect(await never(writing)).toBe(true)
      expect(await never(file.sync())).toBe(true)
      const bytes = await content(disk, 'f')
      seen.add(new Set(bytes).size === 2 ? 'torn' : bytes[0] === 1 ? 'lost' : 'kept')
      disk.crash('power', 'lose')
      expect(await content(disk, 'f')).toEqual(bytes)
    }
    expect([...seen].sort()).toEqual(['kept', 'lost', 'torn'])
  })

  it('pieces of a batch in flight are lost, kept or torn each by itself', async () => {
    const seen = new Set<string>()
    for (let seed = 0; seed < 60; seed++) {
      const disk = makeDisk(seed)
      const file = await makeFile(disk, 'f')
      await file.write(new Uint8Array(3 * 4096).fill(1), 0)
      await file.sync()
      disk.stall()
      const writing = disk.mount().writeAll([
        { file, at: 0, from: new Uint8Array(4096).fill(2) },
        { file, at: 8192, from: new Uint8Array(4096).fill(2) },
      ])
      const closing = file.close()
      disk.crash('process')
      expect(await never(Promise.race([writing, closing]))).toBe(true)
      const bytes = await content(disk, 'f')
      const shape = [0, 4096, 8192].map((at) => {
        const values = new Set(bytes.slice(at, at + 4096))
        return values.size === 2 ? 'torn' : values.has(1) ? 'lost' : 'kept'
      })
      expect(shape[1]).toBe('lost')
      seen.add(`${shape[0]} ${shape[2]}`)
    }
    expect(seen).toContain('lost kept')
    expect(seen).toContain('kept lost')
    expect(seen).toContain('torn torn')
  })

  it('what a dead process still asks for does not happen', async () => {
    const disk = makeDisk()
    const mounted = disk.mount()
    await (await mounted.open('f', { create: true })).close()
    disk.crash('process')
    expect(await never(mounted.remove('f'))).toBe(true)
    expect(await never(mounted.list(''))).toBe(true)
    expect(await never(mounted.writeAll([]))).toBe(true)
    expect(await disk.mount().list('')).toEqual(['f'])
  })

  it('names: a crash keeps a prefix of what was not synced', async () => {
    const seen = new Set<string>()
    for (let seed = 0; seed < 40; seed++) {
      const disk = makeDisk(seed)
      await disk.makeDirectory('d')
      await disk.syncDirectory('')
      await (await disk.open('d/a', { create: true })).close()
      await disk.syncDirectory('d')
      await disk.rename('d/a', 'd/b')
      await (await disk.open('d/c', { create: true })).close()
      await disk.remove('d/b')
      disk.crash('process')
      expect(await disk.list('d')).toEqual(['c'])
      disk.crash('power')
      seen.add((await disk.list('d')).join())
    }
    expect([...seen].sort()).toEqual(['a', 'b', 'b,c', 'c'])
  })

  it('a lost directory takes its files along; a synced one stays', async () => {
    const disk = makeDisk()
    await disk.makeDirectory('p/q')
    await disk.syncDirectory('')
    await (await disk.open('p/q/f', { create: true })).close()
    await disk.syncDirectory('p/q')
    disk.crash('power', 'lose')
    expect([await disk.list(''), await disk.list('p')]).toEqual([['p'], []])
  })

  it('a rename between directories is kept or lost as one', async () => {
    const disk = makeDisk()
    for (const directory of ['a', 'b']) await disk.makeDirectory(directory)
    await disk.syncDirectory('')
    await (await disk.open('a/f', { create: true })).close()
    await disk.rename('a/f', 'b/f')
    await disk.syncDirectory('b')
    disk.crash('power', 'lose')
    expect([await disk.list('a'), await disk.list('b')]).toEqual([[], ['f']])
  })
})

describe('SimDisk faults', () => {
  it('fails reads, writes and syncs', async () => {
    const disk = makeDisk()
    const file = await makeFile(disk, 'f')
    disk.faults.readErrorChance = 1
    disk.faults.writeErrorChance = 1
    const failed = { code: 'DISK_FAILED' }
    await expect(file.read(new Uint8Array(1), 0)).rejects.toMatchObject(failed)
    await expect(file.write(new Uint8Array(1), 0)).rejects.toMatchObject(failed)
    await expect(file.sync()).rejects.toMatchObject(failed)
    await expect(disk.syncDirectory('')).rejects.toMatchObject(failed)
    const piece = { file, at: 0, from: new Uint8Array(1) }
    await expect(disk.writeAll([piece])).rejects.toMatchObject(failed)
  })

  it('flips a bit for one read, or for good', async () => {
    const disk = makeDisk()
    const file = await makeFile(disk, 'f')
    await file.write(new Uint8Array(100), 0)
    disk.faults.readFlipChance = 1
    const ones = (bytes: number[]): number => bytes.filter((byte) => byte !== 0).length
    expect(ones(await content(disk, 'f'))).toBe(1)
    disk.faults.readFlipChance = 0
    expect(ones(await content(disk, 'f'))).toBe(0)
    disk.faults.restFlipChance = 1
    await file.write(new Uint8Array(100), 0)
    expect(ones(await content(disk, 'f'))).toBe(1)
    disk.flip('f', 50, 3)
    expect((await content(disk, 'f'))[50]).toBeGreaterThan(0)
  })

  it('misdirects a write to another block of the file', async () => {
    const disk = makeDisk(3)
    const file = await makeFile(disk, 'f')
    await file.write(new Uint8Array(10 * 4096), 0)
    disk.faults.misdirectChance = 1
    await file.write(new Uint8Array(4096).fill(7), 0)
    const bytes = await content(disk, 'f')
    expect(bytes[0]).toBe(0)
    expect(bytes.filter((byte) => byte === 7).length).toBe(4096)
  })

  it('fills up, and goes on when there is room', async () => {
    const disk = makeDisk()
    const file = await makeFile(disk, 'f')
    disk.faults.capacityBytes = 8192
    await file.write(new Uint8Array(8192), 0)
    const beyond = { file, at: 8192, from: new Uint8Array(1) }
    await expect(disk.writeAll([beyond])).rejects.toMatchObject({ code: 'NO_SPACE' })
    await expect(file.write(new Uint8Array(1), 8192)).rejects.toMatchObject({ code: 'NO_SPACE' })
    await file.write(new Uint8Array(8192).fill(1), 0)
    expect(await disk.freeBytes()).toBe(0)
    disk.faults.capacityBytes = 12_288
    await file.write(new Uint8Array(1), 8192)
  })

  it('repeats exactly from its seed', async () => {
    const run = async (): Promise<string> => {
      const clock = new InstantClock()
      const disk = new SimDisk(clock, new Prng(99))
      Object.assign(disk.faults, { latencyMinMs: 1, latencyMaxMs: 9, writeErrorChance: 0.2 })
      const file = await makeFileRetrying(disk)
      let log = ''
      for (let i = 0; i < 50; i++) {
        const outcome = await file.write(new Uint8Array(600).fill(i), i * 300).then(
          () => 'ok',
          () => 'failed',
        )
        log += `${outcome}@${clock.monotonicMs()} `
      }
      disk.crash('power')
      return `${log}${(await content(disk, 'f')).join()}`
    }
    const first = await run()
    expect(first).toContain('failed')
    expect(await run()).toBe(first)
  })
})

async function makeFileRetrying(disk: SimDisk): Promise<DiskFile> {
  const file = await disk.open('f', { create: true })
  const { writeErrorChance } = disk.faults
  disk.faults.writeErrorChance = 0
  await disk.syncDirectory('')
  disk.faults.writeErrorChance = writeErrorChance
  return file
}

describe('SimDisk trace', () => {
  it('rebuilds the disk at every moment, with what is synced and what is not', async () => {
    const disk = makeDisk()
    const events = disk.record()
    await disk.makeDirectory('d')
    const file = await disk.open('d/f', { create: true })
    await disk.syncDirectory('d')
    await disk.syncDirectory('')
    await file.write(new Uint8Array([1, 2, 3]), 0)
    await file.sync()
    disk.note('synced')
    await file.write(new Uint8Array([4]), 1)
    await file.truncate(2)
    await disk.rename('d/f', 'd/g')
    const at = (count: number): SimDisk =>
      SimDisk.replay(new InstantClock(), new Prng(1), events, count)
    expect(await content(at(events.length), 'd/g')).toEqual([1, 4])
    const synced = events.findIndex((event) => event.kind === 'note')
    expect(await content(at(synced), 'd/f')).toEqual([1, 2, 3])
    const last = at(events.length)
    last.crash('power', 'lose')
    expect(await content(last, 'd/f')).toEqual([1, 2, 3])
    const kept = at(events.length)
    kept.crash('power', 'keep')
    expect(await content(kept, 'd/g')).toEqual([1, 4])
    const torn = at(synced)
    const write = events[synced + 1]
    if (write?.kind !== 'write') throw new Error('expected the write')
    torn.tearInto(write, () => true)
    expect(await content(torn, 'd/f')).toEqual([1, 4, 3])
  })
})
