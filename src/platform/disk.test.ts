import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { describeDisk } from '../../test/contract/disk.ts'
import { NodeDisk } from './disk.ts'

async function inTemporary(): Promise<{ disk: NodeDisk; end: () => Promise<void> }> {
  const root = mkdtempSync(join(tmpdir(), 'lemnis-disk-'))
  return {
    disk: new NodeDisk(root),
    end: async () => rmSync(root, { recursive: true, force: true }),
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
})
