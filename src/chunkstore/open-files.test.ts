// Handles: never closed under somebody, however many are in use; closed when there are too many.

import { describe, expect, it } from 'vitest'
import { makeRig, turns } from '../sim/disk-rig.ts'
import { OpenFiles } from './open-files.ts'
import {} from './testing/chunk-rig.ts'

describe('open files', () => {
  it('are usable as long as somebody uses them, past any limit', async () => {
    const { disk } = makeRig()
    const files = new OpenFiles(disk, 3)
    const uses = []
    for (let i = 0; i < 10; i++) uses.push(await files.acquire(`file ${i}`, true))
    for (const [i, { file }] of uses.entries()) await file.write(new Uint8Array([i]), 0)
    for (const use of uses) use.release()
    await turns(20)
    const open = []
    for (const { file } of uses) open.push(await file.sizeBytes().catch(() => 'closed'))
    expect(open.filter((size) => size === 1)).toHaveLength(3)
    await files.close()
  })

  it('are made for a writer whom a reader has overtaken', async () => {
    const { disk } = makeRig()
    const files = new OpenFiles(disk, 3)
    const reading = files.acquire('file', false)
    const writing = files.acquire('file', true)
    await expect(reading).rejects.toThrow('ENOENT')
    await (await writing).file.write(new Uint8Array(1), 0)
    ;(await writing).release()
    const again = await files.acquire('file', true)
    expect(await again.file.sizeBytes()).toBe(1)
    again.release()
  })

  it('are forgotten only when nobody uses them any more', async () => {
    const { disk } = makeRig()
    const files = new OpenFiles(disk, 3)
    const use = await files.acquire('file', true)
    let isForgotten = false
    const forgetting = files.forget('file').then(() => {
      isForgotten = true
    })
    await turns(5)
    expect(isForgotten).toBe(false)
    await use.file.write(new Uint8Array(1), 0)
    use.release()
    await forgetting
    await expect(use.file.sizeBytes()).rejects.toThrow('EBADF')
    await files.forget('file')
  })
})
