import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { DirectoryLock } from './lock.ts'

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'lemnis-lock-'))
})
afterEach(() => rmSync(directory, { recursive: true }))

describe('DirectoryLock', () => {
  it('is had by one at a time, and says who has it', () => {
    const lock = DirectoryLock.take(directory)
    expect(() => DirectoryLock.take(directory)).toThrow(
      expect.objectContaining({
        code: 'IN_USE',
        detail: { directory, pid: String(process.pid) },
      }),
    )
    lock.close()
    DirectoryLock.take(directory).close()
  })

  it('makes the directory', () => {
    DirectoryLock.take(join(directory, 'a', 'b')).close()
  })

  it('goes with its process, however that ends', async () => {
    const path = join(directory, 'lock')
    const command = ['-o', path, '-c', 'echo locked; exec sleep 60']
    const holder = spawn('flock', command, { detached: true })
    await once(holder.stdout, 'data')
    expect(() => DirectoryLock.take(directory)).toThrow(expect.objectContaining({ code: 'IN_USE' }))
    process.kill(-(holder.pid as number), 'SIGKILL')
    await once(holder, 'exit')
    DirectoryLock.take(directory).close()
  })
})
