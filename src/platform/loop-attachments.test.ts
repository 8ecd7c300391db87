import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { deadWriterOf, detach, startAttachHost } from './loop-attachments.ts'
import { AttachmentPaths, type AttachmentState, pidStartOf } from './loop-state.ts'

const WRITER = { volumeId: 7, client: 'c1', epoch: 3 }
const PID_MAX_EXCEEDED = 2 ** 22 + 1

let root = ''
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'lemnis-attachments-'))
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

function written(volume: string, change: Partial<AttachmentState>): AttachmentPaths {
  const paths = new AttachmentPaths(root, volume)
  paths.make()
  paths.writeState({
    volume,
    pid: process.pid,
    pidStart: pidStartOf(process.pid) ?? 0,
    phase: 'ready',
    device: '',
    link: paths.link,
    mountPoint: paths.mountPoint,
    sizeBytes: 4096,
    readOnly: false,
    mds: ['127.0.0.1:1'],
    sinceMs: 0,
    writer: WRITER,
    ...change,
  })
  return paths
}

describe('a volume that a living process of this host has attached', () => {
  it('is not attached again: no process is started that could take it over by force', async () => {
    written('vol', { device: '/dev/loop77' })
    const attempt = startAttachHost('vol', ['/nonexistent/program'], root)
    await expect(attempt).rejects.toMatchObject({
      code: 'CONFLICT',
      detail: { device: '/dev/loop77', cure: 'run `lemnis detach vol`' },
    })
  })

  it('has no dead writer', () => {
    written('vol', {})
    expect(deadWriterOf('vol', root)).toBeNull()
  })
})

describe('a volume whose process died', () => {
  it('is known by the writer that it was, so that it can be closed in its name', async () => {
    const paths = written('vol', { pid: PID_MAX_EXCEEDED })
    expect(deadWriterOf('vol', root)).toEqual(WRITER)
    const left = await detach('vol', { root })
    expect(left).toEqual({ stuck: [], mds: ['127.0.0.1:1'], writer: WRITER })
    expect(paths.readState()).toBeNull()
  })

  it('has none when it was open for reading, or never attached', () => {
    written('vol', { pid: PID_MAX_EXCEEDED, writer: null })
    expect(deadWriterOf('vol', root)).toBeNull()
    expect(deadWriterOf('other', root)).toBeNull()
  })
})

describe('where a volume is mounted', () => {
  it('tells directories of the same name apart, which containers have', () => {
    const paths = new AttachmentPaths(root, 'vol')
    paths.make()
    const before = paths.file
    expect(new AttachmentPaths(root, 'vol').file).toBe(before)
    rmSync(paths.directory, { recursive: true })
    // Holds the inode's number, so that the next directory gets another.
    new AttachmentPaths(root, 'other').make()
    paths.make()
    expect(paths.file).not.toBe(before)
  })
})
