import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { describeDisk } from '../../test/contract/disk.ts'
import { NodeDisk } from './disk.ts'

/** Node runs no TypeScript before 22.18. */
const COMPILED = new URL('../../dist/src/platform/disk.js', import.meta.url).href

async function inTemporary(): Promise<{ disk: NodeDisk; end: () => Promise<void> }> {
  const root = mkdtempSync(join(tmpdir(), 'lemnis-disk-'))
  const disk = new NodeDisk(root)
  return {
    disk,
    end: async () => {
      await disk.close()
      rmSync(root, { recursive: true, force: true })
    },
  }
}

describeDisk('node', inTemporary)

describe('NodeDisk', () => {
  it('turns a full device into NO_SPACE', async () => {
    const file = await new NodeDisk('/').open('dev/full')
    await expect(file.write(new Uint8Array(10), 0)).rejects.toMatchObject({ code: 'NO_SPACE' })
    await file.close()
  })

  it('turns an error of the device into DISK_FAILED', async () => {
    // Address 0 of one's own memory is mapped nowhere: the kernel answers EIO.
    const file = await new NodeDisk('/').open('proc/self/mem')
    await expect(file.read(new Uint8Array(10), 0)).rejects.toMatchObject({
      code: 'DISK_FAILED',
      detail: { errno: 'EIO', operation: 'read' },
    })
    await file.close()
  })

  it('says when the file system has no O_DIRECT, and writes all the same', async () => {
    // /proc takes no O_DIRECT; comm is a file of it that one may write.
    const disk = new NodeDisk('/')
    expect(disk.directRefused).toBe(false)
    const file = await disk.open('proc/self/comm', { durable: true })
    expect(disk.directRefused).toBe(true)
    await file.close()
  })

  it('turns errors in the midst of a batch into theirs, and goes on with the next', async () => {
    const { disk, end } = await inTemporary()
    const good = await disk.open('good', { create: true })
    const from = new Uint8Array(4096).fill(7)
    const devices = new NodeDisk('/')
    const full = await devices.open('dev/full')
    const place = { file: full, at: 0, from }
    await expect(devices.writeAll([place])).rejects.toMatchObject({
      code: 'NO_SPACE',
      detail: { errno: 'ENOSPC', path: 'dev/full', operation: 'write' },
    })
    const broken = await devices.open('proc/self/mem')
    const bad = { file: broken, at: 0, from }
    await expect(devices.writeAll([bad, place])).rejects.toMatchObject({
      code: 'DISK_FAILED',
      detail: { errno: 'EIO', path: 'proc/self/mem', operation: 'write' },
    })
    // More than the arena holds: what waits for room goes with what failed, the next batch does not.
    const huge = { file: full, at: 0, from: new Uint8Array(20_000_000) }
    const next = { file: await devices.open('dev/null'), at: 0, from }
    const outcomes = await Promise.allSettled([devices.writeAll([huge]), devices.writeAll([next])])
    expect(outcomes.map((outcome) => outcome.status)).toEqual(['rejected', 'fulfilled'])
    await expect(devices.writeAll([{ file: good, at: 0, from }, place])).rejects.toBeDefined()
    for (const file of [full, broken, next.file, good]) await file.close()
    await devices.close()
    await end()
  })

  it('writes what it was given before it ends its thread, and takes nothing more', async () => {
    const { disk, end } = await inTemporary()
    const file = await disk.open('f', { create: true })
    const piece = { file, at: 0, from: new Uint8Array(10_000_000).fill(3) }
    const written = disk.writeAll([piece])
    await disk.close()
    await written
    expect(await file.sizeBytes()).toBe(10_000_000)
    await expect(disk.writeAll([piece])).rejects.toMatchObject({ code: 'CLOSED' })
    await file.close()
    await end()
  })

  it('does not keep a process alive that has nothing to write', () => {
    const program = `
      const { NodeDisk } = await import(${JSON.stringify(COMPILED)})
      const disk = new NodeDisk(process.argv[1])
      const file = await disk.open('f', { create: true })
      await disk.writeAll([{ file, at: 0, from: new Uint8Array(5) }])
      console.log(await file.sizeBytes())`
    const root = mkdtempSync(join(tmpdir(), 'lemnis-disk-'))
    const argv = ['--input-type=module', '-e', program, root]
    const { stdout, status } = spawnSync(process.execPath, argv, { encoding: 'utf8' })
    expect([stdout, status]).toEqual(['5\n', 0])
    rmSync(root, { recursive: true, force: true })
  })
})
